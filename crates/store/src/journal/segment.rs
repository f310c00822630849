//! Appending: frames are collected into a group, a group is one write and one fdatasync.
//!
//! The next segment is allocated beside, by a short-lived thread, when half of the current one is used, so that a roll costs
//! a rename and not the allocation. After a failure every later call fails too, until the journal is opened again. Where no
//! fdatasync failed and mending helps (no space, no permission, no file handles), that may be done while the ledger runs
//! ([`Journal::reopen`]); an fdatasync that failed is final, because the kernel may call pages clean that it lost.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use countersign_ids::{ChainId, EventHash, Sequence};

use super::footer::Footer;
use super::frame::{self, HEAD_BYTES, Kind};
use super::scan::{self, End, Scan, Step, file_name, segments};
use super::{Position, bytes};
use crate::disk::{Disk, File, Part};

const SPARE: &str = "next.tmp";
/// How much of a segment that the writer waits for is filled with zeros when it is made. The first write into blocks that are
/// only allocated makes the file system note that they hold something, which costs a sixth of an fdatasync; a segment that is
/// made beside the writer is filled whole.
const FILLED_BYTES: u64 = 8 * 1024 * 1024;

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
    disk: Disk,
    file: File,
    base: Position,
    allocated: u64,
    /// Everything before this position is fdatasynced.
    durable: Position,
    group: Vec<u8>,
    footer: Footer,
    failed: Option<Fault>,
    spare: Option<Spare>,
}

/// What failed, and so whether the journal may be opened again while the ledger runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The system refused something for want of space, permission or handles. Nothing that was acknowledged is in doubt.
    Passing,
    /// What the disk holds is unknown until another process looks.
    Final,
}

impl Fault {
    /// Of anything but an fdatasync of a group.
    fn of(error: &io::Error) -> Self {
        use rustix::io::Errno;
        const PASSING: [Errno; 8] = [
            Errno::NOSPC,
            Errno::DQUOT,
            Errno::ROFS,
            Errno::ACCESS,
            Errno::PERM,
            Errno::MFILE,
            Errno::NFILE,
            Errno::NOMEM,
        ];
        match Errno::from_io_error(error) {
            Some(errno) if PASSING.contains(&errno) => Self::Passing,
            _ => Self::Final,
        }
    }
}

#[derive(Debug)]
struct Spare {
    made: Arc<Mutex<Option<io::Result<File>>>>,
    thread: Option<JoinHandle<()>>,
}

impl Journal {
    /// Makes the first segment of a new journal.
    pub(crate) fn create(disk: &Disk, dir: &Path, segment_bytes: u64) -> io::Result<()> {
        let path = dir.join(file_name(Position::ZERO));
        create(disk, &path, segment_bytes, FILLED_BYTES)?;
        disk.sync_dir(Part::Segment, dir)
    }

