//! One simulated file or directory: what readers see, and what of it would survive a power cut.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::random::Random;

const SECTOR: usize = 512;
/// Older contents of one sector that are remembered, besides the oldest and the newest.
const VERSIONS_MAX: usize = 3;

/// A file. `disk` survives for certain; of each sector in `doubt` the disk holds what `disk` says, or a later content.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) cache: Vec<u8>,
    pub(super) disk: Vec<u8>,
    doubt: BTreeMap<usize, Doubt>,
    /// The file was cut off here, and its new length is not durable.
    cut: Option<usize>,
    /// Whether it was ever made durable as a whole, if only as an empty file.
    synced: bool,
}

/// A sector that was written since it was last certain.
#[derive(Debug, Default)]
struct Doubt {
    /// Whether the next sync writes it. A sync that failed leaves it clean, and its content in doubt for ever.
    dirty: bool,
    older: Vec<Vec<u8>>,
}

impl Contents {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.cache
    }

    pub(super) fn write(&mut self, bytes: &[u8], at: usize) {
        let end = at.saturating_add(bytes.len());
        if bytes.is_empty() {
            return;
        }
        for sector in at / SECTOR..end.div_ceil(SECTOR) {
            self.doubt_sector(sector);
        }
        if self.cache.len() < end {
            self.cache.resize(end, 0);
        }
        if let Some(place) = self.cache.get_mut(at..end) {
            place.copy_from_slice(bytes);
        }
    }

    pub(super) fn allocate(&mut self, length: usize) {
        if self.cache.len() < length {
            self.cache.resize(length, 0);
        }
    }

    pub(super) fn set_length(&mut self, length: usize, random: &mut Random) {
        if length < self.cache.len() {
            // What lies beyond may have reached the disk before it was cut off.
            for (sector, doubt) in self.doubt.split_off(&length.div_ceil(SECTOR)) {
                self.settle(sector, doubt, random);
            }
            if !length.is_multiple_of(SECTOR) {
                self.doubt_sector(length / SECTOR);
            }
            self.cut = Some(self.cut.map_or(length, |cut| cut.min(length)));
        }
        self.cache.resize(length, 0);
    }

    /// Whether a sync has nothing to write.
    pub(super) fn is_clean(&self, all: bool) -> bool {
        let length = !all || (self.synced && self.disk.len() == self.cache.len());
        length && self.cut.is_none() && !self.doubt.values().any(|doubt| doubt.dirty)
    }

    /// Makes durable the dirty sectors that `lucky` picks; the others are clean from now on all the same.
    pub(super) fn sync(&mut self, all: bool, metadata: bool, mut lucky: impl FnMut() -> bool) {
        if metadata && (all || self.cut.is_some()) {
            self.keep_length();
            self.synced = true;
        }
        let dirty: Vec<usize> = self
            .doubt
            .iter()
            .filter_map(|(sector, doubt)| doubt.dirty.then_some(*sector))
            .collect();
        for sector in dirty {
            if lucky() {
                self.doubt.remove(&sector);
                let content = sector_of(&self.cache, sector);
                let end = (sector.saturating_add(1) * SECTOR).min(self.cache.len());
                if self.disk.len() < end {
                    self.disk.resize(end, 0);
                }
                put(&mut self.disk, sector, &content);
            } else if let Some(doubt) = self.doubt.get_mut(&sector) {
                doubt.dirty = false;
            }
        }
    }

    /// The power is cut: of what was not durable, any part is there.
    pub(super) fn crash(&mut self, random: &mut Random) {
        let mut limit = usize::MAX;
        if random.coin() {
            self.keep_length();
        } else if let Some(cut) = self.cut.take() {
            limit = cut;
        }
        for (sector, doubt) in std::mem::take(&mut self.doubt) {
            if sector * SECTOR < limit {
                self.settle(sector, doubt, random);
            }
        }
        self.cache = self.disk.clone();
    }

    fn keep_length(&mut self) {
        if let Some(cut) = self.cut.take() {
            self.disk.truncate(cut);
        }
        self.disk.resize(self.cache.len(), 0);
    }

    fn doubt_sector(&mut self, sector: usize) {
        let current = sector_of(&self.cache, sector);
        if let Some(doubt) = self.doubt.get_mut(&sector) {
            doubt.dirty = true;
            if doubt.older.len() < VERSIONS_MAX {
                doubt.older.push(current);
            }
        } else {
            let (dirty, older) = (true, Vec::new());
            self.doubt.insert(sector, Doubt { dirty, older });
        }
    }

    /// Decides what the disk holds of a sector, as far as the file reaches there.
    fn settle(&mut self, sector: usize, mut doubt: Doubt, random: &mut Random) {
        let newest = sector_of(&self.cache, sector);
        doubt.older.push(newest);
        let choice = random.below(doubt.older.len().saturating_add(1));
        if let Some(content) = doubt.older.get(choice) {
            put(&mut self.disk, sector, content);
        }
    }
}

fn sector_of(bytes: &[u8], sector: usize) -> Vec<u8> {
    let start = sector.saturating_mul(SECTOR).min(bytes.len());
    let end = start.saturating_add(SECTOR).min(bytes.len());
    let mut content = bytes.get(start..end).unwrap_or_default().to_vec();
    content.resize(SECTOR, 0);
    content
}

fn put(bytes: &mut [u8], sector: usize, content: &[u8]) {
    let start = sector.saturating_mul(SECTOR).min(bytes.len());
    let end = start.saturating_add(SECTOR).min(bytes.len());
    if let (Some(place), Some(content)) = (bytes.get_mut(start..end), content.get(..end - start)) {
        place.copy_from_slice(content);
    }
}

/// A directory: names and the nodes behind them.
#[derive(Debug, Default)]
pub(super) struct Entries {
    cache: BTreeMap<OsString, usize>,
    disk: BTreeMap<OsString, usize>,
    /// What happened since the last sync, each whole or not at all.
    pending: Vec<Change>,
}

/// Names with what they mean from now on.
pub(super) type Change = Vec<(OsString, Option<usize>)>;

impl Entries {
    pub(super) fn get(&self, name: &std::ffi::OsStr) -> Option<usize> {
        self.cache.get(name).copied()
    }

    pub(super) fn names(&self) -> Vec<OsString> {
        self.cache.keys().cloned().collect()
    }

    pub(super) fn change(&mut self, change: Change) {
        apply(&mut self.cache, &change);
        self.pending.push(change);
    }

    /// Whether a sync has nothing to write.
    pub(super) fn is_clean(&self) -> bool {
        self.pending.is_empty()
    }

    pub(super) fn sync(&mut self) {
        self.disk = self.cache.clone();
        self.pending.clear();
    }

    pub(super) fn crash(&mut self, random: &mut Random) {
        for change in std::mem::take(&mut self.pending) {
            if random.coin() {
                apply(&mut self.disk, &change);
            }
        }
        self.cache = self.disk.clone();
    }
}

fn apply(names: &mut BTreeMap<OsString, usize>, change: &Change) {
    for (name, node) in change {
        match node {
            Some(node) => names.insert(name.clone(), *node),
            None => names.remove(name),
        };
    }
}
