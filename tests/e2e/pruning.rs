//! Heartbeats go by the tenant's policy while the server dies on the way; what is left serves, verifies and is backed up.

use crate::harness::{countersign, root, told, until};
use crate::retention::{backup, found_in, holds, retention, verified};
use crate::stage::{Plane, Stage};
use countersign_connector::Config;
use countersign_store::read::{Item, Reader};
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const BEATS: &str = "harbour.beats";
/// One heartbeat after another, as fast as the server answers.
const HURRIED: Duration = Duration::from_millis(1);

/// The signatures in the heartbeats of the journal: each stands in one heartbeat alone.
fn signatures(data: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for item in Reader::open(data).unwrap().journal().unwrap() {
        let Item::Events { records, .. } = item.unwrap() else {
            continue;
        };
        for record in records {
            let header: Value = serde_json::from_slice(&record.header).unwrap();
            let beat = header["type"] == "dev.countersign.beat.received.v1";
            if let (true, countersign_chain::Body::Present { bytes, .. }) = (beat, &record.body) {
                let body: Value = serde_json::from_slice(bytes).unwrap();
                let signature = &body["envelope"]["signatures"][0]["sig"];
                found.push(signature.as_str().unwrap().to_owned());
            }
        }
    }
    found
}

/// Runs the connector beside the site until the chain has so many heartbeats more.
fn beat(stage: &Stage, more: usize) {
    let data = stage.plane.data();
    let wanted = signatures(&data).len() + more;
    let (listen, preview) = (stage.site_port, stage.site_port + 1);
    let address = |port| std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let config = Config {
        heartbeat: HURRIED,
        ..Config::new(
            &stage.connector_directory,
            address(listen),
            address(preview),
            &stage.plane.url(),
        )
    };
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let connector = std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let shutdown = async {
            stopped.await.ok();
        };
        runtime.block_on(countersign_connector::run(&config, shutdown))
    });
    until("heartbeats", || {
        (signatures(&data).len() >= wanted).then_some(())
    });
    stop.send(()).unwrap();
    connector.join().unwrap().unwrap();
}

#[test]
fn heartbeats_go_by_policy_wherever_the_server_dies_on_the_way() {
    let directory = tempfile::tempdir().unwrap();
    let plane = Plane::start_set(
        directory.path(),
        &[
            ("COUNTERSIGN_HEADS_AGE", "1s"),
            ("COUNTERSIGN_SEGMENT_SIZE", "1MiB"),
        ],
    );
    let mut stage = Stage::set(plane);
    stage.stop_connector();
    let owner = stage.owner.clone();
    let backups = directory.path().join("backups");
    let (mut begins, mut first) = (0, String::new());
    for crash in ["pruning.segment", "removal.between"] {
        beat(&stage, if begins == 0 { 530 } else { 260 });
        backup(&stage.plane, &backups);
        let before = signatures(&stage.plane.data());
        let gone = &before[20];
        if begins == 0 {
            first.clone_from(gone);
        }
        assert!(!found_in(&backups, gone).is_empty(), "{crash}");
        assert!(!found_in(&stage.plane.data().join("journal"), gone).is_empty());
        assert_eq!(stage.plane.stop(), Some(0));
        stage.plane.resume_with(&[
            ("COUNTERSIGN_EXPIRY_AGE", "1s"),
            ("COUNTERSIGN_FAULTS_CRASH", crash),
        ]);
        if begins == 0 {
            stage.plane.run(&owner, &["retention", "beats", "0"]);
        }
        stage.plane.wait_for_death();
        stage.plane.resume();
        let kept = until("the receipt", || {
            let kept = retention(&stage.plane, &owner);
            let from: u64 = kept["beats_from"].as_str().unwrap().parse().unwrap();
            (from > begins && kept["beats_pending"] == false).then_some(from)
        });
        assert_eq!((kept % 256, kept > begins), (0, true), "{crash}");
        begins = kept;
        for gone in [gone, &before[0]] {
            let found = found_in(&stage.plane.data(), gone);
            assert_eq!(found, Vec::<std::path::PathBuf>::new(), "{crash}");
        }
        let live = verified(&stage.plane.data());
        assert_eq!(live["counts"]["pruned"], begins, "{crash}");
        backup(&stage.plane, &backups);
        assert!(found_in(&backups, gone).is_empty(), "{crash}");
    }
    check_receipts(&stage, begins);
    // The log is lost, and made again from what the journal holds.
    assert_eq!(stage.plane.stop(), Some(0));
    std::fs::remove_dir_all(stage.plane.data().join("sled")).unwrap();
    stage.plane.resume();
    beat(&stage, 3);
    assert_eq!(stage.plane.stop(), Some(0));
    let data = stage.plane.data();
    assert_eq!(verified(&data)["counts"]["pruned"], begins);
    check_bundles(directory.path(), &data, begins, &first);
}

/// What is gone answers with its code; what is left has its receipt.
fn check_receipts(stage: &Stage, begins: u64) {
    let receipt = |sequence: u64| {
        let url = format!(
            "{}/v1/tenants/harbour/receipts/{BEATS}/{sequence}",
            stage.plane.url()
        );
        let authorization = format!("Authorization: Bearer {}", stage.owner);
        let line = ["-s", "--noproxy", "*", "-w", "\n%{http_code}", "-H"];
        let output = Command::new("curl")
            .args(line)
            .args([&authorization, &url])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let gone = receipt(7);
    assert!(
        gone.ends_with("\n410") && gone.contains("events-pruned"),
        "{gone}"
    );
    assert!(receipt(begins).ends_with("\n200"), "{}", receipt(begins));
}

/// Both kinds of bundle verify, by both verifiers, and hold nothing of what went.
fn check_bundles(directory: &Path, data: &Path, begins: u64, gone: &str) {
    for tenant in [None, Some("harbour")] {
        let bundle = directory.join(format!("{}.zip", tenant.is_some()));
        let mut export = countersign(&["replay", "export", data.to_str().unwrap(), "--out"]);
        export.arg(&bundle);
        if let Some(tenant) = tenant {
            export.args(["--tenant", tenant]);
        }
        let output = export.output().unwrap();
        assert!(output.status.success(), "{}", told(&output));
        assert_eq!(verified(&bundle)["counts"]["pruned"], begins);
        let bytes = std::fs::read(&bundle).unwrap();
        assert!(!holds(&bytes, gone.as_bytes()));
        let output = Command::new(countersign_tests::python().unwrap())
            .arg(root().join("examples/verify/verify.py"))
            .arg(&bundle)
            .args(["--allow", "policy"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", told(&output));
    }
}
