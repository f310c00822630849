//! `propose`, `rollback` and `withdraw`: asking for a change, and taking the question back.

use super::{Caller, release, watch};
use crate::arguments::{Propose, Rollback, Withdraw};
use crate::client::fresh_key;
use crate::exit::Failure;
use crate::moment::now;
use crate::output;
use anyhow::Result;
use serde_json::{Value, json};
use std::process::ExitCode;

pub(crate) async fn propose(caller: Caller, arguments: Propose) -> Result<ExitCode> {
    let site = caller.profile.site(arguments.site.as_deref())?;
    let release = release::resolve(&caller, &site, &arguments.release).await?;
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

/// The release that the site's own rollback plan would restore.
async fn previous(caller: &Caller, site: &str) -> Result<String> {
    let state = caller
        .client
        .get(&caller.path(&format!("/sites/{site}"))?)
        .await?;
    let restore = output::field(&state, "/observed/rollback/restore");
    if restore == "-" {
        return Err(Failure::refused(format!(
            "the site `{site}` has no earlier release to go back to"
        ))
        .into());
    }
    Ok(restore)
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
