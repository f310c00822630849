//! Reading the journal in order, and where it ends.
//!
//! Used by opening, by the auditor on a live or stopped directory, and by healing: there is one reader. It never writes.
//!
//! Where a frame is bad, the bytes are *torn* if nothing says that they were durable: no later segment, no later whole frame
//! whose `durable_to` lies beyond, and no floor (the position that sled reached). Otherwise they are damage, and so is
//! anything behind a `closed` frame. A scan ends at damage, or goes on behind it and says what it left out
//! ([`Scan::over_damage`]).

use std::io;
use std::path::{Path, PathBuf};

use super::Position;
pub(crate) use super::files::{SegmentFile, file_name, segments};
use super::frame::{Bad, Head, Kind};
use super::hole::Hole;
use super::packed::{Damaged, Segment};
use super::window::{Found, Window};
use crate::disk::Disk;

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

/// What a scan that goes over damage comes upon.
#[derive(Debug)]
pub(crate) enum Step {
    Frame(Frame),
    /// A frame of which one bit was flipped, and its bytes without that.
    Mended(Frame, Vec<u8>),
    Hole(Hole),
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

/// The frame that begins at `position`, if a whole one does; where it is damaged none does.
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
    let mut window = Window::open(disk, segment, Damaged::IsBlank)?;
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
    dir: PathBuf,
    segments: std::vec::IntoIter<SegmentFile>,
    current: Option<Window>,
    floor: Position,
    damaged: Damaged,
    next: Position,
    closed: Option<Position>,
    sealed: bool,
    end: Option<End>,
    flawed: Vec<Position>,
}

impl Scan {
    /// Reads from the beginning of the segment that holds `from`; `floor` was durable for certain. It ends at damage.
    pub(crate) fn new(
        disk: &Disk,
        dir: &Path,
        from: Position,
        floor: Position,
    ) -> Result<Self, Error> {
        Self::of(disk, dir, (from, floor), Damaged::IsRefused)
    }

    /// The same, but goes on behind damage where that can be told from the end of the journal.
    pub(crate) fn over_damage(
        disk: &Disk,
        dir: &Path,
        from: Position,
        floor: Position,
    ) -> Result<Self, Error> {
        Self::of(disk, dir, (from, floor), Damaged::IsBlank)
    }

    fn of(
        disk: &Disk,
        dir: &Path,
        (from, floor): (Position, Position),
        damaged: Damaged,
    ) -> Result<Self, Error> {
        let mut segments = segments(disk, dir)?;
        let first = segments.iter().rposition(|segment| segment.base <= from);
        let segments = match first {
            Some(first) => segments.split_off(first),
            None if damaged == Damaged::IsBlank && !segments.is_empty() => segments,
            None => return Err(missing(from)),
        };
        let next = match first {
            Some(_) => segments.first().map_or(from, |segment| segment.base),
            None => from,
        };
        Ok(Self {
            disk: disk.clone(),
            dir: dir.to_path_buf(),
            segments: segments.into_iter(),
            current: None,
            floor,
            damaged,
            next,
            closed: None,
            sealed: true,
            end: None,
            flawed: Vec::new(),
        })
    }

    /// The next whole frame; `None` behind the last one, when [`Scan::end`] is known. Damage is an error.
    pub(crate) fn next_frame(&mut self) -> Result<Option<Frame>, Error> {
        match self.next_step()? {
            Some(Step::Frame(frame) | Step::Mended(frame, _)) => Ok(Some(frame)),
            Some(Step::Hole(hole)) => Err(hole.error()),
            None => Ok(None),
        }
    }

    /// The next whole frame, or the next part where none stands.
    pub(crate) fn next_step(&mut self) -> Result<Option<Step>, Error> {
        loop {
            let Some(window) = self.current.as_mut() else {
                match self.open_next()? {
                    Opened::Segment => continue,
                    Opened::Behind(hole) => return Ok(Some(Step::Hole(hole))),
                    Opened::Nothing => return self.ended(),
                }
            };
            let at = window.base.plus(window.offset);
            let step = match window.frame()? {
                Found::Frame(frame) => {
                    if let Some(closed) = self.closed {
                        self.reopened(closed, "frames")?;
                        continue;
                    }
                    self.pass(&frame);
                    Some(Step::Frame(frame))
                }
                Found::Blank => self.blank(at)?,
                Found::Bad(bad) => {
                    let mends = self.damaged == Damaged::IsBlank && self.closed.is_none();
                    let mended = mends.then(|| window.but_for_one_bit()).transpose()?;
                    if let Some((frame, bytes)) = mended.flatten() {
                        self.pass(&frame);
                        return Ok(Some(Step::Mended(frame, bytes)));
                    }
                    self.bad(at, bad)?
                }
            };
            if step.is_some() {
                return Ok(step);
            }
        }
    }

