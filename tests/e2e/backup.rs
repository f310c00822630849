//! `countersign backup` and `restore` from outside: of a running server, and back into one that goes on.

use crate::harness::{countersign, told};
use crate::stage::{Plane, TENANT};
use std::process::Output;

fn run(arguments: &[&str]) -> Output {
    countersign(arguments).output().unwrap()
}

#[test]
fn a_running_server_is_backed_up_and_a_restored_one_verifies_and_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let mut plane = Plane::start(directory.path());
    let owner = plane.tenant();
    let (data, backups) = (plane.data(), directory.path().join("backups"));
    let (data, backups) = (data.to_str().unwrap(), backups.to_str().unwrap());
    let backup = run(&["backup", data, "--to", backups]);
    assert!(backup.status.success(), "{}", told(&backup));
    let verified = run(&["replay", "verify", &format!("{backups}/00000001")]);
    assert!(verified.status.success(), "{}", told(&verified));

    plane.run(
        &owner,
        &["site", "add", "late", "--name", "After the backup"],
    );
    let restore = ["restore", "--from", backups, "--to", data];
    let output = run(&restore);
    assert_eq!(output.status.code(), Some(2), "{}", told(&output));
    assert!(told(&output).contains("ledger-locked"), "{}", told(&output));
    let elsewhere = directory.path().join("elsewhere");
    let elsewhere = elsewhere.to_str().unwrap();
    let asked = plane.try_run(
        &plane.admin(),
        &["restore", "--from", backups, "--to", elsewhere],
    );
    assert_eq!(asked.status.code(), Some(1), "{}", told(&asked));
    let text = told(&asked);
    assert!(
        text.contains("restore-would-lose") && text.contains(TENANT),
        "{text}"
    );

    assert_eq!(plane.stop(), Some(0));
    let output = run(&restore);
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    assert!(
        told(&output).contains("restore-would-lose"),
        "{}",
        told(&output)
    );
    let mut lose = restore.to_vec();
    lose.extend(["--lose-acknowledged-events", "--json"]);
    let output = run(&lose);
    assert!(output.status.success(), "{}", told(&output));
    let text = told(&output);
    assert!(
        text.contains("before-restore-1") && text.contains("in place"),
        "{text}"
    );

    // The owner's token and the tenant are in the backup, the late site is not: it can be added again.
    plane.resume();
    let sites = plane.run(&owner, &["site", "list"]);
    assert!(!sites.contains("late"), "{sites}");
    plane.run(&owner, &["site", "add", "late", "--name", "Again"]);
    assert_eq!(plane.stop(), Some(0));
    plane.verify();
    let doctor = run(&["doctor", data]);
    assert!(doctor.status.success(), "{}", told(&doctor));
}
