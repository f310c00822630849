//! What was said goes when it is told to: expired bodies and erased people, over crashes between all steps, in every byte.

use crate::harness::{countersign, told, until};
use crate::stage::{Plane, SITE, Stage};
use serde_json::Value;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Remarks in each round.
const REMARKS: usize = 3;
/// The server dies here, once each.
const CRASHES: &[&str] = &[
    "removal.found",
    "removal.sealed",
    "removal.segment",
    "removal.thinned",
    "removal.copied",
    "removal.between",
    "removal.moved",
    "removal.rewritten",
    "removal.looked",
];

/// The files under a directory in which the text stands: as it is, or in anything that zstd made.
pub(crate) fn found_in(dir: &Path, text: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(found_in(&path, text));
        } else if path.is_file() && holds(&std::fs::read(&path).unwrap(), text.as_bytes()) {
            found.push(path);
        }
    }
    found
}

pub(crate) fn holds(bytes: &[u8], text: &[u8]) -> bool {
    // A segment is allocated ahead: its blank pages hold nothing.
    let blank = bytes
        .rchunks(4096)
        .take_while(|page| **page == [0; 4096][..page.len()]);
    let bytes = &bytes[..bytes.len() - blank.map(<[u8]>::len).sum::<usize>()];
    let within = |bytes: &[u8]| bytes.windows(text.len()).any(|part| part == text);
    let frames = bytes.windows(4).enumerate();
    let mut frames = frames.filter(|(_, four)| *four == [0x28, 0xb5, 0x2f, 0xfd]);
    within(bytes) || frames.any(|(at, _)| within(&unpacked(&bytes[at..])))
}

/// What comes out of a zstd frame before it ends or breaks off.
fn unpacked(bytes: &[u8]) -> Vec<u8> {
    let decoder = zstd::stream::read::Decoder::new(bytes).unwrap();
    let mut decoder = decoder.single_frame();
    let (mut out, mut part) = (Vec::new(), [0; 64 * 1024]);
    while let Ok(read) = decoder.read(&mut part) {
        if read == 0 {
            break;
        }
        out.extend_from_slice(&part[..read]);
    }
    out
}

pub(crate) fn retention(plane: &Plane, owner: &str) -> Value {
    let shown = plane.run(owner, &["retention", "show", "--json"]);
    serde_json::from_str(&shown).unwrap()
}

/// How many bodies a verdict says have expired.
fn gone(verdict: &Value) -> u64 {
    let counts = &verdict["counts"];
    println!("{counts}");
    counts["absent"]["expired"].as_u64().unwrap()
}

