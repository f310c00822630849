//! Every parser of untrusted bytes over its corpus, and over a fixed number of mutations of it.
//!
//! `cargo xtask fuzz NAME` goes on from there; what it finds and what is fixed for it joins the corpus.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests; a failure is the test's"
)]

use countersign_tests::fuzz::{Driver, Found, TARGETS, find, read_corpus};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn corpora() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpora")
}

/// The corpus of a target, and so many mutations of it.
fn holds(name: &str, mutations: u32) {
    let target = find(name).unwrap();
    let corpus = read_corpus(&corpora().join(name)).unwrap();
    assert!(!corpus.is_empty(), "`{name}` has no corpus");
    let inputs = corpus.into_iter().map(|(_, input)| input).collect();
    let mut driver = Driver::new(target, inputs, 1);
    for _ in 0..mutations {
        if let Found::Panic(input) = driver.step() {
            panic!(
                "`{name}` breaks its promise: {}",
                String::from_utf8_lossy(&input)
            );
        }
    }
}

#[test]
fn every_target_has_a_corpus_and_nothing_else_has() {
    let named: BTreeSet<String> = TARGETS
        .iter()
        .map(|target| target.name.to_owned())
        .collect();
    let kept: BTreeSet<String> = std::fs::read_dir(corpora())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(named, kept);
}

#[test]
fn a_good_input_of_every_target_is_taken() {
    for (name, taken) in [
        ("frame", "1 events, "),
        ("header", "header of "),
        ("body", "event "),
        ("note", "checkpoint"),
        ("proof", "proof that holds"),
        ("bundle", "1 chains, exit 0"),
        ("bundle-line", "line"),
        ("bundle-manifest", "manifest"),
        ("statement", "statement"),
        ("document", "document"),
        ("order", "envelope of an order"),
        ("delivery", "delivery"),
        ("http", "200 "),
    ] {
        let target = find(name).unwrap();
        let corpus = read_corpus(&corpora().join(name)).unwrap();
        let judged: Vec<String> = corpus
            .iter()
            .map(|(_, input)| (target.run)(input))
            .collect();
        assert!(
            judged.iter().any(|judgement| judgement.starts_with(taken)),
            "no input of `{name}` is judged `{taken}`: {judged:?}"
        );
    }
}

#[test]
fn frames() {
    holds("frame", 1_000);
}

#[test]
fn headers_and_bodies() {
    holds("header", 5_000);
    holds("body", 5_000);
}

#[test]
fn notes_and_proofs() {
    holds("note", 5_000);
    holds("proof", 5_000);
}

#[test]
fn bundles() {
    holds("bundle", 300);
    holds("bundle-line", 5_000);
    holds("bundle-manifest", 5_000);
}

#[test]
fn statements_and_documents() {
    holds("statement", 5_000);
    holds("document", 5_000);
}

#[test]
fn orders_and_deliveries() {
    holds("order", 3_000);
    holds("delivery", 3_000);
}

#[test]
fn requests() {
    holds("http", 200);
}
