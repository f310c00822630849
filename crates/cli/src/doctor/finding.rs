//! One thing that was looked at, and what an operator reads about it: what is wrong, what is safe, what to do.
//!
//! The last two stand on the page of the code, so command line, server and documentation say the same.

use crate::output::printable;
use countersign_ids::Code;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// As it should be.
    Fine,
    /// Worth knowing; nothing has to be done at once.
    Note,
    /// Something has to be done.
    Wrong,
}

impl Severity {
    const fn text(self) -> &'static str {
        match self {
            Self::Fine => "fine",
            Self::Note => "note",
            Self::Wrong => "wrong",
        }
    }
}

/// One finding.
#[derive(Debug, Clone)]
pub(crate) struct Finding {
    check: &'static str,
    severity: Severity,
    code: Option<String>,
    what: String,
}

impl Finding {
    pub(crate) fn fine(check: &'static str, what: impl Into<String>) -> Self {
        Self {
            check,
            severity: Severity::Fine,
            code: None,
            what: what.into(),
        }
    }

    pub(crate) fn note(check: &'static str, code: Code, what: impl Into<String>) -> Self {
        Self {
            severity: Severity::Note,
            code: Some(code.id.to_owned()),
            ..Self::fine(check, what)
        }
    }

    pub(crate) fn wrong(check: &'static str, code: Code, what: impl Into<String>) -> Self {
        Self::wrong_at_server(check, code.id, what)
    }

    /// With a code that a server sent.
    pub(crate) fn wrong_at_server(
        check: &'static str,
        code: impl Into<String>,
        what: impl Into<String>,
    ) -> Self {
        Self {
            severity: Severity::Wrong,
            code: Some(code.into()),
            ..Self::fine(check, what)
        }
    }

    pub(crate) const fn severity(&self) -> Severity {
        self.severity
    }

    #[cfg(test)]
    pub(crate) fn is(&self, check: &str, severity: Severity, code: &str) -> bool {
        self.check == check && self.severity == severity && self.code.as_deref() == Some(code)
    }

    fn page(&self) -> Option<&'static str> {
        self.code.as_deref().and_then(countersign_api::error_page)
    }

    pub(crate) fn json(&self) -> Value {
        let part = |heading| self.page().map(|page| section(page, heading));
        json!({
            "check": self.check,
            "severity": self.severity.text(),
            "code": self.code,
            "what": self.what,
            "safe": part("## What is safe"),
            "to_do": part("## What to do"),
        })
    }

    /// For people: one line if it is fine, else with what is safe and what to do.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        let code = self
            .code
            .as_ref()
            .map_or_else(String::new, |code| format!("[{code}] "));
        writeln!(
            text,
            "{:5}  {:12} {code}{}",
            self.severity.text(),
            self.check,
            printable(&self.what)
        )
        .ok();
        if let Some(page) = self.page() {
            for (name, heading) in [("safe", "## What is safe"), ("do", "## What to do")] {
                let words = section(page, heading);
                writeln!(text, "       {name:>12}: {words}").ok();
            }
        }
        text
    }
}

/// The words under a heading of a page, on one line.
fn section(page: &str, heading: &str) -> String {
    let words = page
        .lines()
        .skip_while(|line| *line != heading)
        .skip(1)
        .take_while(|line| !line.starts_with("## "))
        .flat_map(str::split_whitespace);
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::{Finding, section};
    use crate::codes;

    #[test]
    fn a_finding_says_what_its_page_says() {
        let finding = Finding::wrong("space", codes::DISK_LOW, "1 MiB is left");
        let text = finding.text();
        let page = countersign_api::error_page(codes::DISK_LOW.id).unwrap();
        for heading in ["## What is safe", "## What to do"] {
            let words = section(page, heading);
            assert!(!words.is_empty() && text.contains(&words), "{text}");
        }
        assert!(
            text.starts_with("wrong  space        [disk-low] 1 MiB is left\n"),
            "{text}"
        );
    }
}
