//! The verdict as text for people and as JSON for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use countersign_chain::{Body, Record};
use countersign_ids::Digest;
use serde::Serialize;

use crate::source::SourceError;
use crate::verdict::{Kind, Level, Place, Range, Status};

/// Bad ranges shown as text; JSON lists all.
const SHOWN_RANGES: usize = 20;

/// How many of each were looked at.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Counts {
    /// Chains.
    pub chains: u64,
    /// Events.
    pub events: u64,
    /// Bytes of headers and bodies that were hashed.
    pub bytes: u64,
    /// Bodies that are present.
    pub bodies: u64,
    /// Bodies that are absent, by reason.
    pub absent: BTreeMap<String, u64>,
    /// Sealed bodies whose key was destroyed, by the receipts of the ledger.
    pub destroyed: u64,
    /// Events that are not here because their chain was pruned, as the ledger says.
    pub pruned: u64,
    /// Checkpoints.
    pub checkpoints: u64,
    /// Recorded heads.
    pub heads: u64,
    /// Signed statements of approvers.
    pub statements: u64,
    /// Orders.
    pub orders: u64,
    /// Messages of connectors: pairings, observations, outcomes and heartbeats.
    pub messages: u64,
    /// Policy decisions evaluated again.
    pub decisions: u64,
    /// Different evidence blobs named by bodies.
    pub blobs: u64,
}

impl Counts {
    /// Counts one event.
    pub(crate) fn event(&mut self, record: &Record) {
        self.events += 1;
        let body = match &record.body {
            Body::Present { bytes, .. } => {
                self.bodies += 1;
                bytes.len()
            }
            Body::Absent(reason) => {
                *self.absent.entry(reason.to_string()).or_default() += 1;
                0
            }
        };
        let bytes = record.header.len().saturating_add(body) as u64;
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// What was verified, and from where.
#[derive(Debug, Clone, Serialize)]
pub struct SourceLine {
    /// Path as given.
    pub path: String,
    /// `live`, `stopped` or `bundle`.
    pub kind: crate::source::Kind,
    /// Bytes at the end of the journal that were being written when the writer died.
    pub torn_bytes: u64,
}

/// Where a run went on, and what it takes from the run before.
#[derive(Debug, Clone, Serialize)]
pub struct Resumed {
    /// The digest of the state that the earlier run left.
    pub state: Digest,
    /// Events that the earlier run verified; their bytes were hashed and linked again.
    pub events: u64,
    /// The same by chain.
    pub chains: BTreeMap<String, u64>,
    /// What was not checked again.
    pub taken_over: &'static str,
}

/// The whole verdict.
#[derive(Debug, Clone, Serialize)]
pub struct Verdict {
    /// `verified`, `violation` or `incomplete`.
    pub verdict: &'static str,
    /// The exit code.
    pub exit: u8,
    /// Whether the genesis key was pinned; without, a ledger forged whole is consistent with itself.
    pub pinned: bool,
    /// The source.
    pub source: SourceLine,
    /// The ledger.
    pub ledger: String,
    /// One word per level.
    pub levels: BTreeMap<Level, Status>,
    /// Why a level is not verified although nothing contradicts.
    pub notes: BTreeMap<Level, String>,
    /// Counts.
    pub counts: Counts,
    /// The first bad event, platform first, then by chain.
    pub first_bad: Option<Place>,
    /// Every bad range.
    pub bad: Vec<Range>,
    /// Ranges that were not listed because there were too many.
    pub bad_unlisted: u64,
    /// What `--strict` lacks.
    pub lacking: Vec<String>,
    /// Where the keys came from.
    pub keys: Vec<String>,
    /// What only the server says.
    pub asserted: Vec<String>,
    /// The most memory that the process used, where the system tells.
    pub peak_memory_bytes: Option<u64>,
    /// Where it went on; none for a whole run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resumed: Option<Resumed>,
}

impl Verdict {
    /// The verdict on something that could not be read as far as its events: framing says why, the rest is unchecked.
    ///
    /// None where the file could not be opened at all: that says nothing about a ledger.
    pub fn of_unread(path: &Path, error: &SourceError) -> Option<Self> {
        let (status, kind) = match error {
            SourceError::Io { .. } => return None,
            SourceError::Unreadable { .. } => (Status::Unchecked, Kind::Missing),
            SourceError::Framing { .. } => (Status::Violation, Kind::Violation),
        };
        let mut levels: BTreeMap<Level, Status> = Level::ALL
            .into_iter()
            .map(|level| (level, Status::Unchecked))
            .collect();
        for level in [Level::Witnesses, Level::Projections, Level::Mirrors] {
            levels.insert(level, Status::None);
        }
        levels.insert(Level::Framing, status);
        let range = Range {
            level: Level::Framing,
            kind,
            rule: error.code().id,
            chain: None,
            from: None,
            to: None,
            message: error.to_string(),
        };
        Some(Self {
            verdict: verdict_word(error.exit()),
            // What could not be read at all cannot be allowed away.
            exit: error.exit(),
            pinned: false,
            source: SourceLine {
                path: path.display().to_string(),
                kind: crate::source::Kind::Bundle,
                torn_bytes: 0,
            },
            ledger: "-".to_owned(),
            levels,
            notes: BTreeMap::new(),
            counts: Counts::default(),
            first_bad: None,
            bad: vec![range],
            bad_unlisted: 0,
            lacking: Vec::new(),
            keys: Vec::new(),
            asserted: Vec::new(),
            peak_memory_bytes: peak_memory_bytes(),
            resumed: None,
        })
    }

    /// One line of JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"))
    }

    /// For people.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        self.write_text(&mut out).map(|()| out).unwrap_or_default()
    }

