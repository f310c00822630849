//! A history whose heartbeats were pruned, and what its order may say that it must not.

use std::sync::Arc;

use countersign_chain::CUT_EVENTS;
use countersign_events::chain::{Cleared, Pruned};
use countersign_events::retention::BeatsSet;
use countersign_store::Pruning;

use super::{BEATS, Story};
use crate::support::{TENANT, Twist, World, chain, fact, person, service};

/// Heartbeats go before a cut by an order that `order` may change, and a receipt by `receipt`; without an order none stands
/// there. `prune` tells whether anything goes.
pub(crate) fn tell_pruned(
    seed: u8,
    order: impl FnOnce(Pruned) -> Option<Pruned>,
    receipt: impl FnOnce(Cleared) -> Option<Cleared>,
    prune: bool,
) -> World {
    let mut story = Story::begin(seed, Twist::Sound);
    let cut = 2 * CUT_EVENTS;
    for _ in 0..cut + CUT_EVENTS + 20 {
        story.beat();
    }
    let set = BeatsSet { beats_days: 0 };
    let world = &mut story.world;
    let policy = world.append(TENANT, person("owner"), vec![fact(set, "retention")]);
    world.checkpoint(BEATS);
    world.record_heads();
    let heads = world.ledger().head(&chain("platform")).unwrap().size - 1;
    let base = world.ledger().base_at(&chain(BEATS), cut).unwrap();
    let pruning = Pruning {
        chain: chain(BEATS),
        base: base.clone(),
    };
    let ordered = order(Pruned {
        chain: chain(BEATS),
        policy: policy.first.get(),
        until: base.time,
        heads,
        base,
    });
    if let Some(ordered) = ordered {
        let ordered = fact(ordered, BEATS);
        let at = world.append("platform", service(), vec![ordered]).first;
        let done = Cleared {
            chain: chain(BEATS),
            ordered: at.get(),
            events: cut,
        };
        if let Some(done) = receipt(done) {
            world.append("platform", service(), vec![fact(done, BEATS)]);
        }
    }
    if prune {
        world.ledger().prune(&Arc::new(pruning)).unwrap();
    }
    story.beat();
    story.end()
}
