//! An index from 16-byte keys to small values: an in-memory tail, and sorted runs of blocks in sled.
//!
//! Never one sled key per entry. Each batch writes its entries as one value; when thousands have come together they become a
//! sorted run with a filter, and eight runs of a level become one of the next. An entry leaves the tail only when the run that
//! holds it is in sled, so a lookup that checks the tail and then the runs misses nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use super::filter::Filter;
use crate::Error;

/// Entries in memory that make a run.
const RUN_ENTRIES: usize = 4096;
/// Entries in one block of a run.
const BLOCK_ENTRIES: usize = 1024;
/// Runs of one level that become one of the next.
const FAN_IN: usize = 8;
/// Bytes of a filter in one value.
const FILTER_CHUNK_BYTES: usize = 64 * 1024;
/// How often a lookup begins again while a merge removes what it reads, and how long it waits each time.
const MERGE_TRIES: u32 = 1000;
const MERGE_WAIT: Duration = Duration::from_millis(2);

type Key = [u8; 16];
type Pair<const W: usize> = (Key, [u8; W]);

/// The index as everybody reads it.
#[derive(Debug)]
pub(crate) struct Index<const W: usize> {
    tag: u8,
    state: RwLock<State<W>>,
}

#[derive(Debug)]
struct State<const W: usize> {
    tail: BTreeMap<Key, [u8; W]>,
    runs: Vec<Arc<Run>>,
}

#[derive(Debug)]
struct Run {
    id: u64,
    level: u8,
    /// The first key of each block.
    fences: Vec<Key>,
    filter: Filter,
}

/// What only the thread that writes sled needs.
#[derive(Debug)]
pub(crate) struct IndexWriter<const W: usize> {
    /// Entries that stand in sled as values of one batch each, not yet in a run.
    small: Vec<Pair<W>>,
    small_keys: Vec<Vec<u8>>,
    next: u64,
    made: Option<Made>,
}

/// A run that the open batch makes, and the runs that it makes unnecessary.
#[derive(Debug)]
struct Made {
    run: Arc<Run>,
    merged: Vec<u64>,
}

impl<const W: usize> Index<W> {
    /// Reads filters, fences and the small values; `tag` is the first byte of all keys of this index.
    pub(crate) fn load(db: &sled::Db, tag: u8) -> Result<(Self, IndexWriter<W>), Error> {
        let mut tail = BTreeMap::new();
        let mut writer = IndexWriter {
            small: Vec::new(),
            small_keys: Vec::new(),
            next: 0,
            made: None,
        };
        for item in db.scan_prefix([tag, b'0']) {
            let (key, value) = item?;
            writer.next = writer.next.max(number(key.get(2..)).saturating_add(1));
            writer.small_keys.push(key.to_vec());
            writer.small.extend(pairs::<W>(&value));
        }
        tail.extend(writer.small.iter().copied());
        let mut runs = Vec::new();
        for item in db.scan_prefix([tag, b'm']) {
            let (key, value) = item?;
            let id = number(key.get(2..));
            writer.next = writer.next.max(id.saturating_add(1));
            let mut bits = Vec::new();
            for chunk in db.scan_prefix(run_key(tag, b'f', id, None)) {
                bits.extend_from_slice(&chunk?.1);
            }
            let (level, fences) = value.split_first().unwrap_or((&0, &[]));
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
        // Newest first: recent commands are the ones that are repeated.
        runs.sort_by_key(|run| std::cmp::Reverse(run.id));
        Ok((
            Self {
                tag,
                state: RwLock::new(State { tail, runs }),
            },
            writer,
        ))
    }

    /// Makes an entry visible at once.
    pub(crate) fn insert(&self, key: Key, value: [u8; W]) {
        self.state
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .tail
            .insert(key, value);
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
                Found::Value(value) => return Ok(Some(value)),
                Found::Absent => return Ok(None),
                // The batch that removed it is in sled; `settle` comes next.
                Found::BlockGone => std::thread::sleep(MERGE_WAIT),
            }
        }
        Err(block_gone())
    }
}

/// What a lookup in runs found.
enum Found<const W: usize> {
    Value([u8; W]),
    Absent,
    BlockGone,
}

fn find_in<const W: usize>(
    runs: &[Arc<Run>],
    db: &sled::Db,
    tag: u8,
    key: &Key,
) -> Result<Found<W>, Error> {
    for run in runs {
        match run.find(db, tag, key)? {
            Found::Absent => {}
            found => return Ok(found),
        }
    }
    Ok(Found::Absent)
}

