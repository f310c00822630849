//! Every error code has a page, and every page a code.
//!
//! Codes are found in the sources by the forms in which they are declared, `Code { id: "…", title: "…" }` or, inside a macro
//! that makes many, `NAME = "…", "…";`, so that this needs none of our crates built.

use super::{Finding, Source};
use std::collections::BTreeMap;

const PAGES: &str = "docs/errors/";
const HEADINGS: &[&str] = &["## What happened", "## What is safe", "## What to do"];

pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut codes: BTreeMap<String, &str> = BTreeMap::new();
    for Source { path, text } in sources {
        if !path.ends_with(".rs") || path.starts_with("xtask/") || path.starts_with("tests/") {
            continue;
        }
        let Some(text) = text else { continue };
        let product = text.split("\n#[cfg(test)]\nmod ").next().unwrap_or(text);
        for code in declared(product) {
            if let Some(other) = codes.insert(code.clone(), path)
                && other != path
            {
                findings.push(Finding(format!(
                    "code `{code}` is declared in `{other}` and in `{path}`"
                )));
            }
        }
    }
    let mut pages: BTreeMap<&str, &str> = BTreeMap::new();
    for Source { path, text } in sources {
        let name = path
            .strip_prefix(PAGES)
            .and_then(|name| name.strip_suffix(".md"));
        if let (Some(name), Some(text)) = (name, text)
            && name != "index"
        {
            pages.insert(name, text);
        }
    }
    for (code, path) in &codes {
        if !pages.contains_key(code.as_str()) {
            findings.push(Finding(format!(
                "code `{code}` ({path}) has no page `{PAGES}{code}.md`"
            )));
        }
    }
    for (name, text) in &pages {
        if !codes.contains_key(*name) {
            findings.push(Finding(format!(
                "`{PAGES}{name}.md` is the page of no code"
            )));
        }
        for heading in HEADINGS {
            if !text.lines().any(|line| line == *heading) {
                findings.push(Finding(format!("`{PAGES}{name}.md` lacks `{heading}`")));
            }
        }
    }
    findings
}

/// Ids in declarations of codes.
fn declared(text: &str) -> Vec<String> {
    let literal = text.split("Code {").skip(1).filter_map(|after| {
        let after = after.trim_start().strip_prefix("id:")?;
        after.trim_start().strip_prefix('"')?.split('"').next()
    });
    let in_macro = text.lines().filter_map(|line| {
        let (name, after) = line.trim().split_once(" = \"")?;
        let (id, _) = after.split_once("\", \"")?;
        is_constant(name).then_some(id)
    });
    literal
        .chain(in_macro)
        .filter(|id| is_kebab(id))
        .map(str::to_owned)
        .collect()
}

fn is_constant(name: &str) -> bool {
    name.bytes()
        .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

fn is_kebab(id: &str) -> bool {
    !id.is_empty()
        && id
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::declared;

    #[test]
    fn codes_are_found_in_both_forms_and_over_lines() {
        let text = "const A: Code = Code { id: \"disk-full\", title: \"x\" };\ncodes! {\n    /// y\n    LOCKED = \"locked\", \"y\";\n}\nfn code(&self) -> Code {\n self.0 }";
        assert_eq!(declared(text), ["disk-full", "locked"]);
    }
}
