//! Which of our crates may use which, and what the pure ones may use at all.

use super::{Finding, Metadata};

/// Our packages, lowest first: each may use those above it in this list and nothing below.
const ORDER: &[&str] = &[
    "countersign-ids",
    "countersign-chain",
    "countersign-evidence",
    "countersign-events",
    "countersign-domain",
    "countersign-projections",
    "countersign-policy",
    "countersign-store",
    "countersign-transport",
    "countersign-replay",
    "countersign-connector",
    "countersign-service",
    "countersign-api",
    "countersign-cli",
    "countersign-tests",
    "xtask",
];

/// Crates without effects: the same code runs in server, connector and auditor.
const CORE: &[&str] = &[
    "countersign-ids",
    "countersign-chain",
    "countersign-evidence",
    "countersign-events",
    "countersign-domain",
    "countersign-projections",
];

/// What would give the core an effect.
const EFFECTS: &[&str] = &[
    "tokio",
    "reqwest",
    "axum",
    "tower",
    "hyper",
    "getrandom",
    "rand",
    "rustix",
    "libc",
    "sled",
    "tempfile",
    "tracing",
];

/// Where errors may be untyped: at the edge, where they are only printed.
const MAY_USE_ANYHOW: &[&str] = &[
    "countersign-cli",
    "countersign-replay",
    "countersign-tests",
    "xtask",
];

pub(super) fn check(metadata: &Metadata) -> Vec<Finding> {
    let mut findings = Vec::new();
    let place = |name: &str| ORDER.iter().position(|known| *known == name);
    for package in metadata.members() {
        let name = package.name.as_str();
        let Some(own) = place(name) else {
            findings.push(Finding(format!(
                "package `{name}` has no place in the order of dependence"
            )));
            continue;
        };
        for dependency in &package.dependencies {
            let used = dependency.name.as_str();
            // A crate may use itself in its tests, with a feature that only tests have.
            let for_tests = dependency.kind.as_deref() == Some("dev");
            if for_tests && used == name {
                continue;
            }
            if place(used).is_some_and(|other| other >= own) {
                findings.push(Finding(format!(
                    "`{name}` uses `{used}`, which stands below it"
                )));
            }
            if !for_tests && CORE.contains(&name) && EFFECTS.contains(&used) {
                findings.push(Finding(format!(
                    "`{name}` is core and may not use `{used}`"
                )));
            }
            if !for_tests && used == "anyhow" && !MAY_USE_ANYHOW.contains(&name) {
                findings.push(Finding(format!(
                    "`{name}` uses `anyhow`; a library has typed errors"
                )));
            }
        }
    }
    findings
}
