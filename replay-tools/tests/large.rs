//! A chain of more than 64 MiB: compressed in the bundle, verified in memory that does not grow with it.

#![cfg(test)]

mod support;

use std::process::Command;

use countersign_events::site;
use countersign_events::words::{ConnectorKind, Environment};
use support::zip::read;
use support::{Twist, at_site, export, person, python, story, verify};

#[test]
fn a_large_chain_is_compressed_and_verified_in_flat_memory() {
    let mut story = story::Story::begin(1, Twist::Sound);
    for number in 0..320 {
        let name = format!("site-{number}");
        let registered = site::Registered {
            site: name.parse().unwrap(),
            name: format!("{number} ").repeat(240_000 / 4),
            connector: ConnectorKind::Static,
            environment: Environment::Staging,
        };
        story.world.append(
            "acme",
            person("owner"),
            vec![at_site(registered, &name, &name)],
        );
    }
    let world = story.end();
    let bundle = export(&world, Some("acme"), "acme.zip");
    let members = read(&bundle);
    assert!(
        members.contains_key("events/acme.jsonl.zst") && !members.contains_key("events/acme.jsonl")
    );
    let verdict = verify(&bundle);
    assert_eq!(verdict.exit, 0, "{}", verdict.to_text());
    // The interpreter has no zstd, or has one; it must not call the bundle wrong.
    if let Some(interpreter) = python::interpreter() {
        let said = python::verify(interpreter, &bundle, &["--allow", "policy"]);
        assert!(said.exit == 0 || said.exit == 2, "{:#}", said.found);
    }
    let output = Command::new(env!("CARGO_BIN_EXE_replay"))
        .arg("verify")
        .arg(&bundle)
        .arg("--json")
        .output()
        .unwrap();
    let verdict: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(verdict["exit"], 0);
    let peak = verdict["peak_memory_bytes"].as_u64().unwrap();
    assert!(peak < 64 << 20, "{peak} bytes");
    // Rows of read models are compared in memory; the rest of a directory is read as flat as a bundle.
    let directory = verify(&world.data());
    assert_eq!(directory.exit, 0, "{}", directory.to_text());
}
