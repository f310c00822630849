//! The system refuses a file: the server's permission is gone, or it has no handle left. It goes on once that is mended.

use crate::http::Caller;
use crate::stage::Plane;
use crate::world::{Commands, SMALL, can, figure, system};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

/// A user that nobody works as.
const NOBODY: u32 = 65534;

fn allow(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

/// Commands are refused by name while reading goes on; mended, they are taken by the same process.
async fn stops_and_goes_on(
    plane: &mut Plane,
    caller: Caller,
    fail: impl FnOnce(),
    mend: impl FnOnce(),
) {
    let mut commands = Commands::new(caller);
    commands.send_all(50).await;
    let pid = plane.running().id();
    fail();
    let refused = commands.until_refused().await;
    assert_eq!(
        (refused.status, refused.code()),
        (503, "disk-failed"),
        "{refused:?}"
    );
    assert!(refused.retry_after.is_some(), "{refused:?}");
    // Policy files cannot be read either without handles, and that is said beside it.
    let codes = commands.unready().await.unwrap();
    assert!(codes.contains(&"disk-failed".to_owned()), "{codes:?}");
    commands.read().await;
    mend();
    commands.until_ready().await;
    assert!(figure(plane, "countersign_ledger_stopped").await < 0.5);
    commands.until_taken().await;
    commands.send_all(50).await;
    commands.check().await;
    assert_eq!(plane.running().id(), pid, "without a restart");
    plane.verify();
    assert_eq!(plane.stop(), Some(0));
    plane.verify();
}

#[tokio::test]
async fn a_permission_that_is_lost_and_comes_back() {
    if !can("start the server as another user") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    allow(directory.path(), 0o755);
    chown(directory.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let mut plane = Plane::start_under(directory.path(), NOBODY, &[SMALL]);
    let caller = Caller::new(&plane.url(), &plane.tenant());
    let journal = plane.data().join("journal");
    let (lost, back) = (|| allow(&journal, 0), || allow(&journal, 0o700));
    stops_and_goes_on(&mut plane, caller, lost, back).await;
}

#[tokio::test]
async fn too_few_file_handles() {
    if !can("limit another process") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let mut plane = Plane::start_set(directory.path(), &[SMALL]);
    // Whoever is connected stays so; new callers wait, because a connection is a handle too.
    let caller = Caller::keeping(&plane.url(), &plane.tenant(), 1);
    let pid = plane.running().id();
    let limit = |handles: usize| {
        let (pid, handles) = (format!("--pid={pid}"), format!("--nofile={handles}:"));
        system("prlimit", &[&pid, &handles]).unwrap();
    };
    let few = || {
        limit(
            std::fs::read_dir(format!("/proc/{pid}/fd"))
                .unwrap()
                .count(),
        )
    };
    let enough = || limit(1024);
    stops_and_goes_on(&mut plane, caller, few, enough).await;
}
