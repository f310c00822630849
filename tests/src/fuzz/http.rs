//! Bytes on a connection to the real server, which has a tenant and its owner's token.
//!
//! The word `TOKEN` in an input stands for the token. The server answers in HTTP or closes; it never fails inside, and it
//! goes on answering.

use anyhow::{Context, Result};
use countersign_api::{Bounds, Rates, serve};
use countersign_service::{Config, Service};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::OnceLock;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// How much of an answer is looked at.
const ANSWER_BYTES_MAX: u64 = 256 * 1024;

struct Server {
    address: SocketAddr,
    token: String,
    _runtime: Runtime,
    _directory: tempfile::TempDir,
}

fn start() -> Result<Server> {
    let directory = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let config = Config::new(
        directory.path().join("data"),
        directory.path().join("genesis.pem"),
    );
    // A stream would be held open for as long as anybody listens.
    let bounds = Bounds {
        body: Duration::from_secs(1),
        idle: Duration::from_secs(2),
        keep_alive: Duration::from_secs(1),
        token: Rates::OFF,
        tenant: Rates::OFF,
        ..Bounds::default()
    };
    let (address, token) = runtime.block_on(async {
        let service = Service::start(config).await?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let token = std::fs::read_to_string(service.admin_token_file())?;
        tokio::spawn(serve(listener, service, bounds, CancellationToken::new()));
        Ok::<_, anyhow::Error>((address, token.trim().to_owned()))
    })?;
    Ok(Server {
        address,
        token,
        _runtime: runtime,
        _directory: directory,
    })
}

/// Sends the bytes, and looks at the answer.
pub(super) fn http(bytes: &[u8]) -> String {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    let server = SERVER.get_or_init(|| start().ok()).as_ref();
    let Some(server) = server else {
        return "no server".to_owned();
    };
    let request = with_token(bytes, &server.token);
    let answer = ask(server.address, &request);
    assert!(answer.is_ok(), "no end of the answer: {answer:?}");
    let answer = answer.unwrap_or_default();
    let Some(first) = answer
        .split(|byte| *byte == b'\n')
        .next()
        .filter(|line| !line.is_empty())
    else {
        return "closed".to_owned();
    };
    let line = String::from_utf8_lossy(first).trim().to_owned();
    assert!(
        line.starts_with("HTTP/1."),
        "an answer that is no HTTP: {line}"
    );
    let status = line.split(' ').nth(1).unwrap_or_default().to_owned();
    assert_ne!(status, "500", "the server failed inside");
    let text = String::from_utf8_lossy(&answer);
    let code = text
        .split("\"code\":\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    format!("{status} {}", code.unwrap_or_default())
}

fn with_token(bytes: &[u8], token: &str) -> Vec<u8> {
    const WORD: &[u8] = b"TOKEN";
    match bytes.windows(WORD.len()).position(|window| window == WORD) {
        Some(at) => {
            let (before, from) = bytes.split_at(at);
            let after = from.get(WORD.len()..).unwrap_or_default();
            [before, token.as_bytes(), after].concat()
        }
        None => bytes.to_vec(),
    }
}

fn ask(address: SocketAddr, request: &[u8]) -> Result<Vec<u8>> {
    let mut stream =
        TcpStream::connect_timeout(&address, PATIENCE).context("the server does not accept")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // The server may answer and close before all was sent.
    let sent = stream
        .write_all(request)
        .and_then(|()| stream.shutdown(Shutdown::Write));
    let mut answer = Vec::new();
    match stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer) {
        Err(error) if sent.is_ok() && error.kind() != std::io::ErrorKind::ConnectionReset => {
            Err(error.into())
        }
        _ => Ok(answer),
    }
}