fn block_gone() -> Error {
    Error::Log(std::io::Error::other("a block of an index run is missing").into())
}

impl Run {
    fn find<const W: usize>(&self, db: &sled::Db, tag: u8, key: &Key) -> Result<Found<W>, Error> {
        let Some(block) = self
            .fences
            .partition_point(|fence| fence <= key)
            .checked_sub(1)
        else {
            return Ok(Found::Absent);
        };
        let block = u32::try_from(block).unwrap_or(u32::MAX);
        let Some(bytes) = db.get(run_key(tag, b'b', self.id, Some(block)))? else {
            return Ok(Found::BlockGone);
        };
        let (mut low, mut high) = (0, bytes.len() / (16 + W));
        while low < high {
            let middle = low.midpoint(high);
            let entry = bytes
                .get(middle * (16 + W)..)
                .and_then(|rest| pairs::<W>(rest).next());
            match entry {
                Some((found, value)) if found == *key => return Ok(Found::Value(value)),
                Some((found, _)) if found < *key => low = middle + 1,
                _ => high = middle,
            }
        }
        Ok(Found::Absent)
    }
}

impl<const W: usize> IndexWriter<W> {
    /// Adds the entries of one batch to it.
    pub(crate) fn stage(
        &mut self,
        index: &Index<W>,
        db: &sled::Db,
        batch: &mut sled::Batch,
        entries: &[Pair<W>],
    ) -> Result<(), Error> {
        if !entries.is_empty() {
            let key = run_key(index.tag, b'0', self.take_number(), None);
            let value: Vec<u8> = entries.iter().flat_map(flat).collect();
            batch.insert(key.as_slice(), value);
            self.small_keys.push(key);
            self.small.extend_from_slice(entries);
        }
        if self.small.len() >= RUN_ENTRIES {
            self.make_run(index, db, batch)?;
        }
        Ok(())
    }

    /// The batch is in sled: what its run holds leaves memory.
    pub(crate) fn settle(&mut self, index: &Index<W>) {
        let Some(made) = self.made.take() else { return };
        let mut state = index.state.write().unwrap_or_else(PoisonError::into_inner);
        state.runs.retain(|run| !made.merged.contains(&run.id));
        state.runs.insert(0, made.run);
        for (key, _) in self.small.drain(..) {
            state.tail.remove(&key);
        }
    }

    fn take_number(&mut self) -> u64 {
        let number = self.next;
        self.next = number.saturating_add(1);
        number
    }

    fn make_run(
        &mut self,
        index: &Index<W>,
        db: &sled::Db,
        batch: &mut sled::Batch,
    ) -> Result<(), Error> {
        let mut entries: BTreeMap<Key, [u8; W]> = self.small.iter().copied().collect();
        let (level, merged) = {
            let state = index.state.read().unwrap_or_else(PoisonError::into_inner);
            merge_into(&state.runs)
        };
        for run in &merged {
            for block in 0..run.fences.len() {
                let block = u32::try_from(block).unwrap_or(u32::MAX);
                let key = run_key(index.tag, b'b', run.id, Some(block));
                let bytes = db.get(&key)?.ok_or_else(block_gone)?;
                entries.extend(pairs::<W>(&bytes));
                batch.remove(key);
            }
            for chunk in db
                .scan_prefix(run_key(index.tag, b'f', run.id, None))
                .keys()
            {
                batch.remove(chunk?);
            }
            batch.remove(run_key(index.tag, b'm', run.id, None));
        }
        for key in self.small_keys.drain(..) {
            batch.remove(key);
        }
        let run = write_run(index.tag, self.take_number(), level, &entries, batch);
        self.made = Some(Made {
            run: Arc::new(run),
            merged: merged.iter().map(|run| run.id).collect(),
        });
        Ok(())
    }
}

/// Which runs the next one takes in, and its level: levels fill like the digits of a number.
fn merge_into(runs: &[Arc<Run>]) -> (u8, Vec<Arc<Run>>) {
    let mut level = 0;
    let mut merged = Vec::new();
    loop {
        let here: Vec<_> = runs
            .iter()
            .filter(|run| run.level == level)
            .cloned()
            .collect();
        if here.len() + 1 < FAN_IN {
            return (level, merged);
        }
        merged.extend(here);
        level = level.saturating_add(1);
    }
}

