//! Callers that are slow, or many, or ask too much: they are let go of or told when to come back, and hold nothing up.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests; a failure is the test's"
)]

mod support;

use std::time::Duration;

use countersign_api::Bounds;
use reqwest::Method;
use serde_json::json;
use support::{BOUND, Caller, Server, answer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

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

/// More commands at once than may wait, until one is refused; then those that were refused once more.
#[tokio::test(flavor = "multi_thread")]
async fn overload_says_when_to_come_back_and_passes() {
    let directory = tempfile::tempdir().unwrap();
    let few = |config: &mut countersign_service::Config| config.store.queue_requests = 16;
    let server = Server::with(directory, Bounds::default(), few).await;
    let owner = server.tenant().await.owner;
    let declare = |caller: &Caller, key: &str| {
        let body = json!({ "freeze": key, "site": "*", "from": "2030-01-01T00:00:00.000Z", "until": "2030-01-02T00:00:00.000Z" });
        let request = caller.request(Method::POST, "/v1/tenants/acme/freezes");
        answer(request.header("idempotency-key", key).json(&body))
    };
    let (began, mut refused, mut written) = (Instant::now(), Vec::new(), 0_u32);
    for round in 0.. {
        let mut tasks = JoinSet::new();
        for number in 0..96 {
            let (caller, key) = (owner.clone(), format!("f{round}-{number}"));
            let sent = declare(&caller, &key);
            tasks.spawn(async move { (key, sent.await) });
        }
        while let Some(ended) = tasks.join_next().await {
            let (key, answer) = ended.unwrap();
            if answer.status.is_success() {
                written += 1;
                continue;
            }
            answer.is_problem(503, "ledger-overloaded");
            assert!(
                answer
                    .retry_after
                    .is_some_and(|after| after.parse::<u64>().unwrap() >= 1)
            );
            refused.push(key);
        }
        if !refused.is_empty() {
            break;
        }
        assert!(
            began.elapsed() < 3 * BOUND,
            "{written} commands, none refused"
        );
    }
    for key in &refused {
        let first = declare(&owner, key).await.created();
        assert_eq!(
            first["receipt"]["replayed"], false,
            "a refused command was written"
        );
    }
    let metrics = server.admin().get("/metrics").await.ok();
    assert!(
        metrics
            .as_str()
            .unwrap()
            .contains("outcome=\"ledger-overloaded\"")
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_takes_no_answer_is_cut() {
    let bounds = Bounds {
        connections: 2,
        stalled: Duration::from_millis(200),
        ..Bounds::default()
    };
    let server = Server::open(tempfile::tempdir().unwrap(), bounds).await;
    let owner = server.tenant().await.owner;
    let blob = vec![7; 24 * 1024 * 1024];
    let path = format!(
        "/v1/tenants/acme/blobs/{}",
        countersign_chain::sha256(&blob)
    );
    assert!(owner.put(&path, blob).await.status.is_success());
    // Both connections ask for more than all buffers hold, and take nothing; the caller's own are closed.
    let token = owner.token.clone();
    drop(owner);
    let address = server.url.strip_prefix("http://").unwrap();
    let mut stuck = Vec::new();
    for _ in 0..2 {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(1).unwrap();
        let mut stream = socket.connect(address.parse().unwrap()).await.unwrap();
        let asked =
            format!("GET {path} HTTP/1.1\r\nhost: here\r\nauthorization: Bearer {token}\r\n\r\n");
        stream.write_all(asked.as_bytes()).await.unwrap();
        stuck.push(stream);
    }
    // A third is accepted when one of them was cut.
    let mut third = connect(&server).await;
    third
        .write_all(b"GET /livez HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut said = String::new();
    tokio::time::timeout(BOUND, third.read_to_string(&mut said))
        .await
        .expect("those who take nothing are still served")
        .unwrap();
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    drop(stuck);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_more_than_the_rate_is_told_when_to_come_back() {
    let bounds = Bounds {
        token_rate: 1,
        ..Bounds::default()
    };
    let directory = tempfile::tempdir().unwrap();
    let server = Server::open(directory, Bounds::default()).await;
    let (observer, owner) = {
        let tenant = server.tenant().await;
        (tenant.observer.token.clone(), tenant.owner.token.clone())
    };
    let server = Server::open(server.kill().await, bounds).await;
    let (observer, owner) = (server.caller(&observer), server.caller(&owner));
    let began = Instant::now();
    let refused = loop {
        let answer = observer.get("/v1/tenants/acme").await;
        if !answer.status.is_success() {
            break answer;
        }
        assert!(began.elapsed() < BOUND, "nothing is refused");
    };
    refused.is_problem(429, "too-many-requests");
    assert!(
        refused
            .retry_after
            .is_some_and(|after| after.parse::<u64>().unwrap() >= 1)
    );
    // Somebody else's token has a rate of its own.
    owner.get("/v1/tenants/acme").await.ok();
    let metrics = server.admin().get("/metrics").await.ok();
    assert!(
        metrics
            .as_str()
            .unwrap()
            .contains("countersign_requests_limited_total")
    );
    server.stop().await;
}
