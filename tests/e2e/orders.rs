//! Orders that are on their way while processes are killed, and what must be true of each whenever that was.

use crate::harness::root;
use crate::http::Caller;
use crate::stage::{SITE, Stage, TENANT};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::task::block_in_place;

/// What people call the releases that take turns.
const TURNS: [&str; 2] = ["even", "odd"];
/// What people call one that breaks a page, so that the connector returns to the one before.
const BROKEN: &str = "2026-winter";
/// The one that is live before, and has another first page.
const FIRST: &str = "2026-summer";
/// It is the turn of the broken one in every so many rounds.
const BROKEN_EVERY: u64 = 7;
/// And first in this one.
const BROKEN_FIRST: u64 = 3;
/// How far an action is let go before the kill; rounds take turns, the last of these kills behind its end.
const MOMENTS: [&[&str]; 5] = [
    &["proposed", "waiting", "authorized", "delivered", "accepted"],
    &["authorized", "delivered", "accepted"],
    &["delivered", "accepted"],
    &["accepted"],
    &[],
];
/// The states in which an order may be with the connector.
const OUT: [&str; 4] = ["authorized", "delivered", "accepted", "unresolved"];
/// The states that nothing leads on from.
const ENDED: [&str; 9] = [
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

/// The actions of a test, one after the other.
pub(crate) struct Orders {
    agent: Caller,
    /// Digests by label.
    releases: BTreeMap<String, String>,
    /// The first page of the releases that take turns, and their labels.
    pages: BTreeMap<String, &'static str>,
    /// Which release each action is for.
    wanted: BTreeMap<String, String>,
    /// How many actions ended in each state.
    pub(crate) ended: BTreeMap<String, u64>,
}

impl Orders {
    /// Adds the releases that take turns, with nothing but their first page to tell them apart.
    pub(crate) async fn new(stage: &Stage, beside: &Path) -> Self {
        let mut pages = BTreeMap::new();
        for label in TURNS {
            let directory = beside.join(label);
            let from = root().join("examples/site/release-2");
            copy(&from, &directory);
            let index = directory.join("index.html");
            let page = std::fs::read_to_string(&index).unwrap();
            let page = page.replace("<title>", &format!("<title>{label}: "));
            std::fs::write(index, &page).unwrap();
            pages.insert(page, label);
            let directory = directory.to_str().unwrap();
            let arguments = [
                "release", "add", directory, "--label", label, "--site", SITE,
            ];
            block_in_place(|| stage.plane.run(&stage.owner, &arguments));
        }
        let owner = Caller::new(&stage.plane.url(), &stage.owner);
        let path = format!("/v1/tenants/{TENANT}/sites/{SITE}/releases");
        let releases = owner.get(&path).await.body;
        let text = |item: &Value, name: &str| item[name].as_str().unwrap().to_owned();
        let pair = |item: &Value| (text(item, "label"), text(item, "release"));
        Self {
            agent: Caller::new(&stage.plane.url(), &stage.agent),
            releases: releases["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(pair)
                .collect(),
            pages,
            wanted: BTreeMap::new(),
            ended: BTreeMap::new(),
        }
    }

    /// Proposes the release that is not live, and approves it.
    pub(crate) async fn begin(&mut self, stage: &Stage, round: u64) -> String {
        let live = self.current().await;
        let mut others = TURNS.into_iter().filter(|label| *label != live);
        let label = match round % BROKEN_EVERY {
            BROKEN_FIRST => BROKEN,
            _ => others.next().unwrap(),
        };
        let parameters = json!({ "release": self.releases[label] });
        let proposal = json!({ "site": SITE, "kind": "release.publish", "parameters": parameters, "reason": "its turn" });
        let path = format!("/v1/tenants/{TENANT}/actions");
        let answer = self
            .agent
            .post(&path, &format!("turn-{round}"), &proposal)
            .await;
        assert!(answer.is_ok(), "{answer:?}");
        let action = answer.body["action"].as_str().unwrap().to_owned();
        self.wanted.insert(action.clone(), label.to_owned());
        block_in_place(|| stage.vote(&action));
        action
    }

    async fn action(&self, action: &str) -> Value {
        let path = format!("/v1/tenants/{TENANT}/actions/{action}");
        let answer = self.agent.get(&path).await;
        assert!(answer.is_ok(), "{answer:?}");
        answer.body
    }

    async fn state(&self, action: &str) -> String {
        self.action(action).await["state"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// What the plane calls the live release.
    async fn current(&self) -> String {
        let path = format!("/v1/tenants/{TENANT}/sites/{SITE}");
        let site = self.agent.get(&path).await;
        site.body["current"].as_str().unwrap_or("-").to_owned()
    }

    /// Waits for the moment of this round, or until the action is past it.
    pub(crate) async fn until(&self, action: &str, round: u64) {
        let moment = MOMENTS[usize::try_from(round).unwrap() / 2 % MOMENTS.len()];
        wait("the moment of the kill", async || {
            let state = self.state(action).await;
            moment.contains(&state.as_str()) || ENDED.contains(&state.as_str())
        })
        .await;
    }

    /// Whether its order is out and nobody knows yet how it ended.
    pub(crate) async fn is_out(&self, action: &str) -> bool {
        OUT.contains(&self.state(action).await.as_str())
    }

    /// Waits until the action ended; then site and plane agree on what is live, and it is what the end says.
    pub(crate) async fn settle(&mut self, stage: &Stage, action: &str) {
        wait("the action to end", async || {
            let read = self.action(action).await;
            assert_ne!(read["waits_for"]["propose_again"], true, "{read:#}");
            ENDED.contains(&read["state"].as_str().unwrap())
        })
        .await;
        let state = self.state(action).await;
        wait("site and plane to agree", async || {
            let served = block_in_place(|| stage.page(""));
            self.pages.get(&served).copied().unwrap_or(FIRST) == self.current().await
        })
        .await;
        if state == "succeeded" {
            assert_eq!(self.current().await, self.wanted[action]);
        } else {
            assert_ne!(self.current().await, self.wanted[action], "{state}");
        }
        *self.ended.entry(state).or_default() += 1;
    }

    /// Each action was ordered at most once, and each order executed at most once and ended at most once.
    pub(crate) async fn check(&self, stage: &Stage) {
        let mut seen = BTreeSet::new();
        for event in events(&Caller::new(&stage.plane.url(), &stage.owner)).await {
            let name = event["type"].as_str().unwrap();
            let name = name.strip_prefix("dev.countersign.").unwrap();
            let kind = match name {
                "action.authorized.v1" | "action.accepted.v1" => name,
                "action.succeeded.v1"
                | "action.failed.v1"
                | "action.undone.v1"
                | "action.refused.v1" => "the end",
                _ => continue,
            };
            let subject = event["subject"].as_str().unwrap();
            assert!(
                seen.insert((kind.to_owned(), subject.to_owned())),
                "{subject} has two events `{kind}`"
            );
        }
        let prepared = prepared(stage);
        let distinct: BTreeSet<_> = prepared.iter().collect();
        assert_eq!(distinct.len(), prepared.len(), "an order was begun twice");
        let done = self.ended.get("succeeded").copied().unwrap_or_default();
        assert!(u64::try_from(prepared.len()).unwrap() >= done);
        assert!(done > 0, "{:?}", self.ended);
    }
}

fn copy(from: &Path, to: &Path) {
    let (from, to) = (from.to_str().unwrap(), to.to_str().unwrap());
    crate::world::system("cp", &["-r", from, to]).unwrap();
}

/// The orders that the connector's own journal says were begun.
fn prepared(stage: &Stage) -> Vec<String> {
    let journal = stage.connector_directory.join("state/journal");
    let mut orders = Vec::new();
    for line in std::fs::read_to_string(journal).unwrap().lines() {
        let line: Value = serde_json::from_str(line.splitn(3, ' ').nth(2).unwrap()).unwrap();
        for entry in line["entries"].as_array().unwrap() {
            assert_ne!(entry["entry"], "dropped", "{entry}");
            if entry["entry"] == "prepared" {
                orders.push(
                    entry["execution"]["order_digest"]
                        .as_str()
                        .unwrap()
                        .to_owned(),
                );
            }
        }
    }
    orders
}

/// The headers of the tenant's chain, every sequence once and in order.
pub(crate) async fn events(caller: &Caller) -> Vec<Value> {
    let first = format!("/v1/tenants/{TENANT}/events?limit=500");
    let (mut path, mut events) = (first.clone(), Vec::new());
    loop {
        let page = caller.get(&path).await;
        assert!(page.is_ok(), "{page:?}");
        for event in page.body["items"].as_array().unwrap() {
            let header: Value = serde_json::from_str(event["header"].as_str().unwrap()).unwrap();
            let sequence: usize = header["sequence"].as_str().unwrap().parse().unwrap();
            assert_eq!(sequence, events.len());
            events.push(header);
        }
        let Some(cursor) = page.body["next"].as_str() else {
            return events;
        };
        path = format!("{first}&after={cursor}");
    }
}

async fn wait(what: &str, mut look: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + crate::harness::PATIENCE;
    while !look().await {
        assert!(Instant::now() < end, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
