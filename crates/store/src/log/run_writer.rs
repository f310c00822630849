//! Writing an index: entries become runs, and runs are merged, a bounded step with each batch.
//!
//! A merge writes the blocks of the new run step by step; nobody looks at them before its manifest is there, which comes in the
//! batch of the last step. What the merged runs held is then removed, again step by step. Blocks without a manifest are what a
//! crash left of either, and are removed when the index is loaded.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::filter::Filter;
use super::run_block::{self, BLOCK_ENTRIES, Block};
use super::runs::{Index, Key, Pair, Run, block_key, damaged, flat, number, run_key, whole};
use super::values;
use crate::Error;

/// Entries that make a run.
const RUN_ENTRIES: usize = 4096;
/// Runs of one level that become one of the next.
const FAN_IN: usize = 8;
/// Entries that are merged with one batch at least, and how many times as many as it adds: each entry is merged once per
/// level, so this keeps up with any load.
const STEP_ENTRIES: usize = 8192;
const STEP_TIMES: usize = 8;

/// What only the thread that writes sled needs.
#[derive(Debug)]
pub(crate) struct IndexWriter<const W: usize> {
    /// Entries that stand in sled as values of one batch each, and their keys.
    small: Vec<Pair<W>>,
    small_keys: Vec<Vec<u8>>,
    next: u64,
    merge: Option<Merge<W>>,
    /// Runs whose blocks are still to be removed, and which block comes next.
    dead: Vec<(Arc<Run>, usize)>,
    staged: Staged<W>,
}

/// What the open batch changes in what readers see.
#[derive(Debug)]
struct Staged<const W: usize> {
    made: Vec<Arc<Run>>,
    merged: Vec<Arc<Run>>,
    /// Entries that are in a run now.
    placed: Vec<Pair<W>>,
}

impl<const W: usize> Default for Staged<W> {
    fn default() -> Self {
        Self {
            made: Vec::new(),
            merged: Vec::new(),
            placed: Vec::new(),
        }
    }
}

/// A run that is being made of others.
#[derive(Debug)]
struct Merge<const W: usize> {
    sources: Vec<Source<W>>,
    run: Run,
    open: Vec<Pair<W>>,
}

/// A run that is being merged.
#[derive(Debug)]
struct Source<const W: usize> {
    run: Arc<Run>,
    next_block: usize,
    entries: std::iter::Peekable<std::vec::IntoIter<Pair<W>>>,
}

impl<const W: usize> IndexWriter<W> {
    pub(crate) fn load(
        db: &sled::Db,
        tag: u8,
        runs: &[Arc<Run>],
        small: Vec<(Vec<u8>, Vec<Pair<W>>)>,
    ) -> Result<Self, Error> {
        let listed = runs.iter().map(|run| run.id);
        let used = small.iter().map(|(key, _)| number(key.get(2..)));
        let mut next = listed
            .chain(used)
            .max()
            .map_or(0, |last| last.saturating_add(1));
        next = next.max(remove_leftovers(db, tag, runs)?);
        let mut writer = Self {
            small: Vec::new(),
            small_keys: Vec::new(),
            next,
            merge: None,
            dead: Vec::new(),
            staged: Staged::default(),
        };
        for (key, entries) in small {
            writer.small_keys.push(key);
            writer.small.extend(entries);
        }
        Ok(writer)
    }

