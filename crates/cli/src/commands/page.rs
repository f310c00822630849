//! One action as a page for people: what changes, the way back, what policy says, who asked.
//!
//! Nothing is left out by accident: a member is taken away only by the line that tells it, and what no line took is listed at
//! the end, under its path. The action object, which is what gets signed, is always listed whole.

use crate::output::{Facts, field, printable};
use serde_json::{Map, Value};
use std::fmt::Write as _;

/// An action as the server tells it (`show`).
pub(crate) fn action(value: &Value) -> String {
    let mut page = Page::of(value);
    let waiting = matches!(field(value, "/state").as_str(), "proposed" | "waiting");
    page.fact("action", |page| page.take("action"));
    page.fact("state", |page| {
        let since = page.take("since").map(|since| format!("since {since}"));
        let code = page.take("outcome_code").map(|code| format!("code {code}"));
        join(&[page.take("state"), code, since])
    });
    page.fact("waits for", |page| {
        let mut waits = page.part("waits_for")?;
        let (code, again) = (waits.take("code"), waits.told("propose_again", "true"));
        waits.known(&["propose_again"]);
        let told = join(&[
            waits.take("detail"),
            code.map(|code| format!("code {code}")),
            again.map(|()| "waiting does not help: propose it again".to_owned()),
        ]);
        page.keep("waits_for", waits);
        told
    });
    page.common();
    page.fact("approvals", |page| {
        let approved = page.take("approved")?;
        let people: Vec<String> = page
            .remove("approvers")
            .and_then(|list| list.as_array().cloned())
            .unwrap_or_default()
            .iter()
            .map(|entry| field(entry, "/approver"))
            .collect();
        let needed = page.take("needed")?;
        // Once it has ended, its votes are told by the history alone.
        waiting.then(|| format!("{approved} of {needed}; may approve: {}", people.join(", ")))
    });
    page.reasons();
    page.known(&["chain", "owner", "ledger"]);
    page.fact("history", Page::history);
    page.text()
}

/// What an action of the queue waits for, in a word or two.
pub(crate) fn waits_in_short(item: &Value) -> String {
    match item.pointer("/waits_for/propose_again") {
        Some(Value::Bool(true)) => {
            format!("{}: propose again", field(item, "/waits_for/code"))
        }
        _ => field(item, "/waits_for/code"),
    }
}

/// A view document, before it is signed (`approve`, `deny`).
pub(crate) fn view(members: &Map<String, Value>) -> String {
    let mut page = Page::of(&Value::Object(members.clone()));
    let sentence = page.take("sentence").unwrap_or_default();
    page.known(&["v", "tenant", "ledger"]);
    page.fact("action", |page| page.take("action_id"));
    if page.told("as_planned", "true").is_none() {
        page.fact("CAREFUL", |page| {
            page.take("as_planned")?;
            Some("what is live is not what the plan was made against".to_owned())
        });
    }
    page.fact("live now", |page| release(&page.remove("now_live")?));
    page.common();
    page.fact("way back", |page| {
        let mut rollback = page.part("rollback")?;
        let digest = rollback.take("digest")?;
        let told = join(&[
            rollback.take("readiness"),
            rollback
                .remove("restores")
                .and_then(|restores| release(&restores))
                .map(|restores| format!("restores {restores}")),
            Some(format!("plan {digest}")),
            rollback
                .take("checked_at")
                .map(|at| format!("checked at {at}")),
        ]);
        page.keep("rollback", rollback);
        told
    });
    if let Some(mut policy) = page.part("policy") {
        policy.reasons();
        policy.known(&["approvals_needed", "floor"]);
        policy.told("freeze_active", "false");
        page.lines.append(&mut policy.lines);
        page.keep("policy", policy);
    }
    format!("{}\n\n{}", printable(&sentence), page.text())
}

/// What is left to tell, and what was told.
#[derive(Default)]
struct Page {
    left: Map<String, Value>,
    lines: Vec<(String, String)>,
}

impl Page {
    fn of(value: &Value) -> Self {
        Self {
            left: value.as_object().cloned().unwrap_or_default(),
            ..Self::default()
        }
    }

    fn remove(&mut self, name: &str) -> Option<Value> {
        self.left.remove(name)
    }

    /// A member that is text or a number, as text; objects and lists stay for the end of the page.
    fn take(&mut self, name: &str) -> Option<String> {
        let plain = matches!(
            self.left.get(name)?,
            Value::String(_) | Value::Number(_) | Value::Bool(_)
        );
        if !plain {
            return None;
        }
        self.remove(name).map(|value| field(&value, ""))
    }

