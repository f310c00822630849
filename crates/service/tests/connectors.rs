//! Pairing, heartbeats and messages: what a connector may say once, and what nobody else may say at all.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests; a failure is the test's"
)]

mod support;

use countersign_domain::Rejection;
use countersign_evidence::message::OutcomeResult;
use countersign_ids::Digest;
use countersign_service::Error;
use support::{Connector, Plane};

#[tokio::test(flavor = "multi_thread")]
async fn of_thirty_connectors_with_one_code_exactly_one_is_paired() {
    let plane = Plane::new().await;
    let code = plane.invite().await;
    let info = plane.service.pairing(&code.to_string()).await.unwrap();
    let attempts: Vec<_> = (0..30)
        .map(|seed| {
            let (service, code) = (plane.service.clone(), code.to_string());
            let envelope = Connector::new(&info, seed + 100).pair(&code.parse().unwrap());
            tokio::spawn(async move { service.pair(&code, &envelope).await })
        })
        .collect();
    let mut won = 0;
    for attempt in attempts {
        match attempt.await.unwrap() {
            Ok(receipt) => {
                won += 1;
                assert_eq!(receipt.generation, 1);
            }
            Err(Error::Rejected(rejection)) => assert!(
                matches!(*rejection, Rejection::PairingCodeUsed { .. }),
                "{rejection}"
            ),
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!((won, plane.count("connector.paired")), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_counts_once_for_its_own_site() {
    let plane = Plane::new().await;
    let connector = plane.connector(None).await;
    let code = plane.invite().await;
    let info = plane.service.pairing(&code.to_string()).await.unwrap();
    assert_eq!(info.generation, 2, "pairing again raises the generation");
    assert!(plane.service.pairing("cs1.nonsense").await.is_err());
    let other = code.to_string().replace(".acme.", ".other.");
    assert_eq!(
        plane.service.pairing(&other).await.unwrap_err().code().id,
        "pairing-code-unknown"
    );

    let mut second = Connector::new(&info, 6);
    let paired = second.pair(&code);
    plane
        .service
        .pair(&code.to_string(), &paired)
        .await
        .unwrap();
    let again = plane.service.pair(&code.to_string(), &paired).await;
    assert!(again.is_ok(), "the same message again gets the same answer");
    let mut old = connector;
    let refused = plane
        .service
        .message(&old.observed(plane.service.now()))
        .await
        .unwrap_err();
    assert_eq!(
        refused.code().id,
        "unknown-key",
        "the connector before is out"
    );
    plane.observe(&mut second).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_count_and_are_repeated_byte_for_byte() {
    let plane = Plane::new().await;
    let mut connector = plane.connector(None).await;
    let first = connector.heartbeat();
    plane.service.beat(&first).await.unwrap();
    plane.service.beat(&first).await.unwrap();
    let second = connector.heartbeat();
    let third = connector.heartbeat();
    assert_eq!(
        plane.service.beat(&third).await.unwrap_err().code().id,
        "message-replayed"
    );
    let answer = plane.service.beat(&second).await.unwrap();
    assert!(answer.lease_until > answer.time);
    plane.service.beat(&third).await.unwrap();
    let site = plane.service.site(&plane.owner, &plane.site).unwrap();
    assert_eq!(site.last_beat.unwrap().1, 2);

    let mut forger = connector;
    forger.key = ed25519_dalek::SigningKey::from_bytes(&[200; 32]);
    assert_eq!(
        plane
            .service
            .beat(&forger.heartbeat())
            .await
            .unwrap_err()
            .code()
            .id,
        "unknown-key"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connector_that_saw_another_history_is_refused() {
    let plane = Plane::new().await;
    let mut connector = plane.connector(None).await;
    connector.head.checkpoint.size = 3;
    connector.head.checkpoint.root = Digest::from_bytes([9; 32]);
    assert_eq!(
        plane
            .service
            .beat(&connector.heartbeat())
            .await
            .unwrap_err()
            .code()
            .id,
        "checkpoint-unknown"
    );
    connector.head.checkpoint.size = 1_000_000;
    assert_eq!(
        plane
            .service
            .poll(&connector.poll())
            .await
            .unwrap_err()
            .code()
            .id,
        "checkpoint-unknown"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_counters_and_orders_that_do_not_exist_are_refused() {
    let plane = Plane::new().await;
    let mut connector = plane.connector(None).await;
    let late = connector.observed(plane.service.now().minus_millis(400_000));
    let refused = plane.service.message(&late).await.unwrap_err();
    assert_eq!(refused.code().id, "clock-skew");
    assert!(refused.server_time().is_some());
    let skipped = connector.observed(plane.service.now());
    assert_eq!(
        plane.service.message(&skipped).await.unwrap_err().code().id,
        "message-replayed"
    );

    let plane = plane.restart().await;
    let mut connector = plane.connector(None).await;
    let unknown = connector.outcome(Digest::from_bytes([1; 32]), OutcomeResult::Accepted);
    assert_eq!(
        plane.service.message(&unknown).await.unwrap_err().code().id,
        "message-misdirected"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_are_for_the_connector_of_their_tenant() {
    let plane = Plane::new().await;
    let connector = plane.connector(None).await;
    let release = plane.release("1", "one").await;
    let (id, proof) = (connector.head.connector.clone(), connector.poll());
    let manifest = plane
        .service
        .connector_blob(&id, &proof, release)
        .await
        .unwrap();
    assert_eq!(countersign_chain::sha256(&manifest), release);
    let missing = plane
        .service
        .connector_blob(&id, &proof, Digest::from_bytes([1; 32]))
        .await;
    assert_eq!(missing.unwrap_err().code().id, "blob-unknown");
    let mut forger = connector;
    forger.key = ed25519_dalek::SigningKey::from_bytes(&[9; 32]);
    assert_eq!(
        plane
            .service
            .connector_blob(&id, &forger.poll(), release)
            .await
            .unwrap_err()
            .code()
            .id,
        "unknown-key"
    );
}
