//! Chains of heartbeats that are pruned: what each begins with, and what is ordered and not done. Folded from family `chain`.
//!
//! A pruning is ordered by one event of the platform's chain and receipted by another; between the two it is pending, whatever
//! happens to the process.

use std::collections::BTreeMap;

use countersign_chain::Base;
use countersign_events as events;
use countersign_ids::{ChainId, Sequence, Time};

use crate::decision::Draft;
use crate::platform::Platform;
use crate::rejection::Rejection;

/// A pruning that was ordered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pruned {
    /// Where it was ordered.
    pub ordered: Sequence,
    /// The first event that the chain had until then.
    pub from: u64,
    /// What the chain begins with.
    pub base: Base,
    /// Whether it is done.
    pub cleared: bool,
}

/// The newest pruning of each chain.
#[derive(Debug, Clone, Default)]
pub(crate) struct Prunings(BTreeMap<ChainId, Pruned>);

impl Prunings {
    pub(crate) fn apply(&mut self, at: Sequence, event: &events::Chain) {
        match event {
            events::Chain::Pruned(pruned) => {
                let from = self.get(&pruned.chain).map_or(0, |before| before.base.cut);
                let newest = Pruned {
                    ordered: at,
                    from,
                    base: pruned.base.clone(),
                    cleared: false,
                };
                self.0.insert(pruned.chain.clone(), newest);
            }
            events::Chain::Cleared(cleared) => {
                if let Some(pruned) = self.0.get_mut(&cleared.chain) {
                    pruned.cleared |= pruned.ordered.get() == cleared.ordered;
                }
            }
            events::Chain::Announced(_) | events::Chain::Opened(_) => {}
        }
    }

    pub(crate) fn get(&self, chain: &ChainId) -> Option<&Pruned> {
        self.0.get(chain)
    }
}

/// Orders that the heartbeats before a cut go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PruneBeats {
    /// Their chain.
    pub chain: ChainId,
    /// Where the tenant said how long they are kept.
    pub policy: Sequence,
    /// The youngest that may go.
    pub until: Time,
    /// How many events of the chain the newest recorded heads cover.
    pub recorded: u64,
    /// What the chain begins with then.
    pub base: Base,
}

/// Says that a pruning is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptPruning {
    /// The chain.
    pub chain: ChainId,
    /// The event that ordered it.
    pub ordered: Sequence,
}

impl PruneBeats {
    pub(crate) fn decide(&self, platform: &Platform) -> Result<Vec<Draft>, Rejection> {
        let chain = &self.chain;
        if !chain.is_beats() || !platform.chains().contains_key(chain) {
            return Err(Rejection::TenantUnknown {
                chain: chain.clone(),
            });
        }
        let before = platform.pruned(chain);
        let base = &self.base;
        // One after the other: what was ordered before is done.
        let further = before.is_none_or(|before| before.cleared && before.base.cut < base.cut);
        let nothing = || Rejection::NothingExpired { until: self.until };
        let heads = platform.heads_at().ok_or_else(nothing)?;
        let may_go =
            base.is_whole() && further && base.cut <= self.recorded && base.time <= self.until;
        if !may_go {
            return Err(nothing());
        }
        let pruned = events::chain::Pruned {
            chain: chain.clone(),
            policy: self.policy.get(),
            until: self.until,
            heads: heads.get(),
            base: base.clone(),
        };
        Ok(vec![Draft::new(pruned, chain)])
    }
}

