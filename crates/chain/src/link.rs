//! Links between consecutive events: what each header must repeat of the chain before it.
//!
//! Pure: bytes in, verdict out. What an event means is `events`; where it is kept is `store`. Rules of docs/format.md
//! sections 1 and 2. Following is the only way to a [`Verified`] event, for the writer's recovery and the auditor alike.

use crate::{Base, Hashed, Header, Record, genesis_hash, header};
use countersign_ids::{
    ChainId, CommandId, EventHash, Family, LedgerId, PlatformHead, Sequence, Time,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Where a chain stands after some of its events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainState {
    ledger: LedgerId,
    chain: ChainId,
    size: u64,
    head: EventHash,
    time: Time,
    families: BTreeMap<Family, u64>,
    platformhead: Option<PlatformHead>,
    command: Option<CommandId>,
}

/// An event whose bytes hash to what its chain says, in its place. Only [`ChainState::follow`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified(Hashed);

impl Verified {
    /// Its attributes.
    #[must_use]
    pub const fn header(&self) -> &Header {
        self.0.header()
    }

    /// The hash of E.
    #[must_use]
    pub const fn hash(&self) -> EventHash {
        self.0.hash()
    }

    /// Its bytes.
    #[must_use]
    pub const fn record(&self) -> &Record {
        self.0.record()
    }

    /// B, where it is present.
    #[must_use]
    pub fn body(&self) -> Option<&[u8]> {
        self.0.body()
    }

    /// Gives up the proof of its place and keeps that of its hashes.
    #[must_use]
    pub fn into_hashed(self) -> Hashed {
        self.0
    }
}

/// Why an event does not continue its chain. That is corruption, not rejection: the chain stops there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The bytes are no header.
    #[error("the event after {size} events is no header")]
    Header {
        /// Events before it.
        size: u64,
        /// What is wrong.
        #[source]
        source: header::Error,
    },
    /// It belongs to another ledger or chain.
    #[error("event {0} is from another chain")]
    Foreign(Sequence),
    /// A gap, a repeat or another order.
    #[error("event {found} stands where {expected} belongs")]
    Sequence {
        /// What belongs there.
        expected: Sequence,
        /// What stands there.
        found: Sequence,
    },
    /// The count within the family is not the next one.
    #[error("event {at} has family sequence {found} where {expected} belongs")]
    FamilySequence {
        /// The event.
        at: Sequence,
        /// What belongs there.
        expected: Sequence,
        /// What stands there.
        found: Sequence,
    },
    /// It does not name the hash of the event before.
    #[error("event {0} does not link to the event before it")]
    Link(Sequence),
    /// Time falls.
    #[error("the time of event {0} is before the time of the event before it")]
    Time(Sequence),
    /// The platform head falls.
    #[error("the platform head of event {0} is before an earlier one")]
    PlatformHead(Sequence),
    /// Salt and B do not hash to `bodyhash`.
    #[error("the body of event {0} is not the one that its header names")]
    Body(Sequence),
}

impl Broken {
    /// The sequence at which the chain breaks.
    #[must_use]
    pub const fn at(&self) -> Sequence {
        match self {
            Self::Header { size, .. } => Sequence::new(*size),
            Self::Sequence { expected, .. } => *expected,
            Self::FamilySequence { at, .. } => *at,
            Self::Foreign(at)
            | Self::Link(at)
            | Self::Time(at)
            | Self::PlatformHead(at)
            | Self::Body(at) => *at,
        }
    }
}

impl ChainState {
    /// Before the first event.
    #[must_use]
    pub fn genesis(ledger: &LedgerId, chain: &ChainId) -> Self {
        Self {
            ledger: *ledger,
            chain: chain.clone(),
            size: 0,
            head: genesis_hash(ledger, chain),
            time: Time::MIN,
            families: BTreeMap::new(),
            platformhead: None,
            command: None,
        }
    }

    /// Where a pruned chain begins. Whether the base is its own, the events from the cut on tell.
    #[must_use]
    pub fn at(ledger: &LedgerId, chain: &ChainId, base: &Base) -> Self {
        Self {
            ledger: *ledger,
            chain: chain.clone(),
            size: base.cut,
            head: base.head,
            time: base.time,
            families: base.families.clone(),
            platformhead: Some(base.platformhead),
            command: None,
        }
    }

