//! The tables: name, the world with one thing wrong, and the code that must refuse it.

use countersign_evidence::codes;
use countersign_evidence::dsse::Envelope;
use countersign_evidence::keys::{EndReason, EndedKey, KeyStatement, Role};
use countersign_evidence::message::Mode;
use countersign_evidence::statement::{Decision, Scope};
use countersign_evidence::wire::{JsonObject, OrDash, ProofHash, V1};
use countersign_ids::{Code, Nonce, Sequence};

use crate::world::*;

pub(crate) fn other() -> JsonObject {
    JsonObject::of_strings([("current", digest(99).to_string())])
}

pub(crate) fn second_keys(change: impl FnOnce(&mut KeyStatement), signers: &[u8]) -> Envelope {
    let mut statement = KeyStatement {
        v: V1,
        ledger: ledger(),
        version: 2,
        previous: OrDash::from(first_envelope().payload_digest()),
        origin: None,
        add: Vec::new(),
        end: Vec::new(),
        quorum: None,
    };
    change(&mut statement);
    sign_keys(&statement, signers)
}

pub(crate) fn stolen(role: Role, seed: u8) -> Envelope {
    let end = vec![EndedKey {
        role,
        key: public(seed),
        reason: EndReason::Stolen,
    }];
    second_keys(|statement| statement.end = end, &[GENESIS])
}

pub(crate) fn world(change: impl FnOnce(&mut World)) -> World {
    let mut world = World::new();
    change(&mut world);
    world
}

/// Changes the action object, and has the statements approve the changed one.
pub(crate) fn object(change: impl FnOnce(&mut countersign_evidence::ActionObject)) -> World {
    world(|world| {
        change(&mut world.order.action_object);
        world.order.rollback_digest = world.order.action_object.rollback_digest;
        world.statements = vec![(statement("mira", &world.order.action_object), key(MIRA))];
    })
}

pub(crate) fn voter(change: impl FnOnce(&mut countersign_evidence::Statement)) -> World {
    world(|world| change(&mut world.statements[0].0))
}

