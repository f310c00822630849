//! Server-sent events: each event exactly once, in order, whatever happens to the server in between.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests; a failure is the test's"
)]

mod support;

use std::time::Duration;

use countersign_api::{Bounds, Rates};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use support::{BOUND, Caller, Server, answer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

const STREAM: &str = "/v1/tenants/acme/events/stream";

/// A reader of server-sent events, as a browser would be one.
struct Reader {
    response: Response,
    text: String,
}

impl Reader {
    async fn open(caller: &Caller, last: Option<&str>) -> Self {
        let mut request = caller.request(Method::GET, STREAM);
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = request.send().await.unwrap().error_for_status().unwrap();
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self {
            response,
            text: String::new(),
        }
    }

    /// The next event's id and data; none at the end of the stream.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let line = |name: &str| {
                    block
                        .lines()
                        .find_map(|line| line.strip_prefix(name))
                        .map(str::to_owned)
                };
                let found = line("id: ")
                    .map(|id| (id, serde_json::from_str(&line("data: ").unwrap()).unwrap()));
                self.text = rest.to_owned();
                match found {
                    Some(found) => return Some(found),
                    None => continue,
                }
            }
            let chunk = tokio::time::timeout(BOUND, self.response.chunk())
                .await
                .expect("an event in time");
            match chunk {
                Ok(Some(chunk)) => self.text.push_str(std::str::from_utf8(&chunk).unwrap()),
                Ok(None) | Err(_) => return None,
            }
        }
    }

    async fn take(&mut self, count: usize) -> Vec<(String, Value)> {
        let mut events = Vec::new();
        while events.len() < count {
            events.push(self.next().await.expect("the stream goes on"));
        }
        events
    }
}

async fn register(owner: &Caller, name: &str) {
    let body = json!({ "site": name, "name": name, "environment": "staging" });
    owner.post("/v1/tenants/acme/sites", &body).await.created();
}

