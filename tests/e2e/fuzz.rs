//! The OpenAPI document, fuzzed by a tool that nobody here wrote (schemathesis, from PyPI) against a running server.

use crate::harness::{root, told};
use crate::stage::{Plane, Stage};
use std::process::Command;

/// Enough to try every route in several ways, little enough for every run of the tests.
const EXAMPLES: &str = "12";

#[test]
fn no_route_answers_otherwise_than_it_says() {
    let directory = tempfile::tempdir().unwrap();
    let stage = Stage::set(Plane::start(directory.path()));
    let python = countersign_tests::python().unwrap();
    let program = python.with_file_name("schemathesis");
    let output = Command::new(program)
        .arg("run")
        .arg(root().join("schemas/openapi.json"))
        .args(["--url", &stage.plane.url(), "--header", &format!("Authorization: Bearer {}", stage.owner)])
        .args(["--checks", "not_a_server_error,content_type_conformance,response_schema_conformance,status_code_conformance"])
        .args(["--max-examples", EXAMPLES, "--seed", "1", "--workers", "1", "--request-timeout", "35", "--no-color"])
        // A poll and a stream are held open on purpose.
        .args(["--exclude-path-regex", "stream|poll"])
        .current_dir(directory.path())
        .env("NO_PROXY", "127.0.0.1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", told(&output));
    stage.plane.verify();
}
