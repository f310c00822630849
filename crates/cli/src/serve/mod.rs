//! `countersign serve`, and the embedded server of `up`: the service, and HTTP in front of it.

mod config;

pub(crate) use config::Settings;

use crate::arguments::Serve;
use crate::output::{self, note};
use anyhow::Result;
use serde_json::json;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

/// Serves until Ctrl-C or SIGTERM.
pub(crate) async fn run(arguments: Serve, as_json: bool) -> Result<ExitCode> {
    let settings = Settings::of(arguments)?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let mut server = Server::start(settings.clone()).await?;
    let url = format!("http://{}", server.address());
    if as_json {
        output::data(&json!({ "server": url, "ledger": settings.data }).to_string())?;
    } else {
        note(format_args!(
            "serving `{}` on {url}",
            settings.data.display()
        ));
    }
    let ended = tokio::select! {
        ended = server.ended() => ended,
        _ = interrupted.recv() => Ok(()),
        _ = terminated.recv() => Ok(()),
    };
    note(format_args!("stopping"));
    server.stop().await?;
    ended?;
    Ok(ExitCode::SUCCESS)
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    address: std::net::SocketAddr,
    admin_token: Option<String>,
}

impl Server {
    pub(crate) async fn start(settings: Settings) -> Result<Self> {
        drop(settings);
        anyhow::bail!("not yet")
    }
    /// Where it answers.
    pub(crate) const fn address(&self) -> std::net::SocketAddr {
        self.address
    }
    /// The first administrator's token, if this start created the ledger.
    pub(crate) fn admin_token(&self) -> Option<&str> {
        self.admin_token.as_deref()
    }
    /// Ends if the server cannot go on.
    pub(crate) async fn ended(&mut self) -> Result<()> {
        Ok(())
    }
    pub(crate) async fn stop(self) -> Result<()> {
        Ok(())
    }
}