    fn write_text(&self, out: &mut String) -> std::fmt::Result {
        let pinned = if self.pinned { "" } else { " (unpinned)" };
        writeln!(
            out,
            "{}{pinned}: {} ({})",
            self.verdict,
            self.source.path,
            self.source.kind.words()
        )?;
        writeln!(out, "ledger {}", self.ledger)?;
        for (level, status) in &self.levels {
            let note = self
                .notes
                .get(level)
                .map(|note| format!("  {note}"))
                .unwrap_or_default();
            writeln!(out, "  {:<12} {:<10}{note}", level.name(), status.word())?;
        }
        self.write_counts(out)?;
        if let Some(resumed) = &self.resumed {
            let (events, chains) = (resumed.events, resumed.chains.len());
            writeln!(
                out,
                "resumed behind {events} events of {chains} chains, state {}; hashed and linked again, but taken from the earlier run: {}",
                resumed.state, resumed.taken_over
            )?;
        }
        if self.source.torn_bytes > 0 {
            writeln!(out, "tail: {} bytes torn", self.source.torn_bytes)?;
        }
        if let Some(place) = &self.first_bad {
            writeln!(out, "first bad event: {} {}", place.chain, place.sequence)?;
        }
        self.write_ranges(out)?;
        for lacking in &self.lacking {
            writeln!(out, "strict: {lacking}")?;
        }
        for key in &self.keys {
            writeln!(out, "key: {key}")?;
        }
        writeln!(
            out,
            "asserted by the server only: {}",
            self.asserted.join("; ")
        )?;
        if !self.pinned {
            writeln!(
                out,
                "unpinned: pin the genesis key with --genesis, or a ledger forged whole passes"
            )?;
        }
        if let Some(bytes) = self.peak_memory_bytes {
            writeln!(out, "peak memory: {} KiB", bytes / 1024)?;
        }
        Ok(())
    }

    fn write_counts(&self, out: &mut String) -> std::fmt::Result {
        let counts = &self.counts;
        writeln!(
            out,
            "{} events in {} chains, {} checkpoints, {} heads, {} statements, {} orders, {} messages, {} decisions, {} blobs",
            counts.events,
            counts.chains,
            counts.checkpoints,
            counts.heads,
            counts.statements,
            counts.orders,
            counts.messages,
            counts.decisions,
            counts.blobs
        )?;
        for (reason, count) in &counts.absent {
            writeln!(out, "bodies absent, {reason}: {count}")?;
        }
        if counts.pruned > 0 {
            writeln!(out, "events pruned: {}", counts.pruned)?;
        }
        if counts.destroyed > 0 {
            writeln!(out, "bodies sealed, key destroyed: {}", counts.destroyed)?;
        }
        Ok(())
    }

    fn write_ranges(&self, out: &mut String) -> std::fmt::Result {
        for range in self.bad.iter().take(SHOWN_RANGES) {
            let word = match range.kind {
                Kind::Violation => "violation",
                Kind::Missing => "missing",
            };
            let place = match (&range.chain, range.from, range.to) {
                (Some(chain), Some(from), Some(to)) if from == to => format!("{chain} {from}: "),
                (Some(chain), Some(from), Some(to)) => format!("{chain} {from} to {to}: "),
                (Some(chain), ..) => format!("{chain}: "),
                _ => String::new(),
            };
            writeln!(
                out,
                "{word} [{}/{}] {place}{}",
                range.level, range.rule, range.message
            )?;
        }
        let more =
            (self.bad.len().saturating_sub(SHOWN_RANGES) as u64).saturating_add(self.bad_unlisted);
        if more > 0 {
            writeln!(out, "and {more} more; --json lists them")?;
        }
        Ok(())
    }
}

/// The verdict's word for an exit code.
pub(crate) fn verdict_word(exit: u8) -> &'static str {
    match exit {
        0 => "verified",
        1 => "violation",
        _ => "incomplete",
    }
}

/// The most memory that this process used so far (`VmHWM`), where the system tells.
pub fn peak_memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes.saturating_mul(1024))
}
