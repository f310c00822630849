//! Keys are rotated under a running plane: wherever it is killed, the next start goes on with the key that is in force.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests; a failure is the test's"
)]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use countersign_domain::State;
use countersign_evidence::keys::Role;
use countersign_evidence::message::OutcomeResult;
use countersign_evidence::statement::Decision;
use countersign_evidence::{PublicKey, VerifiedOrder};
use countersign_replay::progress::Progress;
use countersign_replay::verdict::Demands;
use countersign_replay::verify::{Pins, verify};
use countersign_service::{Error, KeyUse, Request, Service};
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::{EncodePrivateKey as _, spki::der::pem::LineEnding};
use support::action::{envelope_of, order_of};
use support::{Plane, config, keyed};

/// The key of a role that holds now.
fn current(plane: &Plane, role: Role) -> PublicKey {
    let ring = plane.service.keys().unwrap();
    let mut held = ring.current(role);
    let key = held.next().unwrap().key;
    assert!(held.next().is_none());
    key
}

async fn rotate(plane: &Plane, usage: KeyUse) {
    plane
        .service
        .rotate_key(&plane.admin, &Request::default(), usage)
        .await
        .unwrap();
}

fn audit(plane: &Plane) {
    let mut source = countersign_replay::open::open(&plane.data()).unwrap();
    let (pins, demands) = (Pins::default(), Demands::default());
    let verdict = verify(source.as_mut(), &pins, &demands, &mut Progress::hidden()).unwrap();
    assert_eq!((verdict.exit, verdict.bad.len()), (0, 0), "{verdict:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_is_done_once_and_orders_are_signed_by_the_new_key() {
    let plane = Plane::new().await;
    let mut connector = plane.connector(None).await;
    let release = plane.release("1", "one").await;
    let old = current(&plane, Role::Order);

    // An order that is out is settled first: its connector would not take it any more.
    let action = plane.propose(plane.publish(release)).await;
    plane.until(&action, &[State::Waiting]).await;
    plane.vote(&action, Decision::Approve, 1).await.unwrap();
    let delivery = plane.order(&connector).await;
    assert!(VerifiedOrder::verify(&envelope_of(&delivery), &old).is_ok());
    let refused = plane
        .service
        .rotate_key(&plane.admin, &Request::default(), KeyUse::Order)
        .await;
    assert!(
        matches!(refused, Err(Error::OrdersOut { .. })),
        "{refused:?}"
    );
    rotate(&plane, KeyUse::Checkpoint).await;
    let again = plane.order(&connector).await;
    assert_ne!(
        again.checkpoint, delivery.checkpoint,
        "a checkpoint of a key that ended was delivered"
    );
    assert_eq!(again.keys.len(), 1);
    plane
        .outcome(
            &mut connector,
            order_of(&delivery).0,
            OutcomeResult::Refused,
        )
        .await;

    let request = keyed("rotate");
    let first = plane
        .service
        .rotate_key(&plane.admin, &request, KeyUse::Order)
        .await
        .unwrap();
    let repeated = plane
        .service
        .rotate_key(&plane.admin, &request, KeyUse::Order)
        .await
        .unwrap();
    assert_eq!((first.first, true), (repeated.first, repeated.replayed));
    assert_eq!(plane.service.keys().unwrap().version(), 3);

    plane.publish_whole(&mut connector, release, 2).await;
    let beat = plane.service.beat(&connector.heartbeat()).await.unwrap();
    assert_eq!(beat.keys.len(), 2);
    audit(&plane);
    let plane = plane.restart().await;
    assert_ne!(current(&plane, Role::Order), old);
    audit(&plane);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_anywhere_in_a_rotation_is_finished_or_harmless() {
    let plane = Plane::new().await;
    let keys = plane.data().join("keys");
    let [file, next] = ["order.pem", "order.next.pem"].map(|name| keys.join(name));
    let old = fs::read(&file).unwrap();

    // Killed before the statement was written: the key that was made is taken by the next rotation.
    let made = SigningKey::from_bytes(&[42; 32]);
    fs::write(&next, made.to_pkcs8_pem(LineEnding::LF).unwrap()).unwrap();
    fs::set_permissions(&next, fs::Permissions::from_mode(0o600)).unwrap();
    let plane = plane.crash(false).await;
    assert_ne!(current(&plane, Role::Order), PublicKey::from(&made));
    rotate(&plane, KeyUse::Order).await;
    assert_eq!(current(&plane, Role::Order), PublicKey::from(&made));
    assert!(!next.exists());

    // Killed between the statement and the move of the key.
    fs::rename(&file, &next).unwrap();
    fs::write(&file, &old).unwrap();
    let plane = plane.crash(false).await;
    assert!(!next.exists());
    assert_ne!(fs::read(&file).unwrap(), old);
    let mut connector = plane.connector(None).await;
    let release = plane.release("1", "one").await;
    plane.publish_whole(&mut connector, release, 1).await;
    audit(&plane);

    // The key that ended is not taken back.
    let directory = plane.directory.path().to_path_buf();
    plane.service.stop().await.unwrap();
    drop(plane.service);
    fs::write(&file, &old).unwrap();
    let started = Service::start(config(&directory)).await;
    assert!(
        matches!(started, Err(Error::KeyFileOther { .. })),
        "{started:?}"
    );
}
