//! Each finding is made, on a real ledger, and then looked for.

use super::directory::examine;
use super::files;
use super::finding::{Finding, Severity};
use super::journal::{self, Context};
use crate::progress::Progress;
use crate::survey::Survey;
use countersign_ids::Time;
use countersign_service::{Config, NewTenant, Request, Service};
use countersign_store::read::{Item, Reader};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// How a ledger was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Closed,
    Abandoned,
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

async fn start(data: &Path) -> Service {
    let mut config = Config::new(data, data.parent().unwrap().join("genesis.pem"));
    config.store.segment_bytes = 1024 * 1024;
    Service::start(config).await.unwrap()
}

async fn tenant(service: &Service, name: &str) {
    let admin = std::fs::read_to_string(service.admin_token_file()).unwrap();
    let access = service.authenticate(admin.trim()).unwrap();
    let new = NewTenant {
        tenant: name.parse().unwrap(),
        name: "A tenant".to_owned(),
    };
    let access = access.platform().unwrap();
    service
        .create_tenant(&access, &Request::default(), new)
        .await
        .unwrap();
}

/// A ledger with one tenant.
fn ledger(left: Left) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("ledger");
    runtime().block_on(async {
        let service = start(&data).await;
        tenant(&service, "bakery").await;
        match left {
            Left::Closed => service.stop().await.unwrap(),
            Left::Abandoned => service.abandon().await,
        }
    });
    (directory, data)
}

fn survey(data: &Path) -> Survey {
    let reader = Reader::open(data).unwrap();
    Survey::of(&reader, &Progress::bytes("reading", 0)).unwrap()
}

fn wrong(findings: &[Finding]) -> Vec<&Finding> {
    findings
        .iter()
        .filter(|finding| finding.severity() == Severity::Wrong)
        .collect()
}

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn segment(data: &Path) -> PathBuf {
    data.join("journal").join(format!("{:020}.seg", 0))
}

fn write_at(path: &Path, bytes: &[u8], at: u64) {
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(bytes, at).unwrap();
}

/// The blobs of a ledger.
fn blobs(data: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for directory in std::fs::read_dir(data.join("blobs/sha256")).unwrap() {
        let files = std::fs::read_dir(directory.unwrap().path()).unwrap();
        found.extend(files.map(|file| file.unwrap().path()));
    }
    assert!(!found.is_empty());
    found
}

#[test]
fn nothing_is_wrong_with_a_sound_ledger_stopped_or_live_and_nothing_is_written() {
    let (_directory, data) = ledger(Left::Closed);
    let before = std::fs::metadata(segment(&data))
        .unwrap()
        .modified()
        .unwrap();
    let findings = examine(&data, None).unwrap();
    assert!(wrong(&findings).is_empty(), "{findings:#?}");
    assert!(
        findings
            .iter()
            .any(|finding| finding.is("keys", Severity::Note, "setup-secret-kept"))
    );
    let after = std::fs::metadata(segment(&data))
        .unwrap()
        .modified()
        .unwrap();
    assert_eq!(before, after);
    runtime().block_on(async {
        let service = start(&data).await;
        let findings = tokio::task::spawn_blocking({
            let data = data.clone();
            move || examine(&data, None).unwrap()
        });
        let findings = findings.await.unwrap();
        assert!(wrong(&findings).is_empty(), "{findings:#?}");
        service.stop().await.unwrap();
    });
}

/// Left like that, broken like that, found like that.
type Case = (
    &'static str,
    Left,
    fn(&Path),
    (&'static str, Severity, &'static str),
);

