//! An index from 16-byte keys to small values: an in-memory tail, and sorted runs of blocks in sled.
//!
//! Never one sled key per entry. What one batch adds becomes a value of its own, or, when thousands have come together, a sorted
//! run with a filter; eight runs of a level become one of the next, a bounded step with each batch (`run_writer`). An entry
//! leaves the tail only when the run that holds it is in sled, so a lookup that checks the tail and then the runs misses
//! nothing.
//!
//! | key behind the tag | value |
//! | --- | --- |
//! | `0`, number (8) | entries of one batch |
//! | `m`, run (8) | level (1), then the first key of each block |
//! | `f`, run (8) | filter |
//! | `b`, run (8), block (4) | see `run_block` |

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use super::filter::Filter;
use super::run_block::Block;
use super::run_writer::IndexWriter;
use super::values::{self, Found};
use crate::Error;

/// How often a lookup begins again while a merge removes what it reads, and how long it waits each time.
const MERGE_TRIES: u32 = 1000;
const MERGE_WAIT: Duration = Duration::from_millis(2);

pub(crate) type Key = [u8; 16];
pub(crate) type Pair<const W: usize> = (Key, [u8; W]);

/// The index as everybody reads it.
#[derive(Debug)]
pub(crate) struct Index<const W: usize> {
    pub(crate) tag: u8,
    state: RwLock<State<W>>,
}

#[derive(Debug)]
pub(crate) struct State<const W: usize> {
    pub(crate) tail: BTreeMap<Key, [u8; W]>,
    /// Newest first: recent commands are the ones that are repeated.
    pub(crate) runs: Vec<Arc<Run>>,
}

/// A sorted run.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) id: u64,
    pub(crate) level: u8,
    /// The first key of each block.
    pub(crate) fences: Vec<Key>,
    pub(crate) filter: Filter,
}

impl<const W: usize> Index<W> {
    /// Reads filters, fences and what is in no run yet; `tag` is the first byte of all keys of this index.
    pub(crate) fn load(db: &sled::Db, tag: u8) -> Result<(Self, IndexWriter<W>), Error> {
        let mut small = Vec::new();
        for item in db.scan_prefix([tag, b'0']).keys() {
            let piece = item?;
            let Some(key) = values::key_of_first(&piece) else {
                continue;
            };
            let value = whole(values::get(db, key)?)?;
            small.push((key.to_vec(), pairs::<W>(&value).collect::<Vec<_>>()));
        }
        let mut runs = Vec::new();
        for item in db.scan_prefix([tag, b'm']).keys() {
            let piece = item?;
            let Some(key) = values::key_of_first(&piece) else {
                continue;
            };
            let manifest = whole(values::get(db, key)?)?;
            let id = number(key.get(2..));
            let bits = whole(values::get(db, &run_key(tag, b'f', id, None))?)?;
            let (level, fences) = manifest.split_first().unwrap_or((&0, &[]));
            let fences = fences
                .chunks_exact(16)
                .filter_map(|fence| fence.first_chunk().copied())
                .collect();
            runs.push(Arc::new(Run {
                id,
                level: *level,
                fences,
                filter: Filter::from_bytes(bits),
            }));
        }
        runs.sort_by_key(|run| std::cmp::Reverse(run.id));
        let tail = small.iter().flat_map(|(_, entries)| entries).copied();
        let state = State {
            tail: tail.collect(),
            runs,
        };
        let writer = IndexWriter::load(db, tag, &state.runs, small)?;
        let state = RwLock::new(state);
        Ok((Self { tag, state }, writer))
    }

    /// Makes an entry visible at once.
    pub(crate) fn insert(&self, key: Key, value: [u8; W]) {
        self.change(|state| state.tail.insert(key, value));
    }

    /// Takes back an entry that was never durable.
    pub(crate) fn take_back(&self, key: &Key) {
        self.change(|state| state.tail.remove(key));
    }

