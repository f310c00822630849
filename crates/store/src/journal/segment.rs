//! Appending: frames are collected into a group, a group is one write and one fdatasync.
//!
//! The next segment is allocated beside, by a short-lived thread, when half of the current one is used, so that a roll costs
//! a rename and not the allocation. A write or an fdatasync that failed is final: what the file holds is then unknown until
//! it is opened and scanned again, so every later call fails too.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use countersign_ids::{ChainId, EventHash, Sequence};

use super::file::{Faults, Segment, sync_dir};
use super::footer::Footer;
use super::frame::{self, HEAD_BYTES, Kind};
use super::scan::{self, End, Scan, file_name, segments};
use super::{Position, bytes};

const SPARE: &str = "next.tmp";

/// Where one frame went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) at: Position,
    pub(crate) end: Position,
    pub(crate) crc: u32,
}

/// The end of the journal, open for appending.
#[derive(Debug)]
pub(crate) struct Journal {
    dir: PathBuf,
    segment_bytes: u64,
    faults: Faults,
    file: Segment,
    base: Position,
    allocated: u64,
    /// Everything before this position is fdatasynced.
    durable: Position,
    group: Vec<u8>,
    footer: Footer,
    failed: bool,
    spare: Option<Spare>,
}

#[derive(Debug)]
struct Spare {
    made: Arc<Mutex<Option<io::Result<Segment>>>>,
    thread: JoinHandle<()>,
}

impl Journal {
    /// Makes the first segment of a new journal.
    pub(crate) fn create(dir: &Path, segment_bytes: u64, faults: &Faults) -> io::Result<()> {
        Segment::create(&dir.join(file_name(Position::ZERO)), segment_bytes, faults)?;
        sync_dir(dir)
    }

    /// Opens for appending at `end`, as a scan found it: a torn tail is cut off, and so is the `closed` frame of a clean stop,
    /// because it must stay the last thing in a stopped journal.
    ///
    /// `footer` holds what stands in the last segment already.
    pub(crate) fn open(
        dir: &Path,
        segment_bytes: u64,
        faults: &Faults,
        end: End,
        footer: Footer,
    ) -> io::Result<Self> {
        let last = segments(dir)
            .ok()
            .and_then(|mut all| all.pop())
            .ok_or(io::ErrorKind::NotFound)?;
        let file = Segment::open(&last.path, faults)?;
        let at = end.closed.unwrap_or(end.position);
        let length = if end.sealed {
            at.since(last.base)
        } else {
            file.len()?.max(segment_bytes)
        };
        file.blank(at.since(last.base), length)?;
        sync_dir(dir)?;
        drop(std::fs::remove_file(dir.join(SPARE)));
        let allocated = file.len()?;
        let mut journal = Self {
            dir: dir.to_path_buf(),
            segment_bytes,
            faults: faults.clone(),
            file,
            base: last.base,
            allocated,
            durable: at,
            group: Vec::new(),
            footer,
            failed: false,
            spare: None,
        };
        if end.sealed {
            journal.begin_next(0)?;
        }
        Ok(journal)
    }