    /// Opens for appending at `end`, as a scan found it: a torn tail is cut off, and so is the `closed` frame of a clean stop,
    /// because it must stay the last thing in a stopped journal.
    ///
    /// `footer` holds what stands in the last segment already.
    pub(crate) fn open(
        disk: &Disk,
        dir: &Path,
        segment_bytes: u64,
        end: End,
        footer: Footer,
    ) -> io::Result<Self> {
        let last = segments(disk, dir)
            .ok()
            .and_then(|mut all| all.pop())
            .ok_or(io::ErrorKind::NotFound)?;
        let file = disk.open_to_write(&last.path)?;
        let at = end.closed.unwrap_or(end.position);
        let length = if end.sealed {
            at.since(last.base)
        } else {
            file.length()?.max(segment_bytes)
        };
        file.blank(Part::Recovery, at.since(last.base), length)?;
        disk.sync_dir(Part::Recovery, dir)?;
        remove_spare(disk, dir)?;
        let allocated = file.length()?;
        let mut journal = Self {
            dir: dir.to_path_buf(),
            segment_bytes,
            disk: disk.clone(),
            file,
            base: last.base,
            allocated,
            durable: at,
            group: Vec::new(),
            footer,
            failed: None,
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

    /// The position of the first byte of the segment that is written to.
    pub(crate) const fn base(&self) -> Position {
        self.base
    }

    pub(crate) const fn disk(&self) -> &Disk {
        &self.disk
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
        self.push_with(kind, |frame| frame.extend_from_slice(payload))
    }

    /// The same with a payload that `write` appends to the frame, so that it is copied once.
    pub(crate) fn push_with(&mut self, kind: Kind, write: impl FnOnce(&mut Vec<u8>)) -> Placed {
        let at = self.durable.plus(bytes(self.group.len()));
        let place = (self.base, at.since(self.base));
        let crc = frame::encode(&mut self.group, kind, place, self.durable, write);
        self.footer.frame();
        Placed {
            at,
            end: self.durable.plus(bytes(self.group.len())),
            crc,
        }
    }

    /// Says which events of a chain a frame in the open group holds, for the footer.
    pub(crate) fn note(
        &mut self,
        chain: &ChainId,
        first: (Sequence, EventHash),
        last: (Sequence, EventHash),
    ) {
        self.footer.events(chain, first, last);
    }

    /// Makes the open group durable.
    pub(crate) fn commit(&mut self) -> io::Result<()> {
        self.commit_as(Part::Group)
    }

    /// Makes the frame of a clean stop durable. Nothing is written after it.
    pub(crate) fn close(&mut self) -> io::Result<()> {
        self.commit()?;
        self.push(Kind::Closed, &[]);
        self.commit_as(Part::Closed)
    }

    fn commit_as(&mut self, part: Part) -> io::Result<()> {
        if self.failed.is_some() {
            return Err(io::Error::other("an earlier write failed"));
        }
        if self.group.is_empty() {
            return Ok(());
        }
        self.write_group(part)?;
        self.durable = self.durable.plus(bytes(self.group.len()));
        self.group.clear();
        if self.spare.is_none() && self.durable.since(self.base).saturating_mul(2) > self.allocated
        {
            self.spare = Spare::make(&self.disk, &self.dir, self.segment_bytes);
        }
        Ok(())
    }

    /// Nothing is written any more.
    pub(crate) const fn give_up(&mut self) {
        self.failed = Some(Fault::Final);
    }

    fn write_group(&mut self, part: Part) -> io::Result<()> {
        let at = self.durable.since(self.base);
        if let Err(error) = self.file.write_at(part, &self.group, at) {
            self.failed = Some(Fault::of(&error));
            return Err(error);
        }
        self.file.sync(part).inspect_err(|_| self.give_up())
    }

    /// Whether it failed in a way that [`Journal::reopen`] may mend.
    pub(crate) fn may_reopen(&self) -> bool {
        self.failed == Some(Fault::Passing)
    }

    /// Opens for appending again, after a failure, what a scan of the last segment found; what the failed group left behind
    /// everything durable is removed, as at every opening.
    pub(crate) fn reopen(&mut self, end: End, footer: Footer) -> io::Result<()> {
        if let Some(spare) = self.spare.take() {
            drop(spare.wait());
        }
        match Self::open(&self.disk, &self.dir, self.segment_bytes, end, footer) {
            Ok(opened) => {
                *self = opened;
                Ok(())
            }
            Err(error) => {
                self.failed = Some(Fault::of(&error));
                Err(error)
            }
        }
    }

    /// Seals the current segment and begins the next, with room for one frame with `payload` bytes.
    pub(crate) fn roll(&mut self, payload: usize) -> io::Result<()> {
        self.commit()?;
        let footer = self.footer.payload();
        self.push(Kind::Footer, &footer);
        self.commit_as(Part::Footer)?;
        let rolled = self.begin_next(bytes(payload).saturating_add(bytes(HEAD_BYTES)));
        rolled.inspect_err(|error| self.failed = Some(Fault::of(error)))
    }

    fn begin_next(&mut self, needed: u64) -> io::Result<()> {
        let base = self.durable;
        let path = self.dir.join(file_name(base));
        let spare = match self.spare.take().map(Spare::wait) {
            Some(Ok(spare)) => spare,
            Some(Err(_)) | None => {
                remove_spare(&self.disk, &self.dir)?;
                create(
                    &self.disk,
                    &self.dir.join(SPARE),
                    self.segment_bytes,
                    FILLED_BYTES,
                )?
            }
        };
        if needed > spare.length()? {
            spare.allocate(Part::Segment, needed)?;
            spare.sync_all(Part::Segment)?;
        }
        self.disk
            .rename(Part::Segment, &self.dir.join(SPARE), &path)?;
        self.disk.sync_dir(Part::Segment, &self.dir)?;
        // The blank rest of the sealed segment is given back; it is no loss if this does not survive a power cut.
        self.file.set_length(Part::Segment, base.since(self.base))?;
        self.file.sync_all(Part::Segment)?;
        self.allocated = spare.length()?;
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
    disk: &Disk,
    dir: &Path,
    from: Position,
) -> Result<Range<Position>, scan::Error> {
    let all = segments(disk, dir)?;
    let first = all
        .iter()
        .rposition(|segment| segment.base <= from)
        .unwrap_or_default();
    let Some(last) = all.last() else {
        return Ok(from..from);
    };
    let mut proven = last.base;
    let mut scan = Scan::over_damage(disk, dir, last.base, Position::ZERO)?;
    while let Some(step) = scan.next_step()? {
        if let Step::Frame(frame) | Step::Mended(frame, _) = step {
            proven = frame.head.durable_to.max(last.base);
        }
    }
    let end = scan.end().position;
    let failed = |path: &Path| {
        let path = path.to_path_buf();
        move |source| scan::Error::Io { path, source }
    };
    for segment in all.get(first..).unwrap_or_default() {
        let harden = || {
            let file = disk.open_to_write(&segment.path)?;
            if segment.base == last.base {
                let (from, until) = (proven.since(last.base), end.since(last.base));
                file.write_again(Part::Recovery, from, until)?;
            }
            file.sync(Part::Recovery)
        };
        harden().map_err(failed(&segment.path))?;
    }
    Ok(proven..end)
}

/// Creates a segment file of `bytes` allocated zero bytes, of which up to `filled` are written. One that cannot be made whole is
/// removed: its space is what others on a full disk lack.
fn create(disk: &Disk, path: &Path, bytes: u64, filled: u64) -> io::Result<File> {
    create_whole(disk, path, bytes, filled).inspect_err(|_| drop(disk.remove(Part::Segment, path)))
}

fn create_whole(disk: &Disk, path: &Path, bytes: u64, filled: u64) -> io::Result<File> {
    let file = disk.create(Part::Segment, path, 0o600)?;
    file.allocate(Part::Segment, bytes)?;
    file.fill(Part::Segment, 0, filled.min(bytes))?;
    // The length is metadata that a later fdatasync of data alone need not carry.
    file.sync_all(Part::Segment)?;
    Ok(file)
}

/// Removes a spare segment that an earlier run left behind, or one that could not be made whole.
fn remove_spare(disk: &Disk, dir: &Path) -> io::Result<()> {
    match disk.remove(Part::Segment, &dir.join(SPARE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        if let Some(spare) = self.spare.take() {
            drop(spare.wait());
        }
        drop(remove_spare(&self.disk, &self.dir));
    }
}

impl Spare {
    fn make(disk: &Disk, dir: &Path, bytes: u64) -> Option<Self> {
        let (own, dir) = (disk.clone(), dir.to_path_buf());
        let made = Arc::new(Mutex::new(None));
        let slot = Arc::clone(&made);
        let make = move || {
            let segment = remove_spare(&own, &dir)
                .and_then(|()| create(&own, &dir.join(SPARE), bytes, bytes));
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(segment);
        };
        let mut thread = None;
        if disk.is_concurrent() {
            let named = std::thread::Builder::new().name("countersign-allocate".to_owned());
            thread = Some(named.spawn(make).ok()?);
        } else {
            make();
        }
        Some(Self { made, thread })
    }

    fn wait(self) -> io::Result<File> {
        drop(self.thread.map(JoinHandle::join));
        let made = self
            .made
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        made.unwrap_or_else(|| Err(io::Error::other("the next segment was not made")))
    }
}
