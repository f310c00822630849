//! Structured logs on standard error: what is logged, and how it looks. No line holds a secret or a body.

use super::{Effective, Layer, LogFormat, Source};
use crate::exit::Failure;
use anyhow::Result;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// How to log.
#[derive(Debug, Clone)]
pub(crate) struct Logging {
    filter: String,
    format: LogFormat,
}

impl Logging {
    /// As the settings of a server say.
    pub(crate) fn of(settings: &Effective) -> Self {
        Self {
            filter: settings
                .log
                .value
                .clone()
                .unwrap_or_else(|| "info".to_owned()),
            format: settings.log_format.value.unwrap_or(LogFormat::Text),
        }
    }

    /// As the environment says; warnings where it says nothing. For what runs in a terminal before a person.
    pub(crate) fn of_environment() -> Result<Self> {
        let settings = Effective::of(None, Layer::default())?;
        let mut logging = Self::of(&settings);
        if settings.log.source == Source::Default {
            "warn".clone_into(&mut logging.filter);
        }
        Ok(logging)
    }

    /// Begins to log.
    pub(crate) fn begin(&self) -> Result<()> {
        let filter = EnvFilter::try_new(&self.filter).map_err(|error| {
            Failure::usage(format!("the log filter `{}`: {error}", self.filter))
        })?;
        let lines = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr);
        match self.format {
            LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).init(),
            LogFormat::Json => lines
                .json()
                .flatten_event(true)
                .with_current_span(true)
                .with_span_list(false)
                .init(),
        }
        Ok(())
    }
}
