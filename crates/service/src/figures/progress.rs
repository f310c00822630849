//! When each part of the server last came to the end of its work. A part that hangs or fails stops getting on.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use countersign_ids::Time;

/// A part with work of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// Takes the journal into the log.
    Log,
    /// Does what follows from events and time.
    Reactions,
    /// Signs checkpoints.
    Checkpoints,
    /// Records heads.
    Heads,
}

impl Part {
    const fn name(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Reactions => "reactions",
            Self::Checkpoints => "checkpoints",
            Self::Heads => "heads",
        }
    }
}

/// The last time of each.
#[derive(Debug, Default)]
pub(crate) struct Progress(Mutex<BTreeMap<Part, Time>>);

impl Progress {
    /// It came to an end of its work, or had none.
    pub(crate) fn mark(&self, part: Part, now: Time) {
        let mut parts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        parts.insert(part, now);
    }

    /// Each part by name; one that never got on since the start is at zero.
    pub(crate) fn all(&self) -> Vec<(&'static str, Time)> {
        let parts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        [Part::Log, Part::Reactions, Part::Checkpoints, Part::Heads]
            .map(|part| {
                let never = Time::from_unix_millis(0);
                (part.name(), parts.get(&part).copied().unwrap_or(never))
            })
            .to_vec()
    }
}
