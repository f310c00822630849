//! What the sample starts with: a tenant, people, a site with three releases, the first of them live, a proposal that waits.
//!
//! All of it goes over HTTP with the sample's own tokens and keys, the way anybody would do it.

use super::Addresses;
use super::child::Connector;
use super::layout::Layout;
use super::site::RELEASES;
use crate::arguments::{Approver, Decide, Signer, Wait};
use crate::client::Client;
use crate::commands::{Caller, act, administer, decide, release, watch};
use crate::keys;
use crate::output::{field, note};
use crate::profile::Profile;
use anyhow::{Context, Result, ensure};
use countersign_evidence::Decision;
use serde_json::{Value, json};
use std::path::PathBuf;

pub(crate) const TENANT: &str = "harbour";
pub(crate) const SITE: &str = "kittiwake";
const APPROVER: &str = "alice";
const OWNER: &str = "olive";
const CREDENTIAL: &str = "laptop";

/// The longest that publishing the first release may take.
const WAIT_SECONDS: u64 = 120;

/// Between two looks at the site, and the most of them.
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_millis(100);
const OBSERVED_LOOKS_MAX: u32 = 600;

/// Everybody of the sample: directory, role, kind and id of the actor.
pub(crate) const ACTORS: &[(&str, &str, &str, &str)] = &[
    ("owner", "owner", "person", OWNER),
    ("approver", "approver", "person", APPROVER),
    ("agent", "proposer", "agent", "site-agent"),
];

/// Sets the sample up; the server answers already, and `admin` is its first token.
pub(crate) async fn seed(layout: &Layout, addresses: &Addresses, admin: &str) -> Result<()> {
    let server = addresses.server();
    let root = caller(&server, admin, profile(&server, "owner"))?;
    post(
        &root,
        "/v1/tenants",
        json!({ "tenant": TENANT, "name": "Kittiwake Bay" }),
    )
    .await?;
    for (directory, role, kind, id) in ACTORS {
        let mut body =
            json!({ "tenant": TENANT, "role": role, "actor": { "kind": kind, "id": id } });
        if let (&"agent", Some(members)) = (kind, body.as_object_mut()) {
            members.insert("owner".to_owned(), json!(OWNER));
        }
        let issued = post(&root, "/v1/tokens", body).await?;
        layout.write_actor(
            directory,
            Some(&field(&issued, "/token")),
            &profile(&server, directory),
        )?;
    }
    enrol(layout, &root).await?;
    let owner = of(layout, &server, "owner")?;
    let site = json!({ "site": SITE, "name": "Kittiwake Light", "environment": "production" });
    post(&owner, &owner.path("/sites")?, site).await?;
    note(format_args!("uploading {} releases", RELEASES.len()));
    for sample in RELEASES {
        release::upload(&owner, SITE, sample.describe()?).await?;
    }
    let code = post(
        &owner,
        &owner.path(&format!("/sites/{SITE}/pairing"))?,
        json!({}),
    )
    .await?;
    Connector::pair(&field(&code, "/code"), &layout.connector(), addresses).await?;
    let connector = Connector::run(&layout.connector(), addresses)?;
    let done = publish_and_propose(layout, &server, &owner).await;
    connector.stop().await?;
    done
}

async fn enrol(layout: &Layout, root: &Caller) -> Result<()> {
    let key = key_file(layout);
    keys::create(&key)?;
    let approver = Approver::Enrol {
        approver: APPROVER.to_owned(),
        credential: CREDENTIAL.to_owned(),
        key,
    };
    administer::enrol_key(root, approver).await?;
    Ok(())
}

/// Publishes release 1 the way every release is published, then lets the agent ask for release 2.
async fn publish_and_propose(layout: &Layout, server: &str, owner: &Caller) -> Result<()> {
    let [first, second, ..] = RELEASES else {
        anyhow::bail!("the sample has too few releases")
    };
    note(format_args!(
        "publishing `{}`: proposed by the owner, approved with the sample's key",
        first.label
    ));
    until_observed(owner).await?;
    let action = propose(owner, first.label, "The museum opens.").await?;
    let approver = of(layout, server, "approver")?;
    let signer = Signer {
        key: Some(key_file(layout)),
        approver: Some(APPROVER.to_owned()),
        credential: Some(CREDENTIAL.to_owned()),
    };
    let wait = Wait {
        wait: true,
        wait_at_most: WAIT_SECONDS,
    };
    let decision = Decide {
        action,
        signer,
        reason: Some("The first release of the sample.".to_owned()),
        yes: true,
        wait,
    };
    decide::vote(&approver, &decision, Decision::Approve, |_| Ok(())).await?;
    let ended = watch::ended(&approver, &decision.action, &decision.wait, |_| {}).await?;
    ensure!(
        watch::succeeded(&ended),
        "the first release of the sample could not be published"
    );
    let agent = of(layout, server, "agent")?;
    propose(&agent, second.label, "The summer hours end this week.").await?;
    Ok(())
}

async fn propose(caller: &Caller, label: &str, reason: &str) -> Result<String> {
    let release = release::resolve(caller, SITE, label).await?;
    let body = act::proposal(SITE, "release.publish", &release, Some(reason.to_owned()));
    Ok(field(
        &post(caller, &caller.path("/actions")?, body).await?,
        "/action",
    ))
}

/// Waits until the connector has said what is live: nothing can be planned before.
async fn until_observed(caller: &Caller) -> Result<()> {
    for _ in 0..OBSERVED_LOOKS_MAX {
        let site = caller
            .client
            .get(&caller.path(&format!("/sites/{SITE}"))?)
            .await?;
        if site.get("observed").is_some_and(Value::is_object) {
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    anyhow::bail!("the connector does not say what is live")
}

async fn post(caller: &Caller, path: &str, body: Value) -> Result<Value> {
    let key = crate::client::fresh_key()?;
    caller
        .client
        .post(path, Some(&key), &body)
        .await
        .with_context(|| format!("`{path}` failed while setting up"))
}

/// The profile of one of the sample's actors.
pub(crate) fn profile(server: &str, directory: &str) -> Profile {
    let signer = directory == "approver";
    Profile {
        server: Some(server.to_owned()),
        tenant: Some(TENANT.to_owned()),
        site: Some(SITE.to_owned()),
        token_file: Some(PathBuf::from("token")),
        key: signer.then(|| PathBuf::from("key.pem")),
        approver: signer.then(|| APPROVER.to_owned()),
        credential: signer.then(|| CREDENTIAL.to_owned()),
    }
}

fn key_file(layout: &Layout) -> PathBuf {
    layout.actor("approver").join("key.pem")
}

/// One of the sample's actors as a caller.
pub(crate) fn of(layout: &Layout, server: &str, directory: &str) -> Result<Caller> {
    let token = std::fs::read_to_string(layout.actor(directory).join("token"))
        .context("the sample has lost a token")?;
    caller(server, token.trim(), profile(server, directory))
}

fn caller(server: &str, token: &str, profile: Profile) -> Result<Caller> {
    Ok(Caller {
        client: Client::new(server, token.to_owned())?,
        profile,
        json: false,
    })
}