    /// Drops a member that has the value that goes without saying.
    fn told(&mut self, name: &str, usual: &str) -> Option<()> {
        (field(self.left.get(name)?, "") == usual).then(|| {
            self.remove(name);
        })
    }

    /// Drops members that say where the caller is, or repeat what the page tells in words.
    fn known(&mut self, names: &[&str]) {
        for name in names {
            self.take(name);
        }
    }

    fn part(&mut self, name: &str) -> Option<Self> {
        self.left.get(name)?.as_object()?;
        self.remove(name).map(|part| Self::of(&part))
    }

    /// Puts back what was not told of a part, so that it is listed at the end.
    fn keep(&mut self, name: &str, part: Self) {
        if !part.left.is_empty() {
            self.left.insert(name.to_owned(), Value::Object(part.left));
        }
    }

    fn fact(&mut self, name: &str, tell: impl FnOnce(&mut Self) -> Option<String>) {
        if let Some(text) = tell(self) {
            self.lines.push((name.to_owned(), text));
        }
    }

    /// What the two forms of an action have in common.
    fn common(&mut self) {
        self.fact("title", |page| page.take("title"));
        self.fact("site", |page| {
            if let Some(mut site) = page.part("site") {
                let told = join(&[site.take("id"), site.take("name"), site.take("environment")]);
                page.keep("site", site);
                return told;
            }
            page.take("site")
        });
        self.release_plan();
        self.fact("risk", |page| {
            let pages = page.take("blast_radius");
            let risk = page.take("risk");
            let reversibility = page.take("reversibility");
            join(&[
                risk,
                pages.map(|pages| format!("touches {pages} pages")),
                reversibility,
            ])
        });
        self.fact("proposed", |page| {
            let mut proposer = page.part("proposer")?;
            let who = format!("by {} {}", proposer.take("kind")?, proposer.take("id")?);
            page.keep("proposer", proposer);
            let owner = page
                .take("proposer_owner")
                .filter(|owner| owner != "-")
                .map(|owner| format!("for {owner}"));
            let at = page.take("proposed_at").map(|at| format!("at {at}"));
            join(&[Some(who), owner, at])
        });
        self.fact("expires", |page| page.take("expires"));
        self.fact("round", |page| page.take("round"));
        for name in [
            "action_digest",
            "rollback_digest",
            "view_digest",
            "reason_digest",
        ] {
            self.told(name, "-");
            self.fact(name, |page| page.take(name));
        }
        self.fact("kind", |page| page.take("kind"));
    }

    fn release_plan(&mut self) {
        let Some(mut plan) = self.part("plan") else {
            return;
        };
        if field(plan.left.get("kind").unwrap_or(&Value::Null), "") != "release" {
            self.left
                .insert("plan".to_owned(), Value::Object(plan.left));
            return;
        }
        plan.known(&["kind", "v"]);
        for (name, label, digest) in [("from", "from_label", "from"), ("to", "to_label", "to")] {
            plan.fact(name, |plan| {
                let label = plan.take(label).unwrap_or_else(|| "nothing".to_owned());
                Some(format!("{label}  {}", plan.take(digest)?))
            });
        }
        plan.fact("files", |plan| {
            let mut text = String::new();
            let mut counts = Vec::new();
            for (name, word, sign) in [
                ("files_added", "added", '+'),
                ("files_changed", "changed", '~'),
                ("files_removed", "removed", '-'),
            ] {
                let files = plan.remove(name);
                let files = files.as_ref().and_then(Value::as_array);
                let files = files.map_or(&[][..], Vec::as_slice);
                if !files.is_empty() {
                    counts.push(format!("{} {word}", files.len()));
                }
                for file in files {
                    let bytes = match file.get("bytes_before") {
                        Some(before) => format!("{before} to {}", field(file, "/bytes_after")),
                        None => field(file, "/bytes"),
                    };
                    write!(text, "\n{sign} {}  {bytes} bytes", field(file, "/path")).ok();
                }
            }
            let unchanged = plan.take("files_unchanged").unwrap_or_default();
            counts.push(format!("{unchanged} unchanged"));
            Some(format!("{}{text}", counts.join(", ")))
        });
        plan.fact("pages", |plan| {
            let probed = plan.remove("pages_probed")?;
            let mut text = format!("{} probed", probed.as_array().map_or(0, Vec::len));
            for (name, word) in [("pages_added", "new"), ("pages_removed", "gone")] {
                let pages = plan.remove(name);
                for page in pages.iter().filter_map(Value::as_array).flatten() {
                    write!(text, "\n{word}: {}", field(page, "")).ok();
                }
            }
            Some(text)
        });
        self.lines.append(&mut plan.lines);
        self.keep("plan", plan);
    }