    /// Goes on behind a frame.
    fn pass(&mut self, frame: &Frame) {
        self.sealed = frame.head.kind == Kind::Footer;
        self.closed = (frame.head.kind == Kind::Closed).then_some(frame.position);
        self.next = frame.end;
    }

    /// The compressed segments of which a bit was flipped, so far.
    pub(crate) fn flawed(&self) -> Vec<Position> {
        let mut flawed = self.flawed.clone();
        let open = self.current.as_ref();
        let open = open.filter(|window| window.file.is_flawed());
        flawed.extend(open.map(|window| window.base));
        flawed
    }

    /// How the journal ends; known once [`Scan::next_frame`] has returned `None`.
    #[must_use]
    pub(crate) fn end(&self) -> End {
        self.end.unwrap_or_default()
    }

    /// Begins with the next segment, unless something is missing in front of it.
    fn open_next(&mut self) -> Result<Opened, Error> {
        let Some(segment) = self
            .segments
            .as_slice()
            .first()
            .filter(|_| self.end.is_none())
        else {
            return Ok(Opened::Nothing);
        };
        if segment.base != self.next {
            let what = "the segment that begins here is missing";
            let (from, to) = (self.next, segment.base);
            if self.damaged == Damaged::IsRefused || to < from || !self.is_ours(segment)? {
                return Err(damaged(from, what));
            }
            return Ok(Opened::Behind(self.hole(Within::Nothing, (from, to), what)));
        }
        let Some(segment) = self.segments.next() else {
            return Ok(Opened::Nothing);
        };
        self.sealed = false;
        self.current = Some(Window::open(&self.disk, segment, self.damaged)?);
        Ok(Opened::Segment)
    }

    /// Whether a file with the name of a segment holds anything that was written for it.
    fn is_ours(&self, segment: &SegmentFile) -> Result<bool, Error> {
        let head = Segment::open(&self.disk, segment);
        if head.is_ok_and(|head| head.is_packed()) {
            return Ok(true);
        }
        let window = Window::open(&self.disk, segment.clone(), self.damaged)?;
        Ok(window.whole_from(segment.base, |_| true)?.is_some())
    }

    /// Takes the segment that is read, which may be put back.
    fn leave(&mut self) -> Option<Window> {
        let window = self.current.take()?;
        if window.file.is_flawed() && self.flawed.last() != Some(&window.base) {
            self.flawed.push(window.base);
        }
        Some(window)
    }

    /// Nothing is behind the last segment.
    fn ended(&mut self) -> Result<Option<Step>, Error> {
        let end = End {
            position: self.next,
            torn: None,
            closed: self.closed,
            sealed: self.sealed,
        };
        self.end.get_or_insert(end);
        self.reaches_floor()?;
        Ok(None)
    }

    /// Nothing more is written in this segment.
    fn blank(&mut self, at: Position) -> Result<Option<Step>, Error> {
        let Some(window) = self.leave() else {
            return Ok(None);
        };
        if let Some(next) = self.segments.as_slice().first() {
            if self.sealed {
                return Ok(None);
            }
            let what = "a segment ends without its footer";
            let (base, to) = (window.base, end_of(&window, at, next.base)?);
            return Ok(Some(Step::Hole(self.hole(
                Within::End(base),
                (at, to),
                what,
            ))));
        }
        // Only what another segment follows is compressed: since the directory was listed, if it was the last one then.
        if window.file.is_packed() {
            let mut more = segments(&self.disk, &self.dir)?;
            more.retain(|segment| segment.base >= at);
            if more.is_empty() {
                return Err(missing(at));
            }
            self.segments = more.into_iter();
            return Ok(None);
        }
        self.below_floor(window, at, "it is blank")
    }