fn write_run<const W: usize>(
    tag: u8,
    id: u64,
    level: u8,
    entries: &BTreeMap<Key, [u8; W]>,
    batch: &mut sled::Batch,
) -> Run {
    let mut filter = Filter::for_keys(entries.len());
    let mut fences = Vec::new();
    let sorted: Vec<Pair<W>> = entries.iter().map(|(key, value)| (*key, *value)).collect();
    for (number, block) in (0_u32..).zip(sorted.chunks(BLOCK_ENTRIES)) {
        fences.extend(block.first().map(|entry| entry.0));
        block.iter().for_each(|entry| filter.insert(&entry.0));
        let value: Vec<u8> = block.iter().flat_map(flat).collect();
        batch.insert(run_key(tag, b'b', id, Some(number)), value);
    }
    for (number, chunk) in (0_u32..).zip(filter.as_bytes().chunks(FILTER_CHUNK_BYTES)) {
        batch.insert(run_key(tag, b'f', id, Some(number)), chunk);
    }
    let manifest: Vec<u8> = std::iter::once(level)
        .chain(fences.iter().flatten().copied())
        .collect();
    batch.insert(run_key(tag, b'm', id, None), manifest);
    Run {
        id,
        level,
        fences,
        filter,
    }
}

fn run_key(tag: u8, part: u8, id: u64, block: Option<u32>) -> Vec<u8> {
    let mut key = vec![tag, part];
    key.extend_from_slice(&id.to_be_bytes());
    key.extend(block.iter().flat_map(|block| block.to_be_bytes()));
    key
}

fn number(bytes: Option<&[u8]>) -> u64 {
    bytes
        .and_then(|bytes| bytes.first_chunk())
        .map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

fn flat<const W: usize>(entry: &Pair<W>) -> impl Iterator<Item = u8> + use<W> {
    entry.0.into_iter().chain(entry.1)
}

fn pairs<const W: usize>(bytes: &[u8]) -> impl Iterator<Item = Pair<W>> {
    bytes.chunks_exact(16 + W).filter_map(|pair| {
        let (key, value) = pair.split_first_chunk()?;
        Some((*key, *value.first_chunk()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u64) -> Key {
        *blake3::hash(&number.to_be_bytes())
            .as_bytes()
            .first_chunk()
            .unwrap()
    }

    #[test]
    fn a_missing_block_of_a_listed_run_is_an_error_and_never_absence() {
        let dir = tempfile::tempdir().unwrap();
        let db = sled::open(dir.path()).unwrap();
        let (index, mut writer) = Index::<8>::load(&db, b'c').unwrap();
        let entries: Vec<_> = (0..RUN_ENTRIES as u64)
            .map(|n| (key(n), n.to_be_bytes()))
            .collect();
        let mut batch = sled::Batch::default();
        writer.stage(&index, &db, &mut batch, &entries).unwrap();
        db.apply_batch(batch).unwrap();
        writer.settle(&index);
        assert!(index.get(&db, &key(7)).unwrap().is_some());
        for block in db.scan_prefix([b'c', b'b']).keys() {
            db.remove(block.unwrap()).unwrap();
        }
        assert!(index.get(&db, &key(7)).is_err());
    }

    #[test]
    fn every_entry_is_found_through_runs_merges_and_reopening_and_no_other_is() {
        let dir = tempfile::tempdir().unwrap();
        let open = || {
            sled::Config::new()
                .path(dir.path())
                .flush_every_ms(None)
                .open()
                .unwrap()
        };
        let total = 40_000_u64;
        {
            let db = open();
            let (index, mut writer) = Index::<8>::load(&db, b'c').unwrap();
            for step in (0..total).step_by(1000) {
                let entries: Vec<_> = (step..step + 1000)
                    .map(|n| (key(n), n.to_be_bytes()))
                    .collect();
                entries
                    .iter()
                    .for_each(|(key, value)| index.insert(*key, *value));
                let mut batch = sled::Batch::default();
                writer.stage(&index, &db, &mut batch, &entries).unwrap();
                db.apply_batch(batch).unwrap();
                writer.settle(&index);
                assert_eq!(
                    index.get(&db, &key(step / 2)).unwrap(),
                    Some((step / 2).to_be_bytes())
                );
            }
            assert!(index.state.read().unwrap().tail.len() < RUN_ENTRIES + 1000);
            assert!(index.state.read().unwrap().runs.len() < 2 * FAN_IN);
            db.flush().unwrap();
        }
        let db = open();
        let (index, _) = Index::<8>::load(&db, b'c').unwrap();
        for number in (0..total).step_by(7) {
            assert_eq!(
                index.get(&db, &key(number)).unwrap(),
                Some(number.to_be_bytes()),
                "{number}"
            );
        }
        assert!(
            (total..total + 5000).all(|number| index.get(&db, &key(number)).unwrap().is_none())
        );
    }
}
