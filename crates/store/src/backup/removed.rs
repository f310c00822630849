//! Which older backups hold what was removed from the ledger since they were taken.
//!
//! Such a backup goes when a newer one is there: the bodies must not stay in it, and without them it would not verify, because
//! it ends before the event that says why they are gone. Positions do not change when bodies go, so frames are compared by
//! their places.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};

use super::error::Error;
use super::files::failed;
use super::manifest::{Held, Manifest};
use crate::disk::Disk;
use crate::journal::frame::{HEAD_BYTES, head};
use crate::journal::packed::Segment;
use crate::journal::scan::{Scan, SegmentFile};
use crate::{Layout, Position};

/// A backup, and what it says it holds.
pub(super) struct Backup {
    path: PathBuf,
    manifest: Manifest,
}

impl Backup {
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        Ok(Self {
            path: path.to_path_buf(),
            manifest: Manifest::read(path)?,
        })
    }

    fn segment(&self, held: &Held) -> PathBuf {
        Layout::new(&self.path).journal().join(&held.name)
    }

    fn held(&self, base: u64) -> Option<&Held> {
        self.manifest.segments.iter().find(|held| held.base == base)
    }
}

/// Whether an older backup still holds bodies that were removed from the ledger before the newest was taken.
pub(super) fn holds_removed(
    newest: &Backup,
    older: &Backup,
    thinned: &mut Thinned,
) -> Result<bool, Error> {
    for held in &older.manifest.segments {
        let now = newest.held(held.base);
        if now.is_some_and(|now| now.sha256 != held.sha256)
            && thinned.is_missing_in(newest, older, held)?
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Where frames of the newest backup lost bodies, by segment, as far as that was asked.
#[derive(Default)]
pub(super) struct Thinned(BTreeMap<u64, Vec<u64>>);

impl Thinned {
    /// Whether an older backup still has a frame whole that lost bodies.
    fn is_missing_in(
        &mut self,
        newest: &Backup,
        older: &Backup,
        held: &Held,
    ) -> Result<bool, Error> {
        let offsets = self.offsets(newest, held.base)?;
        if offsets.is_empty() {
            return Ok(false);
        }
        let (path, base) = (older.segment(held), Position::new(held.base));
        let file = SegmentFile {
            base,
            path: path.clone(),
            next: None,
        };
        let segment = Segment::open(&Disk::default(), &file).map_err(failed(&path))?;
        for offset in offsets {
            let mut fixed = [0; HEAD_BYTES];
            let read = segment
                .read_at(&mut fixed, *offset)
                .map_err(failed(&path))?;
            // Behind its end there is nothing that could be removed.
            if read == HEAD_BYTES && head(&fixed, base, *offset).is_ok_and(|head| !head.thinned) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn offsets(&mut self, newest: &Backup, base: u64) -> Result<&[u64], Error> {
        match self.0.entry(base) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(unknown) => Ok(unknown.insert(thinned_frames(newest, base)?)),
        }
    }
}

fn thinned_frames(newest: &Backup, base: u64) -> Result<Vec<u64>, Error> {
    let journal = Layout::new(&newest.path).journal();
    let from = Position::new(base);
    let mut offsets = Vec::new();
    let scan = Scan::new(&Disk::default(), &journal, from, Position::ZERO);
    let mut scan = scan.map_err(crate::Error::from)?;
    while let Some(frame) = scan.next_frame().map_err(crate::Error::from)? {
        if frame.head.segment != from {
            break;
        }
        if frame.head.thinned {
            offsets.push(frame.head.offset);
        }
    }
    Ok(offsets)
}