const CASES: &[Case] = &[
    (
        "no description",
        Left::Closed,
        |data| std::fs::remove_file(data.join("ledger.toml")).unwrap(),
        ("directory", Severity::Wrong, "not-a-ledger"),
    ),
    (
        "keys open to others",
        Left::Closed,
        |data| mode(&data.join("keys"), 0o755),
        ("permissions", Severity::Wrong, "data-permissions"),
    ),
    (
        "a segment that its owner cannot write",
        Left::Closed,
        |data| mode(&segment(data), 0o400),
        ("permissions", Severity::Wrong, "data-permissions"),
    ),
    (
        "no blobs directory",
        Left::Closed,
        |data| std::fs::remove_dir_all(data.join("blobs")).unwrap(),
        ("permissions", Severity::Wrong, "data-permissions"),
    ),
    (
        "a key that others read",
        Left::Closed,
        |data| mode(&data.join("keys/order.pem"), 0o644),
        ("keys", Severity::Wrong, "key-file"),
    ),
    (
        "a token that others read",
        Left::Closed,
        |data| mode(&data.join("keys/admin-token"), 0o644),
        ("keys", Severity::Wrong, "key-exposed"),
    ),
    (
        "no checkpoint key",
        Left::Closed,
        |data| std::fs::remove_file(data.join("keys/checkpoint.pem")).unwrap(),
        ("keys", Severity::Wrong, "server-file"),
    ),
    (
        "a key of another role",
        Left::Closed,
        |data| {
            let keys = data.join("keys");
            std::fs::copy(keys.join("checkpoint.pem"), keys.join("order.pem")).unwrap();
        },
        ("keys", Severity::Wrong, "key-file"),
    ),
    (
        "a flipped bit",
        Left::Closed,
        |data| {
            let bytes = std::fs::read(segment(data)).unwrap();
            write_at(&segment(data), &[bytes[200] ^ 1], 200);
        },
        ("journal", Severity::Wrong, "ledger-damaged"),
    ),
    (
        "killed",
        Left::Abandoned,
        |_| (),
        ("journal", Severity::Note, "not-closed"),
    ),
    (
        "killed while it wrote",
        Left::Abandoned,
        |data| {
            let end = survey(data).position;
            write_at(&segment(data), b"half a frame", end.get());
        },
        ("journal", Severity::Note, "tail-torn"),
    ),
    (
        "no log",
        Left::Closed,
        |data| std::fs::remove_dir_all(data.join("sled")).unwrap(),
        ("log", Severity::Note, "log-set-aside"),
    ),
    (
        "a log set aside",
        Left::Closed,
        |data| std::fs::create_dir(data.join("sled.aside-1")).unwrap(),
        ("log", Severity::Note, "log-set-aside"),
    ),
    (
        "a log of something else",
        Left::Closed,
        |data| {
            std::fs::remove_dir_all(data.join("sled")).unwrap();
            std::fs::create_dir(data.join("sled")).unwrap();
        },
        ("log", Severity::Note, "log-failed"),
    ),
    (
        "a journal older than the log",
        Left::Closed,
        |data| {
            let before = std::fs::read(segment(data)).unwrap();
            runtime().block_on(async {
                let service = start(data).await;
                tenant(&service, "cellar").await;
                service.stop().await.unwrap();
            });
            std::fs::write(segment(data), before).unwrap();
        },
        ("log", Severity::Wrong, "ledger-damaged"),
    ),
    (
        "a blob that is gone",
        Left::Closed,
        |data| std::fs::remove_file(blobs(data).remove(0)).unwrap(),
        ("blobs", Severity::Wrong, "blob-lost"),
    ),
    (
        "a blob with other bytes",
        Left::Closed,
        |data| std::fs::write(blobs(data).remove(0), "other").unwrap(),
        ("blobs", Severity::Wrong, "blob-mismatch"),
    ),
    (
        "a policy that is no Cedar",
        Left::Closed,
        |data| std::fs::write(data.join("policies/mine.cedar"), "permit (").unwrap(),
        ("policies", Severity::Wrong, "policy-invalid"),
    ),
    (
        "no policies",
        Left::Closed,
        |data| std::fs::remove_dir_all(data.join("policies")).unwrap(),
        ("policies", Severity::Note, "policies-absent"),
    ),
];

#[test]
fn what_is_broken_is_found_by_name() {
    for (name, left, break_it, (check, severity, code)) in CASES {
        let (_directory, data) = ledger(*left);
        break_it(&data);
        let findings = examine(&data, None).unwrap();
        assert!(
            findings
                .iter()
                .any(|finding| finding.is(check, *severity, code)),
            "{name}: {findings:#?}"
        );
        assert_eq!(
            wrong(&findings).is_empty(),
            *severity != Severity::Wrong,
            "{name}: {findings:#?}"
        );
    }
}

#[test]
fn what_a_clean_directory_cannot_show_is_found_in_its_reading() {
    let (_directory, data) = ledger(Left::Abandoned);
    let mut survey = survey(&data);
    let newest = survey.chains.values().map(|chain| chain.state.time()).max();
    let found =
        |survey: &Survey, live: bool, now: Time| journal::examine(&Context { survey, live, now });
    let is = |findings: &[Finding], check: &str, code: &str| {
        assert!(
            findings
                .iter()
                .any(|finding| finding.is(check, Severity::Wrong, code)),
            "{findings:#?}"
        );
    };
    let newest = newest.unwrap();
    is(
        &found(&survey, false, newest.minus_millis(2_001)),
        "clock",
        "clock-behind",
    );
    assert!(wrong(&found(&survey, false, newest.minus_millis(2_000))).is_empty());

    for chain in survey.chains.values_mut() {
        chain.uncovered = Some(newest);
    }
    is(
        &found(&survey, true, newest.plus_millis(120_001)),
        "checkpoints",
        "checkpoint-late",
    );
    assert!(wrong(&found(&survey, true, newest.plus_millis(120_000))).is_empty());

    // The same events once more, in whole frames: no checksum is wrong, but the chain does not follow.
    let reader = Reader::open(&data).unwrap();
    for item in reader.journal().unwrap() {
        if let Item::Events { records, .. } = item.unwrap() {
            records.iter().for_each(|record| survey.record(record));
        }
    }
    is(&found(&survey, false, newest), "chain", "chain-damaged");
}

#[test]
fn room_runs_low_and_then_out() {
    const MIB: u64 = 1024 * 1024;
    for (free, severity, code) in [
        (127 * MIB, Severity::Wrong, "disk-full"),
        (128 * MIB, Severity::Wrong, "disk-low"),
        (1023 * MIB, Severity::Wrong, "disk-low"),
    ] {
        assert!(files::space(free).is("space", severity, code), "{free}");
    }
    assert_eq!(files::space(1024 * MIB).severity(), Severity::Fine);
}
