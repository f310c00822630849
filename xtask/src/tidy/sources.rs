//! Rules about single files: length, header, words.

use super::{Finding, Source};

/// Past this a file is split by subject.
const LINES_MAX: usize = 800;

/// Longest `//!` header; longer explanations belong in docs/.
const HEADER_LINES_MAX: usize = 20;

/// What may not stand in a tracked file. Spelled in halves so that this file passes its own rule.
const BANNED: &[(&str, &str)] = &[
    (
        concat!("TO", "DO"),
        "finish it, or say in the docs what is absent",
    ),
    (
        concat!("FIX", "ME"),
        "fix it, or say in the docs what is absent",
    ),
    (concat!("X", "XX"), "say what you mean"),
    (concat!("/ro", "ot/"), "a path of one machine"),
    (concat!("/wo", "rk/"), "a path of one machine"),
    (concat!("/ho", "me/"), "a path of one machine"),
];

pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for Source { path, text } in sources {
        let Some(text) = text else { continue };
        // Sample sites and golden ledgers are data: other people's words, and bytes that never change.
        let data = path.starts_with("tests/golden/")
            || path.starts_with("examples/site/")
            || path == "Cargo.lock";
        if !data {
            findings.extend(words(path, text));
        }
        if path.ends_with(".rs") {
            findings.extend(shape(path, text));
        }
    }
    findings
}

fn words(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for (word, instead) in BANNED {
            if line.contains(word) {
                findings.push(Finding(format!(
                    "{path}:{}: `{word}`: {instead}",
                    number + 1
                )));
            }
        }
        if path.ends_with(".rs") && line.ends_with([' ', '\t']) {
            findings.push(Finding(format!(
                "{path}:{}: white space at the end of the line",
                number + 1
            )));
        }
    }
    findings
}

fn shape(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !text.starts_with("//! ") {
        findings.push(Finding(format!(
            "{path}: opens without `//!`: say what the file is and what it is not"
        )));
    }
    let header = text
        .lines()
        .take_while(|line| line.starts_with("//!"))
        .count();
    if header > HEADER_LINES_MAX && !path.ends_with("lib.rs") {
        findings.push(Finding(format!(
            "{path}: a header of {header} lines; move the explanation to docs/"
        )));
    }
    let tests = text.lines().position(|line| line == "#[cfg(test)]");
    let product = tests.unwrap_or_else(|| text.lines().count());
    if product > LINES_MAX {
        findings.push(Finding(format!(
            "{path}: {product} lines; split it by subject"
        )));
    }
    findings
}
