//! What the figures of a running server tell: work that is due and not done, a log or a proof that is late, silent connectors.

use super::files;
use super::finding::Finding;
use crate::codes;
use std::collections::BTreeMap;

/// The server's own work takes less than a second; a scrape apart it is seconds.
const STUCK_SECONDS: f64 = 30.0;
/// A part of the server comes to the end of its work every minute, if it has any.
const SILENT_SECONDS: f64 = 300.0;
const LAG_SECONDS: f64 = 60.0;
const UNCOVERED_SECONDS: f64 = 120.0;

/// Figures by name and labels, as Prometheus text shows them.
#[derive(Debug)]
pub(super) struct Figures(BTreeMap<String, f64>);

impl Figures {
    /// Reads what `/metrics` answers; lines that are no figure are left out.
    pub(super) fn parse(text: &str) -> Self {
        let figure = |line: &str| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Self(lines.filter_map(figure).collect())
    }

    fn one(&self, name: &str) -> Option<f64> {
        self.0.get(name).copied()
    }

    /// The figures of one name, with their label's value.
    fn labelled<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        self.0.iter().filter_map(move |(key, value)| {
            let labels = key.strip_prefix(name)?.strip_prefix('{')?;
            Some((labels.split('"').nth(1)?, *value))
        })
    }
}

/// Judges them; `now` is the server's time in seconds.
pub(super) fn examine(figures: &Figures, now: f64) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (work, age) in figures.labelled("countersign_oldest_waiting_seconds") {
        let own = ["assess", "mint", "expire", "unresolved"].contains(&work);
        if own && age > STUCK_SECONDS {
            let what = format!("`{work}` has been due for {age:.0} s");
            findings.push(Finding::wrong("work", codes::WORK_STUCK, what));
        }
    }
    for (part, at) in figures.labelled("countersign_last_progress_timestamp_seconds") {
        if now - at > SILENT_SECONDS {
            let what = format!("`{part}` has not come to the end of its work for a while");
            findings.push(Finding::wrong("work", codes::WORK_STUCK, what));
        }
    }
    if findings.is_empty() {
        let waiting: f64 = figures
            .labelled("countersign_waiting")
            .map(|(_, count)| count)
            .sum();
        let what = format!("{waiting:.0} actions wait, none for the server itself");
        findings.push(Finding::fine("work", what));
    }
    let late = |name| figures.one(name).unwrap_or(0.0);
    let lag = late("countersign_log_lag_seconds");
    if lag > LAG_SECONDS {
        let what = format!("it is {lag:.0} s behind the journal");
        findings.push(Finding::wrong("log", codes::LOG_BEHIND, what));
    }
    let age = late("countersign_checkpoint_age_seconds");
    if age > UNCOVERED_SECONDS {
        let what = format!("the oldest event without one is {age:.0} s old");
        findings.push(Finding::wrong("checkpoints", codes::CHECKPOINT_LATE, what));
    }
    for (tenant, silent) in figures.labelled("countersign_connectors_silent") {
        if silent > 0.0 {
            let what = format!("{silent:.0} of `{tenant}` are silent");
            findings.push(Finding::wrong("connectors", codes::CONNECTOR_SILENT, what));
        }
    }
    if let Some(free) = figures.one("countersign_disk_free_bytes") {
        findings.push(files::space(bytes(free)));
    }
    findings
}

/// A figure as a number of bytes.
fn bytes(figure: f64) -> u64 {
    // By way of text: a figure is not negative, and a conversion that cannot be right is none.
    format!("{:.0}", figure.max(0.0)).parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Severity;

    const WELL: &str = "# HELP countersign_waiting Actions that wait\n\
        countersign_waiting{work=\"decision\"} 2\n\
        countersign_waiting{work=\"mint\"} 0\n\
        countersign_oldest_waiting_seconds{work=\"decision\"} 90000\n\
        countersign_oldest_waiting_seconds{work=\"mint\"} 0\n\
        countersign_last_progress_timestamp_seconds{part=\"heads\"} 1000\n\
        countersign_log_lag_seconds 0.5\n\
        countersign_checkpoint_age_seconds 3\n\
        countersign_connectors_silent{tenant=\"harbour\"} 0\n\
        countersign_disk_free_bytes 50000000000\n";

    #[test]
    fn what_moves_is_fine_and_each_thing_that_does_not_is_named() {
        let judged = |text: &str| examine(&Figures::parse(text), 1_010.0);
        let fine = judged(WELL);
        assert!(
            fine.iter()
                .all(|finding| finding.severity() == Severity::Fine),
            "{fine:#?}"
        );
        for (well, ill, check, code) in [
            (
                "work=\"mint\"} 0\ncountersign_l",
                "work=\"mint\"} 31\ncountersign_l",
                "work",
                "work-stuck",
            ),
            (
                "part=\"heads\"} 1000",
                "part=\"heads\"} 0",
                "work",
                "work-stuck",
            ),
            ("lag_seconds 0.5", "lag_seconds 61", "log", "log-behind"),
            (
                "age_seconds 3",
                "age_seconds 121",
                "checkpoints",
                "checkpoint-late",
            ),
            (
                "harbour\"} 0",
                "harbour\"} 1",
                "connectors",
                "connector-silent",
            ),
            ("bytes 50000000000", "bytes 5000", "space", "disk-full"),
        ] {
            let text = WELL.replace(well, ill);
            assert_ne!(text, WELL, "{well}");
            let findings = judged(&text);
            assert!(
                findings
                    .iter()
                    .any(|finding| finding.is(check, Severity::Wrong, code)),
                "{ill}: {findings:#?}"
            );
        }
    }
}
