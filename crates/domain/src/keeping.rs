//! What a tenant keeps and for how long, and what is to be removed. Folded from headers and from the family `retention`.
//!
//! A removal is *ordered* by one event and *done* by another; between the two it is pending, whatever happens to the process.

use std::collections::{BTreeMap, VecDeque};

use countersign_chain::Header;
use countersign_events as events;
use countersign_events::retention::Range;
use countersign_ids::{ChainId, DataSubject, Retention, Sequence, Time, limits};

const DAY_MILLIS: u64 = 24 * 60 * 60 * 1000;

/// The bodies of a tenant that do not stay for ever.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Keeping {
    operational_days: Option<u32>,
    beats: Option<BeatsKept>,
    /// Operational events that no event ordered to remove, oldest first.
    operational: VecDeque<(Sequence, Time)>,
    /// The first and the last sealed event of each data subject, since it was erased last.
    sealed: BTreeMap<DataSubject, (Sequence, Sequence)>,
    /// Where each erasure was ordered.
    erased: BTreeMap<DataSubject, Sequence>,
    pending: BTreeMap<Sequence, Removal>,
}

/// How long a tenant keeps its heartbeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BeatsKept {
    /// In days.
    pub days: u32,
    /// Where the tenant said so.
    pub at: Sequence,
}

impl BeatsKept {
    /// Heartbeats of this time and before have outlived it.
    #[must_use]
    pub fn ends_until(&self, now: Time) -> Time {
        days_before(now, self.days)
    }
}

fn days_before(now: Time, days: u32) -> Time {
    let kept = u64::from(days).saturating_mul(DAY_MILLIS);
    Time::from_unix_millis(now.unix_millis().saturating_sub(kept))
}

/// A removal that was ordered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removal {
    /// The bodies of the operational events in these ranges.
    Expired(Vec<Range>),
    /// What the key of a data subject sealed.
    Erased(DataSubject, Vec<Range>),
}

impl Keeping {
    /// Takes in the header of any event of the chain.
    pub(crate) fn note(&mut self, header: &Header) {
        if header.retention == Retention::Operational {
            self.operational.push_back((header.sequence, header.time));
        }
        if let Some(subject) = &header.datasubject {
            let at = header.sequence;
            self.sealed
                .entry(subject.clone())
                .and_modify(|range| range.1 = at)
                .or_insert((at, at));
        }
    }

    pub(crate) fn apply(&mut self, at: Sequence, event: &events::Retention) {
        match event {
            events::Retention::Set(set) => self.operational_days = Some(set.operational_days),
            events::Retention::BeatsSet(set) => {
                let days = set.beats_days;
                self.beats = Some(BeatsKept { days, at });
            }
            events::Retention::Expired(expired) => {
                let ranges = &expired.ranges;
                self.operational.retain(|(sequence, _)| {
                    !ranges
                        .iter()
                        .any(|range| (range.from..=range.to).contains(&sequence.get()))
                });
                self.pending.insert(at, Removal::Expired(ranges.clone()));
            }
            events::Retention::Erased(erased) => {
                let subject = &erased.datasubject;
                self.sealed.remove(subject);
                self.erased.insert(subject.clone(), at);
                let removal = Removal::Erased(subject.clone(), erased.ranges.clone());
                self.pending.insert(at, removal);
            }
            events::Retention::Removed(removed) => {
                self.pending.remove(&Sequence::new(removed.ordered));
            }
        }
    }

    /// How many days operational bodies are kept.
    #[must_use]
    pub fn operational_days(&self) -> u32 {
        self.operational_days
            .unwrap_or(limits::OPERATIONAL_DAYS_DEFAULT)
    }

    /// How long heartbeats are kept; for ever where the tenant said nothing.
    #[must_use]
    pub const fn beats(&self) -> Option<BeatsKept> {
        self.beats
    }

    /// How many operational bodies nobody ordered to remove.
    #[must_use]
    pub fn operational(&self) -> usize {
        self.operational.len()
    }

    /// Operational events of this time and before have outlived their retention.
    #[must_use]
    pub fn expires_until(&self, now: Time) -> Time {
        days_before(now, self.operational_days())
    }

    /// The operational events that outlived their retention; none if there are none.
    pub(crate) fn expired(&self, chain: &ChainId, now: Time) -> Option<Range> {
        let until = self.expires_until(now);
        let (first, _) = self.operational.front()?;
        // Chain time never falls, so the expired ones stand before the others.
        let (last, _) = self
            .operational
            .iter()
            .take_while(|(_, time)| *time <= until)
            .last()?;
        Some(Range {
            chain: chain.clone(),
            from: first.get(),
            to: last.get(),
        })
    }

    /// Whether an operational body has outlived its retention and nobody ordered to remove it.
    #[must_use]
    pub fn is_expiry_due(&self, now: Time) -> bool {
        let until = self.expires_until(now);
        self.operational
            .front()
            .is_some_and(|(_, time)| *time <= until)
    }

    /// Where the sealed bodies of a data subject stand that were not erased.
    pub(crate) fn sealed(&self, chain: &ChainId, subject: &DataSubject) -> Option<Range> {
        self.sealed.get(subject).map(|(first, last)| Range {
            chain: chain.clone(),
            from: first.get(),
            to: last.get(),
        })
    }

    /// Data subjects with sealed bodies that were not erased.
    pub fn subjects(&self) -> impl Iterator<Item = &DataSubject> {
        self.sealed.keys()
    }

    /// Data subjects that were erased: their keys must not exist.
    pub fn erased(&self) -> impl Iterator<Item = &DataSubject> {
        self.erased.keys()
    }

    /// Whether a data subject was erased.
    #[must_use]
    pub fn is_erased(&self, subject: &DataSubject) -> bool {
        self.erased.contains_key(subject)
    }

    /// Removals that were ordered and are not done, by the sequence of the event that ordered them.
    #[must_use]
    pub const fn pending(&self) -> &BTreeMap<Sequence, Removal> {
        &self.pending
    }
}
