//! A tenant's events as a stream that outlives the server: resumed by Last-Event-ID, each event once.

use crate::http::Caller;
use crate::stage::{Plane, TENANT};
use serde_json::{Value, json};
use std::time::Duration;

/// An open stream.
struct Stream {
    answer: reqwest::Response,
    buffer: String,
}

impl Stream {
    async fn open(caller: &Caller, last: Option<&str>) -> Self {
        let mut request = caller.request(
            reqwest::Method::GET,
            &format!("/v1/tenants/{TENANT}/events/stream"),
        );
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 200);
        Self {
            answer,
            buffer: String::new(),
        }
    }

    /// The next event's id and data; none if the stream broke.
    async fn next(&mut self) -> Option<(String, String)> {
        loop {
            while let Some((block, rest)) = self.buffer.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.buffer = rest;
                let line = |name: &str| {
                    block
                        .lines()
                        .find_map(|line| line.strip_prefix(name))
                        .map(|text| text.trim().to_owned())
                };
                if let (Some(id), Some(data)) = (line("id:"), line("data:")) {
                    return Some((id, data));
                }
            }
            let chunk = tokio::time::timeout(Duration::from_secs(60), self.answer.chunk())
                .await
                .expect("the stream is silent");
            self.buffer
                .push_str(std::str::from_utf8(&chunk.ok()??).unwrap());
        }
    }
}

async fn declare(caller: &Caller, number: u64) {
    let freeze = format!("f{number}");
    let body = json!({ "freeze": freeze, "site": "*", "from": "2030-01-01T00:00:00.000Z", "until": "2030-01-02T00:00:00.000Z" });
    let answer = caller
        .post(&format!("/v1/tenants/{TENANT}/freezes"), &freeze, &body)
        .await;
    assert!(answer.is_ok(), "{answer:?}");
}

fn sequence(data: &str) -> u64 {
    let event: Value = serde_json::from_str(data).unwrap();
    let header: Value = match &event["header"] {
        Value::String(header) => serde_json::from_str(header).unwrap(),
        other => other.clone(),
    };
    header["sequence"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_stream_goes_on_after_a_killed_server_with_each_event_once() {
    let directory = tempfile::tempdir().unwrap();
    let mut plane = Plane::start(directory.path());
    let owner = Caller::new(&plane.url(), &plane.tenant());
    let (mut seen, mut last) = (Vec::new(), None);
    let mut wanted = 0;
    for round in 0..4 {
        let mut stream = Stream::open(&owner, last.as_deref()).await;
        for number in 0..5 {
            declare(&owner, round * 10 + number).await;
            wanted += 1;
        }
        // What was there before the first freeze comes as well; two of this round are left to be seen after the kill.
        while seen.iter().filter(|sequence| **sequence > 0).count() < wanted - 2 {
            let (id, data) = stream
                .next()
                .await
                .expect("the stream broke while the server lives");
            seen.push(sequence(&data));
            last = Some(id);
        }
        plane.kill();
        plane.resume();
    }
    let end = Caller::get(&owner, &format!("/v1/tenants/{TENANT}/events?limit=1000")).await;
    let size = end.body["items"].as_array().unwrap().len();
    let mut stream = Stream::open(&owner, last.as_deref()).await;
    while seen.len() < size {
        seen.push(sequence(&stream.next().await.unwrap().1));
    }
    let dense: Vec<u64> = (0..u64::try_from(size).unwrap()).collect();
    assert_eq!(seen, dense);
}
