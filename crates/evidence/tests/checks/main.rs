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
use countersign_ids::Nonce;
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

#[test]
fn only_an_order_with_a_good_signature_leaves_its_nonce() {
    let expired = world(|w| w.now = NOON.plus_millis(200_000))
        .check()
        .unwrap_err();
    assert_eq!(
        expired.order.unwrap().order().nonce,
        Nonce::from_bytes([8; 16])
    );
    assert!(expired.order_digest.is_some());
    let forged = world(|w| w.order_key = key(42)).check().unwrap_err();
    assert!(
        forged.order.is_none(),
        "a forger must not be able to use nonces up"
    );
    assert!(forged.order_digest.is_some());
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
