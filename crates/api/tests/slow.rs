//! Callers that are slow, or ask too much: they are let go of or told when to come back, and hold nobody up.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests; a failure is the test's"
)]

mod support;

use std::time::{Duration, Instant};

use countersign_api::{Bounds, Rate, Rates};
use serde_json::json;
use support::{Answer, BOUND, Caller, Server};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// A connection to the server, as bare as it gets.
async fn connect(server: &Server) -> TcpStream {
    let address = server.url.strip_prefix("http://").unwrap();
    TcpStream::connect(address).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_trickle_are_not_waited_for() {
    let bounds = Bounds {
        headers: Duration::from_millis(300),
        ..Bounds::default()
    };
    let server = Server::open(tempfile::tempdir().unwrap(), bounds).await;
    let mut trickle = connect(&server).await;
    trickle
        .write_all(b"GET /livez HTTP/1.1\r\nhost: here\r\nx-slow: ")
        .await
        .unwrap();
    let cut = async {
        let mut byte = [0];
        loop {
            // Never silent: a byte every moment, and never a whole header.
            let said = tokio::time::timeout(Duration::from_millis(20), trickle.read(&mut byte));
            match said.await {
                Err(_) => {
                    if trickle.write_all(b"x").await.is_err() {
                        return;
                    }
                }
                Ok(Ok(0) | Err(_)) => return,
                Ok(Ok(_)) => {}
            }
        }
    };
    tokio::time::timeout(BOUND, cut)
        .await
        .expect("it is waited for");
    let whole = server.admin().get("/v1/tenants").await;
    assert!(whole.status.is_success(), "{whole:?}");
    server.stop().await;
}

/// Declares a freeze, which is one event.
async fn declare(caller: &Caller, key: &str) -> Answer {
    let body = json!({ "freeze": key, "site": "*", "from": "2030-01-01T00:00:00.000Z", "until": "2030-01-02T00:00:00.000Z" });
    caller.keyed(key, "/v1/tenants/acme/freezes", &body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_too_far_behind_refuses_until_it_has_caught_up() {
    let directory = tempfile::tempdir().unwrap();
    // A second of commands is more than the log may lack, and it is written about once a second.
    let short = |config: &mut countersign_service::Config| config.store.lag_bytes_max = 16 * 1024;
    let bounds = Bounds {
        token: Rates::OFF,
        ..Bounds::default()
    };
    let server = Server::with(directory, bounds, short).await;
    let admin = server.admin();
    let mut callers = JoinSet::new();
    for caller in 0..32 {
        let admin = admin.clone();
        callers.spawn(async move {
            let (began, mut refused) = (Instant::now(), 0_u64);
            for number in 0..4 {
                let name = format!("t{caller}-{number}");
                let body = json!({ "tenant": name, "name": name });
                loop {
                    let answer = admin.keyed(&name, "/v1/tenants", &body).await;
                    if answer.status == 201 {
                        break;
                    }
                    answer.comes_back(503, "ledger-overloaded");
                    assert!(began.elapsed() < 3 * BOUND, "it never catches up");
                    refused += 1;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
            refused
        });
    }
    let refused: u64 = callers.join_all().await.into_iter().sum();
    assert!(refused > 0, "nothing was refused");
    assert_eq!(admin.get("/readyz").await.status, 200);
    let metrics = admin.get("/metrics").await.ok();
    let told = "countersign_appends_refused_total{by=\"log\"} ";
    let line = metrics
        .as_str()
        .unwrap()
        .lines()
        .find_map(|line| line.strip_prefix(told));
    assert!(line.unwrap().parse::<u64>().unwrap() >= refused, "{line:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_more_than_its_rate_is_told_when_to_come_back() {
    let day = |count| {
        let per = Duration::from_secs(24 * 60 * 60);
        Some(Rate { count, per })
    };
    let bounds = Bounds {
        token: Rates {
            commands: day(3),
            reads: day(5),
            streams: day(1),
        },
        tenant: Rates {
            commands: day(4),
            ..Rates::OFF
        },
        ..Bounds::default()
    };
    let server = Server::new().await;
    let tenant = server.tenant().await;
    let (owner, proposer) = (tenant.owner.token.clone(), tenant.proposer.token.clone());
    let server = Server::open(server.kill().await, bounds).await;
    let (owner, proposer) = (server.caller(&owner), server.caller(&proposer));
    for number in 0..3 {
        declare(&owner, &format!("f{number}")).await.created();
    }
    let wait = declare(&owner, "f3")
        .await
        .comes_back(429, "too-many-requests");
    assert!(
        (28_700..=28_800).contains(&wait),
        "a third of a day: {wait}"
    );
    // The tenant has one command left, whoever sends it, and what the token was refused did not count.
    let action = json!({ "kind": "unheard", "site": "shop" });
    let propose = async || proposer.post("/v1/tenants/acme/actions", &action).await;
    assert_ne!(propose().await.status, 429);
    propose().await.comes_back(429, "too-many-requests");
    // Reads and streams have rates of their own, each token its own.
    for _ in 0..5 {
        owner.get("/v1/tenants/acme/events").await.ok();
    }
    let events = "/v1/tenants/acme/events";
    owner.get(events).await.comes_back(429, "too-many-requests");
    proposer.get(events).await.ok();
    let stream = format!("{events}/stream?after=999999");
    owner.get(&stream).await.is_problem(409, "cursor-ahead");
    owner
        .get(&stream)
        .await
        .comes_back(429, "too-many-requests");
    // Health has no token, and another tenant's rate is its own.
    assert!(owner.get("/readyz").await.status.is_success());
    let metrics = server.admin().get("/metrics").await.ok();
    for (labels, count) in [
        ("whose=\"token\",class=\"commands\"", 1),
        ("whose=\"tenant\",class=\"commands\"", 1),
        ("whose=\"token\",class=\"reads\"", 1),
        ("whose=\"token\",class=\"streams\"", 1),
    ] {
        let line = format!("countersign_requests_limited_total{{{labels}}} {count}");
        assert!(
            metrics.as_str().unwrap().contains(&line),
            "{line}: {metrics}"
        );
    }
    server.stop().await;
}
