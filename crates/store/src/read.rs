//! Reading a data directory without opening the ledger: live or stopped, without a lock, without writing a byte.
//!
//! This is what the auditor uses. It reads the journal up to the last whole frame and says what follows; sled is never opened in
//! place (it writes when it is opened): the rows of a stopped ledger are read from a copy.

use std::path::{Path, PathBuf};

use countersign_chain::Record;
use countersign_ids::{ChainId, Digest};

use crate::damage::Remedy;
use crate::journal::frame::take;
use crate::journal::hole::Hole;
use crate::journal::scan::{self, Scan, Step};
use crate::journal::{Kind, record};
use crate::{Blobs, Damage, Description, Error, Layout, Position};

pub use crate::journal::pruning::{Mark, Stump};
pub use crate::journal::record::Stored;
pub use crate::journal::scan::{End, Torn};
pub use crate::read_rows::{AllRows, Difference, Rebuild, StoredRows, compare};

/// A data directory, to be read.
#[derive(Debug, Clone)]
pub struct Reader {
    layout: Layout,
    description: Description,
    blobs: Blobs,
}

/// One file of the journal, as it lies there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// The position of its first byte in the journal.
    pub base: Position,
    /// The file.
    pub path: PathBuf,
    /// How long the file is; the newest one is longer than what is written in it.
    pub bytes: u64,
    /// Whether another segment follows: then nothing is written to it any more, though it may be replaced as a whole.
    pub sealed: bool,
}

/// What stands in the journal.
#[derive(Debug, Clone)]
pub enum Item {
    /// All events of one command, in order.
    Events {
        /// Where the frame ends.
        position: Position,
        /// The events as stored; nothing about them is verified but the frame's checksum.
        records: Vec<Record>,
    },
    /// A signed checkpoint.
    Checkpoint {
        /// Where the frame ends.
        position: Position,
        /// The chain.
        chain: ChainId,
        /// The signed note.
        note: String,
    },
    /// What is left of events that were pruned.
    Pruned {
        /// Where the frame ends.
        position: Position,
        /// What is left.
        stump: Stump,
    },
}

/// What stands in the journal, the events not taken apart yet: that is work for any thread.
#[derive(Debug, Clone)]
pub enum Frame {
    /// All events of one command, in order.
    Events(Events),
    /// A signed checkpoint, as in [`Item::Checkpoint`].
    Checkpoint {
        /// Where the frame ends.
        position: Position,
        /// The chain.
        chain: ChainId,
        /// The signed note.
        note: String,
    },
    /// What is left of events that were pruned, as in [`Item::Pruned`].
    Pruned {
        /// Where the frame ends.
        position: Position,
        /// What is left.
        stump: Stump,
    },
}

impl Frame {
    /// Where the frame ends.
    #[must_use]
    pub const fn position(&self) -> Position {
        match self {
            Self::Events(events) => events.position,
            Self::Checkpoint { position, .. } | Self::Pruned { position, .. } => *position,
        }
    }
}

/// All events of one command as they lie in a frame.
#[derive(Debug, Clone)]
pub struct Events {
    position: Position,
    // INVARIANT: well formed, or no value is made.
    payload: Vec<u8>,
}

impl Events {
    /// The events, one after another; nothing about them is verified but the frame's checksum.
    pub fn stored(&self) -> impl Iterator<Item = Stored<'_>> {
        record::stored(&self.payload)
    }

    /// How many bytes they are.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.payload.len()
    }
}

impl From<Frame> for Item {
    fn from(frame: Frame) -> Self {
        match frame {
            Frame::Events(events) => Self::Events {
                position: events.position,
                records: events.stored().map(|event| event.to_record()).collect(),
            },
            Frame::Checkpoint {
                position,
                chain,
                note,
            } => Self::Checkpoint {
                position,
                chain,
                note,
            },
            Frame::Pruned { position, stump } => Self::Pruned { position, stump },
        }
    }
}

impl Reader {
    /// Finds the ledger in a directory.
    pub fn open(root: &Path) -> Result<Self, Error> {
        Self::of(Layout::new(root))
    }

    /// The same for a ledger whose disk may be simulated.
    pub(crate) fn of(layout: Layout) -> Result<Self, Error> {
        let description = Description::read(&layout)?;
        let blobs = Blobs::new(layout.disk().clone(), layout.blobs());
        Ok(Self {
            layout,
            description,
            blobs,
        })
    }

    /// What `ledger.toml` says.
    #[must_use]
    pub const fn description(&self) -> &Description {
        &self.description
    }

    /// Where the files lie.
    #[must_use]
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The content-addressed files.
    #[must_use]
    pub const fn blobs(&self) -> &Blobs {
        &self.blobs
    }

    /// A blob, checked against its digest.
    pub fn blob(&self, digest: &Digest) -> Result<Vec<u8>, Error> {
        self.blobs.read(digest)
    }

    /// The journal from its beginning.
    pub fn journal(&self) -> Result<Items, Error> {
        self.journal_from(Position::ZERO)
    }

    /// The journal from its beginning, over what is damaged in it; [`Items::damage`] says then what was left out.
    pub fn journal_over_damage(&self) -> Result<Items, Error> {
        let (disk, dir) = (self.layout.disk(), self.layout.journal());
        let scan = Scan::over_damage(disk, &dir, Position::ZERO, Position::ZERO)?;
        Ok(Items(Frames {
            scan,
            over: true,
            damage: Vec::new(),
            from: Position::ZERO,
            until: None,
            ended: false,
        }))
    }

    /// The journal from `position`, which is where an [`Item`] ended or the beginning.
    pub fn journal_from(&self, position: Position) -> Result<Items, Error> {
        Ok(Items(self.frames_from(position, None)?))
    }

