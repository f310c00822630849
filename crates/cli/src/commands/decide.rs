//! `approve`, `deny` and `withdraw --vote`: a person's own signature over exactly what was shown.
//!
//! The server is believed in nothing that can be computed here: the view document is fetched by its digest and hashed, the
//! action object in it is hashed, what is printed comes from that document alone, and the statement is built from it. The key
//! is read from a file on this machine; only the signature leaves.

use super::{Caller, page, watch};
use crate::arguments::{Decide, Signer, Withdraw};
use crate::client::fresh_key;
use crate::codes;
use crate::exit::Failure;
use crate::keys;
use crate::moment::now;
use crate::output::{self, field};
use anyhow::{Context, Result};
use countersign_evidence::statement::reason_digest;
use countersign_evidence::words::digest_words;
use countersign_evidence::{Decision, OrDash, Scope, Statement, ViewDocument};
use countersign_ids::{Digest, Nonce};
use ed25519_dalek::SigningKey;
use serde_json::{Value, json};
use std::io::{BufRead, IsTerminal};
use std::process::ExitCode;
use std::str::FromStr;

/// Words of the view's digest, to compare with another screen.
const WORDS: usize = 6;

/// How long a statement counts, unless the action ends earlier.
const STATEMENT_LIFETIME_MILLIS: u64 = 60 * 60 * 1000;

/// How far the server's clock may be behind ours.
const CLOCK_SLACK_MILLIS: u64 = 30 * 1000;

pub(crate) async fn approve(caller: Caller, arguments: Decide) -> Result<ExitCode> {
    decide(caller, arguments, Decision::Approve).await
}

pub(crate) async fn deny(caller: Caller, arguments: Decide) -> Result<ExitCode> {
    decide(caller, arguments, Decision::Deny).await
}

pub(crate) async fn take_back(caller: Caller, arguments: Withdraw) -> Result<ExitCode> {
    let Withdraw {
        action,
        signer,
        reason,
        yes,
        ..
    } = arguments;
    let wait = crate::arguments::Wait {
        wait: false,
        wait_at_most: 0,
    };
    decide(
        caller,
        Decide {
            action,
            signer,
            reason,
            yes,
            wait,
        },
        Decision::Withdraw,
    )
    .await
}

async fn decide(caller: Caller, arguments: Decide, decision: Decision) -> Result<ExitCode> {
    let recorded = vote(&caller, &arguments, decision, |view| {
        output::note(format_args!("{}", facts(view, decision)));
        if arguments.yes {
            Ok(())
        } else {
            confirm(decision)
        }
    })
    .await?;
    if arguments.wait.wait {
        return watch::until_ended(&caller, &arguments.action, &arguments.wait).await;
    }
    output::either(caller.json, &recorded, |_| {
        format!("{} {}", done(decision), arguments.action)
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Fetches and checks the view document, has it looked at, and sends the signed statement about it.
pub(crate) async fn vote(
    caller: &Caller,
    arguments: &Decide,
    decision: Decision,
    look: impl FnOnce(&ViewDocument) -> Result<()>,
) -> Result<Value> {
    let signer = Person::of(caller, &arguments.signer)?;
    let action = watch::assessed(caller, &arguments.action).await?;
    let view = open(caller, &action).await?;
    if view.members().text("action_id") != Some(arguments.action.as_str()) {
        let message = format!(
            "the server shows another action than `{}`",
            arguments.action
        );
        return Err(Failure::refused(message)
            .with_code(codes::VIEW_MISMATCH)
            .into());
    }
    look(&view)?;
    let salt = random::<16>()?;
    let digest = arguments
        .reason
        .as_ref()
        .map(|reason| reason_digest(&salt, reason));
    let statement = signer.statement(&view, decision, digest)?;
    let signed = statement
        .sign(&signer.key)
        .context("the statement cannot be signed")?;
    let mut body = json!({ "signed": signed });
    if let (Some(reason), Some(members)) = (&arguments.reason, body.as_object_mut()) {
        members.insert(
            "reason".to_owned(),
            json!({ "salt": hex::encode(salt), "reason": reason }),
        );
    }
    let path = caller.path(&format!("/actions/{}/approvals", arguments.action))?;
    caller.client.post(&path, Some(&fresh_key()?), &body).await
}

fn done(decision: Decision) -> &'static str {
    match decision {
        Decision::Approve => "approved",
        Decision::Deny => "denied",
        Decision::Withdraw => "vote taken back on",
    }
}

/// Fetches the view document by its digest and checks both digests.
async fn open(caller: &Caller, action: &Value) -> Result<ViewDocument> {
    let view_digest: Digest = member(action, "/view_digest")?;
    let action_digest: Digest = member(action, "/action_digest")?;
    let bytes = caller
        .client
        .bytes(&caller.path(&format!("/blobs/{view_digest}"))?)
        .await?;
    ViewDocument::open(&bytes, &view_digest, &action_digest).map_err(|error| {
        Failure::refused(format!(
            "the server shows something else than it recorded: {error}"
        ))
        .with_code(codes::VIEW_MISMATCH)
        .into()
    })
}

/// What is shown before anything is signed: the view document as a page, and its digest as words.
fn facts(view: &ViewDocument, decision: Decision) -> String {
    let members: serde_json::Map<String, Value> = view
        .members()
        .0
        .iter()
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let mut text = page::view(&members);
    let words = digest_words(&view.digest(), WORDS);
    let what = match decision {
        Decision::Approve => "approve",
        Decision::Deny => "deny",
        Decision::Withdraw => "take back your vote on",
    };
    text.push_str(&format!(
        "\nYou are about to {what} exactly this.\nview    {}\nwords   {words}",
        view.digest()
    ));
    text
}

fn confirm(decision: Decision) -> Result<()> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage("nobody is here to confirm")
            .with_hint("look at it, then give --yes")
            .into());
    }
    output::note(format_args!("Type `yes` to sign:"));
    let mut answer = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut answer)
        .context("cannot read the answer")?;
    if answer.trim() == "yes" {
        return Ok(());
    }
    Err(Failure::refused(format!("not confirmed; nothing was {}", done(decision))).into())
}

