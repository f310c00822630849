//! One mutated order per check of the connector, each refused by its own code, and nothing else changed.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    reason = "tables and helpers of tests, outside of test functions"
)]

mod cases;
#[path = "../world/mod.rs"]
mod world;

use std::collections::BTreeSet;

use cases::{
    Case, authority_cases, delivery_cases, object, second_keys, statement_cases,
    tree_and_site_cases, world,
};
use countersign_evidence::keys::{EndReason, EndedKey, Role};
use countersign_evidence::message::Mode;
use countersign_evidence::statement::Scope;
use countersign_evidence::{CODES, codes};
use countersign_ids::{Code, Nonce};
use world::*;

#[test]
fn a_good_order_passes_and_names_what_is_persisted() {
    let world = World::new();
    let passed = world.check().unwrap();
    let signed = &world.signed_order().statements[0];
    assert_eq!(passed.statements().len(), 1);
    assert_eq!(*passed.statements()[0].digest(), signed.digest());
    assert_eq!(passed.checkpoint().size, 8);
    assert_eq!(passed.order().nonce, Nonce::from_bytes([8; 16]));
    assert_eq!(passed.ring().version(), 1);
}

fn cases() -> Vec<Case> {
    [
        delivery_cases(),
        authority_cases(),
        statement_cases(),
        tree_and_site_cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[test]
fn every_mutated_order_is_refused_by_the_code_of_its_check() {
    for (name, world, code) in cases() {
        let refused = world.check().expect_err(name);
        assert_eq!(refused.refusal.code().id, code.id, "{name}: {refused}");
    }
}

#[test]
fn every_check_has_a_mutated_order() {
    let covered: BTreeSet<&str> = cases().iter().map(|(_, _, code)| code.id).collect();
    let checks: BTreeSet<&str> = CODES
        .iter()
        .map(|code| code.id)
        .filter(|id| id.starts_with("order-") || *id == "key-statement-refused")
        .collect();
    assert_eq!(covered, checks);
}

/// The codes of what the order's signature does not cover: whoever stands in between could have spoiled that.
const SPOILED: [Code; 8] = [
    codes::ORDER_MALFORMED,
    codes::ORDER_BODY,
    codes::KEY_STATEMENT_REFUSED,
    codes::ORDER_SIGNATURE,
    codes::ORDER_CHECKPOINT,
    codes::ORDER_CHECKPOINT_BEHIND,
    codes::ORDER_INCLUSION,
    codes::ORDER_CONSISTENCY,
];

#[test]
fn only_what_the_order_s_signature_covers_ends_the_order() {
    for (name, world, code) in cases() {
        let refused = world.check().expect_err(name);
        // An event of another action fits no order; an order that contradicts itself is over.
        let spoiled = SPOILED.contains(&code) || name.starts_with("an event of");
        assert_eq!(refused.order.is_none(), spoiled, "{name}: {refused}");
        if let Some(order) = refused.order {
            assert_eq!(order.order().nonce, Nonce::from_bytes([8; 16]), "{name}");
        }
    }
}

#[test]
fn who_cannot_sign_does_not_even_learn_the_mode() {
    for mode in [Mode::Hold, Mode::Dark, Mode::Quiet, Mode::Stopped] {
        let told = world(|w| w.mode = mode).check().unwrap_err();
        assert_eq!(told.refusal.code(), codes::ORDER_MODE);
        let forged = world(|w| (w.mode, w.order_key) = (mode, key(42)));
        let forged = forged.check().unwrap_err();
        assert_eq!(forged.refusal.code(), codes::ORDER_SIGNATURE);
        assert!(forged.order.is_none());
    }
}

#[test]
fn statements_that_suffice() {
    let two = |kind: &str| {
        object(|o| o.kind = kind.parse().unwrap()).with(|w| {
            w.statements
                .push((statement("noor", &w.order.action_object), key(NOOR)));
        })
    };
    two("document.replace").check().unwrap();
    two("release.publish").check().unwrap();
    // Where break-glass counts, it counts as one person: a stolen server key gets no further than the floor lets it.
    let glass = |approvals: u64| {
        world(|w| {
            w.statements[0].0.scope = Scope::BreakGlass;
            w.document.break_glass = true;
            w.document.floor[0].approvals = approvals;
            w.order.document_digest = w.document.digest().unwrap();
        })
    };
    glass(1).check().unwrap();
    assert_eq!(
        glass(2).check().unwrap_err().refusal.code(),
        codes::ORDER_FLOOR
    );
    let mut nobody = world(|w| w.statements.clear());
    nobody.document.floor[0].approvals = 0;
    nobody.order.document_digest = nobody.document.digest().unwrap();
    nobody.check().unwrap();
    world(|w| w.mode = Mode::AskForAll).check().unwrap();
    object(|o| o.kind = "release.rollback".parse().unwrap())
        .with(|w| w.mode = Mode::RollbackOnly)
        .check()
        .unwrap();
    world(|w| w.last_sequence = None).check().unwrap();
    world(|w| w.accepted = 0).check().unwrap();
    world(|w| w.accepted = 4).check().unwrap();
}

#[test]
fn the_limits_of_every_time_still_count() {
    for now in [NOON, NOON.plus_millis(120_000)] {
        world(|w| w.now = now).check().unwrap();
    }
}

#[test]
fn an_order_key_that_a_delivery_rotates_in_signs_the_order() {
    let mut w = World::new();
    w.order_key = key(42);
    w.delivery = |d| {
        let rotated = second_keys(
            |s| {
                s.add = vec![added(Role::Order, 42)];
                s.end = vec![EndedKey {
                    role: Role::Order,
                    key: public(ORDER),
                    reason: EndReason::Rotated,
                }];
            },
            &[ORDER, 42],
        );
        d.keys = vec![rotated];
    };
    assert_eq!(w.check().unwrap().ring().version(), 2);
}

impl World {
    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }
}