    /// The runs as they are listed now.
    pub(crate) fn runs(&self) -> Vec<Arc<Run>> {
        self.state
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .runs
            .clone()
    }

    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut State<W>) -> T) -> T {
        change(&mut self.state.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Finds an entry.
    ///
    /// A block that a listed run lacks is never an answer: the run was merged meanwhile, so the lookup begins again until the
    /// run that took it in is listed. A run that stays listed without its block is damage.
    pub(crate) fn get(&self, db: &sled::Db, key: &Key) -> Result<Option<[u8; W]>, Error> {
        for _ in 0..MERGE_TRIES {
            let runs: Vec<Arc<Run>> = {
                let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
                if let Some(value) = state.tail.get(key) {
                    return Ok(Some(*value));
                }
                state
                    .runs
                    .iter()
                    .filter(|run| run.filter.may_contain(key))
                    .cloned()
                    .collect()
            };
            match find_in(&runs, db, self.tag, key)? {
                Looked::Value(value) => return Ok(Some(value)),
                Looked::Absent => return Ok(None),
                // The batch that removed it is in sled; `settle` comes next.
                Looked::BlockGone => std::thread::sleep(MERGE_WAIT),
            }
        }
        Err(damaged())
    }
}

/// What a lookup in runs found.
enum Looked<const W: usize> {
    Value([u8; W]),
    Absent,
    BlockGone,
}

fn find_in<const W: usize>(
    runs: &[Arc<Run>],
    db: &sled::Db,
    tag: u8,
    key: &Key,
) -> Result<Looked<W>, Error> {
    for run in runs {
        match run.find(db, tag, key)? {
            Looked::Absent => {}
            found => return Ok(found),
        }
    }
    Ok(Looked::Absent)
}

impl Run {
    fn find<const W: usize>(&self, db: &sled::Db, tag: u8, key: &Key) -> Result<Looked<W>, Error> {
        let Some(block) = self
            .fences
            .partition_point(|fence| fence <= key)
            .checked_sub(1)
        else {
            return Ok(Looked::Absent);
        };
        let bytes = match values::get(db, &block_key(tag, self.id, block))? {
            Found::Value(bytes) => bytes,
            Found::Absent => return Ok(Looked::BlockGone),
            Found::Damaged => return Err(damaged()),
        };
        let found = Block::open(&bytes).and_then(|block| block.find(key));
        Ok(found
            .ok_or_else(damaged)?
            .map_or(Looked::Absent, Looked::Value))
    }
}

pub(crate) fn damaged() -> Error {
    Error::Log(std::io::Error::other("an index is not what was written").into())
}

/// A value that must be there.
pub(crate) fn whole(found: Found) -> Result<Vec<u8>, Error> {
    found.value().ok_or_else(damaged)
}

pub(crate) fn block_key(tag: u8, run: u64, block: usize) -> Vec<u8> {
    let block = u32::try_from(block).unwrap_or(u32::MAX);
    run_key(tag, b'b', run, Some(block))
}

pub(crate) fn run_key(tag: u8, part: u8, id: u64, block: Option<u32>) -> Vec<u8> {
    let mut key = vec![tag, part];
    key.extend_from_slice(&id.to_be_bytes());
    key.extend(block.iter().flat_map(|block| block.to_be_bytes()));
    key
}

pub(crate) fn number(bytes: Option<&[u8]>) -> u64 {
    bytes
        .and_then(|bytes| bytes.first_chunk())
        .map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

pub(crate) fn flat<const W: usize>(entry: &Pair<W>) -> impl Iterator<Item = u8> + use<W> {
    entry.0.into_iter().chain(entry.1)
}

fn pairs<const W: usize>(bytes: &[u8]) -> impl Iterator<Item = Pair<W>> {
    bytes.chunks_exact(16 + W).filter_map(|pair| {
        let (key, value) = pair.split_first_chunk()?;
        Some((*key, *value.first_chunk()?))
    })
}