    /// Adds entries to the batch, and a step of what has to be merged and removed.
    pub(crate) fn stage(
        &mut self,
        index: &Index<W>,
        db: &sled::Db,
        batch: &mut sled::Batch,
        entries: &mut Vec<Pair<W>>,
    ) -> Result<(), Error> {
        let budget = STEP_ENTRIES.max(entries.len().saturating_mul(STEP_TIMES));
        self.remove_dead(index.tag, db, batch, budget / BLOCK_ENTRIES)?;
        if self.small.len().saturating_add(entries.len()) >= RUN_ENTRIES {
            self.make_run(index.tag, db, batch, entries)?;
        } else if !entries.is_empty() {
            let key = run_key(index.tag, b'0', self.take_number(), None);
            values::put(
                batch,
                &key,
                &entries.iter().flat_map(flat).collect::<Vec<u8>>(),
            );
            self.small_keys.push(key);
            self.small.append(entries);
        }
        if self.merge.is_none() {
            self.begin_merge(&index.runs());
        }
        self.merge_step(index.tag, db, batch, budget)
    }

    /// The batch is in sled: what its runs hold leaves memory, and what was merged is no longer looked at.
    pub(crate) fn settle(&mut self, index: &Index<W>) {
        let Staged {
            made,
            merged,
            placed,
        } = std::mem::take(&mut self.staged);
        index.change(|state| {
            state
                .runs
                .retain(|run| !merged.iter().any(|gone| gone.id == run.id));
            state.runs.extend(made);
            state.runs.sort_by_key(|run| std::cmp::Reverse(run.id));
            for (key, _) in placed {
                state.tail.remove(&key);
            }
        });
        self.dead.extend(merged.into_iter().map(|run| (run, 0)));
    }

    const fn take_number(&mut self) -> u64 {
        let number = self.next;
        self.next = number.saturating_add(1);
        number
    }

    /// Sorts what came together into a run of the lowest level.
    fn make_run(
        &mut self,
        tag: u8,
        db: &sled::Db,
        batch: &mut sled::Batch,
        entries: &mut Vec<Pair<W>>,
    ) -> Result<(), Error> {
        for key in self.small_keys.drain(..) {
            values::remove(batch, db, &key)?;
        }
        let mut all = std::mem::take(&mut self.small);
        all.append(entries);
        let sorted: BTreeMap<Key, [u8; W]> = all.iter().copied().collect();
        let sorted: Vec<Pair<W>> = sorted.into_iter().collect();
        let mut run = Run {
            id: self.take_number(),
            level: 0,
            fences: Vec::new(),
            filter: Filter::for_keys(sorted.len()),
        };
        for block in sorted.chunks(BLOCK_ENTRIES) {
            write_block(tag, batch, &mut run, block)?;
        }
        write_manifest(tag, batch, &run);
        self.staged.made.push(Arc::new(run));
        self.staged.placed = all;
        Ok(())
    }

    /// Begins to merge the lowest level that is full.
    fn begin_merge(&mut self, runs: &[Arc<Run>]) {
        let level = (0..=u8::MAX)
            .find(|level| runs.iter().filter(|run| run.level == *level).count() >= FAN_IN);
        let Some(level) = level else { return };
        let sources: Vec<Arc<Run>> = runs
            .iter()
            .filter(|run| run.level == level)
            .cloned()
            .collect();
        let blocks: usize = sources.iter().map(|run| run.fences.len()).sum();
        self.merge = Some(Merge {
            run: Run {
                id: self.take_number(),
                level: level.saturating_add(1),
                fences: Vec::new(),
                filter: Filter::for_keys(blocks.saturating_mul(BLOCK_ENTRIES)),
            },
            sources: sources.into_iter().map(Source::new).collect(),
            open: Vec::new(),
        });
    }

    fn merge_step(
        &mut self,
        tag: u8,
        db: &sled::Db,
        batch: &mut sled::Batch,
        budget: usize,
    ) -> Result<(), Error> {
        let Some(merge) = &mut self.merge else {
            return Ok(());
        };
        let mut left = budget;
        while left > 0 {
            let Some(entry) = merge.next(tag, db)? else {
                break;
            };
            merge.open.push(entry);
            if merge.open.len() >= BLOCK_ENTRIES {
                write_block(tag, batch, &mut merge.run, &std::mem::take(&mut merge.open))?;
            }
            left -= 1;
        }
        if left == 0 {
            return Ok(());
        }
        let Some(mut merge) = self.merge.take() else {
            return Ok(());
        };
        if !merge.open.is_empty() {
            write_block(tag, batch, &mut merge.run, &merge.open)?;
        }
        write_manifest(tag, batch, &merge.run);
        for source in &merge.sources {
            values::remove(batch, db, &run_key(tag, b'm', source.run.id, None))?;
        }
        self.staged.made.push(Arc::new(merge.run));
        self.staged.merged = merge.sources.into_iter().map(|source| source.run).collect();
        Ok(())
    }

