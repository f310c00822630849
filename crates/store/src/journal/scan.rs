//! Reading the journal in order, and where it ends.
//!
//! Used by opening, by the auditor on a live or stopped directory, and by healing: there is one reader. It never writes.
//!
//! Where a frame is bad, the bytes are *torn* if nothing says that they were durable: no later segment, no later whole frame
//! whose `durable_to` lies beyond, and no floor (the position that sled reached). Otherwise they are damage, and so is
//! anything behind a `closed` frame.

use std::io;
use std::path::{Path, PathBuf};

use super::frame::{self, Bad, HEAD_BYTES, Head, Kind};
use super::packed::Segment;
use super::{Position, bytes, used_of};
use crate::disk::Disk;

/// How much is read from a segment at a time.
const WINDOW_BYTES: usize = 1024 * 1024;

/// One whole, valid frame.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    /// Its fixed part.
    pub(crate) head: Head,
    /// Where it begins in the journal.
    pub(crate) position: Position,
    /// Where the next one begins.
    pub(crate) end: Position,
    /// What it holds.
    pub(crate) payload: Vec<u8>,
}

/// Bytes at the end of the journal that were being written when the process or the machine died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Torn {
    /// The first of them.
    pub at: Position,
    /// How many, up to the last byte that is not zero.
    pub bytes: u64,
}

/// How the journal ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct End {
    /// Behind the last whole frame.
    pub position: Position,
    /// What follows it, if anything does.
    pub torn: Option<Torn>,
    /// Whether the last frame says that the ledger was stopped cleanly; then its position.
    pub closed: Option<Position>,
    /// Whether the last frame is a footer, so that the next one belongs into a new segment.
    pub sealed: bool,
}

/// Why the journal cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory or a segment cannot be read.
    #[error("cannot read `{path}`")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Bytes that were durable are not what was written.
    #[error("the journal is damaged at {at}: {what}")]
    Damaged {
        /// The first bad byte, or the frame that holds it.
        at: Position,
        /// What is wrong there.
        what: String,
    },
}

/// One segment file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SegmentFile {
    /// The position of its first byte; also its name.
    pub(crate) base: Position,
    /// Where it lies.
    pub(crate) path: PathBuf,
}

/// The name of the segment that begins at `base`.
pub(crate) fn file_name(base: Position) -> String {
    format!("{:020}.seg", base.get())
}

/// The segments of a journal directory, in order.
pub(crate) fn segments(disk: &Disk, dir: &Path) -> Result<Vec<SegmentFile>, Error> {
    let failed = |source| Error::Io {
        path: dir.to_path_buf(),
        source,
    };
    let mut found = Vec::new();
    for name in disk.list(dir).map_err(failed)? {
        let base = name
            .to_str()
            .and_then(|name| name.strip_suffix(".seg"))
            .filter(|digits| digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|digits| digits.parse().ok());
        if let Some(base) = base {
            found.push(SegmentFile {
                base: Position::new(base),
                path: dir.join(name),
            });
        }
    }
    found.sort_by_key(|segment| segment.base);
    Ok(found)
}

/// The frame that begins at `position`, if a whole one does.
pub(crate) fn frame_at(
    disk: &Disk,
    dir: &Path,
    position: Position,
) -> Result<Option<Frame>, Error> {
    let Some(segment) = segments(disk, dir)?
        .into_iter()
        .rfind(|segment| segment.base <= position)
    else {
        return Ok(None);
    };
    let mut window = Window::open(disk, segment)?;
    window.offset = position.since(window.base);
    match window.frame()? {
        Found::Frame(frame) => Ok(Some(frame)),
        Found::Blank | Found::Bad(_) => Ok(None),
    }
}

/// Reads frames one after another.
#[derive(Debug)]
pub(crate) struct Scan {
    disk: Disk,
    segments: std::vec::IntoIter<SegmentFile>,
    current: Option<Window>,
    floor: Position,
    next: Position,
    closed: Option<Position>,
    sealed: bool,
    end: Option<End>,
}

impl Scan {
    /// Reads from the beginning of the segment that holds `from`; `floor` was durable for certain.
    pub(crate) fn new(
        disk: &Disk,
        dir: &Path,
        from: Position,
        floor: Position,
    ) -> Result<Self, Error> {
        let mut segments = segments(disk, dir)?;
        let first = segments.iter().rposition(|segment| segment.base <= from);
        let segments = match first {
            Some(first) => segments.split_off(first),
            None => return Err(damaged(from, "the segment that should hold it is missing")),
        };
        let next = segments.first().map_or(from, |segment| segment.base);
        let mut scan = Self {
            disk: disk.clone(),
            segments: segments.into_iter(),
            current: None,
            floor,
            next,
            closed: None,
            sealed: false,
            end: None,
        };
        scan.open_next()?;
        Ok(scan)
    }

