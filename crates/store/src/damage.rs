//! What was found that is not what was written, and what became of it.

use std::fmt;

use countersign_ids::{ChainId, Digest};

use crate::Position;
use crate::journal::hole::Hole;

/// A part of the data directory that is not what was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Damage {
    /// Where.
    pub place: Place,
    /// What is wrong there.
    pub what: String,
    /// The chains that it is about: those that lost events by it and are read-only, or those whose events are there again.
    pub chains: Vec<ChainId>,
    /// What healed it, if anything did.
    pub healed: Option<Remedy>,
}

/// What healed damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Remedy {
    /// The checksum, which tells one flipped bit from all others.
    Bit,
    /// The copy of the events in the log.
    Log,
    /// The journal, from which the log was made again.
    Journal,
}

/// Where damage was found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In the journal, from the first position up to the second.
    Journal {
        /// The first byte that is not what was written, or the beginning of the frame that holds it.
        from: Position,
        /// Behind the last one.
        to: Position,
    },
    /// In the log.
    Log,
    /// The bytes of a blob.
    Blob(Digest),
}

impl Damage {
    pub(crate) fn of_hole(hole: &Hole, chains: Vec<ChainId>) -> Self {
        let (from, to) = (hole.from, hole.to);
        Self {
            place: Place::Journal { from, to },
            what: hole.what.clone(),
            chains,
            healed: None,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Journal { from, to } => write!(f, "the journal from {from} to {to}"),
            Self::Log => f.write_str("the log"),
            Self::Blob(digest) => write!(f, "blob {digest}"),
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)?;
        self.healed.map_or(Ok(()), |remedy| write!(f, "; {remedy}"))
    }
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bit => "the checksum tells which bit, and it is as it was",
            Self::Log => "made again from the log",
            Self::Journal => "made again from the journal",
        })
    }
}
