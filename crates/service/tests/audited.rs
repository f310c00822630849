//! What the service writes, an auditor verifies: everything that can happen to an action, then the auditor's own code.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests; a failure is the test's"
)]

mod support;

use std::path::Path;
use std::time::Duration;

use countersign_domain::State;
use countersign_evidence::message::OutcomeResult;
use countersign_evidence::statement::Decision;
use countersign_ids::{Digest, Sequence};
use countersign_replay::progress::Progress;
use countersign_replay::report::Verdict;
use countersign_replay::settled::read_settled;
use countersign_replay::source::{Source, SourceError};
use countersign_replay::verdict::{Demands, Findings};
use countersign_replay::verify::{Pins, verify};
use countersign_service::Request;
use support::action::order_of;
use support::{Connector, Plane};

/// Executes the next order with this result.
async fn execute(plane: &Plane, connector: &mut Connector, result: OutcomeResult) {
    let (digest, _) = order_of(&plane.order(connector).await);
    if result != OutcomeResult::Refused {
        plane
            .outcome(connector, digest, OutcomeResult::Accepted)
            .await;
    }
    plane.outcome(connector, digest, result).await;
    plane.observe(connector).await;
}

async fn approved(plane: &Plane, release: Digest, nonce: u8) {
    let action = plane.propose(plane.publish(release)).await;
    plane.until(&action, &[State::Waiting]).await;
    plane.vote(&action, Decision::Approve, nonce).await.unwrap();
}

fn audit(data: &Path) -> Verdict {
    let mut source = countersign_replay::open::open(data).unwrap();
    let mut progress = Progress::hidden();
    verify(
        source.as_mut(),
        &Pins::default(),
        &Demands::default(),
        &mut progress,
    )
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_ledger_verifies_while_it_runs_and_after_it_stopped() {
    let plane = Plane::new().await;
    let mut connector = plane.connector(None).await;
    let (one, two) = (
        plane.release("1", "one").await,
        plane.release("2", "two").await,
    );
    plane.publish_whole(&mut connector, one, 1).await;
    plane.service.beat(&connector.heartbeat()).await.unwrap();
    approved(&plane, two, 2).await;
    execute(&plane, &mut connector, OutcomeResult::Undone).await;
    approved(&plane, two, 3).await;
    execute(&plane, &mut connector, OutcomeResult::Failed).await;
    approved(&plane, two, 4).await;
    execute(&plane, &mut connector, OutcomeResult::Refused).await;
    let denied = plane.propose(plane.publish(two)).await;
    plane.until(&denied, &[State::Waiting]).await;
    plane.vote(&denied, Decision::Deny, 5).await.unwrap();
    let withdrawn = plane.propose(plane.publish(two)).await;
    plane
        .service
        .withdraw(
            &plane.agent,
            &Request::default(),
            withdrawn,
            Some("wrong".to_owned()),
        )
        .await
        .unwrap();
    plane.publish_whole(&mut connector, two, 6).await;
    plane.service.beat(&connector.heartbeat()).await.unwrap();

    let live = audit(&plane.data());
    assert_eq!((live.exit, live.bad.len()), (0, 0), "{live:#?}");

    let plane = plane.crash(false).await;
    let data = plane.data();
    plane.service.stop().await.unwrap();
    drop(plane.service);
    let stopped = audit(&data);
    assert_eq!(
        (stopped.exit, stopped.verdict),
        (0, "verified"),
        "{stopped:#?}"
    );
    let counts = &stopped.counts;
    assert_eq!((counts.chains, counts.orders), (3, 5), "{counts:?}");
    assert!(
        counts.decisions >= 11 && counts.heads >= 1 && counts.statements >= 6,
        "{counts:?}"
    );
}

/// Has every operational body expire, and waits until they are gone and the receipt says so.
async fn expire(plane: &Plane) {
    let kept = || plane.service.kept(&plane.owner).unwrap();
    assert_eq!(kept().operational, 1);
    plane
        .service
        .set_retention(&plane.owner, &Request::default(), 0)
        .await
        .unwrap();
    let gone = async {
        let mut follow = plane.service.follow(&plane.owner, Sequence::ZERO);
        while kept().operational > 0 || !kept().pending.is_empty() {
            follow.next().await.unwrap();
        }
    };
    tokio::time::timeout(support::BOUND, gone).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_expires_while_it_is_read_is_explained_by_reading_again() {
    let plane = Plane::with(|config| config.expiry_age = Duration::ZERO).await;
    let request = Request::default();
    let text = "it rains".to_owned();
    let remark = plane
        .service
        .remark(&plane.owner, &request, plane.site.clone(), text);
    remark.await.unwrap();
    let runtime = tokio::runtime::Handle::current();
    let mut exits = Vec::new();
    let read = |source: &mut dyn Source, reading| {
        // From here on it is read up to where it ends now.
        source.check_framing(1, &mut Findings::default())?;
        if reading == 0 {
            runtime.block_on(expire(&plane));
        }
        let (pins, demands) = (Pins::default(), Demands::default());
        let verdict = verify(source, &pins, &demands, &mut Progress::hidden())?;
        exits.push(verdict.exit);
        Ok::<_, SourceError>(verdict)
    };
    let data = plane.data();
    let reading =
        tokio::task::block_in_place(|| read_settled(&data, read, |verdict| verdict.exit != 0));
    let reading = reading.unwrap();
    assert!(reading.settled);
    assert_eq!(exits, [1, 0], "{:#?}", reading.outcome);
}
