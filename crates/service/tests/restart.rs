//! A crash at every step: after the next start, what follows happens exactly once.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests; a failure is the test's"
)]

mod support;

use countersign_chain::CommandKey;
use countersign_domain::State;
use countersign_events::{self as events, Event};
use countersign_evidence::message::OutcomeResult;
use countersign_evidence::statement::Decision;
use countersign_store::{Append, Ledger, NewEvent, Stamp};
use support::Plane;
use support::action::order_of;

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_was_announced_when_the_server_died_gets_its_own_name() {
    let plane = Plane::new().await;
    let announced = |tenant: &str| {
        let tenant: countersign_ids::TenantId = tenant.parse().unwrap();
        let announced = |chain: countersign_ids::ChainId, number| {
            new_event(
                &chain,
                &events::chain::Announced {
                    chain: chain.clone(),
                    number,
                }
                .into(),
            )
        };
        let named = events::tenant::Named {
            tenant: tenant.clone(),
            name: "Wharf & Sons".to_owned(),
        };
        vec![
            announced(tenant.chain(), 2),
            announced(tenant.beats(), 3),
            new_event(&tenant.chain(), &named.into()),
        ]
    };
    // What a kill between the announcement and the opening leaves behind.
    let (directory, options) = (plane.data(), countersign_store::Options::default());
    let plane = plane
        .crash_and(|| {
            let ledger = Ledger::open(&directory, options).unwrap();
            let key = CommandKey::Key("announce".to_owned());
            let actor = countersign_ids::Actor {
                kind: countersign_ids::AuthType::Person,
                id: "admin".parse().unwrap(),
            };
            let append = Append::new(
                countersign_ids::ChainId::platform(),
                actor,
                key,
                announced("wharf"),
            );
            ledger.append_blocking(append).unwrap();
        })
        .await;
    let tenants = plane.service.tenants(&plane.admin).unwrap();
    let wharf = tenants
        .iter()
        .find(|tenant| tenant.tenant.as_str() == "wharf");
    assert_eq!(wharf.unwrap().name, "Wharf & Sons");
}

fn new_event(about: &countersign_ids::ChainId, event: &Event) -> NewEvent {
    NewEvent {
        event_type: event.event_type(),
        subject: about.into(),
        site: None,
        retention: event.retention(),
        body: event.encode().unwrap(),
        seal: None,
        platformhead: Stamp::None,
        valid: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_step_survives_a_crash_behind_it() {
    let plane = Plane::new().await;
    let mut connector = plane.connector(None).await;
    let release = plane.release("1", "one").await;

    // Between proposal and assessment.
    let plane = plane.crash(true).await;
    let action = plane.propose(plane.publish(release)).await;
    assert_eq!(plane.detail(&action).action.state(), State::Proposed);
    let plane = plane.crash(false).await;
    plane.until(&action, &[State::Waiting]).await;

    // Between approval and minting.
    let plane = plane.crash(true).await;
    plane.vote(&action, Decision::Approve, 1).await.unwrap();
    assert_eq!(plane.detail(&action).action.state(), State::Waiting);
    let plane = plane.crash(false).await;
    plane
        .until(&action, &[State::Authorized, State::Delivered])
        .await;

    // Between minting and delivery, and between delivery and acceptance.
    let plane = plane.crash(false).await;
    let (digest, _) = order_of(&plane.order(&connector).await);
    let plane = plane.crash(false).await;

    // An acceptance whose answer was lost is sent again, byte for byte.
    let accepted = connector.outcome(digest, OutcomeResult::Accepted);
    let first = plane.service.message(&accepted).await.unwrap();
    let plane = plane.crash(false).await;
    assert_eq!(plane.service.message(&accepted).await.unwrap(), first);
    connector.switch(release);
    plane
        .outcome(&mut connector, digest, OutcomeResult::Succeeded)
        .await;
    let plane = plane.restart().await;
    assert_eq!(plane.detail(&action).action.state(), State::Succeeded);
    for fact in [
        "action.proposed",
        "action.assessed",
        "action.approved",
        "action.authorized",
        "action.accepted",
        "action.succeeded",
    ] {
        assert_eq!(plane.count(fact), 1, "{fact}");
    }
    plane.audit();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_is_kept_out() {
    let plane = Plane::new().await;
    let second = countersign_service::Service::start(support::config(plane.directory.path())).await;
    assert_eq!(second.unwrap_err().code().id, "ledger-locked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_key_file_stops_the_start_by_name() {
    let plane = Plane::new().await;
    let data = plane.data();
    let directory = plane.directory;
    plane.service.stop().await.unwrap();
    drop(plane.service);
    std::fs::remove_file(data.join("keys/order.pem")).unwrap();
    let refused = countersign_service::Service::start(support::config(directory.path()))
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("order.pem"), "{refused}");
}
