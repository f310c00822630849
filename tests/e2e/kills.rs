//! The whole server is killed again and again with commands under way, and asked afterwards what it knows.
//!
//! What was acknowledged is noted here, outside the server. Nothing of it may be lost, nothing doubled; the ledger verifies
//! after each kill; every command sent again gives its first receipt, also after sled was deleted.

use crate::http::Caller;
use crate::stage::{Plane, TENANT};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tokio::task::JoinSet;

const KILLS: u64 = 21;
const WRITERS: u64 = 6;
/// Acknowledgements before each kill; the writers never pause, so commands are under way when it comes.
const ACKNOWLEDGED: u64 = 25;
/// Of each round, so many commands are sent again after the kill.
const SENT_AGAIN: usize = 10;

/// Commands by key: what was sent, and the receipt if one came.
type Notes = Arc<Mutex<BTreeMap<String, Option<Value>>>>;

fn path() -> String {
    format!("/v1/tenants/{TENANT}/freezes")
}

/// A command that is its own in every respect.
fn body(key: &str) -> Value {
    json!({ "freeze": key, "site": "*", "from": "2030-01-01T00:00:00.000Z", "until": "2030-01-02T00:00:00.000Z" })
}

/// Which events a receipt is for: what must never change.
fn identity(receipt: &Value) -> Value {
    json!({ "chain": receipt["chain"], "first": receipt["first"], "last": receipt["last"], "events": receipt["events"] })
}

/// Whether its last command was sent before the kill and never answered.
async fn write(
    caller: Caller,
    writer: String,
    notes: Notes,
    acknowledged: Arc<AtomicU64>,
    killed: Arc<AtomicBool>,
) -> bool {
    for number in 0.. {
        let alive = !killed.load(Ordering::SeqCst);
        let key = format!("{writer}-{number}");
        notes.lock().unwrap().insert(key.clone(), None);
        match caller.try_post(&path(), &key, &body(&key)).await {
            Ok(answer) if answer.is_ok() => {
                notes
                    .lock()
                    .unwrap()
                    .insert(key, Some(identity(&answer.body["receipt"])));
                acknowledged.fetch_add(1, Ordering::SeqCst);
            }
            // Stopped in the middle of an answer, or no answer: under way, unless the server was gone before it was sent.
            Ok(answer) if answer.status >= 500 => return alive,
            Ok(answer) => panic!("{answer:?}"),
            Err(error) => return alive && !error.is_connect(),
        }
    }
    false
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_and_nothing_is_doubled() {
    let directory = tempfile::tempdir().unwrap();
    let mut plane = Plane::start(directory.path());
    let owner = plane.tenant();
    let notes: Notes = Arc::default();
    let mut under_way = 0;
    let mut kills_under_way = 0;
    for round in 0..KILLS {
        let acknowledged = Arc::new(AtomicU64::new(0));
        let killed = Arc::new(AtomicBool::new(false));
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            let caller = Caller::new(&plane.url(), &owner);
            writers.spawn(write(
                caller,
                format!("r{round}-w{writer}"),
                Arc::clone(&notes),
                Arc::clone(&acknowledged),
                Arc::clone(&killed),
            ));
        }
        crate::harness::until("acknowledgements", || {
            (acknowledged.load(Ordering::SeqCst) >= ACKNOWLEDGED).then_some(())
        });
        killed.store(true, Ordering::SeqCst);
        plane.kill();
        let before = under_way;
        while let Some(interrupted) = writers.join_next().await {
            under_way += u64::from(interrupted.unwrap());
        }
        kills_under_way += u64::from(under_way > before);
        plane.verify();
        if round % 7 == 3 {
            std::fs::remove_dir_all(plane.data().join("sled")).unwrap();
        }
        plane.resume();
        let newest: Vec<_> = {
            let notes = notes.lock().unwrap();
            notes
                .iter()
                .filter(|(key, _)| key.starts_with(&format!("r{round}-")))
                .map(|(key, was)| (key.clone(), was.clone()))
                .collect()
        };
        again(
            &Caller::new(&plane.url(), &owner),
            &notes,
            newest.into_iter().rev().take(SENT_AGAIN),
        )
        .await;
    }
    eprintln!("{kills_under_way} of {KILLS} kills had commands under way, {under_way} in all");
    assert!(
        kills_under_way * 2 >= KILLS,
        "only {kills_under_way} of {KILLS} kills had commands under way"
    );
    // All of them once more, over a log that is new.
    assert_eq!(plane.stop(), Some(0));
    std::fs::remove_dir_all(plane.data().join("sled")).unwrap();
    plane.resume();
    let all: Vec<_> = notes.lock().unwrap().clone().into_iter().collect();
    let count = all.len();
    again(&Caller::new(&plane.url(), &owner), &notes, all.into_iter()).await;
    assert_eq!(
        declared(&Caller::new(&plane.url(), &owner)).await,
        count,
        "as many events as commands"
    );
    assert_eq!(plane.stop(), Some(0));
    plane.verify();
}

/// Sends commands again: an acknowledged one gives its first receipt, one that was under way is written now or was before.
async fn again(
    caller: &Caller,
    notes: &Notes,
    commands: impl Iterator<Item = (String, Option<Value>)>,
) {
    for (key, was) in commands {
        let answer = caller.post(&path(), &key, &body(&key)).await;
        assert!(answer.is_ok(), "{key}: {answer:?}");
        let is = identity(&answer.body["receipt"]);
        if let Some(was) = was {
            assert_eq!(is, was, "{key}");
        }
        notes.lock().unwrap().insert(key, Some(is));
    }
}

/// How many freezes the chain says were declared; every sequence once and in order.
async fn declared(caller: &Caller) -> usize {
    let (mut path, mut next, mut declared) =
        (format!("/v1/tenants/{TENANT}/events?limit=500"), 0, 0);
    loop {
        let page = caller.get(&path).await;
        assert!(page.is_ok(), "{page:?}");
        for event in page.body["items"].as_array().unwrap() {
            let header: Value = serde_json::from_str(event["header"].as_str().unwrap()).unwrap();
            assert_eq!(
                header["sequence"].as_str().unwrap().parse::<u64>().unwrap(),
                next
            );
            next += 1;
            declared += usize::from(header["type"] == "dev.countersign.freeze.declared.v1");
        }
        let Some(cursor) = page.body["next"].as_str() else {
            return declared;
        };
        path = format!("/v1/tenants/{TENANT}/events?limit=500&after={cursor}");
    }
}