/// Who signs, and with what.
struct Person {
    key: SigningKey,
    approver: String,
    credential: String,
}

impl Person {
    fn of(caller: &Caller, signer: &Signer) -> Result<Self> {
        let profile = &caller.profile;
        let missing = |what: &str| {
            Failure::usage(format!("no {what}")).with_hint(format!("give --{what} or a profile"))
        };
        let key = signer
            .key
            .as_ref()
            .or(profile.key.as_ref())
            .ok_or_else(|| missing("key"))?;
        let approver = signer
            .approver
            .as_ref()
            .or(profile.approver.as_ref())
            .ok_or_else(|| missing("approver"))?;
        let credential = signer
            .credential
            .as_ref()
            .or(profile.credential.as_ref())
            .ok_or_else(|| missing("credential"))?;
        Ok(Self {
            key: keys::read(key)?,
            approver: approver.clone(),
            credential: credential.clone(),
        })
    }

    fn statement(
        &self,
        view: &ViewDocument,
        decision: Decision,
        reason_digest: Option<Digest>,
    ) -> Result<Statement> {
        let shown = Value::Object(view.members().0.clone().into_iter().collect());
        let object = view.action();
        let now = now()?;
        let not_after = now
            .plus_millis(STATEMENT_LIFETIME_MILLIS)
            .min(object.expires);
        Ok(Statement {
            v: Default::default(),
            ledger: member(&shown, "/ledger")?,
            chain: member(&shown, "/tenant")?,
            site: object.site.clone(),
            action: member(&shown, "/action_id")?,
            action_digest: object.digest()?,
            decision,
            scope: Scope::Action,
            round: shown
                .pointer("/round")
                .and_then(Value::as_u64)
                .context("the view document names no round")?,
            approver: self
                .approver
                .parse()
                .map_err(|error| Failure::usage(format!("{error}")))?,
            credential: self
                .credential
                .parse()
                .map_err(|error| Failure::usage(format!("{error}")))?,
            reason_digest: OrDash(reason_digest),
            policy_digest: OrDash(Some(member(&shown, "/policy/policy_digest")?)),
            view_digest: view.digest(),
            rollback_digest: OrDash(Some(member(&shown, "/rollback/digest")?)),
            not_before: now.minus_millis(CLOCK_SLACK_MILLIS),
            not_after,
            nonce: Nonce::from_bytes(random::<16>()?),
        })
    }
}

fn member<T: FromStr>(value: &Value, path: &str) -> Result<T> {
    let text = field(value, path);
    text.parse().map_err(|_| {
        Failure::refused(format!(
            "the server's `{}` is `{text}`",
            path.trim_start_matches('/')
        ))
        .into()
    })
}

fn random<const LENGTH: usize>() -> Result<[u8; LENGTH]> {
    let mut bytes = [0; LENGTH];
    getrandom::fill(&mut bytes).context("the system gives no randomness")?;
    Ok(bytes)
}