    /// Removes blocks of runs that were merged, at most so many.
    fn remove_dead(
        &mut self,
        tag: u8,
        db: &sled::Db,
        batch: &mut sled::Batch,
        mut blocks: usize,
    ) -> Result<(), Error> {
        while blocks > 0 {
            let Some((run, next)) = self.dead.last_mut() else {
                return Ok(());
            };
            if *next < run.fences.len() {
                values::remove(batch, db, &block_key(tag, run.id, *next))?;
                *next += 1;
            } else {
                values::remove(batch, db, &run_key(tag, b'f', run.id, None))?;
                self.dead.pop();
            }
            blocks -= 1;
        }
        Ok(())
    }
}

impl<const W: usize> Merge<W> {
    /// The next entry of all sources in order; of equal keys, the newest run's.
    fn next(&mut self, tag: u8, db: &sled::Db) -> Result<Option<Pair<W>>, Error> {
        let mut least: Option<Key> = None;
        for source in &mut self.sources {
            let key = source.peek(tag, db)?;
            least = match (least, key) {
                (Some(least), Some(key)) => Some(least.min(key)),
                (least, key) => least.or(key),
            };
        }
        let Some(least) = least else { return Ok(None) };
        let mut found = None;
        for source in &mut self.sources {
            let entry = source.entries.next_if(|entry| entry.0 == least);
            found = found.or(entry);
        }
        Ok(found)
    }
}

impl<const W: usize> Source<W> {
    fn new(run: Arc<Run>) -> Self {
        Self {
            run,
            next_block: 0,
            entries: Vec::new().into_iter().peekable(),
        }
    }

    fn peek(&mut self, tag: u8, db: &sled::Db) -> Result<Option<Key>, Error> {
        if self.entries.peek().is_none() && self.next_block < self.run.fences.len() {
            let bytes = whole(values::get(
                db,
                &block_key(tag, self.run.id, self.next_block),
            )?)?;
            let entries = Block::open(&bytes).and_then(|block| block.entries());
            self.entries = entries.ok_or_else(damaged)?.into_iter().peekable();
            self.next_block += 1;
        }
        Ok(self.entries.peek().map(|entry| entry.0))
    }
}

fn write_block<const W: usize>(
    tag: u8,
    batch: &mut sled::Batch,
    run: &mut Run,
    block: &[Pair<W>],
) -> Result<(), Error> {
    let bytes = run_block::encode(block).map_err(|error| Error::Log(error.into()))?;
    values::put(batch, &block_key(tag, run.id, run.fences.len()), &bytes);
    run.fences.extend(block.first().map(|entry| entry.0));
    block.iter().for_each(|entry| run.filter.insert(&entry.0));
    Ok(())
}

fn write_manifest(tag: u8, batch: &mut sled::Batch, run: &Run) {
    values::put(
        batch,
        &run_key(tag, b'f', run.id, None),
        run.filter.as_bytes(),
    );
    let manifest: Vec<u8> = std::iter::once(run.level)
        .chain(run.fences.iter().flatten().copied())
        .collect();
    values::put(batch, &run_key(tag, b'm', run.id, None), &manifest);
}

