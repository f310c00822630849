//! Every error code has a page, and every page a code.
//!
//! Codes are found in the sources by the form in which all of them are declared, `Code { id: "…", title: "…" }` or
//! `Code::new("…", "…")`, so that this needs none of our crates built.

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
    let mut ids = Vec::new();
    for opening in ["Code {", "Code::new("] {
        for after in text.split(opening).skip(1) {
            let after = after.trim_start();
            let after = after.strip_prefix("id:").map_or(after, str::trim_start);
            let Some(id) = after
                .strip_prefix('"')
                .and_then(|rest| rest.split('"').next())
            else {
                continue;
            };
            if is_kebab(id) {
                ids.push(id.to_owned());
            }
        }
    }
    ids
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
        let text = "const A: Code = Code { id: \"disk-full\", title: \"x\" };\nconst B: Code = Code::new(\n    \"locked\",\n \"y\");\nfn code(&self) -> Code {\n self.0 }";
        assert_eq!(declared(text), ["disk-full", "locked"]);
    }
}
