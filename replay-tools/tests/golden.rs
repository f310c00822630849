//! The golden ledger, made by another implementation: what it holds of a ledger verifies, by both verifiers.
//!
//! It is a set of vectors, not a whole history, so only the levels that it is about are asked for.

#![cfg(test)]

mod support;

use std::collections::BTreeMap;
use std::path::Path;

use countersign_chain::Header;
use countersign_replay::bundle::manifest::{ChainEntry, FORMAT, FormName, Manifest};
use support::{levels, python, verify, zip};

#[test]
fn the_golden_chains_verify() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/formats");
    let file = |name: &str| std::fs::read(golden.join(name)).unwrap();
    let mut members = zip::Members::new();
    let mut chains = BTreeMap::new();
    let mut ledger = None;
    for chain in ["platform", "bakery"] {
        let lines = file(&format!("{chain}.jsonl"));
        let first = lines.split(|byte| *byte == b'\n').next().unwrap();
        let first: serde_json::Value = serde_json::from_slice(first).unwrap();
        let header = Header::parse(first["header"].as_str().unwrap().as_bytes()).unwrap();
        ledger = Some(header.ledger);
        let entry = ChainEntry {
            form: FormName::Whole,
            size: 0,
        };
        chains.insert(chain.to_owned(), entry);
        members.insert(format!("events/{chain}.jsonl"), lines);
    }
    members.insert(
        format!("checkpoints/bakery/{:020}.note", 3),
        file("bakery-3.note"),
    );
    let manifest = Manifest {
        chains,
        files: BTreeMap::new(),
        format: FORMAT.to_owned(),
        ledger: ledger.unwrap(),
    };
    members.insert("manifest.json".to_owned(), manifest.to_bytes().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("golden.zip");
    zip::write(&bundle, members);
    let ours = verify(&bundle);
    let mut said = vec![levels(&ours)];
    if let Some(interpreter) = python::interpreter() {
        said.push(python::verify(interpreter, &bundle, &[]).levels);
    }
    for levels in said {
        for level in ["framing", "chain", "keys", "checkpoints"] {
            assert_eq!(levels[level], "verified", "{level}\n{}", ours.to_text());
        }
    }
}
