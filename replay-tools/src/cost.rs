//! What rebuilding the read models would cost, before it is begun: events, bytes, and a time by folding the first of them.

use std::path::Path;
use std::time::Instant;

use serde::Serialize;

use crate::progress::Progress;
use crate::rebuild::{RebuildError, fold, open_directory};
use crate::source::SourceError;

/// How many events are folded to see how long one takes.
const SAMPLE_EVENTS: u64 = 20_000;

/// What a rebuild reads, and how long it would take on this machine.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cost {
    /// Events that are folded.
    pub events: u64,
    /// Bytes of the journal that are read.
    pub bytes: u64,
    /// How many of the events were folded to estimate the time.
    pub sampled: u64,
    /// The estimate, in seconds.
    pub seconds: f64,
}

impl Cost {
    /// For programs.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"))
    }

    /// For people.
    pub fn to_text(&self) -> String {
        format!(
            "{} events in {} bytes of journal, about {:.1} s on this machine (by the first {} events)\n",
            self.events, self.bytes, self.seconds, self.sampled
        )
    }
}

/// Reads the journal once, folds its first events, and changes nothing. Works while a server runs.
pub fn cost(path: &Path, progress: &mut Progress) -> Result<Cost, RebuildError> {
    let directory = open_directory(path)?;
    let events = directory.folded_count()?;
    let bytes = directory
        .reader()
        .journal_bytes()
        .map_err(|error| SourceError::Unreadable {
            path: path.display().to_string(),
            reason: error.to_string(),
        })?;
    progress.step("folding the first events");
    progress.expect(Some(events.min(SAMPLE_EVENTS)));
    let began = Instant::now();
    let folded = fold(&directory, None, SAMPLE_EVENTS, progress)?;
    let took = began.elapsed().as_secs_f64();
    progress.finish();
    Ok(Cost {
        events,
        bytes,
        sampled: folded.events,
        seconds: scaled(took, folded.events, events),
    })
}

/// The time for all, by the time for some.
#[expect(
    clippy::cast_precision_loss,
    reason = "an estimate does not care about one event in 2^53"
)]
fn scaled(took: f64, some: u64, all: u64) -> f64 {
    if some == 0 {
        return 0.0;
    }
    took * (all as f64) / (some as f64)
}

#[cfg(test)]
mod tests {
    use super::scaled;

    #[test]
    fn the_estimate_grows_with_what_was_not_folded() {
        for (took, some, all, estimate) in
            [(2.0, 10, 10, 2.0), (2.0, 10, 100, 20.0), (0.0, 0, 0, 0.0)]
        {
            assert!((scaled(took, some, all) - estimate).abs() < 1e-9);
        }
    }
}
