//! Heartbeats are pruned by the tenant's policy, as far as the recorded heads and the last heartbeats allow, and an auditor
//! verifies what is left.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests; a failure is the test's"
)]

mod support;

use std::path::Path;
use std::time::Duration;

use countersign_ids::Sequence;
use countersign_replay::export::{Scope, export};
use countersign_replay::progress::Progress;
use countersign_replay::report::Verdict;
use countersign_replay::verdict::Demands;
use countersign_replay::verify::{Pins, verify};
use countersign_service::{Error, NewSite, Request};
use support::{BOUND, Connector, Plane};

fn audit(path: &Path) -> Verdict {
    let mut source = countersign_replay::open::open(path).unwrap();
    let mut progress = Progress::hidden();
    verify(
        source.as_mut(),
        &Pins::default(),
        &Demands::default(),
        &mut progress,
    )
    .unwrap()
}

#[track_caller]
fn verified(path: &Path, pruned: u64) -> Verdict {
    let verdict = audit(path);
    assert_eq!((verdict.exit, verdict.bad.len()), (0, 0), "{verdict:#?}");
    assert_eq!(verdict.counts.pruned, pruned, "{verdict:#?}");
    verdict
}

/// A bundle of the data directory, whole and of the tenant; both verify.
fn exported(data: &Path, folder: &Path, pruned: u64) {
    for tenant in [None, Some("acme".to_owned())] {
        let source = countersign_replay::open::open(data).unwrap();
        let out = folder.join(format!("{pruned}-{}.zip", tenant.is_some()));
        let scope = Scope {
            tenant,
            ..Scope::default()
        };
        let mut progress = Progress::hidden();
        let said = export(source.as_ref(), &scope, &out, &mut progress).unwrap();
        assert!(said.warnings.is_empty(), "{:?}", said.warnings);
        verified(&out, pruned);
    }
}

async fn beats(plane: &Plane, connector: &mut Connector, count: usize) {
    for _ in 0..count {
        plane.service.beat(&connector.heartbeat()).await.unwrap();
    }
}

/// Waits until the chain of heartbeats begins there and the receipt is written.
async fn until_pruned(plane: &Plane, first: u64) {
    let wait = async {
        let mut tick = tokio::time::interval(Duration::from_millis(5));
        loop {
            let kept = plane.service.kept(&plane.owner).unwrap();
            if kept.beats_from.get() == first && !kept.beats_pending {
                return;
            }
            tick.tick().await;
        }
    };
    if tokio::time::timeout(BOUND, wait).await.is_err() {
        panic!("{:?}", plane.service.kept(&plane.owner));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_go_by_policy_and_what_is_left_verifies_everywhere() {
    let plane = Plane::with(|config| {
        config.heads_age = Duration::from_millis(20);
        config.expiry_age = Duration::from_millis(20);
        config.store.segment_bytes = 256 * 1024;
    })
    .await;
    let quiet = NewSite {
        site: "quiet".parse().unwrap(),
        name: "Quiet".to_owned(),
        environment: countersign_events::words::Environment::Production,
    };
    plane
        .service
        .register_site(&plane.owner, &Request::default(), quiet)
        .await
        .unwrap();
    let mut connector = plane.connector(None).await;
    let mut silent = plane.paired("quiet").await;
    let first = connector.heartbeat();
    plane.service.beat(&first).await.unwrap();
    beats(&plane, &mut connector, 299).await;
    beats(&plane, &mut silent, 1).await;
    beats(&plane, &mut connector, 600).await;
    let kept = plane.service.kept(&plane.owner).unwrap();
    assert_eq!((kept.beats_days, kept.beats_from.get()), (None, 0));
    let request = Request::default();
    let too_long = plane.service.keep_beats(&plane.owner, &request, 4001);
    let refused = too_long.await.unwrap_err();
    assert_eq!(refused.code().id, "retention-too-long");

    // The last heartbeat of a connector that is paired holds the cut back, however old it is.
    plane
        .service
        .keep_beats(&plane.owner, &Request::default(), 0)
        .await
        .unwrap();
    until_pruned(&plane, 256).await;
    verified(&plane.data(), 256);
    // Once another is paired in its place, what the first said last may go too.
    let mut silent = plane.paired("quiet").await;
    beats(&plane, &mut silent, 1).await;
    until_pruned(&plane, 512).await;
    let live = verified(&plane.data(), 512);
    assert!(live.counts.messages > 300, "{live:#?}");

    // What is gone is gone for whoever asks, and a heartbeat of before is no news.
    let beats_chain = plane.tenant.beats();
    let receipt = plane
        .service
        .receipt(&plane.owner, &beats_chain, Sequence::new(7))
        .unwrap_err();
    assert_eq!(receipt.code().id, "events-pruned");
    let again = plane.service.beat(&first).await.unwrap_err();
    assert!(matches!(again, Error::Replayed { .. }), "{again}");
    let last = plane.service.site(&plane.owner, &plane.site).unwrap();
    assert_eq!(last.last_beat.unwrap().1, 899);
    beats(&plane, &mut connector, 3).await;

    // After a crash, with the log and without it, the chain goes on.
    let data = plane.data();
    let plane = plane
        .crash_and(|| std::fs::remove_dir_all(data.join("sled")).unwrap())
        .await;
    beats(&plane, &mut connector, 1).await;
    let kept = plane.service.kept(&plane.owner).unwrap();
    assert_eq!((kept.beats_days, kept.beats_from.get()), (Some(0), 512));
    let folder = tempfile::tempdir().unwrap();
    plane.service.stop().await.unwrap();
    drop(plane.service);
    let stopped = verified(&data, 512);
    assert_eq!(stopped.verdict, "verified");
    exported(&data, folder.path(), 512);
}
