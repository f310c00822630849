//! What the writer knows of each chain: where the next event goes and what it links to.
//!
//! It runs ahead of what is durable by the open group only; if that group fails, what it held is taken back.

use std::collections::BTreeMap;
use std::sync::Arc;

use countersign_chain::{ChainState, Hashed, Header, genesis_hash};
use countersign_ids::{EventHash, Family, LedgerId, PlatformHead, Sequence, Time};
use serde::{Deserialize, Serialize};

use super::prepare::{Prepared, PreparedEvent};
use super::recent::Recent;
use crate::append::Stamp;
use crate::view::Chain;
use crate::{Entry, Error};

/// The newest events of the platform chain that other chains refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Marks {
    /// The newest of family `keys` or `heads`.
    pub(crate) newest: Option<PlatformHead>,
    /// The newest of family `keys`.
    pub(crate) keys: Option<Sequence>,
}

impl Marks {
    /// Takes note of an event of the platform chain.
    pub(crate) fn note(&mut self, family: &Family, sequence: Sequence, hash: EventHash) {
        let keys = family.as_str() == "keys";
        if keys || family.as_str() == "heads" {
            self.newest = Some(PlatformHead { sequence, hash });
        }
        if keys {
            self.keys = Some(sequence);
        }
    }
}

/// The end of one chain, as the next append finds it.
#[derive(Debug)]
pub(crate) struct Appender {
    pub(crate) chain: Arc<Chain>,
    pub(crate) recent: Recent,
    size: u64,
    head: EventHash,
    time: Time,
    families: BTreeMap<Family, u64>,
    platformhead: Option<PlatformHead>,
}

/// The times and references of one append, decided before any of its events is built.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) time: Time,
    pub(crate) marks: Marks,
}

impl Appender {
    pub(crate) fn empty(ledger: &LedgerId, chain: Arc<Chain>) -> Self {
        let head = genesis_hash(ledger, &chain.id);
        Self {
            chain,
            recent: Recent::starting_at(0),
            size: 0,
            head,
            time: Time::MIN,
            families: BTreeMap::new(),
            platformhead: None,
        }
    }

    /// Continues a chain that verification followed to its end.
    pub(crate) fn restore(chain: Arc<Chain>, state: &ChainState) -> Self {
        Self {
            chain,
            recent: Recent::starting_at(state.size()),
            size: state.size(),
            head: state.head(),
            time: state.time(),
            families: state.families().clone(),
            platformhead: state.platformhead(),
        }
    }

    /// The time that an event written now has: it never falls within a chain.
    pub(crate) fn time(&self, now: Time) -> Time {
        now.max(self.time)
    }

    /// Whether every event of an append may be written at this moment; nothing changes.
    pub(crate) fn check(&self, append: &Prepared, now: Time, moment: &Moment) -> Result<(), Error> {
        if let Some(condition) = append
            .condition
            .as_ref()
            .filter(|condition| self.recent.conflicts(condition))
        {
            return Err(Error::Conflict {
                chain: append.chain.clone(),
                seen: condition.seen,
            });
        }
        for (index, event) in append.events.iter().enumerate() {
            if let Some((from, until)) = event.valid {
                // `not_before` is by the clock, not by chain time.
                if now < from || moment.time > until {
                    return Err(Error::OutsideValidity {
                        now: moment.time,
                        from,
                        until,
                    });
                }
            }
            if let Stamp::Fresh { seen } = event.platformhead
                && let Some(at) = moment.marks.keys.filter(|at| at.get() >= seen)
            {
                return Err(Error::StalePlatform { at });
            }
            if event.platformhead != Stamp::None
                && self.stamp(event.platformhead, &moment.marks).is_none()
            {
                let reason = "the platform chain has no event to name".to_owned();
                return Err(Error::Refused { index, reason });
            }
        }
        Ok(())
    }

    /// Builds the next event. Only called after [`Appender::check`].
    pub(crate) fn build(
        &mut self,
        ledger: &LedgerId,
        append: &Prepared,
        mut event: PreparedEvent,
        moment: &Moment,
    ) -> Entry {
        let platformhead = self.stamp(event.platformhead, &moment.marks);
        let familysequence = self
            .families
            .get(event.event_type.family())
            .copied()
            .unwrap_or_default();
        if let Some(place) = event.backlink.take() {
            event = event.name_before(place, self.head);
        }
        let (bodykey, datasubject) = event.sealed.unzip();
        let header = Header {
            ledger: *ledger,
            chain: append.chain.clone(),
            id: event.id,
            event_type: event.event_type,
            subject: event.subject,
            site: event.site,
            time: moment.time,
            retention: event.retention,
            sequence: Sequence::new(self.size),
            familysequence: Sequence::new(familysequence),
            prevhash: self.head,
            bodyhash: event.body.hash(),
            bodykey,
            datasubject,
            actor: append.actor.clone(),
            commandid: append.command,
            requestdigest: append.request_digest,
            platformhead,
            correlationid: append.correlation.clone(),
            causationid: append.causation,
            traceparent: append.traceparent.clone(),
            ownerepoch: None,
        };
        let made = Hashed::made(header, event.body);
        let header = made.header();
        self.recent.push(event.seen);
        if let Some(next) = self.families.get_mut(header.event_type.family()) {
            *next = familysequence.saturating_add(1);
        } else {
            self.families.insert(header.event_type.family().clone(), 1);
        }
        self.size = self.size.saturating_add(1);
        self.head = made.hash();
        self.time = moment.time;
        self.platformhead = platformhead.or(self.platformhead);
        Entry::of(made)
    }

    pub(crate) const fn size(&self) -> u64 {
        self.size
    }

    /// Takes back events that were built and are not durable. What the chain ends with then is what everybody sees.
    pub(crate) fn take_back(&mut self, entries: &[Entry]) {
        for header in entries.iter().map(Entry::header) {
            if header.sequence.get() < self.size {
                self.size = header.sequence.get();
                self.head = header.prevhash;
            }
            if let Some(next) = self.families.get_mut(header.event_type.family()) {
                *next = header.familysequence.get().min(*next);
            }
        }
        self.time = self.chain.head().map_or(Time::MIN, |head| head.time);
        self.platformhead = self.chain.platformhead();
        self.recent = Recent::starting_at(self.size);
    }

    /// The latest of what the formats name; it never falls within a chain.
    fn stamp(&self, stamp: Stamp, marks: &Marks) -> Option<PlatformHead> {
        let restated = match stamp {
            Stamp::None => return None,
            Stamp::Newest | Stamp::Fresh { .. } => None,
            Stamp::Restates(head) => Some(head),
        };
        [marks.newest, restated, self.platformhead]
            .into_iter()
            .flatten()
            .max_by_key(|head| head.sequence)
    }
}