/// `replay verify` of a directory or a bundle; the verdict.
pub(crate) fn verified(of: &Path) -> Value {
    let of = of.to_str().unwrap();
    let output = countersign(&["replay", "verify", of, "--json"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{of}: {}", told(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

pub(crate) fn backup(plane: &Plane, backups: &Path) {
    let (data, to) = (plane.data(), backups.to_str().unwrap());
    let arguments = ["backup", data.to_str().unwrap(), "--to", to, "--keep", "99"];
    let output = countersign(&arguments).output().unwrap();
    assert!(output.status.success(), "{}", told(&output));
}

/// Remarks are made, are in every copy, and expire; the server dies at this point on the way. What was said.
fn expire(plane: &mut Plane, owner: &str, backups: &Path, (round, crash): (usize, &str)) -> String {
    let secret = format!("the-safe-is-behind-painting-{round}");
    plane.run(owner, &["retention", "set", "1"]);
    for number in 0..REMARKS {
        let text = format!("{secret} {number}");
        plane.run(owner, &["site", "remark", SITE, &text]);
    }
    // Logged, so that it is in both copies; and it is in a backup.
    assert_eq!(plane.stop(), Some(0));
    backup(plane, backups);
    assert!(!found_in(&plane.data().join("journal"), &secret).is_empty());
    if round == 0 {
        // Later the block is too large to be seen in one piece; nothing of it is left all the same.
        assert!(!found_in(&plane.data().join("sled"), &secret).is_empty());
    }
    assert!(!found_in(backups, &secret).is_empty());
    plane.resume_with(&[
        ("COUNTERSIGN_EXPIRY_AGE", "1s"),
        ("COUNTERSIGN_FAULTS_CRASH", crash),
    ]);
    // The server may die before it has answered.
    drop(plane.try_run(owner, &["retention", "set", "0"]));
    plane.wait_for_death();
    plane.resume();
    until("the receipt", || {
        let kept = retention(plane, owner);
        let done = kept["operational"] == 0 && kept["pending"] == serde_json::json!([]);
        done.then_some(())
    });
    secret
}

#[test]
fn what_expired_is_in_no_byte_wherever_the_server_died_on_the_way() {
    let directory = tempfile::tempdir().unwrap();
    let mut plane = Plane::start(directory.path());
    let owner = plane.tenant();
    plane.run(&owner, &["site", "add", SITE, "--name", "Kittiwake Light"]);
    let backups = directory.path().join("backups");
    for (round, crash) in CRASHES.iter().enumerate() {
        let secret = expire(&mut plane, &owner, &backups, (round, crash));
        let found = found_in(&plane.data(), &secret);
        assert_eq!(found, Vec::<PathBuf>::new(), "{crash}");
        verified(&plane.data());
        backup(&plane, &backups);
        let found = found_in(&backups, &secret);
        assert_eq!(found, Vec::<PathBuf>::new(), "{crash}");
    }
    assert_eq!(plane.stop(), Some(0));
    let verdict = verified(&plane.data());
    assert_eq!(
        gone(&verdict),
        u64::try_from(REMARKS * CRASHES.len()).unwrap()
    );
    let bundle = directory.path().join("bundle.zip");
    let data = plane.data();
    let arguments = ["replay", "export", data.to_str().unwrap(), "--out"];
    let output = countersign(&arguments).arg(&bundle).output().unwrap();
    assert!(output.status.success(), "{}", told(&output));
    assert_eq!(gone(&verified(&bundle)), gone(&verdict));
    assert!(!holds(
        &std::fs::read(&bundle).unwrap(),
        b"the-safe-is-behind-painting"
    ));
    let output = Command::new(countersign_tests::python().unwrap())
        .arg(crate::harness::root().join("examples/verify/verify.py"))
        .arg(&bundle)
        .args(["--allow", "policy"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", told(&output));
    let left = backups.join(format!("{:08}", 2 * CRASHES.len()));
    assert_eq!(gone(&verified(&left)), gone(&verdict));
}

#[test]
fn an_erased_person_cannot_be_read_any_more_and_speaks_under_another_name() {
    let directory = tempfile::tempdir().unwrap();
    let mut stage = Stage::set(Plane::start(directory.path()));
    let (owner, agent) = (stage.owner.clone(), stage.agent.clone());
    let plane = &mut stage.plane;
    let secret = "because-alice-is-ill";
    let propose = |plane: &Plane, release: &str, reason: &str| {
        let line = ["propose", release, "--site", SITE, "--reason", reason];
        plane.run(&agent, &line)
    };
    propose(plane, "2026-autumn", secret);
    let keys = plane.data().join("keys/keyring");
    let has_key = |subject: &Value| keys.join(subject.as_str().unwrap()).exists();
    let subjects = |kept: &Value, what: &str| kept[what].as_array().unwrap().clone();
    for crash in ["erasure.begun", "erasure.destroyed", "removal.looked"] {
        let before = subjects(&retention(plane, &owner), "subjects");
        assert!(!before.is_empty() && before.iter().all(has_key), "{crash}");
        assert_eq!(plane.stop(), Some(0));
        plane.resume_with(&[("COUNTERSIGN_FAULTS_CRASH", crash)]);
        // Who gave the reason is the agent; the server may die before it has answered.
        drop(plane.try_run(&owner, &["erase", "site-agent"]));
        plane.wait_for_death();
        plane.resume();
        let kept = until("the receipt", || {
            let kept = retention(plane, &owner);
            (kept["pending"] == serde_json::json!([])).then_some(kept)
        });
        let (left, erased) = (subjects(&kept, "subjects"), subjects(&kept, "erased"));
        assert_eq!(left.len(), before.len() - 1, "{crash}");
        assert!(left.iter().all(has_key), "{crash}");
        assert!(!erased.iter().any(has_key), "{crash}");
        // The same person again is somebody else to the ledger.
        propose(plane, "2026-autumn", "a new reason");
        let after = subjects(&retention(plane, &owner), "subjects");
        assert_eq!(after.len(), left.len() + 1, "{crash}");
        assert!(after.iter().all(|subject| !erased.contains(subject)));
    }
    // Text is sealed from the start, so it was never there.
    assert_eq!(found_in(&plane.data(), secret), Vec::<PathBuf>::new());
    assert_eq!(plane.stop(), Some(0));
    let counts = verified(&plane.data())["counts"].clone();
    println!("{counts}");
    // What each erasure made unreadable: the reasons that were given before it.
    assert_eq!(counts["destroyed"], 2 + 1 + 1);
}