impl ReceiptPruning {
    pub(crate) fn decide(&self, platform: &Platform) -> Result<Vec<Draft>, Rejection> {
        let pending = platform
            .pruned(&self.chain)
            .filter(|pruned| !pruned.cleared && pruned.ordered == self.ordered)
            .ok_or(Rejection::RemovalUnknown {
                ordered: self.ordered,
            })?;
        let cleared = events::chain::Cleared {
            chain: self.chain.clone(),
            ordered: self.ordered.get(),
            events: pending.base.cut.saturating_sub(pending.from),
        };
        Ok(vec![Draft::new(cleared, &self.chain)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::Facts;
    use crate::platform::{PlatformCommand, decide_platform};
    use countersign_chain::{CUT_EVENTS, Header, ledger_id};
    use countersign_events::Event;
    use countersign_events::heads::{KeysHead, Recorded};
    use countersign_ids::{Actor, AuthType, BodyHash, CommandId, Digest, EventHash, Retention};

    fn header(at: u64) -> Header {
        Header {
            ledger: ledger_id(&[9; 32]),
            chain: ChainId::platform(),
            id: "01938e5e-8a51-7000-8000-000000000001".parse().unwrap(),
            event_type: countersign_ids::EventType::new("chain", "pruned", 1).unwrap(),
            subject: "acme".parse().unwrap(),
            site: None,
            time: Time::from_unix_millis(at),
            retention: Retention::Evidence,
            sequence: Sequence::new(at),
            familysequence: Sequence::ZERO,
            prevhash: EventHash::from_bytes([0; 32]),
            bodyhash: BodyHash::from_bytes([0; 32]),
            bodykey: None,
            datasubject: None,
            actor: Actor {
                kind: AuthType::Reactor,
                id: "pruning".parse().unwrap(),
            },
            commandid: CommandId::from_bytes([0; 16]),
            requestdigest: None,
            platformhead: None,
            correlationid: None,
            causationid: None,
            traceparent: None,
            ownerepoch: None,
        }
    }

    fn base(groups: u64) -> Base {
        let cut = groups * CUT_EVENTS;
        Base {
            cut,
            head: EventHash::from_bytes([7; 32]),
            time: Time::from_unix_millis(500),
            families: [("beat".parse().unwrap(), cut)].into(),
            platformhead: countersign_ids::PlatformHead {
                sequence: Sequence::ZERO,
                hash: EventHash::from_bytes([7; 32]),
            },
            tree: vec![Digest::from_bytes([1; 32]); cut.count_ones().try_into().unwrap()],
        }
    }

    fn order(groups: u64) -> PruneBeats {
        PruneBeats {
            chain: "acme.beats".parse().unwrap(),
            policy: Sequence::new(4),
            until: Time::from_unix_millis(1000),
            recorded: 4 * CUT_EVENTS,
            base: base(groups),
        }
    }

    fn receipt(ordered: u64) -> ReceiptPruning {
        ReceiptPruning {
            chain: "acme.beats".parse().unwrap(),
            ordered: Sequence::new(ordered),
        }
    }

    /// Decides commands one after another, each on what the ones before wrote; `accepted` or why not.
    fn decided(commands: Vec<PlatformCommand>) -> Vec<&'static str> {
        let mut platform = Platform::new();
        let mut at = 0;
        let mut fold = |platform: &mut Platform, event: Event| {
            platform.evolve(&header(at), Some(&event));
            at += 1;
        };
        for (number, id) in ["acme", "acme.beats"].iter().enumerate() {
            let announced = events::chain::Announced {
                chain: id.parse().unwrap(),
                number: number.try_into().unwrap(),
            };
            fold(&mut platform, announced.into());
        }
        let heads = Recorded {
            size: 2,
            root: Digest::from_bytes([2; 32]),
            keys: KeysHead {
                count: 1,
                last: EventHash::from_bytes([3; 32]),
            },
            blobs: Vec::new(),
        };
        fold(&mut platform, heads.into());
        let facts = Facts {
            now: Time::from_unix_millis(2000),
            actor: header(0).actor,
        };
        let mut decide =
            |command: PlatformCommand| match decide_platform(&platform, &command, &facts) {
                Err(rejection) => rejection.name(),
                Ok(decision) => {
                    for draft in decision.drafts {
                        fold(&mut platform, draft.event);
                    }
                    "accepted"
                }
            };
        commands.into_iter().map(&mut decide).collect()
    }

    #[test]
    fn heartbeats_go_one_cut_after_another_and_each_has_one_receipt() {
        let changed = |change: fn(&mut PruneBeats)| {
            let mut order = order(1);
            change(&mut order);
            vec![order.into()]
        };
        // The first three events stand before the first order.
        for (commands, expected) in [
            (vec![order(1).into()], vec!["accepted"]),
            (vec![order(4).into()], vec!["accepted"]),
            (vec![order(5).into()], vec!["NothingExpired"]),
            (
                changed(|order| order.until = Time::from_unix_millis(499)),
                vec!["NothingExpired"],
            ),
            (changed(|order| order.base.cut += 1), vec!["NothingExpired"]),
            (
                changed(|order| order.base.tree.clear()),
                vec!["NothingExpired"],
            ),
            (
                changed(|order| order.chain = "acme".parse().unwrap()),
                vec!["TenantUnknown"],
            ),
            (
                changed(|order| order.chain = "brick.beats".parse().unwrap()),
                vec!["TenantUnknown"],
            ),
            (vec![receipt(3).into()], vec!["RemovalUnknown"]),
            (
                vec![
                    order(1).into(),
                    order(2).into(),
                    receipt(3).into(),
                    order(2).into(),
                ],
                vec!["accepted", "NothingExpired", "accepted", "accepted"],
            ),
            (
                vec![
                    order(1).into(),
                    receipt(2).into(),
                    receipt(3).into(),
                    receipt(3).into(),
                ],
                vec!["accepted", "RemovalUnknown", "accepted", "RemovalUnknown"],
            ),
            (
                vec![
                    order(2).into(),
                    receipt(3).into(),
                    order(2).into(),
                    order(1).into(),
                ],
                vec!["accepted", "accepted", "NothingExpired", "NothingExpired"],
            ),
        ] {
            assert_eq!(decided(commands), expected);
        }
    }
}
