//! What stays true after an order: pairing again, and an order that ended while the site was looked at.

use countersign_evidence::checks::Opened;

use super::*;

/// The results that wait, with the document that each names.
fn owed(state: &State) -> Vec<(OutcomeResult, Digest)> {
    let of = |report: &Report| match report {
        Report::Outcome {
            result, document, ..
        } => (*result, *document),
        Report::Observed { .. } => panic!("an observation is not owed"),
    };
    state.owed().iter().map(of).collect()
}

/// What pairing again writes.
fn paired_again(scene: &Scene, change: impl FnOnce(&mut crate::state::Pairing)) -> (Entry, Digest) {
    let state = scene.agent.state();
    let (mut pairing, mut document) = (state.pairing.unwrap(), state.document.unwrap());
    pairing.generation += 1;
    change(&mut pairing);
    document.version += 1;
    let pinned = document.digest().unwrap();
    let (keys, checkpoint) = (state.keys, state.checkpoint);
    let entry = Entry::Paired {
        pairing,
        keys,
        document,
        checkpoint,
    };
    (entry, pinned)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_said_is_said_by_the_next_generation_and_orders_stay_known() {
    let scene = Scene::new().await;
    let delivery = {
        let mut inner = scene.plane.lock();
        let order = scene.order(&inner, 5);
        scene.deliver(&mut inner, &order)
    };
    assert_eq!(scene.take(&delivery).await.unwrap(), Sent::Done);
    let before = scene.agent.state();
    let document = before.document.as_ref().unwrap().digest().unwrap();
    assert_eq!(owed(&before), [(OutcomeResult::Succeeded, document)]);

    // Waiting, or sent and not answered: it is said by whoever comes next, under the document that is then in force.
    for _ in 0..2 {
        let mut after = scene.agent.state();
        let (again, pinned) = paired_again(&scene, |_| {});
        after.apply(&again).unwrap();
        assert_eq!(owed(&after), [(OutcomeResult::Succeeded, pinned)]);
        assert_eq!(after.outbox.len(), 1);
        assert_eq!(
            (&after.orders, &after.nonces),
            (&before.orders, &before.nonces)
        );
        assert_eq!(after.statements, before.statements);
        scene.plane.lock().faults.refuse = Some((503, "overloaded"));
        assert_eq!(scene.agent.flush().await.unwrap(), Sent::Later);
    }
    assert!(scene.agent.state().unanswered.action.is_some());

    // Another site cannot say it.
    let (elsewhere, _) = paired_again(&scene, |pairing| pairing.site = "shop".parse().unwrap());
    let mut after = scene.agent.state();
    after.apply(&elsewhere).unwrap();
    assert_eq!(owed(&after), []);
    scene.catch_up().await;
    assert_eq!(owed(&scene.agent.state()), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_that_is_refused_for_good_is_kept_as_a_file_and_holds_nothing_up() {
    let scene = Scene::new().await;
    let delivery = {
        let mut inner = scene.plane.lock();
        let order = scene.order(&inner, 5);
        scene.deliver(&mut inner, &order)
    };
    assert_eq!(scene.take(&delivery).await.unwrap(), Sent::Done);
    let unsaid = || crate::status(&scene.config.dir).unwrap().unsaid;
    assert_eq!(unsaid(), Vec::<std::path::PathBuf>::new());
    scene.plane.lock().faults.refuse = Some((409, "wrong-state"));
    assert_eq!(scene.agent.flush().await.unwrap(), Sent::Done);
    assert_eq!(owed(&scene.agent.state()), []);
    let files = unsaid();
    assert_eq!(files.len(), 1);
    let kept: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&files[0]).unwrap()).unwrap();
    let digest = Opened::open(&delivery).unwrap().envelope.payload_digest();
    assert_eq!(kept["why"], "wrong-state");
    assert_eq!(kept["outcome"]["result"], "succeeded");
    assert_eq!(kept["outcome"]["order_digest"], digest.to_string());
    assert!(kept["envelope"]["payload"].is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ended_while_the_site_was_looked_at_is_over() {
    let scene = Scene::new().await;
    let (order, delivery) = {
        let mut inner = scene.plane.lock();
        let mut order = scene.order(&inner, 5);
        restate(&inner, &mut order, |statement| {
            statement.not_after = order_end(statement.not_before);
        });
        let delivery = scene.deliver(&mut inner, &order);
        (order, delivery)
    };
    let passed = scene.agent.judge(&delivery).await.unwrap().unwrap();
    let code = |at| {
        crate::orders::still_counts(&passed, at)
            .err()
            .map(|refusal| refusal.code().id)
    };
    let ends = order.statements[0].unverified().unwrap().not_after;
    assert!(ends < order.expires);
    assert_eq!(code(now()), None);
    assert_eq!(code(ends.plus_millis(1)), Some("order-statement-time"));
    assert_eq!(code(order.expires.plus_millis(1)), Some("order-expired"));
}

/// An end of a statement that is before its order's.
fn order_end(begins: Time) -> Time {
    begins.max(now()).plus_millis(30_000)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_that_cannot_be_worked_on_ends_the_order_and_not_the_connector() {
    let scene = Scene::new().await;
    let root = scene.agent.layout.site();
    let order = |number| {
        let mut inner = scene.plane.lock();
        let order = scene.order(&inner, number);
        scene.deliver(&mut inner, &order)
    };
    // Something stands where the new link is made.
    let blocked = root.join("current.new");
    std::fs::create_dir_all(blocked.join("x")).unwrap();
    let delivery = order(5);
    assert!(
        scene.take(&delivery).await.is_err(),
        "the link can be put neither forward nor back"
    );
    std::fs::remove_dir_all(&blocked).unwrap();
    crate::execute::take_back(&scene.agent.journal, &scene.agent.site.releases, now()).unwrap();
    assert_eq!(
        scene.agent.site.releases.current().unwrap(),
        Some(scene.one)
    );
    scene.catch_up().await;

    // Somebody else changed the link.
    std::fs::remove_file(root.join("current")).unwrap();
    std::os::unix::fs::symlink("/etc", root.join("current")).unwrap();
    let delivery = order(6);
    assert_eq!(scene.take(&delivery).await.unwrap(), Sent::Done);
    let refused = said(&scene.agent.state());
    assert_eq!(
        (refused[0].1, refused[0].2.as_str()),
        (OutcomeResult::Refused, "order-precondition")
    );
    assert_eq!(
        std::fs::read_link(root.join("current")).unwrap(),
        std::path::Path::new("/etc")
    );
}
