//! A client that costs little, so that the server is measured: bytes over keep-alive connections, one request at a time each.

use anyhow::{Context, Result, ensure};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Connections that send together.
pub(crate) const CONNECTIONS: usize = 64;

/// The bytes of one connection's requests, by number.
pub(crate) type Requests = Box<dyn Fn(u64) -> Vec<u8> + Send>;

/// A POST of JSON as it goes over the wire; `headers` are whole lines.
pub(crate) fn post(path: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: figures\r\ncontent-type: application/json\r\n{headers}content-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Sends on all connections until the time is over; how many requests were answered with 201, and in what time.
pub(crate) async fn send_for(
    server: SocketAddr,
    time: Duration,
    requests: Vec<Requests>,
) -> Result<(u64, Duration)> {
    let mut connections = Vec::new();
    for requests in requests {
        let stream = TcpStream::connect(server).await.context("no connection")?;
        stream.set_nodelay(true)?;
        connections.push((stream, requests));
    }
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for (mut stream, requests) in connections {
        tasks.spawn(async move {
            let (mut answered, mut answer) = (0, Vec::new());
            while began.elapsed() < time {
                stream.write_all(&requests(answered)).await?;
                created(&mut stream, &mut answer).await?;
                answered += 1;
            }
            Ok::<u64, anyhow::Error>(answered)
        });
    }
    let mut answered = 0;
    while let Some(task) = tasks.join_next().await {
        answered += task??;
    }
    Ok((answered, began.elapsed()))
}

/// Reads one answer to its end; anything but 201 is an error.
async fn created(stream: &mut TcpStream, answer: &mut Vec<u8>) -> Result<()> {
    answer.clear();
    let end = loop {
        if let Some(head) = answer.windows(4).position(|four| four == b"\r\n\r\n") {
            break head + 4;
        }
        let read = stream.read_buf(answer).await?;
        ensure!(read > 0, "the server closed a connection");
    };
    let head = String::from_utf8_lossy(answer.get(..end).unwrap_or_default()).to_ascii_lowercase();
    let length: usize = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))
        .map_or(Ok(0), |value| value.trim().parse())
        .context("no length of the answer")?;
    while answer.len() < end + length {
        let read = stream.read_buf(answer).await?;
        ensure!(read > 0, "the server closed a connection");
    }
    ensure!(
        head.starts_with("http/1.1 201"),
        "not created: {}",
        String::from_utf8_lossy(answer)
    );
    Ok(())
}
