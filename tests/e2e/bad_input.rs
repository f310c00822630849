//! What a caller can do wrong over HTTP: each gets its own code, and nothing is left half done.

use crate::harness::{PATIENCE, countersign};
use crate::http::Caller;
use crate::stage::{Plane, SITE, Stage, TENANT};
use reqwest::Method;
use serde_json::json;

#[tokio::test]
async fn the_same_key_with_another_request_is_refused_and_with_the_same_is_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let plane = Plane::start(directory.path());
    let owner = Caller::new(&plane.url(), &plane.tenant());
    let path = format!("/v1/tenants/{TENANT}/sites");
    let body = json!({ "site": SITE, "name": "Kittiwake Light", "environment": "production" });
    let first = owner.post(&path, "k1", &body).await;
    assert!(first.is_ok(), "{first:?}");
    let again = owner.post(&path, "k1", &body).await;
    assert_eq!(
        again.body["receipt"]["events"],
        first.body["receipt"]["events"]
    );
    let other = json!({ "site": "other", "name": "Other", "environment": "production" });
    let refused = owner.post(&path, "k1", &other).await;
    assert_eq!(
        (refused.status, refused.code()),
        (422, "idempotency-mismatch"),
        "{refused:?}"
    );
    let sites = owner.get(&path).await;
    assert!(!sites.body.to_string().contains("other"), "{sites:?}");
}

/// The command itself moves the version that it was sent for: its repetition is not refused for that.
#[tokio::test]
async fn a_command_sent_again_gets_its_receipt_whatever_version_it_names() {
    let directory = tempfile::tempdir().unwrap();
    let stage = Stage::set(Plane::start(directory.path()));
    let agent = Caller::new(&stage.plane.url(), &stage.agent);
    let action = stage.propose("2026-autumn");
    let path = format!("/v1/tenants/{TENANT}/actions/{action}");
    let end = std::time::Instant::now() + PATIENCE;
    while agent.get(&path).await.body["state"] != "waiting" {
        assert!(std::time::Instant::now() < end, "it is not assessed");
    }
    let read = agent.request(Method::GET, &path).send().await.unwrap();
    let tag = read.headers()["etag"].clone();
    let withdraw = async |key: &str| {
        let request = agent.request(Method::POST, &format!("{path}/withdraw"));
        let request = request
            .header("if-match", &tag)
            .header("idempotency-key", key);
        let answer = request.json(&json!({})).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json::<serde_json::Value>().await.unwrap())
    };
    let (status, first) = withdraw("k").await;
    assert_eq!(status, 200, "{first}");
    let (status, again) = withdraw("k").await;
    assert_eq!(status, 200, "{again}");
    assert_eq!(first["receipt"]["events"], again["receipt"]["events"]);
    let (status, other) = withdraw("another").await;
    assert_eq!(
        (status, other["code"].as_str()),
        (412, Some("precondition-failed"))
    );
}

/// Thirty connectors try one code at the same moment; one is paired.
#[test]
fn a_pairing_code_is_used_up_by_one_of_thirty() {
    let directory = tempfile::tempdir().unwrap();
    let plane = Plane::start(directory.path());
    let owner = plane.tenant();
    let admin = plane.admin();
    let key = directory.path().join("alice.pem");
    let key = key.to_str().unwrap();
    plane.run(&admin, &["key", "new", key]);
    plane.run(
        &admin,
        &[
            "approver",
            "enrol",
            "--approver",
            "alice",
            "--credential",
            "laptop",
            "--key",
            key,
        ],
    );
    plane.run(&owner, &["site", "add", SITE, "--name", "Kittiwake Light"]);
    let code = plane.run(&owner, &["site", "invite", SITE]);
    let mut tries: Vec<_> = (0..30)
        .map(|number| {
            let own = directory.path().join(format!("connector-{number}"));
            let arguments = [
                "connector",
                "pair",
                &code,
                "--directory",
                own.to_str().unwrap(),
                "--server",
                &plane.url(),
            ];
            countersign(&arguments)
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    let ends: Vec<bool> = tries
        .iter_mut()
        .map(|child| child.wait().unwrap().success())
        .collect();
    assert_eq!(ends.iter().filter(|paired| **paired).count(), 1);
    plane.verify();
}
