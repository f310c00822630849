//! `countersign serve`, and the embedded server of `up`: the service, and HTTP in front of it.

mod config;

pub(crate) use config::Settings;

use crate::exit::{Failure, with_causes};
use crate::output::{self, note};
use crate::up;
use anyhow::{Context, Result};
use countersign_service::Service;
use serde_json::json;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Serves until Ctrl-C or SIGTERM.
pub(crate) async fn run(settings: Settings, as_json: bool) -> Result<ExitCode> {
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let mut server = Server::start(settings.clone()).await?;
    let url = format!("http://{}", server.address());
    if as_json {
        output::data(&json!({ "server": url, "ledger": settings.config.data }).to_string())?;
    } else {
        note(format_args!(
            "serving `{}` on {url}",
            settings.config.data.display()
        ));
    }
    tracing::info!(address = %server.address(), data = %settings.config.data.display(), "serving");
    let ended = tokio::select! {
        ended = server.ended() => ended,
        _ = interrupted.recv() => Ok(()),
        _ = terminated.recv() => Ok(()),
    };
    note(format_args!("stopping"));
    tracing::info!("stopping");
    server.stop().await?;
    ended?;
    Ok(ExitCode::SUCCESS)
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    service: Service,
    address: SocketAddr,
    task: JoinHandle<()>,
    stop: CancellationToken,
}

impl Server {
    /// Opens the ledger, then answers.
    pub(crate) async fn start(settings: Settings) -> Result<Self> {
        let service = Service::start(settings.config.clone())
            .await
            .map_err(|error| failure(&error))?;
        let answering = Self::answer(service.clone(), &settings).await;
        if answering.is_err() {
            service.stop().await.ok();
        }
        answering
    }

    async fn answer(service: Service, settings: &Settings) -> Result<Self> {
        if settings.sample {
            std::fs::write(
                settings.config.data.join(up::SAMPLE),
                "Made by `countersign up`; its keys are sample keys.\n",
            )
            .context("cannot mark the ledger as a sample")?;
        }
        let listener = TcpListener::bind(settings.listen).await.map_err(|error| {
            Failure::unavailable(format!("cannot listen on {}: {error}", settings.listen))
        })?;
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let serving = countersign_api::serve(
            listener,
            service.clone(),
            settings.bounds.clone(),
            stop.clone(),
        );
        Ok(Self {
            service,
            address,
            task: tokio::spawn(serving),
            stop,
        })
    }

    /// Where it answers.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The file with the first administrator's token.
    pub(crate) fn admin_token_file(&self) -> PathBuf {
        self.service.admin_token_file()
    }

    /// Ends if the server cannot go on.
    pub(crate) async fn ended(&mut self) -> Result<()> {
        (&mut self.task).await.context("the server broke off")
    }

    /// Stops: no new requests, those under way are answered, the ledger is closed.
    pub(crate) async fn stop(mut self) -> Result<()> {
        self.stop.cancel();
        if !self.task.is_finished() {
            (&mut self.task).await.context("the server broke off")?;
        }
        self.service.stop().await.map_err(|error| failure(&error))
    }
}

/// A failure of the service, with its code and its causes.
fn failure(error: &countersign_service::Error) -> anyhow::Error {
    let message = with_causes(error);
    Failure::unavailable(message).with_code(error.code()).into()
}