pub(crate) type Case = (&'static str, World, Code);

pub(crate) fn delivery_cases() -> Vec<Case> {
    let c = codes::ORDER_MALFORMED;
    vec![
        (
            "header with a space",
            world(|w| w.delivery = |d| d.event.header.insert(1, ' ')),
            c,
        ),
        (
            "another event",
            world(|w| {
                w.header = |h| h.event_type = "dev.countersign.platform.noted.v1".parse().unwrap()
            }),
            c,
        ),
        (
            "body without an order",
            world(|w| w.body_action = "A".to_owned()),
            c,
        ),
        (
            "another salt",
            world(|w| w.delivery = |d| d.event.salt = countersign_ids::Salt::from_bytes([9; 16])),
            codes::ORDER_BODY,
        ),
        (
            "a changed body",
            world(|w| {
                w.delivery = |d| d.event.body = d.event.body.replace("\"round\":1", "\"round\":2")
            }),
            codes::ORDER_BODY,
        ),
        (
            "a proof without end",
            world(|w| w.delivery = |d| d.inclusion = vec![ProofHash::from_bytes([0; 32]); 1000]),
            c,
        ),
    ]
}

pub(crate) fn authority_cases() -> Vec<Case> {
    vec![
        (
            "stopped at the site",
            world(|w| w.mode = Mode::Stopped),
            codes::ORDER_MODE,
        ),
        ("held", world(|w| w.mode = Mode::Hold), codes::ORDER_MODE),
        ("dark", world(|w| w.mode = Mode::Dark), codes::ORDER_MODE),
        (
            "rollback only",
            world(|w| w.mode = Mode::RollbackOnly),
            codes::ORDER_MODE,
        ),
        (
            "asks for all, and nobody approved",
            world(|w| {
                w.mode = Mode::AskForAll;
                w.statements.clear();
                w.document.floor[0].approvals = 0;
                w.order.document_digest = w.document.digest().unwrap();
            }),
            codes::ORDER_MODE,
        ),
        (
            "signed by the checkpoint key",
            world(|w| w.order_key = key(CHECKPOINT)),
            codes::ORDER_SIGNATURE,
        ),
        (
            "signed by the genesis key",
            world(|w| w.order_key = key(GENESIS)),
            codes::ORDER_SIGNATURE,
        ),
        (
            "the order key was stolen",
            world(|w| w.delivery = |d| d.keys = vec![stolen(Role::Order, ORDER)]),
            codes::ORDER_SIGNATURE,
        ),
        (
            "a key statement that genesis did not sign",
            world(|w| {
                w.delivery =
                    |d| d.keys = vec![second_keys(|s| s.add = vec![added(Role::Order, 42)], &[42])]
            }),
            codes::KEY_STATEMENT_REFUSED,
        ),
        (
            "another ledger",
            world(|w| w.order.ledger = countersign_ids::LedgerId::from_bytes([9; 32])),
            codes::ORDER_AUDIENCE,
        ),
        (
            "another chain",
            world(|w| w.order.chain = "brewery".parse().unwrap()),
            codes::ORDER_AUDIENCE,
        ),
        (
            "another site",
            world(|w| w.order.site = "blog".parse().unwrap()),
            codes::ORDER_AUDIENCE,
        ),
        (
            "an action of another site",
            object(|o| o.site = "blog".parse().unwrap()),
            codes::ORDER_AUDIENCE,
        ),
        (
            "another connector",
            world(|w| w.order.connector = "c2".parse().unwrap()),
            codes::ORDER_AUDIENCE,
        ),
        (
            "an older generation",
            world(|w| w.generation = 2),
            codes::ORDER_GENERATION,
        ),
        (
            "another document",
            world(|w| w.order.document_digest = digest(77)),
            codes::ORDER_DOCUMENT,
        ),
        (
            "before its time",
            world(|w| w.now = NOON.minus_millis(1)),
            codes::ORDER_NOT_YET,
        ),
        (
            "after its time",
            world(|w| w.now = NOON.plus_millis(120_001)),
            codes::ORDER_EXPIRED,
        ),
        (
            "after the action's time",
            object(|o| o.expires = NOON),
            codes::ORDER_EXPIRED,
        ),
        (
            "for too long",
            world(|w| w.order.expires = NOON.plus_millis(120_001)),
            codes::ORDER_WINDOW,
        ),
        (
            "ends before it begins",
            world(|w| w.order.expires = NOON.minus_millis(1)),
            codes::ORDER_WINDOW,
        ),
        (
            "a nonce seen",
            world(|w| w.nonces.extend([Nonce::from_bytes([8; 16])])),
            codes::ORDER_NONCE_SEEN,
        ),
        (
            "the last sequence again",
            world(|w| w.last_sequence = Some(Sequence::new(5))),
            codes::ORDER_SEQUENCE,
        ),
        (
            "an earlier sequence",
            world(|w| w.last_sequence = Some(Sequence::new(6))),
            codes::ORDER_SEQUENCE,
        ),
    ]
}

pub(crate) fn statement_cases() -> Vec<Case> {
    let action = codes::STATEMENT_ACTION;
    vec![
        (
            "an event of another action",
            world(|w| w.body_action = "a2".to_owned()),
            codes::ORDER_ACTION,
        ),
        (
            "another rollback plan than the action's",
            world(|w| w.order.rollback_digest = OrDash::NONE),
            codes::ORDER_ACTION,
        ),
        (
            "changed parameters",
            world(|w| w.order.action_object.parameters = other()),
            action,
        ),
        (
            "approved another ledger",
            voter(|s| s.ledger = countersign_ids::LedgerId::from_bytes([9; 32])),
            action,
        ),
        (
            "approved another chain",
            voter(|s| s.chain = "brewery".parse().unwrap()),
            action,
        ),
        (
            "approved another site",
            voter(|s| s.site = "blog".parse().unwrap()),
            action,
        ),
        (
            "approved another action",
            voter(|s| s.action = "a2".parse().unwrap()),
            action,
        ),
        (
            "approved another digest",
            voter(|s| s.action_digest = digest(1)),
            action,
        ),
        (
            "approved another rollback plan",
            voter(|s| s.rollback_digest = OrDash::NONE),
            action,
        ),
        ("a denial", voter(|s| s.decision = Decision::Deny), action),
        (
            "a withdrawal",
            voter(|s| s.decision = Decision::Withdraw),
            action,
        ),
        (
            "somebody who is not pinned",
            voter(|s| s.approver = "otto".parse().unwrap()),
            codes::STATEMENT_UNPINNED,
        ),
        (
            "a key that is not pinned",
            voter(|s| s.credential = "phone".parse().unwrap()),
            codes::STATEMENT_UNPINNED,
        ),
        (
            "another person's credential",
            voter(|s| s.credential = "noor-key".parse().unwrap()),
            codes::STATEMENT_UNPINNED,
        ),
        (
            "signed by somebody else",
            world(|w| w.statements[0].1 = key(NOOR)),
            codes::STATEMENT_REFUSED,
        ),
        (
            "approved for later",
            voter(|s| s.not_before = NOON.plus_millis(1001)),
            codes::STATEMENT_TIME,
        ),
        (
            "approved for earlier",
            voter(|s| {
                s.not_before = NOON.minus_millis(5);
                s.not_after = NOON;
            }),
            codes::STATEMENT_TIME,
        ),
        (
            "break-glass where it does not count",
            voter(|s| s.scope = Scope::BreakGlass),
            codes::STATEMENT_BREAK_GLASS,
        ),
        (
            "one person twice",
            world(|w| {
                let mut again = w.statements[0].clone();
                again.0.nonce = Nonce::from_bytes([9; 16]);
                w.statements.push(again);
            }),
            codes::STATEMENT_REPEATED,
        ),
        (
            "votes of two rounds",
            world(|w| {
                let mut noor = statement("noor", &w.order.action_object);
                noor.round = 2;
                w.statements.push((noor, key(NOOR)));
            }),
            codes::STATEMENT_REPEATED,
        ),
        (
            "executed under before",
            world(|w| w.executed = [w.signed_order().statements[0].digest()].into()),
            codes::STATEMENT_EXECUTED,
        ),
        (
            "nobody approved",
            world(|w| w.statements.clear()),
            codes::ORDER_FLOOR,
        ),
        (
            "the larger of two floors",
            world(|w| {
                let publish = countersign_evidence::document::KindOrAny::Kind(
                    "release.publish".parse().unwrap(),
                );
                w.document.floor.push(countersign_evidence::FloorRule {
                    kind: publish,
                    approvals: 2,
                });
                w.order.document_digest = w.document.digest().unwrap();
            }),
            codes::ORDER_FLOOR,
        ),
        (
            "a document replaced by fewer than the quorum",
            object(|o| o.kind = "document.replace".parse().unwrap()),
            codes::ORDER_FLOOR,
        ),
    ]
}

pub(crate) fn tree_and_site_cases() -> Vec<Case> {
    vec![
        (
            "a checkpoint by the order key",
            world(|w| w.checkpoint_key = key(ORDER)),
            codes::ORDER_CHECKPOINT,
        ),
        (
            "the checkpoint key was stolen",
            world(|w| w.delivery = |d| d.keys = vec![stolen(Role::Checkpoint, CHECKPOINT)]),
            codes::ORDER_CHECKPOINT,
        ),
        (
            "no checkpoint",
            world(|w| w.delivery = |d| d.checkpoint.clear()),
            codes::ORDER_CHECKPOINT,
        ),
        (
            "a changed size",
            world(|w| w.delivery = |d| d.checkpoint = d.checkpoint.replace("\n8\n", "\n9\n")),
            codes::ORDER_CHECKPOINT,
        ),
        (
            "a smaller tree than the accepted",
            world(|w| {
                w.accepted = 9;
                w.delivery = |_| ();
            }),
            codes::ORDER_CHECKPOINT_BEHIND,
        ),
        (
            "another leaf",
            world(|w| {
                w.delivery = |d| {
                    d.inclusion.reverse();
                }
            }),
            codes::ORDER_INCLUSION,
        ),
        (
            "no inclusion proof",
            world(|w| w.delivery = |d| d.inclusion.clear()),
            codes::ORDER_INCLUSION,
        ),
        (
            "an event that stands elsewhere",
            world(|w| w.header = |h| h.sequence = Sequence::new(4)),
            codes::ORDER_INCLUSION,
        ),
        (
            "a split view",
            world(|w| w.accepted_root = Some(digest(50))),
            codes::ORDER_CONSISTENCY,
        ),
        (
            "no consistency proof",
            world(|w| w.delivery = |d| d.consistency.clear()),
            codes::ORDER_CONSISTENCY,
        ),
        (
            "the site changed meanwhile",
            world(|w| w.current = other()),
            codes::ORDER_PRECONDITION,
        ),
        (
            "more in the state than was planned against",
            world(|w| drop(w.current.0.insert("x".to_owned(), 1.into()))),
            codes::ORDER_PRECONDITION,
        ),
        (
            "the previous release changed",
            world(|w| w.rollback = OrDash::from(digest(98))),
            codes::ORDER_READINESS,
        ),
        (
            "the previous release is gone",
            world(|w| w.rollback = OrDash::NONE),
            codes::ORDER_READINESS,
        ),
    ]
}
