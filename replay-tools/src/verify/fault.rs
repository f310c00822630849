//! What one check can find: a contradiction, an absence, or a source that does not answer.

use crate::source::SourceError;
use crate::verdict::{Findings, Level};

/// Why a check did not pass.
#[derive(Debug)]
pub(crate) enum Fault {
    /// Bytes that are present contradict.
    Bad(&'static str, String),
    /// Something needed is absent, or of an unknown version or kind.
    Absent(&'static str, String),
    /// The source could not be read.
    Source(SourceError),
}

/// What a check gives.
pub(crate) type Checked<T = ()> = Result<T, Fault>;

/// A contradiction.
pub(crate) fn bad(rule: &'static str, message: impl std::fmt::Display) -> Fault {
    Fault::Bad(rule, message.to_string())
}

/// An absence.
pub(crate) fn absent(rule: &'static str, message: impl std::fmt::Display) -> Fault {
    Fault::Absent(rule, message.to_string())
}

/// A contradiction unless `holds`.
pub(crate) fn need(holds: bool, rule: &'static str, message: &str) -> Checked {
    if holds {
        Ok(())
    } else {
        Err(bad(rule, message))
    }
}

impl From<SourceError> for Fault {
    fn from(error: SourceError) -> Self {
        Self::Source(error)
    }
}

/// Records what a check found at an event; only a source that does not answer ends the verification.
pub(crate) fn record(
    findings: &mut Findings,
    level: Level,
    place: (&str, u64),
    outcome: Checked,
) -> Result<(), SourceError> {
    match outcome {
        Ok(()) => {}
        Err(Fault::Bad(rule, message)) => {
            findings.violation(level, rule, place.0, place.1, message)
        }
        Err(Fault::Absent(rule, message)) => {
            findings.missing(level, rule, place.0, place.1, message)
        }
        Err(Fault::Source(error)) => return Err(error),
    }
    Ok(())
}