    fn reasons(&mut self) {
        self.fact("policy", |page| {
            let verdict = page.take("verdict")?;
            let reasons = page.remove("reasons");
            let reasons = reasons.as_ref().and_then(Value::as_array);
            let mut text = verdict;
            for reason in reasons.into_iter().flatten() {
                write!(text, "\n{}", field(reason, "")).ok();
            }
            Some(text)
        });
        self.fact("policies", |page| page.take("policy_digest"));
    }

    fn history(&mut self) -> Option<String> {
        let history = self.remove("history")?;
        let mut text = String::new();
        for entry in history.as_array()? {
            let fact = field(entry, "/type");
            let fact = fact
                .trim_start_matches("dev.countersign.")
                .trim_end_matches(".v1");
            writeln!(
                text,
                "{}  {fact}  by {} {}  at {}",
                field(entry, "/time"),
                field(entry, "/actor/kind"),
                field(entry, "/actor/id"),
                field(entry, "/sequence").trim_start_matches('0'),
            )
            .ok();
        }
        Some(text)
    }

    fn text(self) -> String {
        let mut facts = Facts::default();
        for (name, value) in self.lines {
            facts.add(name, value);
        }
        let mut text = facts.text();
        let rest = super::watch::text(&Value::Object(self.left));
        if !rest.is_empty() {
            write!(text, "\n{rest}").ok();
        }
        text
    }
}

fn join(parts: &[Option<String>]) -> Option<String> {
    let parts: Vec<&str> = parts.iter().flatten().map(String::as_str).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// A release by label and digest; nothing if it has further members, so that they are listed.
fn release(value: &Value) -> Option<String> {
    let label = field(value, "/label");
    let digest = field(value, "/release");
    Some(if digest == "-" {
        "nothing".to_owned()
    } else {
        format!("{label}  {digest}")
    })
}

#[cfg(test)]
mod tests {
    use super::{action, view};
    use serde_json::{Value, json};

    fn document() -> Value {
        json!({
            "v": 1, "sentence": "Publish it.", "tenant": "t", "ledger": "l", "action_id": "a1", "as_planned": true,
            "title": "Publish r2", "site": { "id": "s", "name": "S", "environment": "production" },
            "now_live": { "label": "r1", "release": "sha256:1" },
            "plan": {
                "v": 1, "kind": "release", "from": "sha256:1", "from_label": "r1", "to": "sha256:2", "to_label": "r2",
                "files_added": [{ "path": "a.html", "bytes": 7, "digest": "sha256:3" }], "files_unchanged": 4,
                "pages_probed": ["a.html"], "pages_added": ["a.html"],
            },
            "rollback": { "digest": "sha256:4", "readiness": "EXACT", "restores": { "label": "r1", "release": "sha256:1" } },
            "policy": { "verdict": "needs-approval", "reasons": ["one approval"], "freeze_active": false },
            "action": { "kind": "release.publish", "parameters": { "release": "sha256:2" } },
        })
    }

    fn shown(document: &Value) -> String {
        view(document.as_object().unwrap())
    }

    #[test]
    fn what_will_be_signed_is_told_in_a_few_lines() {
        let text = shown(&document());
        for line in [
            "to        r2  sha256:2",
            "+ a.html  7 bytes",
            "new: a.html",
            "action.parameters.release  sha256:2",
        ] {
            assert!(text.contains(line), "{line} is missing in:\n{text}");
        }
        assert!(!text.contains("CAREFUL"), "{text}");
    }

    #[test]
    fn a_member_that_no_line_knows_is_listed_with_its_path() {
        let mut document = document();
        document["surprise"] = json!("one");
        document["plan"]["surprise"] = json!({ "deep": "two" });
        document["rollback"]["lost"] = json!(["three"]);
        let text = shown(&document);
        for line in ["surprise", "plan.surprise.deep", "rollback.lost", "three"] {
            assert!(text.contains(line), "{line} is missing in:\n{text}");
        }
    }

    #[test]
    fn a_site_that_moved_on_is_said_first() {
        let mut document = document();
        document["as_planned"] = json!(false);
        assert!(shown(&document).contains("CAREFUL"));
    }

    #[test]
    fn an_unsafe_character_reaches_no_terminal() {
        let mut document = document();
        document["plan"]["files_added"][0]["path"] = json!("a\u{1b}[2J\u{202e}.html");
        let text = shown(&document) + &action(&document);
        assert!(!text.contains(['\u{1b}', '\u{202e}']));
    }
}
