//! The verdict: one word per level, every bad range, and what was not checked (docs/format.md section 6).
//!
//! Only collects and judges; finding things wrong is `verify`, printing is `report`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// Ranges kept per verdict; more are counted, not listed.
const RANGES_MAX: usize = 10_000;

/// What a verdict is given for, in the order in which it is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The container: zip, manifest, event lines; or journal frames.
    Framing,
    /// Headers, bodies and links.
    Chain,
    /// Merkle trees, recorded heads, inclusion proofs.
    Tree,
    /// Signed checkpoints.
    Checkpoints,
    /// Key statements and who held which key when.
    Keys,
    /// Cosignatures under the witness policy.
    Witnesses,
    /// Statements, orders, outcomes, messages, pinned documents.
    Evidence,
    /// Policy decisions, evaluated again.
    Policy,
    /// Read models, compared with a rebuild.
    Projections,
    /// Copies elsewhere.
    Mirrors,
}

impl Level {
    /// Every level.
    pub const ALL: [Self; 10] = [
        Self::Framing,
        Self::Chain,
        Self::Tree,
        Self::Checkpoints,
        Self::Keys,
        Self::Witnesses,
        Self::Evidence,
        Self::Policy,
        Self::Projections,
        Self::Mirrors,
    ];

    /// Its name in verdicts and flags.
    pub fn name(self) -> &'static str {
        match self {
            Self::Framing => "framing",
            Self::Chain => "chain",
            Self::Tree => "tree",
            Self::Checkpoints => "checkpoints",
            Self::Keys => "keys",
            Self::Witnesses => "witnesses",
            Self::Evidence => "evidence",
            Self::Policy => "policy",
            Self::Projections => "projections",
            Self::Mirrors => "mirrors",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A level that does not exist.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{0}` is not a level; levels are framing, chain, tree, checkpoints, keys, witnesses, evidence, policy, projections, mirrors"
)]
pub struct UnknownLevel(String);

impl FromStr for Level {
    type Err = UnknownLevel;

    fn from_str(text: &str) -> Result<Self, UnknownLevel> {
        Self::ALL
            .into_iter()
            .find(|level| level.name() == text)
            .ok_or_else(|| UnknownLevel(text.to_owned()))
    }
}

/// What was found out about one level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Everything that the level asks was checked and holds.
    Verified,
    /// Bytes that are present contradict, or say that something is missing.
    Violation,
    /// Something that is needed to say more is absent, or could not be read.
    Unchecked,
    /// The source cannot have this level.
    None,
}

impl Status {
    /// Its word in verdicts.
    pub fn word(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Violation => "violation",
            Self::Unchecked => "unchecked",
            Self::None => "none",
        }
    }
}

/// How a finding counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A contradiction: exit 1.
    Violation,
    /// Something needed is absent or of an unknown kind: exit 2.
    Missing,
}

/// An event, by its place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// The chain.
    pub chain: String,
    /// The place within it, counted from 0 in the order of the source.
    pub sequence: u64,
}

/// One bad range: the same rule broken by consecutive events.
#[derive(Debug, Clone, Serialize)]
pub struct Range {
    /// Level it counts for.
    pub level: Level,
    /// Contradiction or absence.
    pub kind: Kind,
    /// The rule, as a stable kebab-case name.
    pub rule: &'static str,
    /// The chain, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chain: Option<String>,
    /// First event of the range.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
    /// Last event of the range.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<u64>,
    /// What is wrong with the first of them, in words.
    pub message: String,
}

/// Everything that was found, as it is found.
#[derive(Debug, Default)]
pub struct Findings {
    ranges: Vec<Range>,
    /// Last range per rule and chain, so that neighbours merge.
    open: BTreeMap<(Level, Kind, &'static str, String), usize>,
    violated: BTreeSet<Level>,
    missing: BTreeSet<Level>,
    unlisted: u64,
    first_bad: Option<(bool, Place, usize)>,
    broken: BTreeSet<String>,
}

impl Findings {
    /// Records a contradiction at an event.
    pub fn violation(
        &mut self,
        level: Level,
        rule: &'static str,
        chain: &str,
        sequence: u64,
        message: impl Into<String>,
    ) {
        self.add(
            level,
            Kind::Violation,
            rule,
            Some((chain, sequence)),
            message.into(),
        );
    }

    /// Records that something an event needs is absent or unknown.
    pub fn missing(
        &mut self,
        level: Level,
        rule: &'static str,
        chain: &str,
        sequence: u64,
        message: impl Into<String>,
    ) {
        self.add(
            level,
            Kind::Missing,
            rule,
            Some((chain, sequence)),
            message.into(),
        );
    }

    /// Records a contradiction that belongs to no single event.
    pub fn violation_of_source(
        &mut self,
        level: Level,
        rule: &'static str,
        message: impl Into<String>,
    ) {
        self.add(level, Kind::Violation, rule, None, message.into());
    }

    /// Records an absence that belongs to no single event.
    pub fn missing_of_source(
        &mut self,
        level: Level,
        rule: &'static str,
        message: impl Into<String>,
    ) {
        self.add(level, Kind::Missing, rule, None, message.into());
    }

    fn add(
        &mut self,
        level: Level,
        kind: Kind,
        rule: &'static str,
        place: Option<(&str, u64)>,
        message: String,
    ) {
        match kind {
            Kind::Violation => self.violated.insert(level),
            Kind::Missing => self.missing.insert(level),
        };
        let chain = place.map(|(chain, _)| chain.to_owned());
        let sequence = place.map(|(_, sequence)| sequence);
        let key = (level, kind, rule, chain.clone().unwrap_or_default());
        if let (Some(sequence), Some(range)) = (
            sequence,
            self.open.get(&key).and_then(|at| self.ranges.get_mut(*at)),
        ) && range
            .to
            .is_some_and(|to| to == sequence || to.checked_add(1) == Some(sequence))
        {
            range.to = Some(sequence);
            return;
        }
        if self.ranges.len() >= RANGES_MAX {
            self.unlisted = self.unlisted.saturating_add(1);
            return;
        }
        let at = self.ranges.len();
        if let (Kind::Violation, Some((chain, sequence))) = (kind, place) {
            let place = Place {
                chain: chain.to_owned(),
                sequence,
            };
            let candidate = (chain != "platform", place, at);
            if self
                .first_bad
                .as_ref()
                .is_none_or(|first| (candidate.0, &candidate.1) < (first.0, &first.1))
            {
                self.first_bad = Some(candidate);
            }
        }
        self.ranges.push(Range {
            level,
            kind,
            rule,
            chain,
            from: sequence,
            to: sequence,
            message,
        });
        self.open.insert(key, at);
    }

    /// Marks a chain in which a broken event was found: nothing after it is believed.
    pub fn break_chain(&mut self, chain: &str) {
        self.broken.insert(chain.to_owned());
    }

    /// Whether a broken event was found in the chain.
    pub fn is_broken(&self, chain: &str) -> bool {
        self.broken.contains(chain)
    }

    /// The chains in which a broken event was found.
    pub fn broken(&self) -> impl Iterator<Item = &str> {
        self.broken.iter().map(String::as_str)
    }

    /// The word for a level that was looked at.
    pub fn status(&self, level: Level) -> Status {
        if self.violated.contains(&level) {
            Status::Violation
        } else if self.missing.contains(&level) {
            Status::Unchecked
        } else {
            Status::Verified
        }
    }

    /// Whether anything at all contradicts.
    pub fn any_violation(&self) -> bool {
        !self.violated.is_empty()
    }

    /// The first bad event, platform first, then by chain and sequence.
    pub fn first_bad(&self) -> Option<(&Place, &Range)> {
        let (_, place, at) = self.first_bad.as_ref()?;
        Some((place, self.ranges.get(*at)?))
    }

    /// Every range, in the order of discovery.
    pub fn ranges(&self) -> &[Range] {
        &self.ranges
    }

    /// How many findings are not listed because there were too many.
    pub fn unlisted(&self) -> u64 {
        self.unlisted
    }
}

/// What a caller accepts and demands.
#[derive(Debug, Clone, Default)]
pub struct Demands {
    /// Levels that may stay unchecked.
    pub allow: BTreeSet<Level>,
    /// Pinned, signed, recorded, anchored, nothing unchecked.
    pub strict: bool,
    /// The last level that is asked for; those behind it stay unchecked. None: all.
    pub through: Option<Level>,
    /// How many threads to use; 0: as many as the machine has.
    pub threads: usize,
}

impl Demands {
    /// Whether a level is asked for.
    pub fn reaches(&self, level: Level) -> bool {
        self.through.is_none_or(|last| level <= last)
    }
}

/// What `--strict` found lacking, each in words.
pub type Lacking = Vec<String>;

/// The exit code of docs/format.md section 6.
///
/// Rows of read models are derived from events, so comparing them or not says nothing about the ledger: an unchecked
/// `projections` counts under `--strict` only.
pub fn exit_code(levels: &BTreeMap<Level, Status>, demands: &Demands, lacking: &[String]) -> u8 {
    if levels.values().any(|status| *status == Status::Violation) {
        return 1;
    }
    let unchecked = levels.iter().any(|(level, status)| {
        *status == Status::Unchecked
            && !demands.allow.contains(level)
            && (demands.strict || *level != Level::Projections)
    });
    if unchecked || (demands.strict && !lacking.is_empty()) {
        2
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_merge_into_one_range_and_the_first_bad_event_is_named() {
        let mut findings = Findings::default();
        for sequence in [4, 5, 6, 9] {
            findings.violation(Level::Chain, "body-hash", "acme", sequence, "body hash");
        }
        findings.violation(Level::Chain, "link", "platform", 7, "link");
        let ranges: Vec<_> = findings
            .ranges()
            .iter()
            .map(|range| (range.rule, range.from, range.to))
            .collect();
        assert_eq!(
            ranges,
            [
                ("body-hash", Some(4), Some(6)),
                ("body-hash", Some(9), Some(9)),
                ("link", Some(7), Some(7))
            ]
        );
        assert_eq!(
            findings
                .first_bad()
                .map(|(place, _)| (place.chain.as_str(), place.sequence)),
            Some(("platform", 7))
        );
    }

    #[test]
    fn exit_codes() {
        let verdict =
            |pairs: &[(Level, Status)], allow: &[Level], strict: bool, lacking: &[&str]| {
                let demands = Demands {
                    allow: allow.iter().copied().collect(),
                    strict,
                    ..Demands::default()
                };
                let lacking: Vec<_> = lacking.iter().map(ToString::to_string).collect();
                exit_code(&pairs.iter().copied().collect(), &demands, &lacking)
            };
        let policy = [
            (Level::Chain, Status::Verified),
            (Level::Policy, Status::Unchecked),
        ];
        assert_eq!(
            verdict(&[(Level::Chain, Status::Verified)], &[], false, &[]),
            0
        );
        assert_eq!(verdict(&policy, &[], false, &[]), 2);
        assert_eq!(verdict(&policy, &[Level::Policy], false, &[]), 0);
        assert_eq!(verdict(&policy, &[Level::Policy], true, &["unpinned"]), 2);
        assert_eq!(
            verdict(&[(Level::Projections, Status::Unchecked)], &[], false, &[]),
            0
        );
        assert_eq!(
            verdict(&[(Level::Projections, Status::Unchecked)], &[], true, &[]),
            2
        );
        assert_eq!(
            verdict(
                &[(Level::Keys, Status::Violation), policy[1]],
                &[],
                false,
                &[]
            ),
            1
        );
    }
}
