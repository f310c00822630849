//! Tenants, sites, people, tokens, freezes and keys: what is set up once.

use super::{Caller, release::items};
use crate::arguments::{Approver, Erase, Freeze, Keys, Retention, Site, Tenant, Token};
use crate::client::fresh_key;
use crate::exit::Failure;
use crate::output;
use anyhow::{Context, Result};
use countersign_evidence::enrolment::enrol;
use serde_json::{Value, json};
use std::process::ExitCode;

pub(crate) async fn tenant(caller: Caller, arguments: Tenant) -> Result<ExitCode> {
    match arguments {
        Tenant::Add { id, name } => {
            let body = json!({ "tenant": id, "name": name });
            say(
                &caller,
                &caller
                    .client
                    .post("/v1/tenants", Some(&fresh_key()?), &body)
                    .await?,
            )
        }
        Tenant::List => list(
            &caller,
            &caller.client.get("/v1/tenants").await?,
            &["tenant", "name"],
        ),
    }
}

pub(crate) async fn site(caller: Caller, arguments: Site) -> Result<ExitCode> {
    match arguments {
        Site::Add {
            site,
            name,
            environment,
        } => {
            let body = json!({ "site": site, "name": name, "environment": environment });
            say(
                &caller,
                &caller
                    .client
                    .post(&caller.path("/sites")?, Some(&fresh_key()?), &body)
                    .await?,
            )
        }
        Site::List => {
            let sites = caller.client.get(&caller.path("/sites")?).await?;
            list(&caller, &sites, &["site", "name", "environment"])
        }
        Site::Remark { site, text } => {
            let path = caller.path(&format!("/sites/{site}/remarks"))?;
            let body = json!({ "text": text });
            let noted = caller
                .client
                .post(&path, Some(&fresh_key()?), &body)
                .await?;
            say(&caller, &noted)
        }
        Site::Invite { site } => {
            let path = caller.path(&format!("/sites/{site}/pairing"))?;
            let invited = caller
                .client
                .post(&path, Some(&fresh_key()?), &json!({}))
                .await?;
            output::either(caller.json, &invited, |value| output::field(value, "/code"))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

pub(crate) async fn approver(caller: Caller, arguments: Approver) -> Result<ExitCode> {
    say(&caller, &enrol_key(&caller, arguments).await?)
}

/// Enrols a key by its own signature.
pub(crate) async fn enrol_key(caller: &Caller, arguments: Approver) -> Result<Value> {
    let Approver::Enrol {
        approver,
        credential,
        key,
    } = arguments;
    let key = crate::keys::read(&key)?;
    let ledger = ledger(caller)
        .await?
        .parse()
        .context("the server names no ledger")?;
    let approver = approver
        .parse()
        .map_err(|error| Failure::usage(format!("{error}")))?;
    let credential = credential
        .parse()
        .map_err(|error| Failure::usage(format!("{error}")))?;
    let (credential, proof) = enrol(&ledger, approver, credential, &key)?;
    let mut body = serde_json::to_value(&credential)?;
    if let Some(members) = body.as_object_mut() {
        members.insert("proof".to_owned(), serde_json::to_value(&proof)?);
    }
    caller
        .client
        .post("/v1/approvers", Some(&fresh_key()?), &body)
        .await
}

pub(crate) async fn token(caller: Caller, arguments: Token) -> Result<ExitCode> {
    match arguments {
        Token::Issue {
            role,
            actor,
            kind,
            owner,
        } => {
            let mut body = json!({ "role": role, "actor": { "kind": kind, "id": actor } });
            for (name, value) in [("tenant", caller.profile.tenant.clone()), ("owner", owner)] {
                if let (Some(value), Some(members)) = (value, body.as_object_mut()) {
                    members.insert(name.to_owned(), json!(value));
                }
            }
            let issued = caller
                .client
                .post("/v1/tokens", Some(&fresh_key()?), &body)
                .await?;
            output::either(caller.json, &issued, |value| output::field(value, "/token"))?;
        }
        Token::Revoke { token } => {
            caller
                .client
                .delete(&format!("/v1/tokens/{token}"), &fresh_key()?)
                .await?;
            output::note(format_args!("revoked {token}"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn freeze(caller: Caller, arguments: Freeze) -> Result<ExitCode> {
    match arguments {
        Freeze::Declare {
            freeze,
            site,
            from,
            until,
        } => {
            let body = json!({ "freeze": freeze, "site": site, "from": from, "until": until });
            say(
                &caller,
                &caller
                    .client
                    .post(&caller.path("/freezes")?, Some(&fresh_key()?), &body)
                    .await?,
            )
        }
        Freeze::Lift { freeze } => {
            caller
                .client
                .delete(&caller.path(&format!("/freezes/{freeze}"))?, &fresh_key()?)
                .await?;
            output::note(format_args!("lifted {freeze}"));
            Ok(ExitCode::SUCCESS)
        }
    }
}

pub(crate) async fn retention(caller: Caller, arguments: Retention) -> Result<ExitCode> {
    let path = caller.path("/retention")?;
    match arguments {
        Retention::Show => say(&caller, &caller.client.get(&path).await?),
        Retention::Set { days } => {
            let body = json!({ "operational_days": days });
            let set = caller
                .client
                .post(&path, Some(&fresh_key()?), &body)
                .await?;
            say(&caller, &set)
        }
        Retention::Beats { days } => {
            let path = caller.path("/retention/beats")?;
            let body = json!({ "beats_days": days });
            let set = caller
                .client
                .post(&path, Some(&fresh_key()?), &body)
                .await?;
            say(&caller, &set)
        }
    }
}

pub(crate) async fn erase(caller: Caller, arguments: Erase) -> Result<ExitCode> {
    let body = if arguments.subject {
        json!({ "datasubject": arguments.who })
    } else {
        json!({ "person": arguments.who })
    };
    let path = caller.path("/erasures")?;
    let ordered = caller
        .client
        .post(&path, Some(&fresh_key()?), &body)
        .await?;
    say(&caller, &ordered)
}

pub(crate) async fn keys(caller: Caller, arguments: Keys) -> Result<ExitCode> {
    match arguments {
        Keys::List => {
            let keys = caller.client.get("/v1/keys").await?;
            list(&caller, &keys, &["role", "name", "key", "added", "ended"])
        }
        Keys::Rotate { r#use } => {
            let body = json!({ "use": r#use });
            let rotated = caller
                .client
                .post("/v1/keys", Some(&fresh_key()?), &body)
                .await?;
            say(&caller, &rotated)
        }
    }
}

/// The id of the ledger that the server keeps.
pub(crate) async fn ledger(caller: &Caller) -> Result<String> {
    Ok(output::field(
        &caller.client.get("/v1/ledger").await?,
        "/ledger",
    ))
}

fn say(caller: &Caller, value: &Value) -> Result<ExitCode> {
    output::either(caller.json, value, |value| {
        let mut facts = output::Facts::default();
        for (name, value) in value.as_object().into_iter().flatten() {
            facts.add(
                name,
                value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned),
            );
        }
        facts.text()
    })?;
    Ok(ExitCode::SUCCESS)
}

fn list(caller: &Caller, value: &Value, columns: &[&str]) -> Result<ExitCode> {
    output::either(caller.json, value, |value| {
        let header: Vec<String> = columns.iter().map(|column| column.to_uppercase()).collect();
        let header: Vec<&str> = header.iter().map(String::as_str).collect();
        let row = |item: &Value| {
            columns
                .iter()
                .map(|column| output::field(item, &format!("/{column}")))
                .collect()
        };
        output::table(&header, &items(value).iter().map(row).collect::<Vec<_>>())
    })?;
    Ok(ExitCode::SUCCESS)
}