    /// A part that reaches to the floor, if the floor is in the last segment and not reached yet.
    fn below_floor(
        &mut self,
        mut window: Window,
        at: Position,
        what: &str,
    ) -> Result<Option<Step>, Error> {
        let inside = self.floor <= window.base.plus(window.length()?);
        if self.damaged == Damaged::IsRefused || at >= self.floor || !inside {
            return Ok(None);
        }
        let behind = window.whole_from(at.plus(1), |_| true)?;
        let to = behind.map_or(self.floor, |behind| behind.min(self.floor));
        let base = window.base;
        window.offset = to.since(base);
        self.current = Some(window);
        let what = format!(
            "{what}, though everything before {} was durable",
            self.floor
        );
        Ok(Some(Step::Hole(self.hole(
            Within::Segment(base),
            (at, to),
            &what,
        ))))
    }

    /// Decides whether the bad bytes at `at` are torn; if not, they are damage. `None`: they are torn, or were being written
    /// while they were read, and are whole now.
    fn bad(&mut self, at: Position, bad: Bad) -> Result<Option<Step>, Error> {
        if let Some(closed) = self.closed {
            let over = self.damaged == Damaged::IsBlank;
            match self.reopened(closed, "bytes") {
                // Nothing is written behind that frame before it is gone.
                Err(Error::Damaged { .. }) if over => {}
                other => return other.map(|()| None),
            }
        }
        let Some(mut window) = self.leave() else {
            return Ok(None);
        };
        if window.file.is_packed() && self.segments.len() == 0 {
            return Err(missing(at));
        }
        // A new segment begins only when everything before it is durable.
        if let Some(next) = self.segments.as_slice().first() {
            // Behind its footer a segment that was not cut off holds nothing that anybody wrote.
            if self.sealed && next.base == at {
                return Ok(None);
            }
            let behind = window.whole_from(at.plus(1), |_| true)?;
            let (base, next) = (window.base, next.base);
            let to = behind.map_or_else(|| end_of(&window, at, next), Ok)?;
            if behind.is_some() {
                window.offset = to.since(base);
                self.current = Some(window);
            }
            let within = behind.map_or(Within::End(base), |_| Within::Segment(base));
            let hole = self.hole(within, (at, to), &bad.to_string());
            return Ok(Some(Step::Hole(hole)));
        }
        if let Some(witness) = window.durable_beyond(at)? {
            if window.whole_now(at)?.is_some() {
                self.current = Some(window);
                return Ok(None);
            }
            let what = format!("{bad}, though the frame at {witness} says that it was durable");
            let to = window.whole_from(at.plus(1), |_| true)?.unwrap_or(witness);
            let base = window.base;
            window.offset = to.since(base);
            self.current = Some(window);
            return Ok(Some(Step::Hole(self.hole(
                Within::Segment(base),
                (at, to),
                &what,
            ))));
        }
        let torn = Torn {
            at,
            bytes: window.used()?.saturating_sub(window.offset),
        };
        let hole = self.below_floor(window, at, &bad.to_string())?;
        if hole.is_none() {
            self.end = Some(End {
                position: at,
                torn: Some(torn),
                closed: self.closed,
                sealed: self.sealed,
            });
            self.reaches_floor()?;
        }
        Ok(hole)
    }

    fn hole(&mut self, within: Within, (from, to): (Position, Position), what: &str) -> Hole {
        self.next = to;
        self.sealed = false;
        let (segment, ends) = match within {
            Within::Segment(base) => (Some(base), false),
            Within::End(base) => (Some(base), true),
            Within::Nothing => (None, true),
        };
        Hole {
            from,
            to,
            segment,
            ends,
            what: what.to_owned(),
        }
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

/// Where a segment ends, unless a whole frame stands behind `at` in it: what its file does not reach is another one's, which
/// may be missing.
fn end_of(window: &Window, at: Position, next: Position) -> Result<Position, Error> {
    let end = window.base.plus(window.length()?).min(next);
    Ok(if end > at { end } else { next })
}

/// Where a hole is.
#[derive(Debug, Clone, Copy)]
enum Within {
    /// In the segment that begins there, with whole frames or room behind it.
    Segment(Position),
    /// There, up to its end.
    End(Position),
    /// Where no file is.
    Nothing,
}

/// What came of going on to the next segment.
enum Opened {
    Segment,
    Behind(Hole),
    Nothing,
}

fn missing(at: Position) -> Error {
    damaged(at, "the segment that begins here is missing")
}

pub(super) fn damaged(at: Position, what: &str) -> Error {
    Error::Damaged {
        at,
        what: what.to_owned(),
    }
}
