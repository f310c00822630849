//! Servers in processes of their own, as they run: the control plane over a real ledger, and an axum that does nothing.
//!
//! The bench starts itself again with `--child ROLE`. A child says on its first line where it answers, and ends with its input.

use crate::corpus::Commands;
use crate::stage::{self, Stage};
use crate::writing::taken;
use anyhow::{Context, Result, bail};
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use countersign_api::{Bounds, Rates};
use countersign_service::{Config, Service};
use countersign_store::{Ledger, Options};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// A server that answers.
#[derive(Debug)]
pub(crate) struct Running<T> {
    process: Child,
    pub(crate) said: T,
}

/// What the control plane says when it answers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Plane {
    pub(crate) address: SocketAddr,
    pub(crate) stage: Stage,
}

/// What a process says that does nothing but write to a ledger: how many events there were before.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Writer {
    pub(crate) events: u64,
}

/// What the empty server says.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Empty {
    pub(crate) address: SocketAddr,
}

/// A proposal, as the empty server reads it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read, as ours is, and dropped")]
pub(crate) struct Asked {
    site: String,
    kind: String,
    parameters: serde_json::Map<String, serde_json::Value>,
    title: Option<String>,
    reason: Option<String>,
}

impl<T: DeserializeOwned> Running<T> {
    /// Starts a role over a directory and waits until it answers.
    pub(crate) fn start(role: &str, directory: &Path) -> Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(["--child", role])
            .arg(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("the bench cannot start itself again")?;
        let mut line = String::new();
        let out = process.stdout.take().context("no output of the child")?;
        BufReader::new(out).read_line(&mut line)?;
        let said = serde_json::from_str(&line)
            .with_context(|| format!("`{role}` does not answer: `{line}`"))?;
        Ok(Self { process, said })
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Kills it where it stands.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// Ends it cleanly.
    pub(crate) fn stop(mut self) -> Result<()> {
        drop(self.process.stdin.take());
        let status = self.process.wait()?;
        anyhow::ensure!(status.success(), "a server ended with {status}");
        Ok(())
    }
}

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// Is the child of that role.
pub(crate) fn be(role: &str, directory: &Path) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match role {
            "plane" => plane(directory).await,
            "empty" => empty().await,
            "verify" => crate::audit::child(directory),
            "writer" => writer(directory).await,
            other => bail!("no role `{other}`"),
        }
    })
}

async fn plane(directory: &Path) -> Result<()> {
    let config = Config::new(directory.join("ledger"), directory.join("genesis.pem"));
    let service = Service::start(config).await?;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let stop = CancellationToken::new();
    let serving = tokio::spawn(countersign_api::serve(
        listener,
        service.clone(),
        // What the server reaches is measured, and not what one caller may ask.
        Bounds {
            token: Rates::OFF,
            tenant: Rates::OFF,
            ..Bounds::default()
        },
        stop.clone(),
    ));
    let stage = stage::set_once(&service, directory, &format!("http://{address}")).await?;
    say(&Plane { address, stage })?;
    ended().await?;
    stop.cancel();
    serving.await?;
    service.stop().await?;
    Ok(())
}

async fn empty() -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let answer = async |Json(_): Json<Asked>| (StatusCode::CREATED, Json(serde_json::json!({})));
    let router = Router::new().route("/", post(answer));
    say(&Empty { address })?;
    tokio::select! {
        served = axum::serve(listener, router).into_future() => Ok(served?),
        ended = ended() => ended,
    }
}

/// Writes batches to the bench's own chains, for ever.
async fn writer(directory: &Path) -> Result<()> {
    let ledger = Arc::new(Ledger::open(&directory.join("ledger"), Options::default())?);
    let events = ledger.chains().iter().map(|(_, head)| head.size).sum();
    let commands = Commands::pooled("killed")?;
    say(&Writer { events })?;
    let mut under_way = JoinSet::new();
    loop {
        let append = commands.next(&ledger, 64)?;
        let ledger = Arc::clone(&ledger);
        under_way.spawn(async move { taken(&ledger, append).await });
        if under_way.len() >= 16
            && let Some(appended) = under_way.join_next().await
        {
            appended??;
        }
    }
}

fn say<T: Serialize>(said: &T) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string(said)?)?;
    Ok(out.flush()?)
}

/// Waits until the bench closes the child's input, or is gone.
async fn ended() -> Result<()> {
    tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new())).await??;
    Ok(())
}
