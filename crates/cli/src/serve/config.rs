//! What `serve` and `up` start a server with: the settings in force, as the service, the store and HTTP take them.

use crate::arguments::Serve;
use crate::codes;
use crate::exit::Failure;
use crate::settings::log::Logging;
use crate::settings::{Effective, Layer, Sourced};
use crate::up;
use anyhow::Result;
use countersign_api::{Bounds, Rates};
use countersign_service::Config;
use countersign_store::Options;
use std::net::SocketAddr;
use std::path::Path;

/// What a server needs to know.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// The service and the store.
    pub(crate) config: Config,
    /// Where to answer.
    pub(crate) listen: SocketAddr,
    /// Within which bounds.
    pub(crate) bounds: Bounds,
    /// How to log.
    pub(crate) log: Logging,
    /// Whether this is `up`.
    pub(crate) sample: bool,
}

impl Settings {
    /// The settings of `up`.
    pub(crate) fn sample(data: &Path, beside: &Path, listen: SocketAddr) -> Result<Self> {
        let flags = Layer {
            data: Some(data.to_path_buf()),
            listen: Some(listen),
            origin: Some("sample.countersign.example".to_owned()),
            genesis_key: Some(beside.join("key.pem")),
            policies: Some(data.join("policies")),
            ..Layer::default()
        };
        Self::from(Effective::of(None, flags)?, true)
    }

    /// The settings of `serve`.
    pub(crate) fn of(arguments: Serve) -> Result<Self> {
        let settings = Self::from(arguments.settings()?, false)?;
        settings.refuse_sample()?;
        Ok(settings)
    }

    fn from(all: Effective, sample: bool) -> Result<Self> {
        let log = Logging::of(&all);
        let data = all.data.value.ok_or_else(|| {
            Failure::usage("no data directory").with_hint("give --data or `data` in --config")
        })?;
        let mut config = Config::new(data, given("genesis_key", all.genesis_key)?);
        config.origin = all.origin.value;
        config.policies = all.policies.value;
        config.checkpoint_age = given("checkpoint_age", all.checkpoint_age)?.get();
        config.heads_age = given("heads_age", all.heads_age)?.get();
        config.expiry_age = given("expiry_age", all.expiry_age)?.get();
        config.sweep_age = given("sweep_age", all.sweep_age)?.get();
        config.store = Options {
            segment_bytes: given("segment_size", all.segment_size)?.get(),
            lag_bytes_max: given("journal_lag", all.journal_lag)?.get(),
            queue_requests: given("queue", all.queue)?,
            ..Options::default()
        };
        Ok(Self {
            config,
            listen: given("listen", all.listen)?,
            bounds: Bounds {
                connections: given("connections", all.connections)?,
                streams: given("streams", all.streams)?,
                token: Rates {
                    commands: given("token_commands", all.token_commands)?.get(),
                    reads: given("token_reads", all.token_reads)?.get(),
                    streams: given("token_streams", all.token_streams)?.get(),
                },
                tenant: Rates {
                    commands: given("tenant_commands", all.tenant_commands)?.get(),
                    reads: given("tenant_reads", all.tenant_reads)?.get(),
                    streams: given("tenant_streams", all.tenant_streams)?.get(),
                },
                answer_bytes: given("answers", all.answers)?.get(),
                headers: given("headers_timeout", all.headers_timeout)?.get(),
                body: given("body_timeout", all.body_timeout)?.get(),
                request: given("request_timeout", all.request_timeout)?.get(),
                stalled: given("stalled_timeout", all.stalled_timeout)?.get(),
                idle: given("idle_timeout", all.idle_timeout)?.get(),
                keep_alive: given("keep_alive", all.keep_alive)?.get(),
                drain: given("drain", all.drain)?.get(),
            },
            log,
            sample,
        })
    }

