//! The disk is full, and the disk becomes read-only, under a server that runs: a real, small file system.

use crate::harness::{countersign, told};
use crate::http::Caller;
use crate::stage::{Plane, SITE};
use crate::world::{Commands, SMALL, Volume, can, figure, files_ending, until_logged};

const MOUNT: &str = "mount a file system";
const STOPPED: &str = "countersign_ledger_stopped";
const RESUMED: &str = "countersign_ledger_resumed_total";

#[tokio::test]
async fn a_full_disk_stops_commands_and_nothing_else_until_there_is_room() {
    if !can(MOUNT) {
        return;
    }
    let volume = Volume::new(96);
    let beside = tempfile::tempdir().unwrap();
    let log = beside.path().join("log");
    let mut plane = Plane::start_set(&volume.path(), &[SMALL]);
    plane.log_to(&log);
    plane.restart();
    let owner = plane.tenant();
    let mut commands = Commands::new(Caller::new(&plane.url(), &owner));
    commands.send_all(50).await;
    // sled does not survive a write into a full disk, so the log has to see it first: it is given the moment.
    until_logged(&plane).await;
    let pid = plane.running().id();
    volume.fill();
    let refused = commands.until_refused().await;
    assert_eq!(
        (refused.status, refused.code()),
        (503, "disk-full"),
        "{refused:?}"
    );
    assert!(refused.retry_after.is_some(), "{refused:?}");
    let codes = commands.unready().await.unwrap();
    assert!(codes.contains(&"disk-full".to_owned()), "{codes:?}");
    assert!(figure(&plane, STOPPED).await > 0.5);
    commands.read().await;
    // Files of the ledger that are no events fail as clearly, and leave nothing half made.
    let release = crate::harness::root().join("examples/site/release-1");
    let arguments = [
        "release",
        "add",
        release.to_str().unwrap(),
        "--label",
        "one",
        "--site",
        SITE,
    ];
    let output = plane.try_run(&owner, &arguments);
    assert_eq!(output.status.code(), Some(2), "{}", told(&output));
    assert!(told(&output).contains("disk-full"), "{}", told(&output));
    assert_eq!(
        files_ending(&plane.data().join("blobs"), ".tmp"),
        [] as [std::path::PathBuf; 0]
    );
    plane.verify();

    volume.free();
    commands.until_ready().await;
    assert!(figure(&plane, STOPPED).await < 0.5);
    assert!(figure(&plane, RESUMED).await > 0.5, "that it was is seen");
    commands.until_taken().await;
    commands.send_all(50).await;
    commands.check().await;
    until_logged(&plane).await;
    assert_eq!(plane.running().id(), pid, "without a restart");
    plane.verify();
    assert_eq!(plane.stop(), Some(0));
    plane.verify();
    let log = std::fs::read_to_string(log).unwrap();
    for said in ["the ledger stopped writing", "the ledger writes again"] {
        assert!(log.contains(said), "`{said}` is not in the log");
    }
}

#[tokio::test]
async fn a_file_system_that_becomes_read_only_stops_the_writer_until_a_restart() {
    if !can(MOUNT) {
        return;
    }
    let volume = Volume::new(64);
    let mut plane = Plane::start_set(&volume.path(), &[SMALL]);
    let owner = plane.tenant();
    let mut commands = Commands::new(Caller::new(&plane.url(), &owner));
    commands.send_all(50).await;
    // What ext4 does by itself when it finds its disk failing.
    volume.remount("abort").unwrap();
    let refused = commands.until_refused().await;
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(
        ["disk-failed", "ledger-stopped"].contains(&refused.code()),
        "{refused:?}"
    );
    assert!(commands.unready().await.is_some());
    assert!(figure(&plane, STOPPED).await > 0.5);
    commands.read().await;
    plane.kill();
    volume.unmount().unwrap();

    // Mounted for reading alone, it can be verified and not served.
    volume.mount("rw").unwrap();
    volume.remount("ro").unwrap();
    plane.verify();
    let served = plane.command().output().unwrap();
    assert_eq!(served.status.code(), Some(2), "{}", told(&served));
    assert!(told(&served).contains("disk-failed"), "{}", told(&served));
    volume.remount("rw").unwrap();
    plane.resume();
    commands.until_taken().await;
    commands.check().await;
    plane.verify();
    let doctor = countersign(&["doctor", plane.data().to_str().unwrap()])
        .output()
        .unwrap();
    // Nothing but that so small a file system has little room.
    let said = told(&doctor);
    let wrong: Vec<_> = said
        .lines()
        .filter(|line| line.starts_with("wrong"))
        .collect();
    assert!(
        wrong.len() == 1 && wrong.iter().all(|line| line.contains("space")),
        "{said}"
    );
    assert_eq!(plane.stop(), Some(0));
}
