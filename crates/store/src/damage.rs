//! What was found that is not what was written, and what became of it.

use std::fmt;

use countersign_ids::ChainId;

use crate::Position;
use crate::journal::hole::Hole;

/// A part of the data directory that is not what was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Damage {
    /// Where.
    pub place: Place,
    /// What is wrong there.
    pub what: String,
    /// The chains that lost events by it, and are read-only.
    pub chains: Vec<ChainId>,
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
}

impl Damage {
    pub(crate) fn of_hole(hole: &Hole, chains: Vec<ChainId>) -> Self {
        let (from, to) = (hole.from, hole.to);
        Self {
            place: Place::Journal { from, to },
            what: hole.what.clone(),
            chains,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Journal { from, to } => write!(f, "the journal from {from} to {to}"),
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}
