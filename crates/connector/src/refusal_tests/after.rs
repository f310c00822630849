//! What stays true after an order: pairing again, and an order that ended while the site was looked at.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn nobody_pairs_again_while_an_outcome_waits_and_orders_stay_known_after() {
    let scene = Scene::new().await;
    let delivery = {
        let mut inner = scene.plane.lock();
        let order = scene.order(&inner, 5);
        scene.deliver(&mut inner, &order)
    };
    assert_eq!(scene.take(&delivery).await.unwrap(), Sent::Done);
    assert!(scene.agent.state().owes_an_outcome());
    // Sealed and not answered it is still owed.
    for _ in 0..2 {
        scene.plane.lock().faults.refuse = Some((503, "overloaded"));
        assert_eq!(scene.agent.flush().await.unwrap(), Sent::Later);
        assert!(scene.agent.state().owes_an_outcome());
    }
    scene.catch_up().await;
    let before = scene.agent.state();
    assert!(!before.owes_an_outcome() && !before.orders.is_empty());

    let mut after = before.clone();
    after
        .apply(&Entry::Paired {
            pairing: before.pairing.clone().unwrap(),
            keys: before.keys.clone(),
            document: before.document.clone().unwrap(),
            checkpoint: before.checkpoint,
        })
        .unwrap();
    assert_eq!(after.orders, before.orders);
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
