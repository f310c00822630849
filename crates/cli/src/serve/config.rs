//! Where `serve` gets its settings: a TOML file, then the environment, then flags; later ones win.

use crate::arguments::Serve;
use crate::codes;
use crate::exit::Failure;
use crate::up;
use anyhow::{Context, Result};
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The file. Unknown members are refused: a misspelt one would be believed to work.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    data: Option<PathBuf>,
    listen: Option<SocketAddr>,
    origin: Option<String>,
    genesis_key: Option<PathBuf>,
}

/// What a server needs to know.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// The ledger's directory.
    pub(crate) data: PathBuf,
    /// Where to answer.
    pub(crate) listen: SocketAddr,
    /// The origin of the ledger's checkpoints; only a new ledger needs it.
    pub(crate) origin: Option<String>,
    /// Where the genesis key of a new ledger is written, outside `data`.
    pub(crate) genesis_key: PathBuf,
    /// Whether this is `up`.
    pub(crate) sample: bool,
}

impl Settings {
    /// The settings of `up`.
    pub(crate) fn sample(data: &Path, beside: &Path, listen: SocketAddr) -> Self {
        Self {
            data: data.to_path_buf(),
            listen,
            origin: Some("sample.countersign.example".to_owned()),
            genesis_key: beside.join("key.pem"),
            sample: true,
        }
    }

    /// The settings of `serve`; clap has put the environment into the flags already.
    pub(crate) fn of(arguments: Serve) -> Result<Self> {
        let file = match &arguments.config {
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(|error| {
                    Failure::usage(format!("cannot read `{}`: {error}", path.display()))
                })?;
                toml::from_str(&text).map_err(|error| {
                    Failure::usage(format!(
                        "`{}` is not a configuration: {error}",
                        path.display()
                    ))
                })?
            }
            None => File::default(),
        };
        let data = arguments.data.or(file.data);
        let data = data.ok_or_else(|| {
            Failure::usage("no data directory").with_hint("give --data or `data` in --config")
        })?;
        let beside = data
            .parent()
            .context("the data directory has no parent")?
            .to_path_buf();
        let settings = Self {
            listen: arguments
                .listen
                .or(file.listen)
                .unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 7400))),
            origin: arguments.origin.or(file.origin),
            genesis_key: arguments
                .genesis_key
                .or(file.genesis_key)
                .unwrap_or_else(|| beside.join("genesis.pem")),
            data,
            sample: false,
        };
        settings.refuse_sample()?;
        Ok(settings)
    }

    /// Sample keys are known to whoever can read a terminal; nothing real may stand on them.
    fn refuse_sample(&self) -> Result<()> {
        let origin = self.origin.as_deref().unwrap_or_default();
        if self.data.join(up::SAMPLE).exists() || origin.starts_with("sample.") {
            let message = format!(
                "`{}` is a sample made by `countersign up`; its keys are sample keys",
                self.data.display()
            );
            return Err(Failure::refused(message)
                .with_code(codes::SAMPLE_DATA)
                .with_hint("name another directory")
                .into());
        }
        if self.genesis_key.starts_with(&self.data) {
            let message = format!(
                "the genesis key would stand inside `{}`",
                self.data.display()
            );
            return Err(Failure::usage(message)
                .with_hint("keep it elsewhere, and offline after set-up")
                .into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Settings;
    use crate::arguments::{Arguments, Command};
    use clap::Parser;
    use std::path::Path;

    fn settings(arguments: &[&str]) -> anyhow::Result<Settings> {
        let line = ["countersign", "serve"].iter().chain(arguments);
        let Command::Serve(serve) = Arguments::try_parse_from(line).unwrap().command else {
            panic!("not serve")
        };
        Settings::of(serve)
    }

    #[test]
    fn a_flag_wins_over_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("countersign.toml");
        std::fs::write(
            &file,
            "data = '/srv/ledger'\nlisten = '127.0.0.1:1'\norigin = 'ledger.example.org'\n",
        )
        .unwrap();
        let file = file.to_str().unwrap();
        let read = settings(&["--config", file, "--listen", "127.0.0.1:2"]).unwrap();
        assert_eq!(
            (read.data.as_path(), read.listen.port()),
            (Path::new("/srv/ledger"), 2)
        );
        std::fs::write(file, "date = '/srv/ledger'\n").unwrap();
        assert!(
            settings(&["--config", file])
                .unwrap_err()
                .to_string()
                .contains("not a configuration")
        );
    }

    #[test]
    fn a_sample_is_never_served_for_real() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(crate::up::SAMPLE), "").unwrap();
        let error = settings(&["--data", directory.path().to_str().unwrap()]).unwrap_err();
        assert!(error.to_string().contains("sample keys"), "{error}");
    }
}
