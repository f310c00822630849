//! Two copies of one ledger, compared event by event; nothing about either is verified.
//!
//! Events are compared by the hash of E, which holds the hash of B. Where both hold an event, it is the same or a fork.

use std::collections::BTreeMap;

use countersign_chain::event_hash;
use serde::Serialize;

use crate::pipeline;
use crate::progress::Progress;
use crate::source::{Item, Source, SourceError};
use crate::verify::sequence_named;

/// Bytes kept of each hash: enough to tell events of two copies apart.
type Mark = [u8; 16];

/// Sequence and mark of every event that a copy holds, by chain.
type Marks = BTreeMap<String, BTreeMap<u64, Mark>>;

/// What two copies have in common.
#[derive(Debug, Clone, Serialize)]
pub struct Diff {
    /// `same`, `behind` (one lacks what the other has) or `forked`.
    pub verdict: &'static str,
    /// Whether they are copies of one ledger at all.
    pub same_ledger: bool,
    /// What differs, by chain.
    pub chains: BTreeMap<String, Difference>,
}

/// How two copies of a chain differ.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The first sequence at which both have an event and not the same one.
    pub fork: Option<u64>,
    /// Events that only the first copy holds.
    pub only_one: u64,
    /// Events that only the second copy holds.
    pub only_other: u64,
}

/// Compares two copies.
pub fn diff(
    one: &dyn Source,
    other: &dyn Source,
    progress: &mut Progress,
) -> Result<Diff, SourceError> {
    progress.step("first copy");
    let left = marks(one, progress)?;
    progress.step("second copy");
    let right = marks(other, progress)?;
    progress.finish();
    let same_ledger = one.ledger() == other.ledger();
    let (mut chains, none) = (BTreeMap::new(), BTreeMap::new());
    for chain in left.keys().chain(right.keys()) {
        let copies = (
            left.get(chain).unwrap_or(&none),
            right.get(chain).unwrap_or(&none),
        );
        let found = compare(copies.0, copies.1);
        if found != Difference::default() {
            chains.insert(chain.clone(), found);
        }
    }
    let forked = chains.values().any(|found| found.fork.is_some());
    let verdict = if forked || !same_ledger {
        "forked"
    } else if chains.is_empty() {
        "same"
    } else {
        "behind"
    };
    Ok(Diff {
        verdict,
        same_ledger,
        chains,
    })
}

fn marks(source: &dyn Source, progress: &mut Progress) -> Result<Marks, SourceError> {
    let mut marks = Marks::new();
    pipeline::run(
        source.stream(&|_| true)?,
        pipeline::threads(0),
        |item| match item {
            Item::Event(entry) => {
                let header = &entry.record.header;
                let hash = event_hash(header);
                let (mark, _) = hash.as_bytes().split_first_chunk()?;
                Some((entry.chain, sequence_named(header), *mark))
            }
            Item::Fault(_) => None,
        },
        |event| {
            if let Some((chain, sequence, mark)) = event {
                progress.event();
                let known = marks.entry(chain).or_default();
                // What names no sequence stands where it stands.
                let at = sequence.unwrap_or(known.len() as u64);
                known.insert(at, mark);
            }
            Ok(())
        },
    )?;
    Ok(marks)
}

fn compare(one: &BTreeMap<u64, Mark>, other: &BTreeMap<u64, Mark>) -> Difference {
    let mut found = Difference::default();
    for (at, mark) in one {
        match other.get(at) {
            None => found.only_one += 1,
            Some(same) if same == mark => {}
            Some(_) => found.fork = found.fork.or(Some(*at)),
        }
    }
    found.only_other = other.keys().filter(|at| !one.contains_key(at)).count() as u64;
    found
}

impl Diff {
    /// 0 the same, 1 a fork or two ledgers, 2 one lacks what the other has.
    pub fn exit(&self) -> u8 {
        match self.verdict {
            "same" => 0,
            "behind" => 2,
            _ => 1,
        }
    }

    /// One line of JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"))
    }

    /// For people.
    pub fn to_text(&self) -> String {
        let mut lines = vec![self.verdict.to_owned()];
        if !self.same_ledger {
            lines.push("they are two ledgers".to_owned());
        }
        for (chain, found) in &self.chains {
            if let Some(at) = found.fork {
                lines.push(format!("{chain}: event {at} is another in each"));
            }
            for (count, which) in [(found.only_one, "first"), (found.only_other, "second")] {
                if count > 0 {
                    lines.push(format!("{chain}: {count} events only in the {which}"));
                }
            }
        }
        lines.join("\n") + "\n"
    }
}