/// Removes blocks and filters that no listed run has; returns a number that none of them had.
fn remove_leftovers(db: &sled::Db, tag: u8, runs: &[Arc<Run>]) -> Result<u64, Error> {
    let mut next = 0;
    for part in [b'b', b'f'] {
        let mut from = 0;
        loop {
            let start = run_key(tag, part, from, None);
            let Some(key) = db.range(start..).keys().next().transpose()? else {
                break;
            };
            if !key.starts_with(&[tag, part]) {
                break;
            }
            let id = number(key.get(2..));
            next = next.max(id.saturating_add(1));
            if runs.iter().all(|run| run.id != id) {
                let mut batch = sled::Batch::default();
                values::remove(&mut batch, db, &run_key(tag, part, id, None))?;
                db.apply_batch(batch)?;
            }
            from = id.saturating_add(1);
        }
    }
    Ok(next)
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

    /// sled lets go of its files a moment after the last handle is gone.
    fn open(dir: &std::path::Path) -> sled::Db {
        let ledger = countersign_ids::LedgerId::from_bytes([0; 32]);
        crate::log::open::open(dir, &ledger).unwrap().unwrap()
    }

    fn add(
        index: &Index<8>,
        writer: &mut IndexWriter<8>,
        db: &sled::Db,
        numbers: std::ops::Range<u64>,
    ) {
        let mut entries: Vec<_> = numbers.map(|n| (key(n), n.to_be_bytes())).collect();
        entries
            .iter()
            .for_each(|(key, value)| index.insert(*key, *value));
        let mut batch = sled::Batch::default();
        writer.stage(index, db, &mut batch, &mut entries).unwrap();
        db.apply_batch(batch).unwrap();
        writer.settle(index);
    }

    #[test]
    fn a_missing_block_of_a_listed_run_is_an_error_and_never_absence() {
        let dir = tempfile::tempdir().unwrap();
        let db = open(&dir.path().join("sled"));
        let (index, mut writer) = Index::<8>::load(&db, b'c').unwrap();
        add(&index, &mut writer, &db, 0..RUN_ENTRIES as u64);
        assert!(index.get(&db, &key(7)).unwrap().is_some());
        for block in db.scan_prefix([b'c', b'b']).keys() {
            db.remove(block.unwrap()).unwrap();
        }
        assert!(index.get(&db, &key(7)).is_err());
    }

    #[test]
    fn every_entry_is_found_through_runs_merges_crashes_and_reopening_and_no_other_is() {
        let dir = tempfile::tempdir().unwrap();
        let total = 150_000_u64;
        let mut written = 0;
        let mut merging = 0;
        while written < total {
            // Each time it is opened, some merge was under way: what it left is removed.
            let db = open(&dir.path().join("sled"));
            let (index, mut writer) = Index::<8>::load(&db, b'c').unwrap();
            for _ in 0..13 {
                let step = if written % 3 == 0 { 1000 } else { 4500 };
                add(&index, &mut writer, &db, written..written + step);
                written += step;
                for number in [0, written / 2, written - 1] {
                    assert_eq!(
                        index.get(&db, &key(number)).unwrap(),
                        Some(number.to_be_bytes())
                    );
                }
                assert!(index.get(&db, &key(written + 1)).unwrap().is_none());
            }
            merging += u32::from(writer.merge.is_some() || !writer.dead.is_empty());
            assert!(index.change(|state| state.tail.len()) < RUN_ENTRIES);
            assert!(index.runs().len() < 3 * FAN_IN);
            db.flush().unwrap();
        }
        assert!(merging > 0, "no merge was cut off");
        let db = open(&dir.path().join("sled"));
        let (index, _) = Index::<8>::load(&db, b'c').unwrap();
        for number in (0..written).step_by(7) {
            assert_eq!(
                index.get(&db, &key(number)).unwrap(),
                Some(number.to_be_bytes()),
                "{number}"
            );
        }
        assert!(
            (written..written + 5000).all(|number| index.get(&db, &key(number)).unwrap().is_none())
        );
    }
}
