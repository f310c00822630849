//! `countersign connector`: pairing, running, stopping and looking at the program beside a site.

use crate::arguments::{Connector, ConnectorPair, Shared};
use crate::exit::Failure;
use crate::output::{self, note};
use anyhow::{Context, Result};
use countersign_connector::Config;
use serde::{Deserialize, Serialize};
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

/// What a connector was paired with, kept beside its state so that `run` needs only the directory.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    server: String,
    listen: SocketAddr,
    preview_listen: SocketAddr,
}

impl Settings {
    fn file(directory: &Path) -> PathBuf {
        directory.join("connector.toml")
    }

    fn read(directory: &Path) -> Result<Self> {
        let path = Self::file(directory);
        let text = std::fs::read_to_string(&path).map_err(|_| {
            Failure::usage(format!(
                "`{}` holds no paired connector",
                directory.display()
            ))
            .with_hint(
                "pair it first: `countersign connector pair CODE --directory DIR --server URL`",
            )
        })?;
        toml::from_str(&text)
            .map_err(|error| Failure::usage(format!("`{}`: {error}", path.display())).into())
    }

    fn write(&self, directory: &Path) -> Result<()> {
        let path = Self::file(directory);
        std::fs::write(&path, toml::to_string(self)?)
            .with_context(|| format!("cannot write `{}`", path.display()))
    }

    fn config(&self, directory: &Path) -> Config {
        Config::new(directory, self.listen, self.preview_listen, &self.server)
    }
}

pub(crate) async fn run(arguments: Connector, shared: Shared) -> Result<ExitCode> {
    match arguments {
        Connector::Pair(pair) => self::pair(pair, shared).await?,
        Connector::Run {
            directory,
            listen,
            preview_listen,
            until_stdin_closes,
        } => {
            let mut settings = Settings::read(&directory)?;
            settings.server = shared.server.unwrap_or(settings.server);
            settings.listen = listen.unwrap_or(settings.listen);
            settings.preview_listen = preview_listen.unwrap_or(settings.preview_listen);
            let config = settings.config(&directory);
            let running = countersign_connector::run(&config, told_to_stop(until_stdin_closes)?);
            let announced = async {
                announce(&directory, shared.json).await;
                std::future::pending::<()>().await;
            };
            tokio::select! {
                ended = running => ended.map_err(|error| failure(&error))?,
                () = announced => {}
            }
        }
        Connector::Status { directory } => {
            let status =
                countersign_connector::status(&directory).map_err(|error| failure(&error))?;
            output::either(
                shared.json,
                &serde_json::to_value(status)?,
                super::watch::text,
            )?;
        }
        Connector::Stop { directory } => {
            let stopped = countersign_connector::stop(&directory)
                .await
                .map_err(|error| failure(&error))?;
            if stopped {
                note(format_args!(
                    "stopped; nothing is executed here until `countersign connector run`"
                ));
            } else {
                note(format_args!(
                    "no connector runs in `{}`",
                    directory.display()
                ));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn pair(arguments: ConnectorPair, shared: Shared) -> Result<()> {
    let server = shared
        .server
        .ok_or_else(|| Failure::usage("no server").with_hint("give --server"))?;
    let settings = Settings {
        server,
        listen: arguments.listen,
        preview_listen: arguments.preview_listen,
    };
    let config = settings.config(&arguments.directory);
    let paired = if arguments.leave_unsaid {
        countersign_connector::pair_leaving_unsaid(&config, &arguments.code).await
    } else {
        countersign_connector::pair(&config, &arguments.code).await
    };
    let paired = paired.map_err(|error| failure(&error))?;
    settings.write(&arguments.directory)?;
    for file in &paired.left_unsaid {
        note(format_args!(
            "warning: an outcome was never taken by the ledger that gave its order; it is kept in `{}`",
            file.display()
        ));
    }
    output::either(
        shared.json,
        &serde_json::to_value(&paired)?,
        super::watch::text,
    )
}

/// Says where the site and its previews are served, as soon as they are.
async fn announce(directory: &Path, as_json: bool) {
    let running = loop {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let status = countersign_connector::status(directory).ok();
        if let Some(running) = status
            .and_then(|status| status.running)
            .filter(|running| running.preview.is_some())
        {
            break running;
        }
    };
    let (site, preview) = (
        running.site.unwrap_or_default(),
        running.preview.unwrap_or_default(),
    );
    if as_json {
        output::data(&serde_json::json!({ "site": site, "preview": preview }).to_string()).ok();
    } else {
        note(format_args!(
            "the site is served at {site}, its previews at {preview}"
        ));
    }
}

/// Resolves on Ctrl-C, on SIGTERM, and, if asked to, when standard input ends.
fn told_to_stop(until_stdin_closes: bool) -> Result<impl Future<Output = ()>> {
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let (hold, closed) = oneshot::channel::<()>();
    let hold = if until_stdin_closes {
        // A thread of its own: reading standard input cannot be cancelled. The sender is dropped at the end.
        std::thread::spawn(move || {
            let mut stdin = std::io::stdin().lock();
            let mut byte = [0];
            while matches!(stdin.read(&mut byte), Ok(1..)) {}
            drop(hold);
        });
        None
    } else {
        Some(hold)
    };
    Ok(async move {
        tokio::select! {
            _ = interrupted.recv() => {}
            _ = terminated.recv() => {}
            _ = closed => {}
        }
        drop(hold);
    })
}

fn failure(error: &countersign_connector::Error) -> anyhow::Error {
    let mut message = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        message = format!("{message}: {source}");
        cause = source.source();
    }
    Failure::refused(message).with_code(error.code()).into()
}