    /// Everything before this position is fdatasynced.
    pub(crate) const fn durable(&self) -> Position {
        self.durable
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Bytes that the open group holds so far.
    pub(crate) const fn group_bytes(&self) -> usize {
        self.group.len()
    }

    /// Whether a frame with so much payload fits into the current segment behind the open group.
    pub(crate) fn fits(&self, payload: usize) -> bool {
        let used = self
            .durable
            .since(self.base)
            .saturating_add(bytes(self.group.len()));
        used.saturating_add(bytes(HEAD_BYTES))
            .saturating_add(bytes(payload))
            <= self.allocated
    }

    /// Adds a frame to the open group; nothing reaches the disk before [`Journal::commit`].
    pub(crate) fn push(&mut self, kind: Kind, payload: &[u8]) -> Placed {
        let at = self.durable.plus(bytes(self.group.len()));
        let place = (self.base, at.since(self.base));
        let crc = frame::encode(&mut self.group, kind, place, self.durable, payload);
        self.footer.frame();
        Placed {
            at,
            end: self.durable.plus(bytes(self.group.len())),
            crc,
        }
    }

    /// Says what an event in the open group is, for the footer.
    pub(crate) fn note(&mut self, chain: &ChainId, sequence: Sequence, hash: EventHash) {
        self.footer.event(chain, sequence, hash);
    }

    /// Makes the open group durable.
    pub(crate) fn commit(&mut self) -> io::Result<()> {
        if self.group.is_empty() && !self.failed {
            return Ok(());
        }
        let done = self.write_group();
        if let Err(error) = done {
            self.failed = true;
            return Err(error);
        }
        self.durable = self.durable.plus(bytes(self.group.len()));
        self.group.clear();
        if self.spare.is_none() && self.durable.since(self.base).saturating_mul(2) > self.allocated
        {
            self.spare = Spare::make(&self.dir, self.segment_bytes, &self.faults);
        }
        Ok(())
    }

    /// Nothing is written any more.
    pub(crate) const fn give_up(&mut self) {
        self.failed = true;
    }

    fn write_group(&self) -> io::Result<()> {
        if self.failed {
            return Err(io::Error::other("an earlier write failed"));
        }
        self.file
            .write_at(&self.group, self.durable.since(self.base))?;
        self.file.sync()
    }

    /// Seals the current segment and begins the next, with room for one frame with `payload` bytes.
    pub(crate) fn roll(&mut self, payload: usize) -> io::Result<()> {
        self.commit()?;
        let footer = self.footer.payload();
        self.push(Kind::Footer, &footer);
        self.commit()?;
        let rolled = self.begin_next(bytes(payload).saturating_add(bytes(HEAD_BYTES)));
        if rolled.is_err() {
            self.failed = true;
        }
        rolled
    }

    fn begin_next(&mut self, needed: u64) -> io::Result<()> {
        let base = self.durable;
        let path = self.dir.join(file_name(base));
        let spare = match self.spare.take().map(Spare::wait) {
            Some(Ok(spare)) => spare,
            Some(Err(_)) | None => {
                drop(std::fs::remove_file(self.dir.join(SPARE)));
                Segment::create(&self.dir.join(SPARE), self.segment_bytes, &self.faults)?
            }
        };
        if needed > spare.len()? {
            spare.allocate(needed)?;
            spare.sync()?;
        }
        std::fs::rename(self.dir.join(SPARE), &path)?;
        sync_dir(&self.dir)?;
        // The blank rest of the sealed segment is given back; it is no loss if this does not survive a power cut.
        self.file.truncate(base.since(self.base))?;
        self.allocated = spare.len()?;
        self.file = spare;
        self.base = base;
        self.footer = Footer::default();
        Ok(())
    }
}

/// Makes durable what the journal holds beyond `from`, before anything is built on it; returns the part that was written again.
///
/// After a kill the last groups may be in the page cache only. After an fdatasync that failed they may be there only for as
/// long as the machine runs: the kernel then calls pages clean that it could not write, and another fdatasync does nothing. So
/// the last group, which is all that no later frame proves durable, is written again.
pub(crate) fn harden(
    dir: &Path,
    from: Position,
    faults: &Faults,
) -> Result<Range<Position>, scan::Error> {
    let all = segments(dir)?;
    let first = all
        .iter()
        .rposition(|segment| segment.base <= from)
        .unwrap_or_default();
    let Some(last) = all.last() else {
        return Ok(from..from);
    };
    let mut proven = last.base;
    let mut scan = Scan::new(dir, last.base, Position::ZERO)?;
    while let Some(frame) = scan.next_frame()? {
        proven = frame.head.durable_to.max(last.base);
    }
    let end = scan.end().position;
    let failed = |path: &Path| {
        let path = path.to_path_buf();
        move |source| scan::Error::Io { path, source }
    };
    for segment in all.get(first..).unwrap_or_default() {
        let file = Segment::open(&segment.path, faults).map_err(failed(&segment.path))?;
        if segment.base == last.base {
            file.write_again(proven.since(last.base), end.since(last.base))
                .map_err(failed(&segment.path))?;
        }
        file.sync().map_err(failed(&segment.path))?;
    }
    Ok(proven..end)
}

impl Drop for Journal {
    fn drop(&mut self) {
        if let Some(spare) = self.spare.take() {
            drop(spare.wait());
        }
        drop(std::fs::remove_file(self.dir.join(SPARE)));
    }
}

impl Spare {
    fn make(dir: &Path, bytes: u64, faults: &Faults) -> Option<Self> {
        let (path, faults) = (dir.join(SPARE), faults.clone());
        let made = Arc::new(Mutex::new(None));
        let slot = Arc::clone(&made);
        let thread = std::thread::Builder::new()
            .name("countersign-allocate".to_owned())
            .spawn(move || {
                drop(std::fs::remove_file(&path));
                let segment = Segment::create(&path, bytes, &faults);
                *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(segment);
            })
            .ok()?;
        Some(Self { made, thread })
    }

    fn wait(self) -> io::Result<Segment> {
        drop(self.thread.join());
        let made = self
            .made
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        made.unwrap_or_else(|| Err(io::Error::other("the next segment was not made")))
    }
}