    /// Verifies that `record` is the next event and moves past it. On an error nothing moved.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn follow(&mut self, record: &Record) -> Result<Verified, Broken> {
        let hashed = Hashed::of(record.clone()).map_err(|error| Broken::Header {
            size: self.size,
            source: error.source,
        })?;
        self.advance(&hashed)?;
        Ok(Verified(hashed))
    }

    /// The same for an event that was hashed already.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn advance(&mut self, hashed: &Hashed) -> Result<(), Broken> {
        let header = hashed.header();
        let at = header.sequence;
        if header.ledger != self.ledger || header.chain != self.chain {
            return Err(Broken::Foreign(at));
        }
        if at.get() != self.size {
            return Err(Broken::Sequence {
                expected: Sequence::new(self.size),
                found: at,
            });
        }
        if header.prevhash != self.head {
            return Err(Broken::Link(at));
        }
        let family = header.event_type.family();
        let expected = self.families.get(family).copied().unwrap_or_default();
        if header.familysequence.get() != expected {
            return Err(Broken::FamilySequence {
                at,
                expected: Sequence::new(expected),
                found: header.familysequence,
            });
        }
        if header.time < self.time {
            return Err(Broken::Time(at));
        }
        let falls = |next: &PlatformHead, last: &PlatformHead| {
            next.sequence < last.sequence
                || (next.sequence == last.sequence && next.hash != last.hash)
        };
        if let (Some(next), Some(last)) = (&header.platformhead, &self.platformhead)
            && falls(next, last)
        {
            return Err(Broken::PlatformHead(at));
        }
        if !hashed.body_fits() {
            return Err(Broken::Body(at));
        }
        match self.families.get_mut(family) {
            Some(count) => *count = expected.saturating_add(1),
            None => drop(self.families.insert(family.clone(), 1)),
        }
        self.size = self.size.saturating_add(1);
        self.head = hashed.hash();
        self.time = header.time;
        self.platformhead = header.platformhead.or(self.platformhead);
        self.command = Some(header.commandid);
        Ok(())
    }

    /// The chain.
    #[must_use]
    pub const fn chain(&self) -> &ChainId {
        &self.chain
    }

    /// The ledger.
    #[must_use]
    pub const fn ledger(&self) -> &LedgerId {
        &self.ledger
    }

    /// How many events it has.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The sequence that the next event takes.
    #[must_use]
    pub const fn next(&self) -> Sequence {
        Sequence::new(self.size)
    }

    /// The hash of the last event, or the genesis hash.
    #[must_use]
    pub const fn head(&self) -> EventHash {
        self.head
    }

    /// The time of the last event.
    #[must_use]
    pub const fn time(&self) -> Time {
        self.time
    }

    /// Events per family.
    #[must_use]
    pub const fn families(&self) -> &BTreeMap<Family, u64> {
        &self.families
    }

    /// The last platform head.
    #[must_use]
    pub const fn platformhead(&self) -> Option<PlatformHead> {
        self.platformhead
    }

    /// The command of the last event.
    #[must_use]
    pub const fn command(&self) -> Option<CommandId> {
        self.command
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::{Frontier, leaf_hash};
    use crate::{Body, CUT_EVENTS, HashedBody, body_hash};
    use countersign_ids::{Actor, AuthType, EventType, Retention, Salt};

    fn header(state: &ChainState, family: &str) -> Header {
        let event_type = EventType::new(family, "happened", 1).unwrap();
        Header {
            ledger: *state.ledger(),
            chain: state.chain().clone(),
            id: "01938e5e-8a51-7000-8000-000000000001".parse().unwrap(),
            subject: "www".parse().unwrap(),
            site: None,
            time: Time::from_unix_millis(1000),
            retention: Retention::Evidence,
            sequence: state.next(),
            familysequence: Sequence::new(
                state
                    .families()
                    .get(event_type.family())
                    .copied()
                    .unwrap_or_default(),
            ),
            event_type,
            prevhash: state.head(),
            bodyhash: body_hash(&Salt::from_bytes([7; 16]), b"{}"),
            bodykey: None,
            datasubject: None,
            actor: Actor {
                kind: AuthType::Person,
                id: "ann".parse().unwrap(),
            },
            commandid: CommandId::from_bytes([1; 16]),
            requestdigest: None,
            platformhead: None,
            correlationid: None,
            causationid: None,
            traceparent: None,
            ownerepoch: None,
        }
    }

    fn record(header: &Header) -> Record {
        Record {
            header: header.to_bytes(),
            body: Body::Present {
                salt: Salt::from_bytes([7; 16]),
                bytes: b"{}".to_vec(),
            },
        }
    }

    fn chain(size: u64) -> ChainState {
        let mut state =
            ChainState::genesis(&LedgerId::from_bytes([1; 32]), &"acme".parse().unwrap());
        for index in 0..size {
            let next = header(&state, if index % 2 == 0 { "site" } else { "deploy" });
            state.follow(&record(&next)).unwrap();
        }
        state
    }

    #[test]
    fn each_event_continues_its_chain() {
        let state = chain(5);
        assert_eq!(state.size(), 5);
        assert_eq!(
            state.families().values().copied().collect::<Vec<_>>(),
            [2, 3]
        );
        let text = serde_json::to_string(&state).unwrap();
        assert_eq!(
            serde_json::from_str::<ChainState>(&text).unwrap(),
            state,
            "a snapshot restores it"
        );
    }

    #[test]
    fn what_is_made_is_what_is_read_with_and_without_its_body() {
        let body = HashedBody::of(Salt::from_bytes([7; 16]), b"{\"a\":0}".to_vec());
        let body = body.with(|bytes| bytes.copy_from_slice(b"{\"a\":1}"));
        let made = Hashed::made(header(&chain(3), "site"), body);
        assert_eq!(made.body(), Some(b"{\"a\":1}".as_slice()));
        for made in [made.without_body(crate::Absence::Erased), made] {
            assert_eq!(Hashed::of(made.record().clone()).unwrap(), made);
            chain(3).advance(&made).unwrap();
        }
    }

    #[track_caller]
    fn breaks(change: fn(&mut Header), expected: fn(&Broken) -> bool) {
        let mut state = chain(4);
        let before = state.clone();
        let mut next = header(&state, "site");
        change(&mut next);
        let broken = state.follow(&record(&next)).unwrap_err();
        assert!(expected(&broken), "{broken}");
        assert_eq!(state, before, "nothing moved");
    }

    #[test]
    fn anything_else_breaks_it() {
        breaks(
            |header| header.ledger = LedgerId::from_bytes([9; 32]),
            |broken| matches!(broken, Broken::Foreign(_)),
        );
        breaks(
            |header| header.chain = "other".parse().unwrap(),
            |broken| matches!(broken, Broken::Foreign(_)),
        );
        breaks(
            |header| header.sequence = Sequence::new(3),
            |broken| matches!(broken, Broken::Sequence { .. }),
        );
        breaks(
            |header| header.sequence = Sequence::new(5),
            |broken| matches!(broken, Broken::Sequence { .. }),
        );
        breaks(
            |header| header.prevhash = EventHash::from_bytes([0; 32]),
            |broken| matches!(broken, Broken::Link(_)),
        );
        breaks(
            |header| header.familysequence = Sequence::new(1),
            |broken| matches!(broken, Broken::FamilySequence { .. }),
        );
        breaks(
            |header| header.time = Time::from_unix_millis(999),
            |broken| matches!(broken, Broken::Time(_)),
        );
        breaks(
            |header| header.bodyhash = countersign_ids::BodyHash::from_bytes([0; 32]),
            |broken| matches!(broken, Broken::Body(_)),
        );
        let mut state = chain(1);
        let garbage = Record {
            header: b"{}".to_vec(),
            body: Body::Absent(crate::Absence::Erased),
        };
        assert!(matches!(
            state.follow(&garbage),
            Err(Broken::Header { size: 1, .. })
        ));
        let next = header(&state, "site");
        let absent = Record {
            header: next.to_bytes(),
            body: Body::Absent(crate::Absence::Withheld),
        };
        assert_eq!(
            state.follow(&absent).unwrap().body(),
            None,
            "an absent body still verifies"
        );
    }

    #[test]
    fn a_pruned_chain_goes_on_from_its_base_and_from_no_other() {
        let mut state = ChainState::genesis(
            &LedgerId::from_bytes([1; 32]),
            &"acme.beats".parse().unwrap(),
        );
        let (mut tree, mut records) = (Frontier::new(), Vec::new());
        let mut base = None;
        for index in 0..2 * CUT_EVENTS {
            let mut next = header(&state, if index == 0 { "chain" } else { "beat" });
            next.platformhead = Some(PlatformHead {
                sequence: Sequence::new(index / 9),
                hash: EventHash::from_bytes([3; 32]),
            });
            let record = record(&next);
            state.follow(&record).unwrap();
            tree.push(leaf_hash(&record.header));
            records.push(record);
            if state.size() == CUT_EVENTS {
                base = Base::of(&state, &tree);
            }
        }
        let base = base.unwrap();
        let from = |base: &Base| {
            let mut pruned = ChainState::at(state.ledger(), state.chain(), base);
            let kept = &records[usize::try_from(base.cut).unwrap()..];
            let followed = kept
                .iter()
                .try_for_each(|record| pruned.follow(record).map(drop));
            followed.map(|()| pruned)
        };
        assert_eq!(from(&base).unwrap(), state);
        for change in [
            |base: &mut Base| base.head = EventHash::from_bytes([0; 32]),
            |base: &mut Base| base.time = Time::from_unix_millis(1001),
            |base: &mut Base| base.families.clear(),
            |base: &mut Base| base.platformhead.sequence = Sequence::new(1000),
        ] {
            let mut other = base.clone();
            change(&mut other);
            assert!(from(&other).is_err(), "{other:?}");
        }
        assert_eq!(Base::of(&state, &Frontier::new()), None);
    }

    #[test]
    fn platform_heads_never_fall() {
        let mut state = ChainState::genesis(
            &LedgerId::from_bytes([1; 32]),
            &"acme.beats".parse().unwrap(),
        );
        let head = |sequence, fill| {
            Some(PlatformHead {
                sequence: Sequence::new(sequence),
                hash: EventHash::from_bytes([fill; 32]),
            })
        };
        for (platformhead, accepted) in [
            (head(3, 3), true),
            (head(3, 3), true),
            (head(3, 4), false),
            (head(2, 2), false),
            (head(4, 4), true),
        ] {
            let mut next = header(&state, "beat");
            next.platformhead = platformhead;
            assert_eq!(state.follow(&record(&next)).is_ok(), accepted);
        }
    }
}
