//! The tables of spoiled orders and deliveries, at least one of each check.

use super::*;

/// What is wrong with the order, before it is signed.
pub(super) type SpoilOrder = fn(&Scene, &mut Inner, &mut Order);
/// What is wrong with the delivery, after it was made.
pub(super) type SpoilDelivery = fn(&Scene, &mut Inner, &mut Delivery);

pub(super) enum Spoil {
    Order(SpoilOrder),
    Delivery(SpoilDelivery),
}

use Spoil::{Delivery as InDelivery, Order as InOrder};

#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn messages() -> Vec<(&'static str, Spoil)> {
    vec![
        (
            "order-mode",
            InDelivery(|scene, inner, _| {
                inner.containment = Containment::Hold;
                let lease = crate::agent::Lease {
                    until: Time::MAX,
                    mode: countersign_evidence::Mode::Hold,
                };
                scene.agent.lease.send_replace(Some(lease));
            }),
        ),
        (
            "order-signature",
            InDelivery(|scene, inner, delivery| {
                // Whoever cannot sign does not even learn the mode.
                let lease = crate::agent::Lease {
                    until: Time::MAX,
                    mode: countersign_evidence::Mode::Hold,
                };
                scene.agent.lease.send_replace(Some(lease));
                inner.ledger.orders = key(9);
                *delivery = scene.deliver(inner, &scene.order(inner, 5));
            }),
        ),
        (
            "order-signature",
            InOrder(|_, inner, _| inner.ledger.orders = key(9)),
        ),
        (
            "order-signature",
            InDelivery(|_, inner, delivery| {
                // The key ended; the statement that says so comes with the order that it signed.
                inner.ledger.rotate_orders(key(9), EndReason::Rotated);
                delivery.keys = inner.keys_after(1);
            }),
        ),
        (
            "order-signature",
            InDelivery(|_, inner, delivery| {
                inner.ledger.rotate_orders(key(9), EndReason::Stolen);
                delivery.keys = inner.keys_after(1);
            }),
        ),
        (
            "key-statement-refused",
            InDelivery(|_, inner, delivery| {
                inner.ledger.genesis = key(9);
                inner.ledger.rotate_orders(key(8), EndReason::Stolen);
                delivery.keys = inner.keys_after(1);
            }),
        ),
        (
            "order-audience",
            InOrder(|_, _, order| order.ledger = countersign_chain::ledger_id(&[9; 32])),
        ),
        (
            "order-audience",
            InOrder(|_, _, order| order.chain = "other".parse().unwrap()),
        ),
        (
            "order-audience",
            InOrder(|_, _, order| order.site = "shop".parse().unwrap()),
        ),
        (
            "order-audience",
            InOrder(|_, _, order| order.connector = "other".parse().unwrap()),
        ),
        (
            "order-generation",
            InOrder(|_, _, order| order.generation = 2),
        ),
        (
            "order-document",
            InOrder(|_, _, order| order.document_digest = sha256(b"another")),
        ),
        (
            "order-expired",
            InOrder(|_, _, order| {
                order.not_before = now().minus_millis(121_000);
                order.expires = now().minus_millis(1_000);
            }),
        ),
        (
            "order-not-yet",
            InOrder(|_, _, order| {
                order.not_before = now().plus_millis(60_000);
                order.expires = now().plus_millis(180_000);
            }),
        ),
        (
            "order-window",
            InOrder(|_, _, order| order.expires = order.not_before.plus_millis(120_001)),
        ),
        (
            "order-nonce-seen",
            InOrder(|scene, _, order| {
                remember(scene, |state| {
                    state.nonces.insert(order.nonce, order.expires);
                });
            }),
        ),
        (
            "order-sequence",
            InOrder(|scene, _, order| {
                remember(scene, |state| state.sequence = Some(order.sequence));
            }),
        ),
        (
            "order-action",
            InOrder(|_, _, order| order.rollback_digest = sha256(b"another").into()),
        ),
    ]
}

