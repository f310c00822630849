//! Healing the journal: from a checksum where one bit was flipped, from the log where that has what stood there.
//!
//! Nothing is healed that does not verify. What is healed is said, and written where it stood (`journal::mending`); what is not
//! stays as it is.

mod copy;

use countersign_ids::{ChainId, Sequence};

use crate::damage::{Damage, Place, Remedy};
use crate::journal::footer::Footer;
use crate::journal::hole::Hole;
use crate::journal::mending::Mended;
use crate::journal::scan::{Frame, Scan, Step};
use crate::journal::{Kind, Position, record};
use crate::sweep::Stops;
use crate::view::View;
use crate::{Error, Layout};

/// What became of a hole.
#[derive(Debug)]
pub(crate) enum Outcome {
    Filled(Vec<Frame>),
    /// It stays. These events may have stood there and cannot be read in the log; what the log does not reach is not listed.
    Lost(Vec<(ChainId, Sequence)>),
}

/// Collects what is healed while the journal is scanned.
#[derive(Debug)]
pub(crate) struct Mender<'a> {
    layout: &'a Layout,
    view: &'a View,
    mended: Mended,
    healed: Vec<Damage>,
}

impl<'a> Mender<'a> {
    pub(crate) fn new(layout: &'a Layout, view: &'a View) -> Self {
        Self {
            layout,
            view,
            mended: Mended::default(),
            healed: Vec::new(),
        }
    }

    /// A frame of which one bit was flipped, and its bytes without that.
    pub(crate) fn flipped(&mut self, frame: &Frame, bytes: Vec<u8>) {
        let (from, to) = (frame.position, frame.end);
        self.mended.frames.insert(from.get(), bytes);
        self.healed.push(Damage {
            place: Place::Journal { from, to },
            what: "one bit of a frame is not what was written".to_owned(),
            chains: chain_of(frame).into_iter().collect(),
            healed: Some(Remedy::Bit),
        });
    }

    /// The frames that stood in a hole, from the log, if that has them. `footer` says what stands in its
    /// segment before it.
    pub(crate) fn fill(&mut self, hole: &Hole, footer: &Footer) -> Result<Outcome, Error> {
        let filled = if hole.to <= self.view.logged() {
            copy::fill(self.view, hole, hole.ends.then_some(footer))?
        } else {
            Err(Vec::new())
        };
        let filled = match filled {
            Ok(filled) => filled,
            Err(unread) => {
                self.mended.left.push(hole.from);
                return Ok(Outcome::Lost(unread));
            }
        };
        if hole.segment.is_none() {
            self.mended
                .missing
                .push((hole.from, hole.to.since(hole.from)));
        }
        let mut damage = Damage::of_hole(hole, filled.chains);
        damage.healed = Some(Remedy::Log);
        self.healed.push(damage);
        let mut frames = Vec::new();
        for (frame, bytes) in filled.frames {
            self.mended.frames.insert(frame.position.get(), bytes);
            frames.push(frame);
        }
        Ok(Outcome::Filled(frames))
    }

    /// Writes what was healed, and says so.
    pub(crate) fn finish(mut self, flawed: Vec<Position>) -> Result<(), Error> {
        for base in &flawed {
            let (from, to) = (*base, *base);
            self.healed.push(Damage {
                place: Place::Journal { from, to },
                what: "one bit of the compressed segment that begins there is not what was written"
                    .to_owned(),
                chains: Vec::new(),
                healed: Some(Remedy::Bit),
            });
        }
        self.mended.flawed = flawed;
        if self.healed.is_empty() {
            return Ok(());
        }
        self.mended
            .write(self.layout.disk(), &self.layout.journal())?;
        for damage in self.healed {
            self.view.board.damage_healed(damage);
        }
        Ok(())
    }
}

/// A hole that stays, and the events that may have stood there and cannot be read in the log.
pub(crate) type Left = (Hole, Vec<(ChainId, Sequence)>);

/// Heals all of the journal before `until`, which the log reached, unless `stops` ends it first; what is left.
pub(crate) fn journal(
    layout: &Layout,
    view: &View,
    until: Position,
    stops: Stops<'_>,
) -> Result<Vec<Left>, Error> {
    let mut left = Vec::new();
    let mut scan = Scan::over_damage(layout.disk(), &layout.journal(), Position::ZERO, until)?;
    let mut mender = Mender::new(layout, view);
    let mut footer = Footer::default();
    while let Some(step) = scan.next_step()? {
        if stops() {
            return Err(Error::Closed);
        }
        match step {
            Step::Frame(frame) | Step::Mended(frame, _) if frame.position >= until => break,
            Step::Frame(frame) => footer.read(&frame),
            Step::Mended(frame, bytes) => {
                footer.read(&frame);
                mender.flipped(&frame, bytes);
            }
            Step::Hole(hole) if hole.from >= until => break,
            Step::Hole(hole) => match mender.fill(&hole, &footer)? {
                Outcome::Filled(frames) => frames.iter().for_each(|frame| footer.read(frame)),
                Outcome::Lost(lost) => left.push((hole, lost)),
            },
        }
    }
    mender.finish(scan.flawed())?;
    Ok(left)
}

/// The chain of the events in a frame.
fn chain_of(frame: &Frame) -> Option<ChainId> {
    let events = (frame.head.kind == Kind::Events).then_some(&frame.payload)?;
    let first = record::headers(events).next()?;
    let header = countersign_chain::Header::parse(first).ok()?;
    Some(header.chain)
}
