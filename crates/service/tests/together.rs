//! Proposals that are made together: each is a command of its own, whatever becomes of the others.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests; a failure is the test's"
)]

mod support;

use countersign_domain::State;
use countersign_ids::{Digest, RequestDigest};
use countersign_service::{Error, Proposal, Proposed, Request};
use support::Plane;

/// A request with a key and a digest of its own.
fn request(number: u8) -> Request {
    Request {
        key: Some(format!("k{number}")),
        digest: Some(RequestDigest::from_bytes([number; 16])),
        ..Request::default()
    }
}

fn named(plane: &Plane, name: &str, release: Digest) -> Proposal {
    Proposal {
        action: Some(name.parse().unwrap()),
        ..plane.publish(release)
    }
}

fn codes(answers: &[Result<Proposed, Error>]) -> Vec<&str> {
    answers
        .iter()
        .map(|answer| match answer {
            Ok(proposed) if proposed.receipt.replayed => "repeated",
            Ok(_) => "proposed",
            Err(error) => error.code().id,
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_of_one_is_nothing_to_the_others() {
    let plane = Plane::new().await;
    let _connector = plane.connector(None).await;
    let release = plane.release("1", "one").await;
    let unknown = Digest::from_bytes([9; 32]);
    let mut elsewhere = plane.publish(release);
    elsewhere.site = "nowhere".parse().unwrap();
    let mut wordy = plane.publish(release);
    wordy.reason = Some("x".repeat(5000));
    let answers = plane
        .service
        .propose_all(
            &plane.agent,
            vec![
                (request(1), named(&plane, "a1", release)),
                (request(2), named(&plane, "a2", unknown)),
                (request(3), elsewhere),
                (request(4), named(&plane, "a1", release)),
                (request(5), wordy),
                (request(6), named(&plane, "a6", release)),
            ],
        )
        .await;
    assert_eq!(
        codes(&answers),
        [
            "proposed",
            "release-unknown",
            "site-unknown",
            "action-exists",
            "text-unfit",
            "proposed"
        ]
    );
    for name in ["a1", "a6"] {
        let action = name.parse().unwrap();
        plane.until(&action, &[State::Waiting]).await;
        let given = plane.detail(&action).given;
        let texts: Vec<_> = given.iter().filter_map(|one| one.text.as_deref()).collect();
        assert_eq!(texts, ["spring menu"], "sealed with its own action");
    }
    assert_eq!(plane.count("action.proposed"), 2);
    let mut receipts: Vec<_> = answers.iter().flatten().map(|one| &one.receipt).collect();
    receipts.sort_by_key(|receipt| receipt.first);
    let [first, second] = receipts.try_into().expect("two receipts");
    assert!(first.command != second.command && first.last < second.first);
    plane.audit();
    plane.service.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_again_gives_the_first_receipts_across_a_crash_in_between() {
    let plane = Plane::new().await;
    let _connector = plane.connector(None).await;
    let release = plane.release("1", "one").await;
    let list = |numbers: &[u8]| -> Vec<_> {
        let one = |number: &u8| (request(*number), plane.publish(release));
        numbers.iter().map(one).collect()
    };
    let (some, all, other) = (list(&[1, 3]), list(&[1, 2, 3, 4]), list(&[1]));
    let before = plane.service.propose_all(&plane.agent, some).await;
    assert_eq!(codes(&before), ["proposed", "proposed"]);

    // The rest of the list was on its way when the server died.
    let plane = plane.crash(false).await;
    let after = plane.service.propose_all(&plane.agent, all.clone()).await;
    assert_eq!(
        codes(&after),
        ["repeated", "proposed", "repeated", "proposed"]
    );
    let again = plane.service.propose_all(&plane.agent, all).await;
    assert_eq!(codes(&again), ["repeated"; 4]);
    let kept = |answers: &[Result<Proposed, Error>]| -> Vec<_> {
        let kept = |one: &Proposed| (one.action.clone(), one.receipt.events.clone());
        answers.iter().flatten().map(kept).collect()
    };
    assert_eq!(kept(&after), kept(&again));
    let firsts: Vec<_> = kept(&after).into_iter().step_by(2).collect();
    assert_eq!(firsts, kept(&before));
    assert_eq!(plane.count("action.proposed"), 4);

    let mut foreign = other;
    for (request, _) in &mut foreign {
        request.digest = Some(RequestDigest::from_bytes([77; 16]));
    }
    let refused = plane.service.propose_all(&plane.agent, foreign).await;
    assert_eq!(codes(&refused), ["idempotency-mismatch"]);
    plane.audit();
    plane.service.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_lists_at_once_lose_and_double_nothing() {
    let plane = Plane::new().await;
    let _connector = plane.connector(None).await;
    let release = plane.release("1", "one").await;
    // Two callers send the same list at the same time, and a third another one.
    let lists = [0_u8, 0, 100].map(|from| {
        let one = |number| (request(from + number), plane.publish(release));
        (1..=20).map(one).collect::<Vec<_>>()
    });
    let sent = lists.map(|list| {
        let (service, agent) = (plane.service.clone(), plane.agent.clone());
        tokio::spawn(async move { service.propose_all(&agent, list).await })
    });
    let mut actions = Vec::new();
    for sent in sent {
        for answer in sent.await.unwrap() {
            actions.push(answer.unwrap().action);
        }
    }
    let (twice, other) = actions.split_at(40);
    let (one, same) = twice.split_at(20);
    assert_eq!(one, same, "each answer is of the one that was written");
    for action in one.iter().chain(other) {
        plane.until(action, &[State::Waiting]).await;
    }
    assert_eq!(plane.count("action.proposed"), 40);
    assert_eq!(plane.count("action.assessed"), 40);
    plane.audit();
    plane.service.stop().await.unwrap();
}