#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn statements() -> Vec<(&'static str, Spoil)> {
    vec![
        (
            "order-statement-action",
            InOrder(|_, inner, order| {
                restate(inner, order, |statement| {
                    statement.action_digest = sha256(b"another")
                });
            }),
        ),
        (
            "order-statement-action",
            InOrder(|_, inner, order| {
                restate(inner, order, |statement| {
                    statement.site = "shop".parse().unwrap()
                });
            }),
        ),
        (
            "order-statement-action",
            InOrder(|_, inner, order| {
                restate(inner, order, |statement| {
                    statement.decision = Decision::Deny
                });
            }),
        ),
        (
            "order-floor",
            InOrder(|_, _, order| order.statements.clear()),
        ),
        (
            "order-floor",
            InOrder(|scene, _, order| {
                let floor = vec![FloorRule {
                    kind: KindOrAny::Any,
                    approvals: 2,
                }];
                order.document_digest = repin(scene, |document| document.floor = floor);
            }),
        ),
        (
            "order-statement-unpinned",
            InOrder(|_, inner, order| {
                restate(inner, order, |statement| {
                    statement.approver = "eve".parse().unwrap()
                });
            }),
        ),
        (
            "order-statement-refused",
            InOrder(|_, inner, order| {
                inner.ledger.approver = key(9);
                restate(inner, order, |_| {});
            }),
        ),
        (
            "order-statement-time",
            InOrder(|_, inner, order| {
                restate(inner, order, |statement| {
                    statement.not_after = now().minus_millis(1)
                });
            }),
        ),
        (
            "order-statement-time",
            InOrder(|_, inner, order| {
                restate(inner, order, |statement| {
                    statement.not_before = now().plus_millis(60_000)
                });
            }),
        ),
        (
            "order-break-glass",
            InOrder(|_, inner, order| {
                restate(inner, order, |statement| {
                    statement.scope = Scope::BreakGlass
                });
            }),
        ),
        (
            "order-statement-repeated",
            InOrder(|scene, inner, order| {
                let another = Credential {
                    approver: "ada".parse().unwrap(),
                    credential: "ada-phone".parse().unwrap(),
                    alg: Alg::Ed25519,
                    key: Base64(key(9).verifying_key().to_bytes().to_vec()),
                    origin: None,
                    rp_id: None,
                };
                order.document_digest = repin(scene, |document| document.approvers.push(another));
                let mut second = order.statements[0].unverified().unwrap();
                (second.credential, second.nonce) =
                    ("ada-phone".parse().unwrap(), Nonce::from_bytes([77; 16]));
                order.statements.push(second.sign(&key(9)).unwrap());
                let _ = inner;
            }),
        ),
        (
            "order-statement-executed",
            InOrder(|scene, _, order| {
                let digest = order.statements[0].digest();
                remember(scene, |state| {
                    state.statements.insert(digest, Time::MAX);
                });
            }),
        ),
    ]
}

#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn proofs_and_site() -> Vec<(&'static str, Spoil)> {
    vec![
        (
            "order-checkpoint",
            InDelivery(|_, inner, delivery| {
                inner.ledger.checkpoints = key(9);
                delivery.checkpoint = inner.checkpoint();
            }),
        ),
        (
            "order-checkpoint",
            InDelivery(|_, inner, delivery| {
                let root = *inner.chain.root(inner.chain.size()).as_bytes();
                let origin = format!("{ORIGIN}/other");
                delivery.checkpoint = note(
                    &origin,
                    inner.chain.size(),
                    &root,
                    &inner.ledger.checkpoints,
                );
            }),
        ),
        (
            "order-checkpoint-behind",
            InDelivery(|scene, inner, delivery| {
                let size = usize::try_from(scene.agent.state().checkpoint.size).unwrap() - 1;
                delivery.checkpoint = inner.note(size);
            }),
        ),
        (
            "order-inclusion",
            InDelivery(|_, _, delivery| delivery.inclusion[0] = ProofHash::from_bytes([9; 32])),
        ),
        (
            "order-inclusion",
            InDelivery(|_, _, delivery| {
                delivery.inclusion.pop();
            }),
        ),
        (
            "order-consistency",
            InDelivery(|_, _, delivery| delivery.consistency[0] = ProofHash::from_bytes([9; 32])),
        ),
        (
            "order-consistency",
            InDelivery(|_, _, delivery| delivery.consistency.clear()),
        ),
        (
            "order-precondition",
            InOrder(|scene, inner, order| {
                let rollback = order.action_object.rollback_digest.get().copied().unwrap();
                order.action_object =
                    inner
                        .ledger
                        .publish(&scene.two, Some(scene.two), rollback, now());
                order.statements =
                    vec![
                        inner
                            .ledger
                            .approved(&order.action, &order.action_object, 70, now()),
                    ];
            }),
        ),
        (
            "order-readiness",
            InDelivery(|scene, _, _| {
                use std::os::unix::fs::PermissionsExt;
                let releases = &scene.agent.site.releases;
                let page = releases
                    .directory(&scene.one)
                    .join("files/guide/index.html");
                std::fs::set_permissions(&page, std::fs::Permissions::from_mode(0o644)).unwrap();
                std::fs::write(&page, "changed").unwrap();
            }),
        ),
        (
            "kind-not-executed",
            InOrder(|_, inner, order| {
                order.action_object.kind = "release.burn".parse().unwrap();
                order.statements =
                    vec![
                        inner
                            .ledger
                            .approved(&order.action, &order.action_object, 70, now()),
                    ];
            }),
        ),
    ]
}
