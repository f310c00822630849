//! A segment and a buffer over part of it: the frames that stand there, and what stands where none does.
//!
//! It judges nothing; which bytes are torn and which are damaged is `scan`. It never writes.

use std::io;
use std::path::{Path, PathBuf};

use super::frame::{self, Bad, HEAD_BYTES, Kind};
use super::packed::{Damaged, Segment};
use super::scan::{Error, Frame, SegmentFile, damaged};
use super::{Position, bytes as length_of, record, used_of};
use crate::disk::Disk;

/// How much is read from a segment at a time.
const WINDOW_BYTES: usize = 1024 * 1024;

/// A segment that the system does not give, or that is compressed and damaged.
fn unreadable(path: &Path, at: Position, source: io::Error) -> Error {
    if source.kind() == io::ErrorKind::InvalidData {
        return damaged(at, &source.to_string());
    }
    let path = path.to_path_buf();
    Error::Io { path, source }
}

/// What stands at one place.
pub(super) enum Found {
    Frame(Frame),
    Blank,
    Bad(Bad),
}

/// A segment file and a buffer over part of it.
#[derive(Debug)]
pub(super) struct Window {
    pub(super) file: Segment,
    path: PathBuf,
    pub(super) base: Position,
    /// Where the next frame should begin.
    pub(super) offset: u64,
    buffer: Vec<u8>,
    buffer_at: u64,
}

/// The frame that these bytes are, at a place; `None` if they are none.
pub(crate) fn whole(bytes: &[u8], (base, offset): (Position, u64)) -> Option<Frame> {
    let (fixed, payload) = bytes.split_at_checked(HEAD_BYTES)?;
    let head = frame::head(fixed, base, offset).ok()?;
    frame::check(&head, fixed, payload).ok()?;
    let mut payload = payload.to_vec();
    if head.thinned {
        frame::without_filling(&mut payload);
    }
    let position = base.plus(offset);
    Some(Frame {
        head,
        position,
        end: position.plus(length_of(bytes.len())),
        payload,
    })
}

impl Window {
    pub(super) fn open(disk: &Disk, segment: SegmentFile, damaged: Damaged) -> Result<Self, Error> {
        let file = Segment::open_as(disk, &segment, damaged)
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

    pub(super) fn frame(&mut self) -> Result<Found, Error> {
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
            .saturating_add(length_of(HEAD_BYTES))
            .saturating_add(length_of(payload.len()));
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

    /// The frame that stands here but for one flipped bit, and its bytes without that; its events are what was written by
    /// their own hashes too.
    pub(super) fn but_for_one_bit(&mut self) -> Result<Option<(Frame, Vec<u8>)>, Error> {
        let (base, offset) = (self.base, self.offset);
        let longest = HEAD_BYTES.saturating_add(frame::PAYLOAD_BYTES_MAX);
        let seen = self.view(offset, longest)?;
        let Some(bytes) = frame::but_for_one_bit(seen, base, offset) else {
            return Ok(None);
        };
        let frame = whole(&bytes, (base, offset));
        let sound = |frame: &Frame| {
            frame.head.kind != Kind::Events || record::are_what_was_written(&frame.payload)
        };
        let Some(frame) = frame.filter(sound) else {
            return Ok(None);
        };
        self.offset = offset.saturating_add(length_of(bytes.len()));
        Ok(Some((frame, bytes)))
    }

    /// The bytes at `at`, as many of `length` as there are.
    fn view(&mut self, at: u64, length: usize) -> Result<&[u8], Error> {
        let inside = at >= self.buffer_at
            && at.saturating_add(length_of(length))
                <= self.buffer_at.saturating_add(length_of(self.buffer.len()));
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
    pub(super) fn whole_now(&mut self, at: Position) -> Result<Option<Kind>, Error> {
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

    pub(super) fn length(&self) -> Result<u64, Error> {
        self.file.length().map_err(|source| self.failed(source))
    }

    /// Behind the last byte of the file that is not zero.
    pub(super) fn used(&self) -> Result<u64, Error> {
        let mut end = self.length()?;
        if self.file.is_packed() {
            return Ok(end);
        }
        let mut buffer = vec![0; usize::try_from(end).unwrap_or(usize::MAX).min(WINDOW_BYTES)];
        while end > 0 {
            let start = end.saturating_sub(length_of(WINDOW_BYTES));
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
                return Ok(start.saturating_add(length_of(used)));
            }
            end = start;
        }
        Ok(0)
    }

    /// The first whole frame behind `at` whose `durable_to` lies beyond `at`.
    pub(super) fn durable_beyond(&self, at: Position) -> Result<Option<Position>, Error> {
        self.whole_from(at.plus(1), |found| found.head.durable_to > at)
    }

    /// The first whole frame at or behind `at` that is wanted.
    pub(super) fn whole_from(
        &self,
        at: Position,
        wanted: impl Fn(&Frame) -> bool,
    ) -> Result<Option<Position>, Error> {
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
        let mut offset = at.since(self.base);
        while offset < used {
            let seen = probe.view(offset, HEAD_BYTES)?;
            let Some(skip) = seen
                .iter()
                .position(|byte| Some(byte) == frame::MAGIC.first())
            else {
                offset = offset.saturating_add(length_of(seen.len().max(1)));
                continue;
            };
            if skip > 0 {
                offset = offset.saturating_add(length_of(skip));
                continue;
            }
            probe.offset = offset;
            if let Found::Frame(found) = probe.frame()?
                && wanted(&found)
            {
                return Ok(Some(found.position));
            }
            offset = offset.saturating_add(1);
        }
        Ok(None)
    }
}