    /// The same as frames, up to the one that begins at or behind `until`.
    pub fn frames_from(&self, from: Position, until: Option<Position>) -> Result<Frames, Error> {
        let scan = Scan::new(
            self.layout.disk(),
            &self.layout.journal(),
            from,
            Position::ZERO,
        )?;
        Ok(Frames {
            scan,
            over: false,
            damage: Vec::new(),
            from,
            until,
            ended: false,
        })
    }

    /// The files of the journal, in order.
    pub fn segments(&self) -> Result<Vec<Segment>, Error> {
        let mut files = scan::segments(self.layout.disk(), &self.layout.journal())?;
        let newest = files.pop();
        let whole = |file: scan::SegmentFile, sealed| {
            let length = self.layout.disk().length(&file.path);
            let bytes = length.map_err(|error| Error::io(&file.path, error))?;
            Ok(Segment {
                base: file.base,
                path: file.path,
                bytes,
                sealed,
            })
        };
        let sealed = files.into_iter().map(|file| whole(file, true));
        sealed
            .chain(newest.map(|file| whole(file, false)))
            .collect()
    }

    /// Bytes of the journal as positions count them, compressed or not, for progress.
    pub fn journal_bytes(&self) -> Result<u64, Error> {
        let segments = self.segments()?;
        let begin = segments.first().map_or(Position::ZERO, |first| first.base);
        Ok(segments
            .last()
            .map_or(0, |newest| newest.base.plus(newest.bytes).since(begin)))
    }
}

/// The items of a journal, in order. After the last, [`Items::end`] says how it ends.
#[derive(Debug)]
pub struct Items(Frames);

impl Items {
    /// How the journal ends; right once the iterator has returned `None`.
    #[must_use]
    pub fn end(&self) -> End {
        self.0.end()
    }

    /// What was damaged and left out so far; none unless it goes over damage.
    #[must_use]
    pub fn damage(&self) -> &[Damage] {
        &self.0.damage
    }
}

impl Iterator for Items {
    type Item = Result<Item, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|frame| frame.map(Item::from))
    }
}

/// The frames of a journal, in order. After the last, [`Frames::end`] says how it ends.
#[derive(Debug)]
pub struct Frames {
    scan: Scan,
    /// Whether damage is noted and left out, or an error.
    over: bool,
    damage: Vec<Damage>,
    from: Position,
    until: Option<Position>,
    ended: bool,
}

impl Frames {
    /// How the journal ends; right once the iterator has returned `None`, unless it was told where to stop.
    #[must_use]
    pub fn end(&self) -> End {
        self.scan.end()
    }

    fn frame(&mut self) -> Result<Option<Frame>, Error> {
        while let Some(step) = self.scan.next_step()? {
            let frame = match step {
                Step::Frame(frame) => frame,
                Step::Mended(frame, _) if self.over => {
                    let mut damage = Damage::of_hole(&hole_of(&frame), Vec::new());
                    damage.healed = Some(Remedy::Bit);
                    self.damage.push(damage);
                    frame
                }
                Step::Mended(frame, _) => return Err(hole_of(&frame).error().into()),
                Step::Hole(hole) => {
                    self.leave_out(&hole)?;
                    continue;
                }
            };
            if self.until.is_some_and(|until| frame.position >= until) {
                return Ok(None);
            }
            if frame.position < self.from {
                continue;
            }
            let malformed = |what: &str| Hole {
                from: frame.position,
                to: frame.end,
                segment: Some(frame.head.segment),
                ends: false,
                what: what.to_owned(),
            };
            let position = frame.end;
            match frame.head.kind {
                Kind::Events => {
                    if !record::is_whole(&frame.payload) {
                        self.leave_out(&malformed("the events of a frame are malformed"))?;
                        continue;
                    }
                    let payload = frame.payload;
                    return Ok(Some(Frame::Events(Events { position, payload })));
                }
                Kind::Checkpoint => {
                    let mut payload = frame.payload.as_slice();
                    let mut part =
                        || take(&mut payload).and_then(|part| std::str::from_utf8(part).ok());
                    let (chain, note) = (
                        part().and_then(|chain| chain.parse().ok()),
                        part().map(str::to_owned),
                    );
                    let Some((chain, note)) = chain.zip(note) else {
                        self.leave_out(&malformed("a checkpoint is malformed"))?;
                        continue;
                    };
                    return Ok(Some(Frame::Checkpoint {
                        position,
                        chain,
                        note,
                    }));
                }
                Kind::Pruned => {
                    if let Some(stump) = Stump::parse(&frame.payload) {
                        return Ok(Some(Frame::Pruned { position, stump }));
                    }
                    self.leave_out(&malformed("what is left of pruned events is malformed"))?;
                }
                Kind::Footer | Kind::Closed | Kind::Lost => {}
                Kind::Prepared | Kind::Committed | Kind::Voided => {
                    let what = "a frame of a replicated ledger, which this program cannot read";
                    return Err(malformed(what).error().into());
                }
            }
        }
        Ok(None)
    }

    fn leave_out(&mut self, hole: &Hole) -> Result<(), Error> {
        if !self.over {
            return Err(hole.error().into());
        }
        self.damage.push(Damage::of_hole(hole, Vec::new()));
        Ok(())
    }
}

impl Iterator for Frames {
    type Item = Result<Frame, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let frame = self.frame().transpose();
        self.ended = !matches!(frame, Some(Ok(_)));
        frame
    }
}

/// The place of a frame of which one bit was flipped.
fn hole_of(frame: &scan::Frame) -> Hole {
    Hole {
        from: frame.position,
        to: frame.end,
        segment: Some(frame.head.segment),
        ends: false,
        what: "one bit of a frame is not what was written".to_owned(),
    }
}
