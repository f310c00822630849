//! One spoiled order per check, each through everything that the connector does with a delivery: it is refused by its
//! own code, says so, keeps its nonce and nothing else, and touches nothing. `evidence` has the longer table, of the
//! checks alone.

mod after;

use std::collections::BTreeMap;

use countersign_chain::sha256;
use countersign_evidence::{
    Alg, CODES, Credential, Decision, Delivery, EndReason, FloorRule, Order, OutcomeResult, Scope,
    Statement,
    document::KindOrAny,
    message::Stream,
    wire::{Base64, ProofHash},
};
use countersign_ids::{ActionId, Digest, Nonce, Sequence, Time};
use countersign_transport::Containment;

use crate::{
    Config,
    agent::{Agent, now},
    config::Layout,
    pair,
    plane::{
        Inner, Plane,
        chain::note,
        ledger::{ORIGIN, key},
    },
    site::{
        Releases,
        tests::{install_files, sample_files},
    },
    speak::Sent,
    state::{Entry, Report, State},
};

/// A paired connector with one release live, and a control plane that would publish another.
struct Scene {
    _directory: tempfile::TempDir,
    plane: Plane,
    agent: Agent,
    one: Digest,
    two: Digest,
}

impl Scene {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let plane = Plane::start().await;
        let local = ([127, 0, 0, 1], 0).into();
        let config = Config::new(directory.path(), local, local, &plane.url());
        pair(&config, &plane.code()).await.unwrap();
        let layout = Layout::new(directory.path());
        let releases = Releases::open(&layout.site()).unwrap();
        let one = install_files(&releases, "one", &sample_files("one"));
        let two = install_files(&releases, "two", &sample_files("two"));
        releases.switch(Some(&one)).unwrap();
        let agent = Agent::start(&config, layout).await.unwrap();
        let scene = Self {
            _directory: directory,
            plane,
            agent,
            one,
            two,
        };
        scene.catch_up().await;
        scene
    }

    /// Delivers as if it had just been asked for.
    async fn take(&self, delivery: &Delivery) -> Result<Sent, crate::Error> {
        self.agent
            .deliver(delivery, &self.agent.state().checkpoint)
            .await
    }

    /// A heartbeat, and everything that waits to be said.
    async fn catch_up(&self) {
        assert_eq!(self.agent.flush().await.unwrap(), Sent::Done);
        assert_eq!(self.agent.beat().await.unwrap(), Sent::Done);
    }

    /// A good order that publishes release two; `number` is its sequence and its nonces.
    fn order(&self, inner: &Inner, number: u64) -> Order {
        let action: ActionId = format!("publish-{number}").parse().unwrap();
        let rollback = self.agent.last_seen().unwrap().rollback.digest().unwrap();
        let object = inner
            .ledger
            .publish(&self.two, Some(self.one), rollback, now());
        inner.ledger.order(&action, &object, number, now())
    }

    /// The delivery of an order, with honest proofs.
    fn deliver(&self, inner: &mut Inner, order: &Order) -> Delivery {
        inner.authorize(order);
        let at = inner.chain.size() - 1;
        let state = self.agent.state();
        inner.delivery(
            at,
            state.checkpoint.size,
            u64::try_from(state.keys.len()).unwrap(),
        )
    }
}

/// Has the approver sign the order's statement again, changed.
fn restate(inner: &Inner, order: &mut Order, change: impl FnOnce(&mut Statement)) {
    let mut statement = order.statements[0].unverified().unwrap();
    change(&mut statement);
    order.statements[0] = statement.sign(&inner.ledger.approver).unwrap();
}

/// Changes the document that is pinned here, as if it had been pinned so.
fn repin(scene: &Scene, change: impl FnOnce(&mut countersign_evidence::PinnedDocument)) -> Digest {
    let state = scene.agent.state();
    let mut document = state.document.clone().unwrap();
    change(&mut document);
    let pinned = State {
        document: Some(document.clone()),
        ..state
    };
    scene
        .agent
        .write(vec![Entry::Snapshot {
            state: Box::new(pinned),
        }])
        .unwrap();
    document.digest().unwrap()
}