async fn all(owner: &Caller) -> Vec<Value> {
    let mut events = Vec::new();
    let mut path = "/v1/tenants/acme/events?limit=2".to_owned();
    loop {
        let page = owner.get(&path).await.ok();
        events.extend(page["items"].as_array().unwrap().iter().cloned());
        match page.get("next") {
            Some(next) => {
                path = format!(
                    "/v1/tenants/acme/events?limit=2&after={}",
                    next.as_str().unwrap()
                )
            }
            None => return events,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_event_comes_once_across_a_killed_server() {
    let mut server = Server::new().await;
    let token = server.tenant().await.owner.token;
    let mut seen: Vec<(String, Value)> = Vec::new();
    for round in 0..4 {
        let owner = server.caller(&token);
        let mut reader = Reader::open(&owner, seen.last().map(|(id, _)| id.as_str())).await;
        // Some were written before the stream was opened, some while it is open, some are never read in this round.
        let waiting = all(&owner).await.len() - seen.len();
        register(&owner, &format!("while-{round}")).await;
        seen.extend(reader.take(waiting + 1).await);
        register(&owner, &format!("unread-{round}")).await;
        server = Server::open(server.kill().await, Bounds::default()).await;
        drop(reader);
    }
    let owner = server.caller(&token);
    let written = all(&owner).await;
    let mut reader = Reader::open(&owner, seen.last().map(|(id, _)| id.as_str())).await;
    seen.extend(reader.take(written.len() - seen.len()).await);
    let (ids, bodies): (Vec<String>, Vec<Value>) = seen.into_iter().unzip();
    assert_eq!(
        bodies, written,
        "the same events in the same order, byte for byte"
    );
    for (number, (id, body)) in ids.iter().zip(&bodies).enumerate() {
        assert_eq!(
            (id.parse::<usize>().unwrap(), body["sequence"].as_str()),
            (number, Some(id.as_str()))
        );
        let header = body["header"].as_str().unwrap();
        assert_eq!(
            countersign_chain::event_hash(header.as_bytes()).to_string(),
            body["hash"].as_str().unwrap()
        );
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cursors_are_checked() {
    let server = Server::new().await;
    let owner = server.tenant().await.owner;
    let size = all(&owner).await.len();
    let with = |last: String| {
        answer(
            owner
                .request(Method::GET, STREAM)
                .header("last-event-id", last),
        )
    };
    with("yesterday".to_owned())
        .await
        .is_problem(400, "cursor-malformed");
    with(size.to_string()).await.is_problem(409, "cursor-ahead");
    owner
        .get(&format!("{STREAM}?after=x"))
        .await
        .is_problem(400, "path-malformed");
    let mut reader = Reader::open(&owner, Some(&(size - 1).to_string())).await;
    register(&owner, "late").await;
    assert_eq!(
        reader.next().await.unwrap().0.parse::<usize>().unwrap(),
        size
    );
    // A stop ends what is open; it does not wait for readers.
    server.stop().await;
    assert_eq!(reader.next().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_its_token_and_its_place() {
    let bounds = Bounds {
        streams: 1,
        token: Rates::OFF,
        tenant: Rates::OFF,
        keep_alive: Duration::from_millis(50),
        ..Bounds::default()
    };
    let server = Server::open(tempfile::tempdir().unwrap(), bounds).await;
    let (tenant, admin) = (server.tenant().await, server.admin());
    let body = json!({ "tenant": "acme", "role": "observer", "actor": { "kind": "person", "id": "ivan" } });
    let issued = admin.post("/v1/tokens", &body).await.created();
    let mut reader = Reader::open(&server.caller(issued["token"].as_str().unwrap()), None).await;
    reader.take(1).await;
    tenant
        .owner
        .get(STREAM)
        .await
        .is_problem(503, "too-many-streams");
    admin
        .delete(&format!("/v1/tokens/{}", issued["id"].as_str().unwrap()))
        .await
        .ok();
    while reader.next().await.is_some() {}
    // The place is free again as soon as the server has noticed, which is what ended the stream.
    let mut tries = 0;
    while tenant
        .owner
        .request(Method::GET, STREAM)
        .send()
        .await
        .unwrap()
        .status()
        != 200
    {
        tries += 1;
        assert!(tries < 1000, "the place of an ended stream stays taken");
        tokio::task::yield_now().await;
    }
    server.stop().await;
}

/// A reader that asks for the stream and then takes nothing, behind buffers as small as they can be.
async fn stuck(owner: &Caller) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(1).unwrap();
    let address = owner.url.strip_prefix("http://").unwrap();
    let mut stream = socket.connect(address.parse().unwrap()).await.unwrap();
    let request = format!(
        "GET {STREAM} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {}\r\n\r\n",
        owner.token
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_takes_nothing_is_cut_and_goes_on_where_it_was() {
    let bounds = Bounds {
        streams: 1,
        token: Rates::OFF,
        tenant: Rates::OFF,
        stalled: Duration::from_millis(200),
        ..Bounds::default()
    };
    let server = Server::open(tempfile::tempdir().unwrap(), bounds).await;
    let owner = server.tenant().await.owner;
    let mut stuck = stuck(&owner).await;
    // More than every buffer between the ledger and the reader: its place is free only when it was cut.
    let long = "x".repeat(128);
    let mut freed = false;
    for number in 0..4000 {
        let body = json!({ "site": format!("s{number}"), "name": long, "environment": "staging" });
        owner.post("/v1/tenants/acme/sites", &body).await.created();
        if number % 50 == 0
            && owner
                .request(Method::GET, STREAM)
                .send()
                .await
                .unwrap()
                .status()
                == 200
        {
            freed = true;
            break;
        }
    }
    assert!(freed, "the stuck reader is still served");
    // What had reached it ends in the midst of something; behind the last whole event it goes on, and misses none.
    let mut reached = Vec::new();
    let end = tokio::time::timeout(BOUND, stuck.read_to_end(&mut reached)).await;
    drop(end.expect("it was cut"));
    let text = String::from_utf8_lossy(&reached);
    let blocks: Vec<&str> = text.split("\n\n").collect();
    let (_, whole) = blocks.split_last().unwrap();
    let mut seen: Vec<u64> = whole
        .iter()
        .flat_map(|block| block.lines())
        .filter_map(|line| line.strip_prefix("id: ")?.parse().ok())
        .collect();
    let size = all(&owner).await.len() as u64;
    let last = *seen.last().expect("something reached it");
    assert!(last + 1 < size, "it had everything before it was cut");
    let mut reader = loop {
        // The place of the stream that told that it was free is free again soon.
        let open = owner
            .request(Method::GET, STREAM)
            .header("last-event-id", last.to_string());
        let response = open.send().await.unwrap();
        if response.status() == 200 {
            let text = String::new();
            break Reader { response, text };
        }
        tokio::task::yield_now().await;
    };
    let rest = reader.take(usize::try_from(size - last - 1).unwrap()).await;
    seen.extend(rest.iter().map(|(id, _)| id.parse::<u64>().unwrap()));
    assert_eq!(seen, (0..size).collect::<Vec<_>>());
    server.stop().await;
}
