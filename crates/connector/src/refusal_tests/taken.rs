//! Orders that are good, and what is asked for or said again around them.

use super::*;

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
