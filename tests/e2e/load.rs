//! Load from outside: a crowd of one tenant beside another one, beside its own connector, and readers that take nothing.
//!
//! Nothing is timed: what counts is who was refused, who was served meanwhile, and that it passes.

use crate::http::Caller;
use crate::stage::{Plane, SITE, Stage, TENANT};
use reqwest::Method;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

/// How long anything may take before a test fails.
const BOUND: Duration = Duration::from_secs(120);
/// Commands after which a crowd gives up, so that a test that does not reach what it is for ends.
const COMMANDS_MAX: usize = 40_000;

/// Callers who send one command after the other until they are told to stop.
struct Crowd {
    seen: Arc<Seen>,
    callers: JoinSet<()>,
}

#[derive(Default)]
struct Seen {
    stop: AtomicBool,
    sent: AtomicUsize,
    written: AtomicUsize,
    /// The keys of those that were refused, by code.
    refused: Mutex<BTreeMap<String, Vec<String>>>,
}

impl Seen {
    fn refused(&self, code: &str) -> usize {
        self.refused.lock().unwrap().get(code).map_or(0, Vec::len)
    }
}

/// Declares a freeze, which is one event; whether it was written, or why it was refused, and when to come back.
async fn declare(caller: &Caller, tenant: &str, key: &str) -> Result<bool, (u16, String, u64)> {
    let body = json!({ "freeze": key, "site": "*", "from": "2030-01-01T00:00:00.000Z", "until": "2030-01-02T00:00:00.000Z" });
    let request = caller.request(Method::POST, &format!("/v1/tenants/{tenant}/freezes"));
    let answer = request.header("idempotency-key", key).json(&body).send();
    let answer = answer.await.unwrap();
    let status = answer.status().as_u16();
    let after = answer.headers().get("retry-after");
    let after = after.and_then(|after| after.to_str().ok()?.parse().ok());
    let body: serde_json::Value = answer.json().await.unwrap();
    if status == 201 {
        return Ok(body["receipt"]["replayed"] == false);
    }
    let code = body["code"].as_str().unwrap().to_owned();
    Err((status, code, after.expect("it says when to come back")))
}

impl Crowd {
    fn of(callers: usize, caller: &Caller, tenant: &'static str) -> Self {
        let seen = Arc::new(Seen::default());
        let mut tasks = JoinSet::new();
        for number in 0..callers {
            let (seen, caller) = (Arc::clone(&seen), caller.clone());
            tasks.spawn(async move {
                while !seen.stop.load(Ordering::SeqCst) {
                    let sent = seen.sent.fetch_add(1, Ordering::SeqCst);
                    assert!(sent < COMMANDS_MAX, "the crowd is not what it is for");
                    let key = format!("crowd-{number}-{sent}");
                    match declare(&caller, tenant, &key).await {
                        Ok(fresh) => {
                            assert!(fresh);
                            seen.written.fetch_add(1, Ordering::SeqCst);
                        }
                        Err((status, code, after)) => {
                            assert!(matches!(status, 429 | 503) && after >= 1, "{status} {code}");
                            let mut refused = seen.refused.lock().unwrap();
                            refused.entry(code).or_default().push(key);
                        }
                    }
                }
            });
        }
        Self {
            seen,
            callers: tasks,
        }
    }

