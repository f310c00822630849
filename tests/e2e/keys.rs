//! Keys of the plane are rotated while everything runs: server, connector, people. What is signed before and after counts.

use crate::harness::{countersign, root, told, until};
use crate::stage::{Plane, Stage};
use serde_json::Value;
use std::process::Command;

/// The keys of a role, by the server: names, and whether they ended.
fn keys(stage: &Stage, role: &str) -> Vec<(String, bool)> {
    let text = stage.plane.run(&stage.owner, &["keys", "list", "--json"]);
    let listed: Value = serde_json::from_str(&text).unwrap();
    let items = listed["items"].as_array().unwrap().iter();
    items
        .filter(|item| item["role"] == role)
        .map(|item| {
            (
                item["name"].as_str().unwrap().to_owned(),
                !item["ended"].is_null(),
            )
        })
        .collect()
}

#[test]
fn both_keys_are_rotated_and_a_page_changes_before_and_after() {
    let directory = tempfile::tempdir().unwrap();
    let mut stage = Stage::set(Plane::start(directory.path()));
    let old = std::fs::read(stage.plane.data().join("keys/order.pem")).unwrap();
    // The genesis key is somewhere else: a rotation does not need it.
    std::fs::remove_file(directory.path().join("genesis.pem")).unwrap();

    let refused = stage
        .plane
        .try_run(&stage.owner, &["keys", "rotate", "order"]);
    assert!(
        told(&refused).contains("role-too-small"),
        "{}",
        told(&refused)
    );
    let admin = stage.plane.admin();
    for name in ["order", "checkpoint"] {
        // The connector frees the site with its last word on the order before, which may be on its way.
        until("a rotation", || {
            let rotated = stage.plane.try_run(&admin, &["keys", "rotate", name]);
            let out = told(&rotated).contains("orders-out");
            assert!(rotated.status.success() || out, "{}", told(&rotated));
            rotated.status.success().then_some(())
        });
    }
    let order = [("order-1".to_owned(), true), ("order-2".to_owned(), false)];
    assert_eq!(keys(&stage, "order"), order);
    assert_eq!(keys(&stage, "checkpoint").len(), 2);
    assert_ne!(
        std::fs::read(stage.plane.data().join("keys/order.pem")).unwrap(),
        old
    );

    // The connector learns of both from the plane that it does not trust, by statements that it checks.
    let action = stage.propose("2026-autumn");
    assert_eq!(stage.decide("approve", &action), Some(0));
    assert!(stage.page("").contains("Autumn at the light"));
    stage.plane.kill();
    stage.plane.resume();
    let back = stage.plane.run(
        &stage.agent,
        &["rollback", "2026-summer", "--site", crate::stage::SITE],
    );
    assert_eq!(stage.decide("approve", &back), Some(0));
    assert!(!stage.page("").contains("Autumn at the light"));

    stage.plane.verify();
    let bundle = directory.path().join("bundle.zip");
    let (data, bundle) = (stage.plane.data(), bundle.to_str().unwrap());
    let exported = countersign(&["replay", "export", data.to_str().unwrap(), "--out", bundle])
        .output()
        .unwrap();
    assert!(exported.status.success(), "{}", told(&exported));
    let python = Command::new(countersign_tests::python().unwrap())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg(root().join("examples/verify/verify.py"))
        .args([bundle, "--allow", "policy"])
        .output()
        .unwrap();
    assert!(python.status.success(), "{}", told(&python));

    // Nobody signs with the old key again: not this server, if somebody puts it back.
    assert_eq!(stage.plane.stop(), Some(0));
    let file = stage.plane.data().join("keys/order.pem");
    std::fs::write(&file, old).unwrap();
    let started = stage.plane.command().output().unwrap();
    assert!(told(&started).contains("key-file"), "{}", told(&started));
}
