//! Writers that never pause while the server under them dies, and what they were answered, noted outside of it.

use crate::http::Caller;
use crate::stage::TENANT;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tokio::task::JoinSet;

/// Commands by key: what was sent, and the receipt if one came.
#[derive(Clone, Default)]
pub(crate) struct Notes(Arc<Mutex<BTreeMap<String, Option<Value>>>>);

/// The writers of one round.
pub(crate) struct Writers {
    acknowledged: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    running: JoinSet<bool>,
}

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

fn of_round(round: u64) -> String {
    format!("r{round}-")
}

impl Notes {
    fn note(&self, key: &str, receipt: Option<Value>) {
        self.0.lock().unwrap().insert(key.to_owned(), receipt);
    }

    pub(crate) fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// Sends so many commands of a round again, the newest of each writer among them.
    pub(crate) async fn again(&self, caller: &Caller, round: u64, count: usize) {
        let mut keys = self.keys(&of_round(round));
        keys.sort_by_key(|key| {
            std::cmp::Reverse(key.rsplit('-').next().unwrap().parse::<u64>().unwrap())
        });
        keys.truncate(count);
        self.send(caller, keys).await;
    }

    /// Sends every command again.
    pub(crate) async fn all_again(&self, caller: &Caller) {
        self.send(caller, self.keys("")).await;
    }

    fn keys(&self, start: &str) -> Vec<String> {
        let notes = self.0.lock().unwrap();
        let keys = notes.keys().filter(|key| key.starts_with(start));
        keys.cloned().collect()
    }

    /// An acknowledged command gives its first receipt; one that was under way is written now or was before.
    async fn send(&self, caller: &Caller, keys: Vec<String>) {
        for key in keys {
            let answer = caller.post(&path(), &key, &body(&key)).await;
            assert!(answer.is_ok(), "{key}: {answer:?}");
            let is = identity(&answer.body["receipt"]);
            let was = self.0.lock().unwrap()[&key].clone();
            if let Some(was) = was {
                assert_eq!(is, was, "{key}");
            }
            self.note(&key, Some(is));
        }
    }
}

impl Writers {
    pub(crate) fn start(count: u64, caller: &Caller, round: u64, notes: &Notes) -> Self {
        let (acknowledged, over) = (Arc::default(), Arc::default());
        let mut running = JoinSet::new();
        for writer in 0..count {
            let writer = Writer {
                caller: caller.clone(),
                name: format!("{}w{writer}", of_round(round)),
                notes: notes.clone(),
                acknowledged: Arc::clone(&acknowledged),
                over: Arc::clone(&over),
            };
            running.spawn(writer.write());
        }
        Self {
            acknowledged,
            over,
            running,
        }
    }

    /// Waits for so many acknowledgements.
    pub(crate) fn wait(&self, count: u64) {
        crate::harness::until("acknowledgements", || {
            (self.acknowledged.load(Ordering::SeqCst) >= count).then_some(())
        });
    }

    /// Ends them; how many had a command under way that was never answered.
    pub(crate) async fn end(mut self) -> u64 {
        self.over.store(true, Ordering::SeqCst);
        let mut interrupted = 0;
        while let Some(was) = self.running.join_next().await {
            interrupted += u64::from(was.unwrap());
        }
        interrupted
    }
}

struct Writer {
    caller: Caller,
    name: String,
    notes: Notes,
    acknowledged: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
}

impl Writer {
    /// Whether its last command was sent and never answered.
    async fn write(self) -> bool {
        for number in 0_u64.. {
            if self.over.load(Ordering::SeqCst) {
                return false;
            }
            let key = format!("{}-{number}", self.name);
            self.notes.note(&key, None);
            match self.caller.try_post(&path(), &key, &body(&key)).await {
                Ok(answer) if answer.is_ok() => {
                    self.notes
                        .note(&key, Some(identity(&answer.body["receipt"])));
                    self.acknowledged.fetch_add(1, Ordering::SeqCst);
                }
                // Stopped in the middle of an answer.
                Ok(answer) if answer.status >= 500 => return true,
                Ok(answer) => panic!("{answer:?}"),
                // No answer: under way, unless nobody listened any more when it was sent.
                Err(error) => return !error.is_connect(),
            }
        }
        false
    }
}

/// How many of these commands the chain holds.
pub(crate) async fn declared(caller: &Caller) -> usize {
    let events = crate::orders::events(caller).await;
    let declared = events
        .iter()
        .filter(|event| event["type"] == "dev.countersign.freeze.declared.v1");
    declared.count()
}
