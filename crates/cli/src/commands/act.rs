//! `propose`, `rollback` and `withdraw`: asking for a change, and taking the question back.

use super::{Caller, proposals, release, watch};
use crate::arguments::{Propose, Rollback, Withdraw};
use crate::client::fresh_key;
use crate::exit::Failure;
use crate::moment::now;
use crate::output;
use anyhow::Result;
use serde_json::{Value, json};
use std::process::ExitCode;

pub(crate) async fn propose(caller: Caller, arguments: Propose) -> Result<ExitCode> {
    if let Some(file) = arguments.file {
        return proposals::propose(caller, &file, arguments.site, arguments.key).await;
    }
    let site = caller.profile.site(arguments.site.as_deref())?;
    let release = arguments.release.unwrap_or_default();
    let release = release::resolve(&caller, &site, &release).await?;
    let expires = now()?.plus_millis(arguments.expires_in.saturating_mul(60_000));
    let mut body = proposal(&site, "release.publish", &release, arguments.reason);
    if let Some(members) = body.as_object_mut() {
        members.insert("expires".to_owned(), json!(expires));
    }
    let proposed = caller
        .client
        .post(&caller.path("/actions")?, Some(&fresh_key()?), &body)
        .await?;
    answer(&caller, proposed, arguments.wait).await
}

pub(crate) async fn rollback(caller: Caller, arguments: Rollback) -> Result<ExitCode> {
    let site = caller.profile.site(arguments.site.as_deref())?;
    let release = match &arguments.release {
        Some(name) => release::resolve(&caller, &site, name).await?,
        None => previous(&caller, &site).await?,
    };
    let body = proposal(&site, "release.rollback", &release, arguments.reason);
    let proposed = caller
        .client
        .post(&caller.path("/actions")?, Some(&fresh_key()?), &body)
        .await?;
    answer(&caller, proposed, arguments.wait).await
}

/// A proposal to make one release the live one.
pub(crate) fn proposal(site: &str, kind: &str, release: &str, reason: Option<String>) -> Value {
    let mut body = json!({ "site": site, "kind": kind, "parameters": { "release": release } });
    if let (Some(reason), Some(members)) = (reason, body.as_object_mut()) {
        members.insert("reason".to_owned(), json!(reason));
    }
    body
}

/// The release that was live before the one that is: what the action which published it was planned against.
async fn previous(caller: &Caller, site: &str) -> Result<String> {
    let state = caller
        .client
        .get(&caller.path(&format!("/sites/{site}"))?)
        .await?;
    let current = output::field(&state, "/observed/current");
    let actions = caller.client.get(&caller.path("/actions")?).await?;
    let done = |action: &&Value| {
        output::field(action, "/site") == site
            && watch::succeeded(action)
            && output::field(action, "/kind").starts_with("release.")
    };
    for line in release::items(&actions).iter().filter(done) {
        let action = watch::read(caller, &output::field(line, "/action")).await?;
        let before = output::field(&action, "/action_object/precondition/current");
        if output::field(&action, "/action_object/parameters/release") == current && before != "-" {
            return Ok(before);
        }
    }
    let message = format!("nothing was live on `{site}` before the release that is");
    Err(Failure::refused(message)
        .with_hint("name a release: `countersign release list`")
        .into())
}

pub(crate) async fn withdraw(caller: Caller, arguments: Withdraw) -> Result<ExitCode> {
    let path = caller.path(&format!("/actions/{}/withdraw", arguments.action))?;
    let done = caller
        .client
        .post(
            &path,
            Some(&fresh_key()?),
            &json!({ "reason": arguments.reason }),
        )
        .await?;
    output::either(caller.json, &done, |_| {
        format!("withdrawn {}", arguments.action)
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the id of a new action, and waits for its end if asked to.
async fn answer(
    caller: &Caller,
    proposed: Value,
    wait: crate::arguments::Wait,
) -> Result<ExitCode> {
    let action = output::field(&proposed, "/action");
    if wait.wait {
        output::note(format_args!("proposed {action}"));
        return watch::until_ended(caller, &action, &wait).await;
    }
    output::either(caller.json, &proposed, |_| action)?;
    Ok(ExitCode::SUCCESS)
}
