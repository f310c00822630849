//! Licences, sources and bans of everything we depend on. deny.toml says the same for cargo-deny.

use super::{Finding, Metadata, Package};

/// Licences that fit ours.
const ALLOWED: &[&str] = &[
    "MIT",
    "MIT-0",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "0BSD",
    "BSL-1.0",
    "ISC",
    "Zlib",
    "Unicode-3.0",
    "CC0-1.0",
    "Unlicense",
];

/// Crates that may not come in, and why.
const BANNED: &[(&str, &str)] = &[
    ("aws-lc-rs", "needs cmake; TLS here is rustls with ring"),
    ("aws-lc-sys", "needs cmake; TLS here is rustls with ring"),
    ("openssl", "a second TLS library"),
    ("openssl-sys", "a second TLS library"),
    ("native-tls", "a second TLS library"),
    ("chrono-tz", "times here are UTC"),
];

/// Features that may not be on, and why.
const BANNED_FEATURES: &[(&str, &str, &str)] = &[(
    "sled",
    "compression",
    "five times slower than ours, and its zstd-sys clashes",
)];

pub(super) fn check(metadata: &Metadata) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in &metadata.packages {
        let Package { name, version, .. } = package;
        if let Some((_, reason)) = BANNED.iter().find(|(banned, _)| banned == name) {
            findings.push(Finding(format!("`{name}` is banned: {reason}")));
        }
        match package.license.as_deref() {
            Some(expression) if allowed(expression) => {}
            Some(expression) => {
                findings.push(Finding(format!(
                    "`{name}` {version} has the licence `{expression}`"
                )));
            }
            None => findings.push(Finding(format!(
                "`{name}` {version} names no licence (file: `{}`)",
                package.license_file.as_deref().unwrap_or("none")
            ))),
        }
        let registry = package
            .source
            .as_deref()
            .is_none_or(|source| source.starts_with("registry+"));
        if !registry {
            findings.push(Finding(format!(
                "`{name}` {version} does not come from a registry"
            )));
        }
    }
    findings.extend(features(metadata));
    findings
}

fn features(metadata: &Metadata) -> Vec<Finding> {
    let mut findings = Vec::new();
    for node in metadata.resolve.iter().flat_map(|resolve| &resolve.nodes) {
        let Some(package) = metadata
            .packages
            .iter()
            .find(|package| package.id == node.id)
        else {
            continue;
        };
        for (name, feature, reason) in BANNED_FEATURES {
            if package.name == *name && node.features.iter().any(|on| on == feature) {
                findings.push(Finding(format!(
                    "feature `{feature}` of `{name}` is on: {reason}"
                )));
            }
        }
    }
    findings
}

/// True if an SPDX expression can be satisfied by allowed licences alone.
fn allowed(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ");
    let expression = expression.trim();
    // OR binds loosest; a bracket that wraps the whole expression says nothing.
    if let Some(parts) = split(expression, " OR ") {
        return parts.iter().any(|part| allowed(part));
    }
    if let Some(parts) = split(expression, " AND ") {
        return parts.iter().all(|part| allowed(part));
    }
    match expression
        .strip_prefix('(')
        .and_then(|inner| inner.strip_suffix(')'))
    {
        Some(inner) => allowed(inner),
        None => ALLOWED.contains(&expression),
    }
}

/// Splits at an operator outside brackets; `None` if it does not occur there.
fn split(expression: &str, operator: &str) -> Option<Vec<String>> {
    let mut parts = vec![String::new()];
    let mut depth = 0_usize;
    let mut rest = expression;
    while let Some(character) = rest.chars().next() {
        if depth == 0
            && let Some(after) = rest.strip_prefix(operator)
        {
            parts.push(String::new());
            rest = after;
            continue;
        }
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if let Some(part) = parts.last_mut() {
            part.push(character);
        }
        rest = rest.strip_prefix(character).unwrap_or_default();
    }
    (parts.len() > 1).then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::allowed;

    #[test]
    fn an_expression_is_allowed_if_our_licences_satisfy_it() {
        for (expression, expected) in [
            ("MIT", true),
            ("MIT/Apache-2.0", true),
            ("GPL-3.0", false),
            ("GPL-3.0 OR MIT", true),
            ("MIT AND GPL-3.0", false),
            ("(MIT OR GPL-3.0) AND Unicode-3.0", true),
            ("(Apache-2.0 OR MIT) AND BSD-3-Clause", true),
            ("Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT", true),
        ] {
            assert_eq!(allowed(expression), expected, "{expression}");
        }
    }
}