    /// Sample keys are known to whoever can read a terminal; nothing real may stand on them.
    fn refuse_sample(&self) -> Result<()> {
        let (data, genesis) = (&self.config.data, &self.config.genesis);
        let origin = self.config.origin.as_deref().unwrap_or_default();
        if data.join(up::SAMPLE).exists() || origin.starts_with("sample.") {
            let message = format!(
                "`{}` is a sample made by `countersign up`; its keys are sample keys",
                data.display()
            );
            return Err(Failure::refused(message)
                .with_code(codes::SAMPLE_DATA)
                .with_hint("name another directory")
                .into());
        }
        if genesis.starts_with(data) {
            let message = format!("the genesis key would stand inside `{}`", data.display());
            return Err(Failure::usage(message)
                .with_hint("keep it elsewhere, and offline after set-up")
                .into());
        }
        Ok(())
    }
}

/// A value that must be there: it has a default, or is needed.
fn given<T>(name: &str, setting: Sourced<T>) -> Result<T> {
    let missing = || Failure::usage(format!("`{name}` is not set"));
    Ok(setting.value.ok_or_else(missing)?)
}

#[cfg(test)]
mod tests {
    use super::Settings;
    use crate::arguments::{Arguments, Command};
    use clap::Parser;
    use countersign_api::Rates;
    use std::path::Path;
    use std::time::Duration;

    fn settings(arguments: &[&str]) -> anyhow::Result<Settings> {
        let line = ["countersign", "serve"].iter().chain(arguments);
        let Command::Serve(serve) = Arguments::try_parse_from(line).unwrap().command else {
            panic!("not serve")
        };
        Settings::of(serve)
    }

    #[test]
    fn every_setting_reaches_the_part_that_it_is_for() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("countersign.toml");
        let text = "data = '/srv/ledger'\nlisten = '127.0.0.1:1'\norigin = 'ledger.example.org'\n\
            policies = '/etc/policies'\ncheckpoint_age = '3s'\nheads_age = '4s'\nexpiry_age = '14s'\nsweep_age = '15s'\nsegment_size = '2MiB'\n\
            journal_lag = '3MiB'\nconnections = 5\nstreams = 6\nheaders_timeout = '13s'\nbody_timeout = '7s'\nrequest_timeout = '8s'\n\
            queue = 99\nanswers = '300MiB'\ntoken_commands = '1/s'\ntoken_reads = '2/s'\ntoken_streams = '3/s'\n\
            tenant_commands = '4/s'\ntenant_reads = '5/s'\ntenant_streams = 'off'\n\
            stalled_timeout = '9s'\nidle_timeout = '10s'\nkeep_alive = '11s'\ndrain = '12s'\n";
        std::fs::write(&file, text).unwrap();
        let file = file.to_str().unwrap();
        let read = settings(&["--config", file, "--listen", "127.0.0.1:2"]).unwrap();
        let (config, bounds) = (&read.config, &read.bounds);
        assert_eq!(
            (config.data.as_path(), read.listen.port()),
            (Path::new("/srv/ledger"), 2)
        );
        assert_eq!(config.genesis, Path::new("/srv/genesis.pem"));
        assert_eq!(config.origin.as_deref(), Some("ledger.example.org"));
        assert_eq!(config.policies.as_deref(), Some(Path::new("/etc/policies")));
        assert_eq!(
            (config.store.segment_bytes, config.store.lag_bytes_max),
            (2 << 20, 3 << 20)
        );
        assert_eq!((bounds.connections, bounds.streams), (5, 6));
        assert_eq!(config.store.queue_requests, 99);
        assert_eq!(bounds.answer_bytes, 300 << 20);
        let rates = [bounds.token, bounds.tenant].map(
            |Rates {
                 commands,
                 reads,
                 streams,
             }| {
                [commands, reads, streams].map(|rate| rate.map_or(0, |rate| rate.count))
            },
        );
        assert_eq!(rates, [[1, 2, 3], [4, 5, 0]]);
        let spans = [
            config.checkpoint_age,
            config.heads_age,
            config.expiry_age,
            config.sweep_age,
            bounds.body,
            bounds.request,
            bounds.stalled,
            bounds.idle,
            bounds.keep_alive,
            bounds.drain,
            bounds.headers,
        ];
        assert_eq!(
            spans,
            [3, 4, 14, 15, 7, 8, 9, 10, 11, 12, 13].map(Duration::from_secs)
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
