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

/// How long a connection waits whose request was refused because too much is under way.
const COME_AGAIN: Duration = Duration::from_millis(5);

/// Sends on all connections until the time is over; how many requests were answered with this status, and in what time.
///
/// A request that is refused because too much is under way is sent again, and counted once.
pub(crate) async fn send_for(
    server: SocketAddr,
    time: Duration,
    requests: Vec<Requests>,
    status: &'static str,
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
                let request = requests(answered);
                stream.write_all(&request).await?;
                while !is_taken(&mut stream, &mut answer, status).await? {
                    tokio::time::sleep(COME_AGAIN).await;
                    stream.write_all(&request).await?;
                }
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

/// Reads one answer to its end: whether it is the one that is wanted, or says to come again; anything else is an error.
async fn is_taken(stream: &mut TcpStream, answer: &mut Vec<u8>, status: &str) -> Result<bool> {
    let head = read(stream, answer).await?;
    // A list of which a part is refused says so too; sent again, what was done of it is answered as before.
    if head.starts_with("http/1.1 503") || head.contains("\r\nretry-after:") {
        return Ok(false);
    }
    let text = String::from_utf8_lossy(answer);
    ensure!(
        head.starts_with(&format!("http/1.1 {status}")) && !text.contains("\"problem\""),
        "not done: {text}"
    );
    Ok(true)
}

/// Reads one answer to its end; its head in lower case.
async fn read(stream: &mut TcpStream, answer: &mut Vec<u8>) -> Result<String> {
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
    Ok(head)
}

/// Asks for one thing; the answer with its head.
pub(crate) async fn get(server: SocketAddr, path: &str, token: &str) -> Result<String> {
    let mut stream = TcpStream::connect(server).await.context("no connection")?;
    let request =
        format!("GET {path} HTTP/1.1\r\nhost: figures\r\nauthorization: Bearer {token}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    let head = read(&mut stream, &mut answer).await?;
    ensure!(head.starts_with("http/1.1 200"), "not answered: {head}");
    Ok(String::from_utf8(answer)?)
}
