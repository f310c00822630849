//! The whole life of an action, with real signatures: proposed, assessed, approved, authorised, delivered, executed.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests; a failure is the test's"
)]

mod support;

use countersign_chain::note::Verifier;
use countersign_chain::{Checkpoint, merkle};
use countersign_domain::{Rejection, State};
use countersign_evidence::keys::Role;
use countersign_evidence::message::OutcomeResult;
use countersign_evidence::statement::Decision;
use countersign_evidence::{KeyRing, VerifiedOrder};
use countersign_ids::{ActionId, Digest, Sequence};
use countersign_service::{Ballot, Error, Request};
use ed25519_dalek::VerifyingKey;
use support::action::{envelope_of, order_of};
use support::{Connector, Plane, keyed};

fn rejection(error: Error) -> Rejection {
    match error {
        Error::Rejected(rejection) => *rejection,
        other => panic!("not a rejection: {other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn proposed_approved_delivered_succeeded() {
    let plane = Plane::new().await;
    let mut connector = plane.connector(None).await;
    let release = plane.release("1", "one").await;
    let action = plane.propose(plane.publish(release)).await;
    let waiting = plane.until(&action, &[State::Waiting]).await;
    assert_eq!(waiting.assessment.unwrap().required, 1);

    let detail = plane.detail(&action);
    assert!(detail.view.is_some() && !detail.reasons.is_empty());
    let given: Vec<_> = detail
        .given
        .iter()
        .map(|one| (one.actor.id.as_str(), one.text.as_deref()))
        .collect();
    assert_eq!(given, [("bot", Some("spring menu"))]);
    assert_eq!(detail.document_digest, Some(connector.head.document_digest));

    plane.vote(&action, Decision::Approve, 1).await.unwrap();
    let delivery = plane.order(&connector).await;
    verify(&plane, &connector, &delivery);
    let (digest, order) = order_of(&delivery);
    assert_eq!((&order.action, order.statements.len()), (&action, 1));

    plane
        .outcome(&mut connector, digest, OutcomeResult::Accepted)
        .await;
    assert_eq!(plane.detail(&action).action.state(), State::Accepted);
    connector.switch(release);
    plane
        .outcome(&mut connector, digest, OutcomeResult::Succeeded)
        .await;
    assert_eq!(plane.detail(&action).action.state(), State::Succeeded);
    for fact in [
        "action.proposed",
        "action.assessed",
        "action.approved",
        "action.authorized",
        "action.delivered",
    ] {
        assert_eq!(plane.count(fact), 1, "{fact}");
    }
    plane.audit();
    plane.service.stop().await.unwrap();
}

/// What a connector checks of the proofs: keys from the genesis key on, the checkpoint, the inclusion of the event.
fn verify(plane: &Plane, connector: &Connector, delivery: &countersign_evidence::Delivery) {
    let statements = plane.service.key_statements(0).unwrap();
    let ring = KeyRing::begin(plane.service.ledger_id(), statements.first().unwrap()).unwrap();
    let origin = countersign_chain::checkpoint::origin(ring.origin(), &connector.head.chain);
    let key = ring.current(Role::Checkpoint).next().unwrap().key;
    let verifier =
        Verifier::new(&origin, VerifyingKey::from_bytes(key.as_bytes()).unwrap()).unwrap();
    let checkpoint = Checkpoint::open(delivery.checkpoint.as_bytes(), &[verifier]).unwrap();
    let header = countersign_chain::Header::parse(delivery.event.header.as_bytes()).unwrap();
    let leaf = merkle::leaf_hash(delivery.event.header.as_bytes());
    let path: Vec<_> = delivery
        .inclusion
        .iter()
        .map(|hash| *hash.as_bytes())
        .collect();
    merkle::verify_inclusion(
        &leaf,
        header.sequence.get(),
        checkpoint.head.size,
        &path,
        &checkpoint.head.root,
    )
    .unwrap();
    assert_eq!(
        countersign_chain::body_hash(&delivery.event.salt, delivery.event.body.as_bytes()),
        header.bodyhash
    );
    let envelope = envelope_of(delivery);
    let order_key = ring.current(Role::Order).next().unwrap().key;
    VerifiedOrder::verify(&envelope, &order_key).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_delivered_again_until_the_connector_answers() {
    let plane = Plane::new().await;
    let mut connector = plane.connector(None).await;
    let release = plane.release("1", "one").await;
    let action = plane.propose(plane.publish(release)).await;
    plane.until(&action, &[State::Waiting]).await;
    plane.vote(&action, Decision::Approve, 1).await.unwrap();
    let (first, again) = (plane.order(&connector).await, plane.order(&connector).await);
    assert_eq!(first, again, "the same checkpoint is the same delivery");
    assert_eq!(plane.count("action.delivered"), 1);

    let plane = plane.crash(false).await;
    let third = plane.order(&connector).await;
    assert_eq!(
        (&third.event, plane.count("action.delivered")),
        (&first.event, 2)
    );
    let (digest, _) = order_of(&third);
    plane
        .outcome(&mut connector, digest, OutcomeResult::Accepted)
        .await;
    let none = plane
        .service
        .poll_for(&connector.poll(), std::time::Duration::ZERO)
        .await
        .unwrap();
    assert!(
        none.is_none(),
        "an accepted order is not delivered any more"
    );
    plane.audit();
}

#[tokio::test(flavor = "multi_thread")]
async fn rollback_goes_back_and_the_chain_says_so() {
    let plane = Plane::new().await;
    let mut connector = plane.connector(None).await;
    let (one, two) = (
        plane.release("1", "one").await,
        plane.release("2", "two").await,
    );
    plane.publish_whole(&mut connector, one, 1).await;
    plane.publish_whole(&mut connector, two, 2).await;
    let action = plane.propose(plane.proposal("release.rollback", one)).await;
    plane.until(&action, &[State::Waiting]).await;
    plane.vote(&action, Decision::Approve, 3).await.unwrap();
    let (digest, _) = order_of(&plane.order(&connector).await);
    plane
        .outcome(&mut connector, digest, OutcomeResult::Accepted)
        .await;
    connector.switch(one);
    plane
        .outcome(&mut connector, digest, OutcomeResult::Succeeded)
        .await;
    assert_eq!(plane.detail(&action).action.state(), State::Succeeded);
    plane.audit();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denial_ends_the_action_and_a_reused_nonce_is_refused() {
    let plane = Plane::new().await;
    plane.connector(None).await;
    let release = plane.release("1", "one").await;
    let first = plane.propose(plane.publish(release)).await;
    plane.until(&first, &[State::Waiting]).await;
    plane.vote(&first, Decision::Deny, 1).await.unwrap();
    assert_eq!(plane.detail(&first).action.state(), State::Rejected);

    let second = plane.propose(plane.publish(release)).await;
    plane.until(&second, &[State::Waiting]).await;
    let refused = plane.vote(&second, Decision::Approve, 1).await.unwrap_err();
    assert!(matches!(rejection(refused), Rejection::NonceReused { .. }));
    let other = plane.signed(&first, Decision::Approve, 2);
    let refused = plane
        .service
        .vote(
            &plane.approver,
            &Request::default(),
            second,
            Ballot {
                signed: other,
                reason: None,
            },
        )
        .await;
    assert!(matches!(
        rejection(refused.unwrap_err()),
        Rejection::StatementMisdirected { .. }
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_readiness_and_changed_policy_void_the_votes() {
    let plane = Plane::new().await;
    let mut connector = plane.connector(None).await;
    let (one, two) = (
        plane.release("1", "one").await,
        plane.release("2", "two").await,
    );
    plane.publish_whole(&mut connector, one, 1).await;
    // High risk would take two approvals; here the site itself asks for more by a file.
    let policies = plane.data().join("policies");
    let two_people = "@id(\"site.two\") @reason(\"this site takes two\") forbid (principal, action, resource)
        when { resource.kind == \"release.publish\" && resource.readiness == \"EXACT\" && context.tally.approvals < 1 };";
    std::fs::write(policies.join("site.cedar"), two_people).unwrap();
    let action = plane.propose(plane.publish(two)).await;
    let waiting = plane.until(&action, &[State::Waiting]).await;
    assert_eq!(waiting.round, 1);
    assert!(
        plane
            .detail(&action)
            .reasons
            .iter()
            .any(|reason| reason.contains("(site.two)")),
        "{:?}",
        plane.detail(&action).reasons
    );

    std::fs::remove_file(policies.join("site.cedar")).unwrap();
    let waiting = plane.wait(&action, |action| action.round == 2).await;
    assert_eq!(waiting.state(), State::Waiting);

    connector.grade = countersign_evidence::action::Grade::Stale;
    plane.observe(&mut connector).await;
    let waiting = plane.wait(&action, |action| action.round == 3).await;
    assert!(waiting.votes.is_empty());
    let reasons = plane.detail(&action).reasons;
    assert!(
        reasons
            .iter()
            .any(|reason| reason.contains("readiness.unready-needs-person")),
        "{reasons:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_answers_for_the_action_that_its_path_names() {
    let plane = Plane::new().await;
    plane.connector(None).await;
    let release = plane.release("1", "one").await;
    let (one, two) = (
        plane.propose(plane.publish(release)).await,
        plane.propose(plane.publish(release)).await,
    );
    let request = keyed("take-it-back");
    let withdraw = |action: &ActionId| {
        plane
            .service
            .withdraw(&plane.agent, &request, action.clone(), None)
    };
    assert!(!withdraw(&one).await.unwrap().replayed);
    assert!(withdraw(&one).await.unwrap().replayed);
    let other = withdraw(&two).await.unwrap_err();
    assert_eq!(other.code().id, "idempotency-mismatch");
    assert_ne!(plane.detail(&two).action.state(), State::Withdrawn);
    // The same key and path, and another kind of command.
    let revoked = plane
        .service
        .revoke(&plane.agent, &request, one, None)
        .await
        .unwrap_err();
    assert_eq!(revoked.code().id, "idempotency-mismatch");
}

#[tokio::test(flavor = "multi_thread")]
async fn previews_write_nothing() {
    let plane = Plane::new().await;
    plane.connector(None).await;
    let release = plane.release("1", "one").await;
    let before = plane.facts().len();
    let preview = plane
        .service
        .preview(&plane.agent, plane.publish(release))
        .await
        .unwrap();
    assert_eq!(
        (preview.verdict.as_str(), preview.needed),
        ("needs-approval", 1)
    );
    assert!(
        preview
            .approvers
            .iter()
            .any(|(approver, excluded)| approver.as_str() == "alice" && excluded.is_none())
    );
    let unknown = plane
        .service
        .preview(&plane.agent, plane.publish(Digest::from_bytes([9; 32])))
        .await;
    assert!(unknown.is_err());
    assert_eq!(plane.facts().len(), before);
    assert!(
        !plane.data().join("keys/subjects").exists(),
        "a preview made a data subject"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn proposals_are_withdrawn_by_their_proposer_and_revoked_by_the_owner() {
    let plane = Plane::new().await;
    plane.connector(None).await;
    let release = plane.release("1", "one").await;
    let action = plane.propose(plane.publish(release)).await;
    plane.until(&action, &[State::Waiting]).await;
    let refused = plane
        .service
        .withdraw(&plane.owner, &Request::default(), action.clone(), None)
        .await
        .unwrap_err();
    assert!(matches!(rejection(refused), Rejection::NotProposer { .. }));
    plane
        .service
        .withdraw(
            &plane.agent,
            &Request::default(),
            action.clone(),
            Some("wrong text".to_owned()),
        )
        .await
        .unwrap();
    assert_eq!(plane.detail(&action).action.state(), State::Withdrawn);
    let second = plane.propose(plane.publish(release)).await;
    plane
        .service
        .revoke(
            &plane.owner,
            &Request::default(),
            second.clone(),
            Some("not today".to_owned()),
        )
        .await
        .unwrap();
    assert_eq!(plane.detail(&second).action.state(), State::Revoked);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_gives_the_first_receipt_for_ever() {
    let plane = Plane::new().await;
    plane.connector(None).await;
    let release = plane.release("1", "one").await;
    let request = keyed("propose-once");
    let first = plane
        .service
        .propose(&plane.agent, &request, plane.publish(release))
        .await
        .unwrap();
    let again = plane
        .service
        .propose(&plane.agent, &request, plane.publish(release))
        .await
        .unwrap();
    assert_eq!(
        (&first.action, &first.receipt.events),
        (&again.action, &again.receipt.events)
    );
    assert!(again.receipt.replayed && !first.receipt.replayed);

    let plane = plane.restart().await;
    let later = plane
        .service
        .propose(&plane.agent, &request, plane.publish(release))
        .await
        .unwrap();
    assert_eq!(later.action, first.action);
    assert_eq!(plane.count("action.proposed"), 1);
    let digest = countersign_chain::request_digest(b"another body");
    let other = Request {
        digest: Some(digest),
        ..keyed("propose-once")
    };
    let refused = plane
        .service
        .propose(&plane.agent, &other, plane.publish(release))
        .await
        .unwrap_err();
    assert_eq!(refused.code().id, "idempotency-mismatch");
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_at_once_all_get_their_own_receipt() {
    let plane = Plane::new().await;
    plane.connector(None).await;
    let release = plane.release("1", "one").await;
    let proposals: Vec<_> = (0..20)
        .map(|number| {
            let (service, access) = (plane.service.clone(), plane.agent.clone());
            let (request, proposal) = (
                keyed(&format!("at-once-{}", number / 2)),
                plane.publish(release),
            );
            tokio::spawn(async move { service.propose(&access, &request, proposal).await })
        })
        .collect();
    let mut actions = std::collections::BTreeMap::new();
    for proposal in proposals {
        let proposed = proposal.await.unwrap().unwrap();
        *actions.entry(proposed.action).or_insert(0) += 1;
    }
    assert_eq!(
        (actions.len(), plane.count("action.proposed")),
        (10, 10),
        "two requests with one key are one command"
    );
    for action in actions.keys() {
        plane.until(action, &[State::Waiting]).await;
    }
    assert_eq!(plane.count("action.assessed"), 10);
    plane.audit();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_is_followed_once() {
    let plane = Plane::new().await;
    let mut follow = plane.service.follow(&plane.owner, Sequence::ZERO);
    let mut connector = plane.connector(None).await;
    let release = plane.release("1", "one").await;
    plane.publish_whole(&mut connector, release, 1).await;
    let size = plane.service.size(&plane.owner).unwrap();
    let mut next = 0;
    while next < size {
        for entry in follow.next().await.unwrap().unwrap() {
            assert_eq!(entry.sequence().get(), next);
            next += 1;
        }
    }
    plane.service.stop().await.unwrap();
    while let Some(more) = follow.next().await.unwrap() {
        assert!(!more.is_empty());
    }
}
