//! A connector process that is killed while it executes orders, again and again: after each restart the site is as before
//! the order or as after it, whole, and the signed outcome says which.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    reason = "helpers of tests, outside of test functions"
)]

#[expect(dead_code, reason = "shared with the other tests, which use all of it")]
mod plane;

use std::{
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use countersign_connector::{Config, pair, run, status};
use countersign_evidence::OutcomeResult;
use countersign_ids::Digest;
use plane::{Plane, current};

const DIRECTORY: &str = "CONNECTOR_UNDER_TEST";
const SERVER: &str = "CONNECTOR_UNDER_TEST_SERVER";
const KILLS: u64 = 24;

fn config(directory: &Path, server: &str) -> Config {
    let local = ([127, 0, 0, 1], 0).into();
    Config {
        heartbeat: Duration::from_millis(50),
        ..Config::new(directory, local, local, server)
    }
}

/// Not a test: the process that is killed. Started by the test below, with a directory; otherwise it does nothing.
#[tokio::test(flavor = "multi_thread")]
async fn the_connector_under_test() {
    if let (Ok(directory), Ok(server)) = (std::env::var(DIRECTORY), std::env::var(SERVER)) {
        run(
            &config(Path::new(&directory), &server),
            std::future::pending(),
        )
        .await
        .unwrap();
    }
}

fn start(directory: &Path, server: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_connector_under_test", "--nocapture"])
        .env(DIRECTORY, directory)
        .env(SERVER, server)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

async fn served(directory: &Path, process: &Child) -> SocketAddr {
    let ready = async {
        loop {
            let running = status(directory).unwrap().running;
            let ours = running.filter(|running| running.pid == process.id().to_string());
            if let Some(site) = ours.and_then(|running| running.site) {
                return site.parse().unwrap();
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), ready)
        .await
        .unwrap()
}

/// The steps of an execution, as the connector's journal names them; the kills go through all of them.
const STEPS: [&str; 6] = [
    "delivered",
    "prepared",
    "applying",
    "applied",
    "ended",
    "answered",
];

/// How often the connector's journal says that an execution came this far.
fn steps(directory: &Path, step: &str) -> usize {
    let journal = std::fs::read(directory.join("state/journal")).unwrap_or_default();
    let journal = String::from_utf8_lossy(&journal);
    let count = |entry: &str| journal.matches(&format!("\"entry\":\"{entry}\"")).count();
    match step {
        "ended" => count("verified") + count("rolled-back"),
        "answered" => journal
            .matches("\"entry\":\"answered\",\"stream\":\"action\"")
            .count(),
        other => count(other),
    }
}

/// Waits until an execution has come that far for the first time since it was counted.
async fn come_to(directory: &Path, step: &str, before: usize) {
    let wait = async {
        while steps(directory, step) <= before {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_the_site_is_before_or_after() {
    let (directory, plane) = (tempfile::tempdir().unwrap(), Plane::start().await);
    let directory = directory.path();
    pair(&config(directory, &plane.url()), &plane.code())
        .await
        .unwrap();
    let release = |title: &str, more: &str| {
        plane.add_release(&[
            ("index.html", &format!("<h1>{title}</h1>{more}")),
            ("site.css", "h1{}"),
        ])
    };
    let sound = [release("one", ""), release("two", "")];
    let broken = release(
        "broken",
        &format!("<img src='/preview/{}/site.css'>", sound[0].hex()),
    );
    let mut before: Option<Digest> = None;
    let mut ends = Vec::new();
    for kill in 0..KILLS {
        let mut process = start(directory, &plane.url());
        let seen = |inner: &plane::Inner| {
            inner
                .observed()
                .filter(|seen| seen.current.get().copied() == before)
                .map(drop)
        };
        plane
            .until("the site as the last outcome left it", seen)
            .await;
        let after = if kill % 4 == 3 {
            broken
        } else {
            sound[usize::try_from(kill % 2).unwrap()]
        };
        let delivered = plane.lock().delivered;
        let step = STEPS[usize::try_from(kill).unwrap() % STEPS.len()];
        let before_it = steps(directory, step);
        let order = plane.order(&after, |_| {}).await;
        plane
            .until("the order on its way", |inner| {
                (inner.delivered > delivered).then_some(())
            })
            .await;
        // The order has left, or its execution has come to one more step; what the process does next is cut off anywhere.
        if step != "delivered" {
            come_to(directory, step, before_it).await;
        }
        process.kill().unwrap();
        process.wait().unwrap();

        let mut process = start(directory, &plane.url());
        let outcome = plane.result(&order).await;
        let site = served(directory, &process).await;
        let now = match outcome.result {
            OutcomeResult::Succeeded => Some(after),
            OutcomeResult::Undone | OutcomeResult::Failed => before,
            other => panic!("kill {kill}: {other:?} {outcome:?}"),
        };
        assert!(now != Some(broken), "kill {kill}: {outcome:?}");
        assert_eq!(outcome.after, Some(current(now.as_ref())), "kill {kill}");
        assert_eq!(
            status(directory).unwrap().current,
            now.map_or_else(|| "-".to_owned(), |now| now.to_string())
        );
        let answer = reqwest::get(format!("http://{site}/")).await.unwrap();
        let served = answer
            .headers()
            .get("countersign-release")
            .map(|release| release.to_str().unwrap().to_owned());
        assert_eq!(served, now.map(|now| now.to_string()), "kill {kill}");
        process.kill().unwrap();
        process.wait().unwrap();
        (before, _) = (now, ends.push(outcome.result));
    }
    // Nothing was said twice and nothing left out: each order has one acceptance and one result.
    let inner = plane.lock();
    assert_eq!(ends.len(), usize::try_from(KILLS).unwrap());
    let outcomes = inner
        .messages
        .iter()
        .filter(|message| matches!(message, countersign_evidence::ConnectorMessage::Outcome(_)));
    assert_eq!(outcomes.count(), ends.len() * 2);
}
