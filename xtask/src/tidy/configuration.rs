//! Lints and clippy settings that every crate of ours carries.

use super::{Finding, Metadata};
use anyhow::{Context, Result};
use std::path::Path;

/// What every clippy.toml repeats: clippy takes the nearest file and does not merge.
const COMMON: &[&str] = &[
    "allow-unwrap-in-tests",
    "allow-expect-in-tests",
    "allow-panic-in-tests",
    "allow-indexing-slicing-in-tests",
    "allow-print-in-tests",
    "too-many-lines-threshold",
];

pub(super) fn check(metadata: &Metadata, root: &Path) -> Result<Vec<Finding>> {
    let common = settings(&root.join("clippy.toml"))?;
    let mut findings = Vec::new();
    for package in metadata.members() {
        let name = &package.name;
        let manifest = settings(&package.manifest_path)?;
        let lints = manifest
            .get("lints")
            .and_then(|lints| lints.get("workspace"));
        if lints.and_then(toml::Value::as_bool) != Some(true) {
            findings.push(Finding(format!(
                "`{name}` lacks `[lints] workspace = true`"
            )));
        }
        let directory = package
            .manifest_path
            .parent()
            .context("a manifest without a directory")?;
        let own = directory.join("clippy.toml");
        if own.exists() {
            let own = settings(&own)?;
            for key in COMMON {
                if own.get(*key) != common.get(*key) {
                    findings.push(Finding(format!(
                        "clippy.toml of `{name}` does not repeat `{key}`"
                    )));
                }
            }
        }
    }
    Ok(findings)
}

fn settings(path: &Path) -> Result<toml::Table> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read `{}`", path.display()))?;
    text.parse()
        .with_context(|| format!("`{}` is not TOML", path.display()))
}
