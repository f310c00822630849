//! `countersign doctor` from outside: a server that runs, one that is broken, one that is not there.

use crate::harness::{countersign, told, until};
use crate::stage::Plane;

#[test]
fn a_server_says_what_is_wrong_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut plane = Plane::start(directory.path());
    let url = plane.url();
    let doctor = || {
        let output = countersign(&["doctor", "--server", &url, "--json"])
            .output()
            .unwrap();
        (output.status.code(), told(&output))
    };
    let (code, text) = doctor();
    assert_eq!(code, Some(0), "{text}");

    let broken = plane.data().join("policies/mine.cedar");
    std::fs::write(&broken, "permit (").unwrap();
    until("the server to see the policy", || {
        (doctor().0 == Some(1)).then_some(())
    });
    let (_, text) = doctor();
    assert!(text.contains("\"policy-invalid\""), "{text}");
    assert!(
        text.contains("The policies that were in force before stay in force."),
        "{text}"
    );
    std::fs::remove_file(&broken).unwrap();
    until("the server to see that it is mended", || {
        (doctor().0 == Some(0)).then_some(())
    });

    assert_eq!(plane.stop(), Some(0));
    let (code, text) = doctor();
    assert_eq!(code, Some(2), "{text}");
    let data = plane.data();
    let output = countersign(&["doctor", data.to_str().unwrap()])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
}
