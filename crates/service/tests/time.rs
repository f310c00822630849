//! What time does: actions and orders that nobody acted on, deliveries of which nothing was heard; keys that ended, freezes.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests; a failure is the test's"
)]

mod support;

use countersign_domain::State;
use countersign_events::words::SiteOrAll;
use countersign_evidence::message::OutcomeResult;
use countersign_evidence::statement::Decision;
use countersign_service::{NewFreeze, Proposal, Request};
use support::action::order_of;
use support::{ManualClock, Plane};

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_acts_on_expires() {
    let clock = ManualClock::new();
    let plane = Plane::by(clock.clone()).await;
    let connector = plane.connector(None).await;
    let release = plane.release("1", "one").await;
    let short = Proposal {
        expires: Some(plane.service.now().plus_millis(90_000)),
        ..plane.publish(release)
    };
    let waiting = plane.propose(short).await;
    plane.until(&waiting, &[State::Waiting]).await;
    let authorized = plane.propose(plane.publish(release)).await;
    plane.until(&authorized, &[State::Waiting]).await;
    plane.vote(&authorized, Decision::Approve, 1).await.unwrap();
    plane.until(&authorized, &[State::Authorized]).await;

    clock.pass(121);
    plane.until(&waiting, &[State::Expired]).await;
    plane.until(&authorized, &[State::Expired]).await;
    let none = plane
        .service
        .poll_for(&connector.poll(), std::time::Duration::ZERO)
        .await
        .unwrap();
    assert!(none.is_none(), "an order that expired does not leave");
    plane.audit();
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_after_a_delivery_is_settled_by_the_connector() {
    let clock = ManualClock::new();
    let plane = Plane::by(clock.clone()).await;
    let mut connector = plane.connector(None).await;
    let release = plane.release("1", "one").await;
    let action = plane.propose(plane.publish(release)).await;
    plane.until(&action, &[State::Waiting]).await;
    plane.vote(&action, Decision::Approve, 1).await.unwrap();
    let (digest, _) = order_of(&plane.order(&connector).await);

    clock.pass(151);
    plane.until(&action, &[State::Unresolved]).await;
    let site = plane.service.site(&plane.owner, &plane.site).unwrap();
    assert_eq!(
        site.site.held_by,
        Some(action.clone()),
        "the site is kept until it is settled"
    );
    let again = plane.order(&connector).await;
    assert_eq!(
        order_of(&again).0,
        digest,
        "whoever never had it refuses it"
    );
    plane
        .outcome(&mut connector, digest, OutcomeResult::Refused)
        .await;
    assert_eq!(plane.detail(&action).action.state(), State::Refused);
    let site = plane.service.site(&plane.owner, &plane.site).unwrap();
    assert_eq!(site.site.held_by, None);
    plane.audit();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vote_of_a_removed_key_mints_nothing() {
    let plane = Plane::new().await;
    plane.connector(None).await;
    let release = plane.release("1", "one").await;
    let action = plane.propose(plane.publish(release)).await;
    plane.until(&action, &[State::Waiting]).await;

    let plane = plane.crash(true).await;
    plane.vote(&action, Decision::Approve, 1).await.unwrap();
    let (approver, credential) = ("alice".parse().unwrap(), "alice-1".parse().unwrap());
    plane
        .service
        .remove_approver(&plane.admin, &Request::default(), approver, credential)
        .await
        .unwrap();
    let plane = plane.crash(false).await;
    // Once a later proposal was assessed, the reactor has looked at the earlier one too.
    let later = plane.propose(plane.publish(release)).await;
    plane.until(&later, &[State::Waiting, State::Denied]).await;
    assert_eq!(plane.detail(&action).action.state(), State::Waiting);
    assert_eq!(plane.count("action.authorized"), 0);
    let refused = plane.vote(&action, Decision::Approve, 2).await.unwrap_err();
    assert_eq!(refused.code().id, "approver-removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_lets_nothing_through_until_it_is_lifted() {
    let plane = Plane::new().await;
    plane.connector(None).await;
    let release = plane.release("1", "one").await;
    let now = plane.service.now();
    let new = NewFreeze {
        freeze: None,
        site: SiteOrAll::All,
        from: now,
        until: now.plus_millis(3_600_000),
    };
    let (freeze, _) = plane
        .service
        .declare_freeze(&plane.owner, &Request::default(), new)
        .await
        .unwrap();
    let action = plane.propose(plane.publish(release)).await;
    plane.until(&action, &[State::Denied]).await;
    let reasons = plane.detail(&action).reasons;
    assert!(
        reasons
            .iter()
            .any(|reason| reason.contains("(freeze.window)")),
        "{reasons:?}"
    );
    plane
        .service
        .lift_freeze(&plane.owner, &Request::default(), freeze)
        .await
        .unwrap();
    let action = plane.propose(plane.publish(release)).await;
    plane.until(&action, &[State::Waiting]).await;
}
