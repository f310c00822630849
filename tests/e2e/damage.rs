//! Bytes of the data directory are not what was written: the server starts, names it, and whoever is not concerned goes on.

use crate::harness::{PATIENCE, countersign, told};
use crate::http::{Answer, Caller};
use crate::stage::{Plane, TENANT};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

const OTHER: &str = "cellar";

fn segment(data: &Path) -> PathBuf {
    data.join(format!("journal/{:020}.seg", 0))
}

async fn register(caller: &Caller, tenant: &str, site: &str) -> Answer {
    let body = json!({ "site": site, "name": site, "environment": "production" });
    let path = format!("/v1/tenants/{tenant}/sites");
    caller.post(&path, &format!("{tenant}-{site}"), &body).await
}

/// The callers of two tenants, each of which has sites.
async fn two_tenants(plane: &Plane) -> (Caller, Caller) {
    let mine = Caller::new(&plane.url(), &plane.tenant());
    let admin = plane.admin();
    plane.run(&admin, &["tenant", "add", OTHER, "--name", "Cellar"]);
    let issue = ["token", "issue", "--role", "owner", "--actor", "carl"];
    let token = plane.run(&admin, &[&issue[..], &["--tenant", OTHER]].concat());
    let other = Caller::new(&plane.url(), &token);
    for number in 0..8 {
        for (caller, tenant) in [(&mine, TENANT), (&other, OTHER)] {
            let answer = register(caller, tenant, &format!("site-{number}")).await;
            assert!(answer.is_ok(), "{answer:?}");
        }
    }
    (mine, other)
}

/// What `/readyz` says: its status and the codes of all problems.
async fn readiness(caller: &Caller) -> (u16, Vec<String>) {
    let answer = caller.get("/readyz").await;
    let code = |problem: &Value| problem["code"].as_str().unwrap().to_owned();
    let problems = answer.body["problems"].as_array().unwrap();
    (answer.status, problems.iter().map(code).collect())
}

fn doctor(subject: &[&str]) -> (ExitStatus, String) {
    let output = countersign(&[&["doctor", "--json"], subject].concat())
        .output()
        .unwrap();
    (output.status, told(&output))
}

/// Writes over a few bytes of the header in which this text stands last.
fn spoil(data: &Path, text: &str) {
    let mut bytes = std::fs::read(segment(data)).unwrap();
    let at = bytes
        .windows(text.len())
        .rposition(|part| part == text.as_bytes())
        .unwrap();
    bytes[at + text.len() + 4..][..8].fill(b'#');
    std::fs::write(segment(data), bytes).unwrap();
}

/// Flips one bit of a file.
fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 0x20;
    std::fs::write(path, bytes).unwrap();
}

fn last(bytes: &[u8], text: &str) -> usize {
    let mut parts = bytes.windows(text.len());
    parts.rposition(|part| part == text.as_bytes()).unwrap()
}

#[tokio::test]
async fn a_flipped_bit_of_the_journal_is_put_right_and_one_of_a_blob_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let mut plane = Plane::start(directory.path());
    let (mine, _) = two_tenants(&plane).await;
    // Heads are recorded, and the list of them is a blob.
    assert_eq!(plane.stop(), Some(0));
    let data = plane.data();
    let text = format!("/chains/{TENANT}\"");
    let at = last(&std::fs::read(segment(&data)).unwrap(), &text);
    flip(&segment(&data), at + text.len() + 9);
    let (exit, text) = doctor(&[data.to_str().unwrap()]);
    assert_eq!(exit.code(), Some(1), "{text}");
    assert!(text.contains("\"ledger-damaged\""), "{text}");

    plane.resume();
    let (status, codes) = readiness(&mine).await;
    assert_eq!((status, codes), (200, vec![]));
    assert!(register(&mine, TENANT, "another").await.is_ok());
    assert_eq!(plane.stop(), Some(0));
    let (exit, text) = doctor(&[data.to_str().unwrap()]);
    assert_eq!(exit.code(), Some(0), "{text}");
    plane.verify();

    // Nobody asks for this file: it is found because the server reads everything.
    flip(&a_file_under(&data.join("blobs/sha256")), 3);
    plane.resume();
    let end = Instant::now() + PATIENCE;
    loop {
        let (status, codes) = readiness(&mine).await;
        assert_eq!(status, 200, "{codes:?}");
        if codes == ["damage-left"] {
            break;
        }
        assert!(Instant::now() < end, "{codes:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(register(&mine, TENANT, "further").await.is_ok());
    assert_eq!(plane.stop(), Some(0));
}

/// Any file, however deep.
fn a_file_under(directory: &Path) -> PathBuf {
    let path = directory
        .read_dir()
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    if path.is_dir() {
        a_file_under(&path)
    } else {
        path
    }
}

#[tokio::test]
async fn a_tenant_whose_events_are_damaged_keeps_no_other_from_anything() {
    let directory = tempfile::tempdir().unwrap();
    let mut plane = Plane::start(directory.path());
    let (mine, other) = two_tenants(&plane).await;
    plane.kill();
    spoil(&plane.data(), &format!("/chains/{TENANT}\""));
    std::fs::remove_dir_all(plane.data().join("sled")).unwrap();

    plane.resume();
    let (status, codes) = readiness(&other).await;
    assert_eq!(status, 200, "{codes:?}");
    for code in ["damage-left", "chain-damaged"] {
        assert!(codes.contains(&code.to_owned()), "{codes:?}");
    }
    let refused = register(&mine, TENANT, "another").await;
    assert_eq!((refused.status, refused.code()), (503, "chain-damaged"));
    let read = mine.get(&format!("/v1/tenants/{TENANT}/sites")).await;
    assert!(read.is_ok(), "what comes before is served: {read:?}");
    let taken = register(&other, OTHER, "another").await;
    assert!(taken.is_ok(), "{taken:?}");
    let (exit, text) = doctor(&["--server", &plane.url()]);
    assert_eq!(exit.code(), Some(1), "{text}");
    assert!(text.contains("\"damage-left\""), "{text}");

    // Heads are recorded at a stop; the chain that lost its end stays in them what it was.
    assert_eq!(plane.stop(), Some(0));
    let data = plane.data();
    let (exit, text) = doctor(&[data.to_str().unwrap()]);
    assert_eq!(exit.code(), Some(1), "{text}");
    assert!(text.contains("\"ledger-damaged\""), "{text}");
    plane.resume();
    let (_, codes) = readiness(&other).await;
    for code in ["damage-left", "chain-damaged"] {
        assert!(
            codes.contains(&code.to_owned()),
            "the evidence is as it was: {codes:?}"
        );
    }
    let again = register(&other, OTHER, "another").await;
    assert_eq!(again.body["events"], taken.body["events"], "{again:?}");
    assert_eq!(plane.stop(), Some(0));
}
