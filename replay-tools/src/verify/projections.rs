//! Read models as a level: compared for a stopped directory, not checked while it is in use.

use std::collections::BTreeMap;

use crate::progress::Progress;
use crate::rebuild::{RebuildError, rebuild_directory};
use crate::source::{Kind, Source, SourceError};
use crate::verdict::{Findings, Level, Status};

/// Compares the rows in use with rebuilt ones, where that can be done.
pub(super) fn check(
    source: &dyn Source,
    findings: &mut Findings,
    notes: &mut BTreeMap<Level, String>,
) -> Result<Status, SourceError> {
    let Some(directory) = source.directory() else {
        return Ok(Status::None);
    };
    let mut unchecked = |note: String| {
        notes.insert(Level::Projections, note);
        Ok(Status::Unchecked)
    };
    if directory.kind() == Kind::Live {
        return unchecked("not checked (in use)".to_owned());
    }
    match rebuild_directory(directory, true, &mut Progress::hidden()) {
        Ok(rebuilt) => {
            if let Some(difference) = &rebuilt.difference {
                findings.violation_of_source(Level::Projections, "rows", difference.to_text());
            }
            Ok(findings.status(Level::Projections))
        }
        Err(RebuildError::Source(error)) => Err(error),
        // Somebody started the ledger meanwhile, or the log behind the journal is unusable: it is made again from the journal.
        Err(error) => unchecked(format!("not checked ({error})")),
    }
}