    /// The next whole frame; `None` behind the last one, when [`Scan::end`] is known.
    pub(crate) fn next_frame(&mut self) -> Result<Option<Frame>, Error> {
        loop {
            let Some(window) = self.current.as_mut() else {
                let end = End {
                    position: self.next,
                    torn: None,
                    closed: self.closed,
                    sealed: self.sealed,
                };
                self.end.get_or_insert(end);
                self.reaches_floor()?;
                return Ok(None);
            };
            let at = window.base.plus(window.offset);
            match window.frame()? {
                Found::Frame(frame) => {
                    if let Some(closed) = self.closed {
                        self.reopened(closed, "frames")?;
                        continue;
                    }
                    self.sealed = frame.head.kind == Kind::Footer;
                    self.closed = (frame.head.kind == Kind::Closed).then_some(at);
                    self.next = frame.end;
                    return Ok(Some(frame));
                }
                // Only what another segment follows is compressed.
                Found::Blank if self.segments.len() == 0 && window.file.is_packed() => {
                    return Err(damaged(at, "the segment that begins here is missing"));
                }
                Found::Blank if self.segments.len() == 0 => self.current = None,
                Found::Blank if self.sealed => self.open_next()?,
                Found::Blank => return Err(damaged(at, "a segment ends without its footer")),
                Found::Bad(bad) => {
                    if self.torn(at, bad)? {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// How the journal ends; known once [`Scan::next_frame`] has returned `None`.
    #[must_use]
    pub(crate) fn end(&self) -> End {
        self.end.unwrap_or_default()
    }

    fn open_next(&mut self) -> Result<(), Error> {
        let Some(segment) = self.segments.next() else {
            self.current = None;
            return Ok(());
        };
        if segment.base != self.next {
            return Err(damaged(
                self.next,
                "the segment that begins here is missing",
            ));
        }
        self.sealed = false;
        self.current = Some(Window::open(&self.disk, segment)?);
        Ok(())
    }

    /// Decides whether the bad bytes at `at` are torn; if not, they are damage. `false`: they were being written while they
    /// were read, and are whole now.
    fn torn(&mut self, at: Position, bad: Bad) -> Result<bool, Error> {
        if let Some(closed) = self.closed {
            self.reopened(closed, "bytes")?;
            return Ok(false);
        }
        // A new segment begins only when everything before it is durable.
        if self.segments.len() > 0 {
            return Err(damaged(at, &bad.to_string()));
        }
        let Some(window) = self.current.as_mut() else {
            return Ok(true);
        };
        if let Some(witness) = window.durable_beyond(at)? {
            if window.whole_now(at)?.is_some() {
                return Ok(false);
            }
            return Err(damaged(
                at,
                &format!("{bad}, though the frame at {witness} says that it was durable"),
            ));
        }
        let torn = Torn {
            at,
            bytes: window.used()?.saturating_sub(window.offset),
        };
        self.current = None;
        self.end = Some(End {
            position: at,
            torn: Some(torn),
            closed: None,
            sealed: self.sealed,
        });
        self.reaches_floor()?;
        Ok(true)
    }

    /// Something follows the `closed` frame: the ledger was opened again since that frame was read, or it is damaged.
    fn reopened(&mut self, closed: Position, what: &str) -> Result<(), Error> {
        let kind = self
            .current
            .as_mut()
            .map(|window| window.whole_now(closed))
            .transpose()?
            .flatten();
        if kind == Some(Kind::Closed) {
            return Err(damaged(
                closed,
                &format!("{what} follow the frame that closed the ledger"),
            ));
        }
        self.closed = None;
        Ok(())
    }

    fn reaches_floor(&self) -> Result<(), Error> {
        let end = self.end().position;
        if end < self.floor {
            return Err(damaged(
                end,
                &format!(
                    "it ends here, though everything before {} was durable",
                    self.floor
                ),
            ));
        }
        Ok(())
    }
}

fn damaged(at: Position, what: &str) -> Error {
    Error::Damaged {
        at,
        what: what.to_owned(),
    }
}

/// A segment that the system does not give, or that is compressed and damaged.
fn unreadable(path: &Path, at: Position, source: io::Error) -> Error {
    if source.kind() == io::ErrorKind::InvalidData {
        return damaged(at, &source.to_string());
    }
    let path = path.to_path_buf();
    Error::Io { path, source }
}

enum Found {
    Frame(Frame),
    Blank,
    Bad(Bad),
}

/// A segment file and a buffer over part of it.
#[derive(Debug)]
struct Window {
    file: Segment,
    path: PathBuf,
    base: Position,
    /// Where the next frame should begin.
    offset: u64,
    buffer: Vec<u8>,
    buffer_at: u64,
}

impl Window {
    fn open(disk: &Disk, segment: SegmentFile) -> Result<Self, Error> {
        let file = Segment::open(disk, &segment.path, segment.base)
            .map_err(|source| unreadable(&segment.path, segment.base, source))?;
        Ok(Self {
            file,
            path: segment.path,
            base: segment.base,
            offset: 0,
            buffer: Vec::new(),
            buffer_at: 0,
        })
    }

    fn failed(&self, source: io::Error) -> Error {
        unreadable(&self.path, self.base.plus(self.offset), source)
    }

    fn frame(&mut self) -> Result<Found, Error> {
        let (base, offset) = (self.base, self.offset);
        let fixed = self.view(offset, HEAD_BYTES)?;
        if fixed.iter().all(|byte| *byte == 0) {
            return Ok(if self.used()? <= offset {
                Found::Blank
            } else {
                Found::Bad(Bad::Magic)
            });
        }
        let head = match frame::head(fixed, base, offset) {
            Ok(head) => head,
            Err(bad) => return Ok(Found::Bad(bad)),
        };
        let whole = self.view(offset, HEAD_BYTES.saturating_add(head.length))?;
        let (fixed, payload) = whole.split_at_checked(HEAD_BYTES).unwrap_or((whole, &[]));
        if let Err(bad) = frame::check(&head, fixed, payload) {
            return Ok(Found::Bad(if payload.len() < head.length {
                Bad::Short
            } else {
                bad
            }));
        }
        let mut payload = payload.to_vec();
        let position = base.plus(offset);
        self.offset = offset
            .saturating_add(bytes(HEAD_BYTES))
            .saturating_add(bytes(payload.len()));
        if head.thinned {
            frame::without_filling(&mut payload);
        }
        Ok(Found::Frame(Frame {
            head,
            position,
            end: base.plus(self.offset),
            payload,
        }))
    }

    /// The bytes at `at`, as many of `length` as there are.
    fn view(&mut self, at: u64, length: usize) -> Result<&[u8], Error> {
        let inside = at >= self.buffer_at
            && at.saturating_add(bytes(length))
                <= self.buffer_at.saturating_add(bytes(self.buffer.len()));
        if !inside {
            let mut buffer = std::mem::take(&mut self.buffer);
            let left = usize::try_from(self.length()?.saturating_sub(at)).unwrap_or(usize::MAX);
            buffer.resize(length.max(WINDOW_BYTES).min(left), 0);
            let read = self
                .file
                .read_at(&mut buffer, at)
                .map_err(|source| self.failed(source))?;
            buffer.truncate(read);
            self.buffer = buffer;
            self.buffer_at = at;
        }
        let start = usize::try_from(at.saturating_sub(self.buffer_at)).unwrap_or(usize::MAX);
        let end = start.saturating_add(length).min(self.buffer.len());
        Ok(self.buffer.get(start..end).unwrap_or_default())
    }

    /// Goes back to `at` and reads what stands there now: the kind of the whole frame, if there is one.
    fn whole_now(&mut self, at: Position) -> Result<Option<Kind>, Error> {
        self.offset = at.since(self.base);
        self.buffer.clear();
        let found = self.frame()?;
        self.offset = at.since(self.base);
        self.buffer.clear();
        Ok(match found {
            Found::Frame(frame) => Some(frame.head.kind),
            Found::Blank | Found::Bad(_) => None,
        })
    }

    fn length(&self) -> Result<u64, Error> {
        self.file.length().map_err(|source| self.failed(source))
    }

    /// Behind the last byte of the file that is not zero.
    fn used(&self) -> Result<u64, Error> {
        let mut end = self.length()?;
        if self.file.is_packed() {
            return Ok(end);
        }
        let mut buffer = vec![0; usize::try_from(end).unwrap_or(usize::MAX).min(WINDOW_BYTES)];
        while end > 0 {
            let start = end.saturating_sub(bytes(WINDOW_BYTES));
            let part = usize::try_from(end - start)
                .ok()
                .and_then(|part| buffer.get_mut(..part))
                .unwrap_or_default();
            let read = self
                .file
                .read_at(part, start)
                .map_err(|source| self.failed(source))?;
            let used = used_of(part.get(..read).unwrap_or_default());
            if used > 0 {
                return Ok(start.saturating_add(bytes(used)));
            }
            end = start;
        }
        Ok(0)
    }

    /// The first whole frame behind `at` whose `durable_to` lies beyond `at`.
    fn durable_beyond(&self, at: Position) -> Result<Option<Position>, Error> {
        let used = self.used()?;
        let mut probe = Self {
            file: self
                .file
                .try_clone()
                .map_err(|source| self.failed(source))?,
            path: self.path.clone(),
            base: self.base,
            offset: self.offset,
            buffer: Vec::new(),
            buffer_at: 0,
        };
        let mut offset = at.since(self.base).saturating_add(1);
        while offset < used {
            let seen = probe.view(offset, HEAD_BYTES)?;
            let Some(skip) = seen
                .iter()
                .position(|byte| Some(byte) == frame::MAGIC.first())
            else {
                offset = offset.saturating_add(bytes(seen.len().max(1)));
                continue;
            };
            if skip > 0 {
                offset = offset.saturating_add(bytes(skip));
                continue;
            }
            probe.offset = offset;
            if let Found::Frame(found) = probe.frame()?
                && found.head.durable_to > at
            {
                return Ok(Some(found.position));
            }
            offset = offset.saturating_add(1);
        }
        Ok(None)
    }
}
