//! Read models are made again while they are served, from outside: by an administrator, over a kill, and seen in figures.

use crate::harness::{told, until};
use crate::stage::{Plane, Stage};
use serde_json::Value;

/// What the server says of one read model.
fn model(stage: &Stage, name: &str) -> Value {
    let admin = stage.plane.admin();
    let text = stage.plane.run(&admin, &["projections", "list", "--json"]);
    let listed: Value = serde_json::from_str(&text).unwrap();
    let mut items = listed["items"].as_array().unwrap().iter();
    items
        .find(|item| item["projection"] == name)
        .unwrap_or_else(|| panic!("no `{name}` in {text}"))
        .clone()
}

#[tokio::test]
async fn a_read_model_is_made_again_over_a_kill_while_it_is_served() {
    let directory = tempfile::tempdir().unwrap();
    let mut stage = Stage::set(Plane::start(directory.path()));
    stage.propose("2026-autumn");
    let caller = crate::http::Caller::new(&stage.plane.url(), &stage.owner);
    let path = format!("/v1/tenants/{}/timeline", crate::stage::TENANT);
    let before = caller.get(&path).await.body;
    let before = before["items"].as_array().unwrap();
    assert!(before.len() > 5, "{before:?}");

    let admin = stage.plane.admin();
    let refused = stage
        .plane
        .try_run(&stage.owner, &["projections", "rebuild", "timeline"]);
    assert!(
        told(&refused).contains("role-too-small"),
        "{}",
        told(&refused)
    );
    let unknown = stage
        .plane
        .try_run(&admin, &["projections", "rebuild", "tide"]);
    assert!(
        told(&unknown).contains("projection-unknown"),
        "{}",
        told(&unknown)
    );
    let cost = stage
        .plane
        .run(&admin, &["projections", "cost", "timeline", "--json"]);
    let cost: Value = serde_json::from_str(&cost).unwrap();
    assert!(cost["events"].as_u64().unwrap() > 5, "{cost}");
    assert!(cost["bytes"].as_u64().unwrap() > 1000, "{cost}");

    // It dies with the order durable; the next start goes on. Each step of it is killed in the tests of the store.
    stage
        .plane
        .run(&admin, &["projections", "rebuild", "timeline"]);
    stage.plane.kill();
    stage.plane.resume();
    until("the old rows to be gone", || {
        model(&stage, "timeline")["rebuilding"]
            .is_null()
            .then_some(())
    });
    let line = ["projections", "rebuild", "timeline", "--wait"];
    let made = stage.plane.try_run(&admin, &line);
    assert!(made.status.success(), "{}", told(&made));
    let caller = crate::http::Caller::new(&stage.plane.url(), &stage.owner);
    let after = caller.get(&path).await.body;
    // What the server did about the proposal meanwhile may have come behind it.
    assert_eq!(&after["items"].as_array().unwrap()[..before.len()], before);
}
