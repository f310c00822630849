//! The approver's key stays with the approver, and one ledger has one process.

use crate::harness::{countersign, told};
use crate::stage::{Plane, Stage};
use std::os::unix::fs::chown;
use std::process::Command;

/// A user that nobody works as.
const NOBODY: u32 = 65534;

/// The whole life of an action, with a server that could not read the approver's key if it tried.
#[test]
fn an_approval_needs_nothing_that_the_server_can_read() {
    if !rustix::process::geteuid().is_root() {
        // Only root can start a process as somebody else; CI does.
        assert!(
            std::env::var_os("CI").is_none_or(|ci| ci != "true"),
            "this test needs root"
        );
        eprintln!("SKIPPED: only root can start the server as another user");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    // The server's parent directory is its own; what stands beside is root's and closed.
    std::fs::set_permissions(
        directory.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    chown(directory.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let stage = Stage::set(Plane::start_under(directory.path(), NOBODY, &[]));

    let running_as = std::fs::metadata(format!("/proc/{}", stage.plane.running().id())).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&running_as), NOBODY);
    let mut tried = Command::new("setpriv");
    tried.args([
        format!("--reuid={NOBODY}"),
        format!("--regid={NOBODY}"),
        "--clear-groups".to_owned(),
    ]);
    assert!(
        !tried
            .arg("cat")
            .arg(&stage.key)
            .output()
            .unwrap()
            .status
            .success(),
        "the server's user can read the key"
    );

    let action = stage.propose("2026-autumn");
    assert_eq!(stage.decide("approve", &action), Some(0));
    assert!(stage.page("").contains("Autumn at the light"));
    stage.plane.verify();
}

#[test]
fn a_second_process_on_the_same_directory_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut plane = Plane::start(directory.path());
    let second = plane.command().output().unwrap();
    assert!(!second.status.success());
    assert!(told(&second).contains("ledger-locked"), "{}", told(&second));
    assert_eq!(plane.stop(), Some(0));
}

#[test]
fn a_sample_is_not_served_and_a_foreign_directory_is_not_taken() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("thesis.txt"), "ten years").unwrap();
    let data = directory.path().to_str().unwrap();
    let output = countersign(&["up", "--data", data, "--fresh"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    assert!(told(&output).contains("not-a-sample"), "{}", told(&output));
    assert!(directory.path().join("thesis.txt").exists());
}