    /// Waits until the crowd was refused so often for this reason.
    async fn refused(&mut self, code: &str, times: usize) {
        while self.seen.refused(code) < times {
            if let Some(ended) = self.callers.try_join_next() {
                ended.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn disperse(mut self) -> Arc<Seen> {
        self.seen.stop.store(true, Ordering::SeqCst);
        while let Some(ended) = self.callers.join_next().await {
            ended.unwrap();
        }
        self.seen
    }
}

async fn metrics(plane: &Plane) -> String {
    let admin = Caller::new(&plane.url(), &plane.admin());
    let answer = admin.request(Method::GET, "/metrics").send().await.unwrap();
    answer.text().await.unwrap()
}

fn figure(text: &str, wanted: &str) -> f64 {
    let line = text.lines().find(|line| line.starts_with(wanted));
    let value = line.and_then(|line| line.rsplit_once(' '));
    value
        .unwrap_or_else(|| panic!("no `{wanted}`"))
        .1
        .parse()
        .unwrap()
}

/// A second tenant; its owner.
async fn tenant(plane: &Plane, name: &str) -> Caller {
    let admin = Caller::new(&plane.url(), &plane.admin());
    let body = json!({ "tenant": name, "name": name });
    assert!(admin.post("/v1/tenants", name, &body).await.is_ok());
    let body =
        json!({ "tenant": name, "role": "owner", "actor": { "kind": "person", "id": "nora" } });
    let issued = admin
        .post("/v1/tokens", &format!("{name}-owner"), &body)
        .await;
    Caller::new(&plane.url(), issued.body["token"].as_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_noisy_tenant_is_refused_and_a_quiet_one_served_and_it_passes() {
    let directory = tempfile::tempdir().unwrap();
    let mut plane = Plane::start_set(directory.path(), &[("COUNTERSIGN_QUEUE", "16")]);
    let quiet = Caller::new(&plane.url(), &plane.tenant());
    let noisy = tenant(&plane, "noisy").await;
    let mut crowd = Crowd::of(96, &noisy, "noisy");
    crowd.refused("ledger-overloaded", 1).await;
    let before = crowd.seen.refused("ledger-overloaded");
    for number in 0..50 {
        let outcome = declare(&quiet, TENANT, &format!("quiet-{number}")).await;
        assert_eq!(
            outcome,
            Ok(true),
            "the quiet tenant is held up by the noisy one"
        );
    }
    // The crowd was there all the time, and is refused again and again.
    crowd.refused("ledger-overloaded", before + 1).await;
    let seen = crowd.disperse().await;
    let text = metrics(&plane).await;
    println!(
        "{} commands of the noisy tenant, {} written; appends refused: {} for its share, {} for the queue",
        seen.sent.load(Ordering::SeqCst),
        seen.written.load(Ordering::SeqCst),
        figure(&text, "countersign_appends_refused_total{by=\"share\"}"),
        figure(&text, "countersign_appends_refused_total{by=\"queue\"}"),
    );
    assert!(figure(&text, "countersign_appends_refused_total{by=\"share\"}") > 0.5);
    // What was refused was not written, and is taken now; what was written is there once.
    let refused = std::mem::take(&mut *seen.refused.lock().unwrap());
    assert_eq!(refused.keys().collect::<Vec<_>>(), ["ledger-overloaded"]);
    let again: Vec<String> = refused.into_values().flatten().take(200).collect();
    for key in &again {
        assert_eq!(declare(&noisy, "noisy", key).await, Ok(true), "{key}");
    }
    assert_eq!(declare(&noisy, "noisy", &again[0]).await, Ok(false));
    assert_eq!(quiet.get("/readyz").await.status, 200);
    assert_eq!(plane.stop(), Some(0));
    plane.verify();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_own_crowd_limits_neither_its_connector_nor_what_is_due() {
    let directory = tempfile::tempdir().unwrap();
    let rate = [("COUNTERSIGN_TENANT_COMMANDS", "240/m")];
    let mut stage = Stage::set(Plane::start_set(directory.path(), &rate));
    stage.stop_connector();
    let action = stage.propose("2026-autumn");
    stage.vote(&action);
    let owner = Caller::new(&stage.plane.url(), &stage.owner);
    let mut crowd = Crowd::of(4, &owner, TENANT);
    crowd.refused("too-many-requests", 20).await;
    // The connector comes while nobody of its tenant is let in: it is paired, heard, gives its outcome, all without a token.
    stage.run_connector();
    let began = Instant::now();
    let path = format!("/v1/tenants/{TENANT}/actions/{action}");
    loop {
        let shown = owner.get(&path).await;
        assert_eq!(
            shown.status, 200,
            "reads have a rate of their own: {shown:?}"
        );
        if shown.body["state"] == "succeeded" {
            break;
        }
        assert!(began.elapsed() < BOUND, "{shown:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let before = crowd.seen.refused("too-many-requests");
    crowd.refused("too-many-requests", before + 1).await;
    crowd.disperse().await;
    let text = metrics(&stage.plane).await;
    let limited = "countersign_requests_limited_total{whose=\"tenant\",class=\"commands\"}";
    assert!(figure(&text, limited) > 20.5);
    assert!(stage.page("").contains("<"), "{SITE} answers");
}

/// A connection that asks for something large and takes nothing of it, behind buffers as small as they can be.
async fn stuck(plane: &Plane, token: &str, path: &str) -> TcpStream {
    let url = plane.url();
    let address = url.strip_prefix("http://").unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(1).unwrap();
    let mut stream = socket.connect(address.parse().unwrap()).await.unwrap();
    let asked =
        format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\r\n");
    stream.write_all(asked.as_bytes()).await.unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_take_nothing_are_cut_and_fill_no_memory() {
    const MIB: usize = 1024 * 1024;
    let directory = tempfile::tempdir().unwrap();
    let plane = Plane::start_set(directory.path(), &[("COUNTERSIGN_STALLED_TIMEOUT", "3s")]);
    let token = plane.tenant();
    let owner = Caller::new(&plane.url(), &token);
    let blob = vec![7_u8; 12 * MIB];
    let digest = {
        use sha2::Digest as _;
        hex::encode(sha2::Sha256::digest(&blob))
    };
    let path = format!("/v1/tenants/{TENANT}/blobs/sha256:{digest}");
    let put = owner
        .request(Method::PUT, &path)
        .header("content-type", "application/octet-stream");
    let put = put.body(blob).send().await.unwrap();
    assert!(put.status().is_success(), "{put:?}");
    let resident = |text: &str| figure(text, "process_resident_memory_bytes");
    let before = resident(&metrics(&plane).await);
    let (mut readers, mut most, mut held) = (Vec::new(), before, 0.0_f64);
    for _ in 0..64 {
        readers.push(stuck(&plane, &token, &path).await);
    }
    let began = Instant::now();
    // They hold what they may, and are cut; then nothing is held.
    loop {
        let text = metrics(&plane).await;
        most = most.max(resident(&text));
        held = held.max(figure(&text, "countersign_answers_held_bytes"));
        let cut = figure(&text, "countersign_connections_cut_total");
        let refused = figure(&text, "countersign_answers_refused_total");
        let now = figure(&text, "countersign_answers_held_bytes");
        if cut > 0.5 && cut + refused > 63.5 && now < 0.5 {
            println!("{cut} were cut and {refused} refused; at most {held} bytes held");
            break;
        }
        assert!(
            began.elapsed() < BOUND,
            "{cut} were cut, {refused} refused, {now} held"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("resident {before} bytes before, {most} at most");
    // A quarter of 256 MiB is the tenant's, and a few more are read while they are refused; all 64 would hold 768 MiB.
    let mib = |bytes: usize| f64::from(u32::try_from(bytes).unwrap());
    assert!(
        held > mib(12 * MIB) - 1.0 && held < mib(64 * MIB) + 1.0,
        "{held}"
    );
    assert!(most - before < mib(448 * MIB), "{before} to {most}");
    // Who takes what it asks for is served as before.
    let whole = owner.request(Method::GET, &path).send().await.unwrap();
    assert_eq!(whole.bytes().await.unwrap().len(), 12 * MIB);
    drop(readers);
}