/// What is wrong with the order, before it is signed.
type SpoilOrder = fn(&Scene, &mut Inner, &mut Order);
/// What is wrong with the delivery, after it was made.
type SpoilDelivery = fn(&Scene, &mut Inner, &mut Delivery);

enum Spoil {
    Order(SpoilOrder),
    Delivery(SpoilDelivery),
}

use Spoil::{Delivery as InDelivery, Order as InOrder};

#[expect(clippy::too_many_lines, reason = "a table")]
fn messages() -> Vec<(&'static str, Spoil)> {
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

/// Changes what the connector remembers.
fn remember(scene: &Scene, change: impl FnOnce(&mut State)) {
    let mut state = scene.agent.state();
    change(&mut state);
    scene
        .agent
        .write(vec![Entry::Snapshot {
            state: Box::new(state),
        }])
        .unwrap();
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn statements() -> Vec<(&'static str, Spoil)> {
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
fn proofs_and_site() -> Vec<(&'static str, Spoil)> {
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

/// The refusals that wait to be said, and everything else that waits but observations.
fn said(state: &State) -> Vec<(Digest, OutcomeResult, String)> {
    let outcomes = state.outbox.iter().filter_map(|report| match report {
        Report::Outcome {
            order_digest,
            result,
            code,
            ..
        } => Some((*order_digest, *result, code.to_string())),
        Report::Observed { .. } => None,
    });
    outcomes.collect()
}

async fn check(code: &'static str, spoil: &Spoil) {
    let scene = Scene::new().await;
    let (delivery, order) = {
        let mut inner = scene.plane.lock();
        let mut order = scene.order(&inner, 5);
        if let InOrder(spoil) = spoil {
            spoil(&scene, &mut inner, &mut order);
        }
        let mut delivery = scene.deliver(&mut inner, &order);
        if let InDelivery(spoil) = spoil {
            spoil(&scene, &mut inner, &mut delivery);
        }
        (delivery, order)
    };
    let before = scene.agent.state();
    let sent = scene.take(&delivery).await.unwrap();
    let after = scene.agent.state();
    // What is not known to be the plane's is neither answered nor remembered.
    if ["order-signature", "key-statement-refused"].contains(&code) {
        assert_eq!((sent, after), (Sent::Later, before), "{code}");
        assert_eq!(
            scene.agent.site.releases.current().unwrap(),
            Some(scene.one)
        );
        let judged = scene.agent.judge(&delivery).await.unwrap().unwrap_err();
        assert_eq!(judged.refusal.code().id, code);
        return;
    }
    let digest = countersign_evidence::checks::Opened::open(&delivery)
        .unwrap()
        .envelope
        .payload_digest();
    assert_eq!(
        said(&after),
        [(digest, OutcomeResult::Refused, code.to_owned())]
    );
    assert_eq!(
        scene.agent.site.releases.current().unwrap(),
        Some(scene.one)
    );

    // Of everything that is remembered only the order and its nonce are new, and the nonce only of a signed order.
    let unsigned = code == "order-mode";
    let mut expected = before.clone();
    expected.orders.clone_from(&after.orders);
    expected.outbox.clone_from(&after.outbox);
    if !unsigned {
        expected.nonces.insert(order.nonce, order.expires);
    }
    // One spoiled proof is no fork; what is signed twice with two roots is.
    if code == "order-consistency" {
        let (inner, state) = (scene.plane.lock(), scene.agent.state());
        let origin = format!("{ORIGIN}/{}", inner.ledger.tenant.chain());
        let size = usize::try_from(state.checkpoint.size).unwrap();
        let other = note(&origin, size, &[7; 32], &inner.ledger.checkpoints);
        let same = inner.note(size);
        drop(inner);
        let (chain, ring) = (
            state.pairing.as_ref().unwrap().tenant.chain(),
            crate::agent::ring(&state).unwrap(),
        );
        let contradicts =
            |note: &str| crate::checkpoint::contradicts(&ring, &chain, note, &state.checkpoint);
        assert!(contradicts(&other) && !contradicts(&same));
    }
    assert_eq!(after, expected, "{code}");

    // Handed out again it is neither executed nor refused twice.
    assert_eq!(scene.take(&delivery).await.unwrap(), Sent::Later);
    assert_eq!(said(&scene.agent.state()).len(), 1, "{code}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_spoiled_order_is_refused_by_its_own_code() {
    let table: Vec<_> = messages()
        .into_iter()
        .chain(statements())
        .chain(proofs_and_site())
        .collect();
    for (code, spoil) in &table {
        check(code, spoil).await;
    }
    // Two refusals name no order: the delivery cannot be believed to hold one.
    let not_said = ["order-malformed", "order-body"];
    for code in CODES
        .iter()
        .filter(|code| code.id.starts_with("order-") && !not_said.contains(&code.id))
    {
        assert!(
            table.iter().any(|(of, _)| *of == code.id),
            "no order is spoiled for `{code}`"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_holds_no_order_is_left_alone() {
    let scene = Scene::new().await;
    let good = {
        let mut inner = scene.plane.lock();
        let order = scene.order(&inner, 5);
        scene.deliver(&mut inner, &order)
    };
    let before = scene.agent.state();
    let spoils: [fn(&mut Delivery); 4] = [
        |delivery| delivery.event.body = delivery.event.body.replace("4.14.1", "4.14.2"),
        |delivery| delivery.event.body.clear(),
        |delivery| delivery.event.header = delivery.event.header.replace("authorized", "proposed"),
        |delivery| delivery.event.header.push(' '),
    ];
    for spoil in spoils {
        let mut delivery = good.clone();
        spoil(&mut delivery);
        assert_eq!(scene.take(&delivery).await.unwrap(), Sent::Later);
        assert_eq!(scene.agent.state(), before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_order_is_executed_and_everything_that_must_not_come_again_is_kept() {
    let scene = Scene::new().await;
    let (order, delivery) = {
        let mut inner = scene.plane.lock();
        inner.ledger.rotate_orders(key(9), EndReason::Rotated);
        let order = scene.order(&inner, 5);
        let delivery = scene.deliver(&mut inner, &order);
        (order, delivery)
    };
    assert_eq!(delivery.keys.len(), 1);
    assert_eq!(scene.take(&delivery).await.unwrap(), Sent::Done);
    let state = scene.agent.state();
    assert_eq!(
        scene.agent.site.releases.current().unwrap(),
        Some(scene.two)
    );
    assert_eq!(state.sequence, Some(Sequence::new(5)));
    assert_eq!(state.nonces, BTreeMap::from([(order.nonce, order.expires)]));
    let signed = &order.statements[0];
    assert_eq!(
        state.statements,
        BTreeMap::from([(signed.digest(), signed.unverified().unwrap().not_after)])
    );
    assert_eq!(state.keys.len(), 2);
    assert!(state.checkpoint.size > 0 && state.execution.is_none());
    // The acceptance was said before the change began; the result follows.
    assert_eq!(
        said(&state).iter().map(|one| one.1).collect::<Vec<_>>(),
        [OutcomeResult::Succeeded]
    );
    scene.catch_up().await;

    // The way back is an order of its own, and the statement of the one before is no good for it.
    let back = {
        let mut inner = scene.plane.lock();
        let mut order = scene.order(&inner, 6);
        let rollback = scene.agent.last_seen().unwrap().rollback.digest().unwrap();
        order.action_object = inner
            .ledger
            .publish(&scene.one, Some(scene.two), rollback, now());
        order.action_object.kind = "release.rollback".parse().unwrap();
        order.rollback_digest = rollback.into();
        order.statements =
            vec![
                inner
                    .ledger
                    .approved(&order.action, &order.action_object, 6, now()),
            ];
        scene.deliver(&mut inner, &order)
    };
    assert_eq!(scene.take(&back).await.unwrap(), Sent::Done);
    assert_eq!(
        scene.agent.site.releases.current().unwrap(),
        Some(scene.one)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_changes_by_an_order_of_its_own() {
    let scene = Scene::new().await;
    let (next, delivery) = {
        let mut inner = scene.plane.lock();
        let mut next = inner.document.clone();
        (next.version, next.previous) = (2, inner.document.digest().unwrap().into());
        next.floor = vec![FloorRule {
            kind: KindOrAny::Any,
            approvals: 2,
        }];
        let (digest, bytes) = (next.digest().unwrap(), next.to_bytes().unwrap());
        inner.blobs.insert(digest, bytes);
        let mut order = scene.order(&inner, 5);
        order.action_object.kind = "document.replace".parse().unwrap();
        order.action_object.parameters =
            countersign_evidence::JsonObject::of_strings([("document", digest.to_string())]);
        order.statements =
            vec![
                inner
                    .ledger
                    .approved(&order.action, &order.action_object, 5, now()),
            ];
        (next, scene.deliver(&mut inner, &order))
    };
    assert_eq!(scene.take(&delivery).await.unwrap(), Sent::Done);
    let state = scene.agent.state();
    assert_eq!(state.document, Some(next.clone()));
    assert_eq!(
        said(&state).iter().map(|one| one.1).collect::<Vec<_>>(),
        [OutcomeResult::Succeeded]
    );
    // The result names the document that is now in force.
    let names_it = |report: &Report| matches!(report, Report::Outcome { document, .. } if *document == next.digest().unwrap());
    assert!(state.outbox.iter().any(names_it));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_about_another_checkpoint_is_no_fork_and_is_asked_for_again() {
    let scene = Scene::new().await;
    let named = scene.agent.state().checkpoint;
    let delivery = {
        let mut inner = scene.plane.lock();
        let order = scene.order(&inner, 5);
        scene.deliver(&mut inner, &order)
    };
    // A heartbeat is answered while the poll is open.
    scene.catch_up().await;
    let before = scene.agent.state();
    assert!(before.checkpoint.size > named.size);
    assert_eq!(
        scene.agent.deliver(&delivery, &named).await.unwrap(),
        Sent::Done
    );
    assert_eq!(scene.agent.state(), before);

    // An order is accepted while a heartbeat is open: the answer is lost, and comes with the repeat.
    scene.plane.lock().faults.lose_answer = Some(Stream::Beat);
    assert_eq!(scene.agent.beat().await.unwrap(), Sent::Later);
    let delivery = {
        let inner = scene.plane.lock();
        let at = inner.pending[0].0;
        inner.delivery(at, scene.agent.state().checkpoint.size, 1)
    };
    assert_eq!(scene.take(&delivery).await.unwrap(), Sent::Done);
    scene.catch_up().await;
    scene.catch_up().await;
    let state = scene.agent.state();
    assert_eq!(state.quiet, None);
    assert_eq!(
        state.checkpoint.size,
        u64::try_from(scene.plane.lock().chain.size()).unwrap()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_observation_that_is_too_old_is_made_again_and_nothing_else_is_lost() {
    let scene = Scene::new().await;
    let counter = scene.agent.state().counters.action;
    scene.agent.report_again();
    scene.agent.look().await.unwrap();
    scene.plane.lock().faults.refuse = Some((400, "clock-skew"));
    assert_eq!(scene.agent.flush().await.unwrap(), Sent::Done);
    assert_eq!(scene.agent.state().counters.action, counter);
    scene.agent.look().await.unwrap();
    assert_eq!(scene.agent.flush().await.unwrap(), Sent::Done);
    assert_eq!(scene.agent.state().counters.action, counter + 1);

    // A ledger that went back keeps the message waiting; a message that is refused for good does not block the next.
    for (status, code, waits) in [
        (404, "checkpoint-unknown", true),
        (409, "conflict", true),
        (409, "wrong-state", false),
        (503, "overloaded", true),
        (422, "outcome-unknown", false),
    ] {
        scene.agent.report_again();
        scene.agent.look().await.unwrap();
        scene.plane.lock().faults.refuse = Some((status, code));
        let expected = if waits { Sent::Later } else { Sent::Done };
        assert_eq!(scene.agent.flush().await.unwrap(), expected, "{code}");
        assert_eq!(
            scene.agent.state().unanswered.action.is_some(),
            waits,
            "{code}"
        );
        scene.catch_up().await;
    }
}
