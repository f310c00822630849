//! `queue`, `show` and `status`: what waits, what happened, how the sites are.

use super::{Caller, page, release::items};
use crate::arguments::{Queue, Show, Status, Wait};
use crate::exit::{self, Failure};
use crate::output::{self, field};
use anyhow::Result;
use serde_json::Value;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Between two looks at an action that somebody waits for.
const LOOK_EVERY: Duration = Duration::from_millis(150);

/// The longest that policy may take before a decision is refused.
const ASSESSED_WITHIN: Duration = Duration::from_secs(30);

/// States in which an action stays.
const ENDED: &[&str] = &[
    "succeeded",
    "failed",
    "undone",
    "refused",
    "denied",
    "rejected",
    "withdrawn",
    "revoked",
    "expired",
];

pub(crate) async fn queue(caller: Caller, arguments: Queue) -> Result<ExitCode> {
    let queue = caller.client.get(&caller.path("/queue")?).await?;
    if arguments.ids {
        let ids: Vec<String> = items(&queue)
            .iter()
            .map(|item| field(item, "/action"))
            .collect();
        output::data(&ids.join("\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    output::either(caller.json, &queue, |value| {
        let rows: Vec<Vec<String>> = items(value)
            .iter()
            .map(|item| {
                let mut row: Vec<String> = ["/action", "/site", "/risk", "/needed"]
                    .iter()
                    .map(|path| field(item, path))
                    .collect();
                row.push(page::waits_in_short(item));
                row.extend(["/expires", "/title"].map(|path| field(item, path)));
                row
            })
            .collect();
        if rows.is_empty() {
            return "nothing waits for a decision\n".to_owned();
        }
        output::table(
            &[
                "ACTION",
                "SITE",
                "RISK",
                "NEEDED",
                "WAITS FOR",
                "EXPIRES",
                "TITLE",
            ],
            &rows,
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn show(caller: Caller, arguments: Show) -> Result<ExitCode> {
    if arguments.wait.wait {
        return until_ended(&caller, &arguments.action, &arguments.wait).await;
    }
    let action = read(&caller, &arguments.action).await?;
    output::either(caller.json, &action, page::action)?;
    Ok(ExitCode::SUCCESS)
}

/// Reads one action.
pub(crate) async fn read(caller: &Caller, action: &str) -> Result<Value> {
    caller
        .client
        .get(&caller.path(&format!("/actions/{action}"))?)
        .await
}

/// Reads an action once policy has judged it, which it does right after the proposal.
pub(crate) async fn assessed(caller: &Caller, action: &str) -> Result<Value> {
    let end = Instant::now() + ASSESSED_WITHIN;
    loop {
        let read = read(caller, action).await?;
        if field(&read, "/state") != "proposed" || field(&read, "/view_digest") != "-" {
            return Ok(read);
        }
        if Instant::now() >= end {
            return Err(
                Failure::unavailable(format!("`{action}` is not judged by policy yet")).into(),
            );
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Waits until an action has ended, prints it, and says by the exit code how it ended.
pub(crate) async fn until_ended(caller: &Caller, action: &str, wait: &Wait) -> Result<ExitCode> {
    let ended = ended(caller, action, wait, |state| {
        output::note(format_args!("{action}: {state}"))
    })
    .await?;
    output::either(caller.json, &ended, page::action)?;
    Ok(if succeeded(&ended) {
        ExitCode::SUCCESS
    } else {
        exit::ended_badly()
    })
}

/// Waits until an action has ended, telling every state that is seen on the way.
pub(crate) async fn ended(
    caller: &Caller,
    action: &str,
    wait: &Wait,
    tell: impl Fn(&str),
) -> Result<Value> {
    let end = Instant::now() + Duration::from_secs(wait.wait_at_most);
    let mut last = String::new();
    loop {
        let read = read(caller, action).await?;
        let state = field(&read, "/state");
        if state != last {
            tell(&state);
            last.clone_from(&state);
        }
        if ENDED.contains(&state.as_str()) {
            return Ok(read);
        }
        if read.pointer("/waits_for/propose_again") == Some(&Value::Bool(true)) {
            let message = format!(
                "`{action}` cannot go on: {}",
                field(&read, "/waits_for/detail")
            );
            return Err(Failure::refused(message)
                .with_code_of_server(field(&read, "/waits_for/code"))
                .with_hint("propose the change again, and withdraw this one; by itself it waits until it expires")
                .into());
        }
        if Instant::now() >= end {
            let mut message = format!(
                "after {} seconds the action is still `{state}`",
                wait.wait_at_most
            );
            if read.get("waits_for").is_some() {
                message.push_str(": ");
                message.push_str(&field(&read, "/waits_for/detail"));
            }
            return Err(Failure::unavailable(message).into());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Whether an action that has ended did what it was meant to.
pub(crate) fn succeeded(action: &Value) -> bool {
    field(action, "/state") == "succeeded"
}

pub(crate) async fn status(caller: Caller, arguments: Status) -> Result<ExitCode> {
    if let Some(site) = arguments.site {
        let site = caller
            .client
            .get(&caller.path(&format!("/sites/{site}"))?)
            .await?;
        output::either(caller.json, &site, text)?;
        return Ok(ExitCode::SUCCESS);
    }
    let sites = caller.client.get(&caller.path("/sites")?).await?;
    output::either(caller.json, &sites, |value| {
        let columns = [
            "/site",
            "/environment",
            "/connector",
            "/current",
            "/readiness",
            "/last_seen",
        ];
        let row = |item: &Value| columns.iter().map(|column| field(item, column)).collect();
        let rows: Vec<Vec<String>> = items(value).iter().map(row).collect();
        output::table(
            &[
                "SITE",
                "ENVIRONMENT",
                "CONNECTOR",
                "LIVE",
                "READINESS",
                "SEEN",
            ],
            &rows,
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Every member of an object, nested ones under their path, one per line.
pub(crate) fn text(value: &Value) -> String {
    let mut facts = output::Facts::default();
    flatten("", value, &mut facts);
    facts.text()
}

fn flatten(path: &str, value: &Value, facts: &mut output::Facts) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(name, _)| *name);
            for (name, value) in members {
                let path = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                flatten(&path, value, facts);
            }
        }
        Value::Array(elements)
            if elements
                .iter()
                .any(|element| element.is_object() || element.is_array()) =>
        {
            for (number, element) in elements.iter().enumerate() {
                flatten(&format!("{path}[{number}]"), element, facts);
            }
        }
        Value::Array(elements) => {
            let words: Vec<String> = elements
                .iter()
                .map(|element| {
                    element
                        .as_str()
                        .map_or_else(|| element.to_string(), str::to_owned)
                })
                .collect();
            facts.add(path, words.join(", "));
        }
        Value::Null => {}
        Value::String(text) if text.is_empty() => {}
        Value::String(text) => {
            facts.add(path, text);
        }
        other => {
            facts.add(path, other.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::text;
    use serde_json::json;

    #[test]
    fn nested_members_are_named_by_their_path() {
        let shown =
            text(&json!({ "b": { "d": 1, "c": ["x", "y"] }, "a": "z", "e": [{ "f": true }] }));
        assert_eq!(shown, "a       z\nb.c     x, y\nb.d     1\ne[0].f  true\n");
    }
}
