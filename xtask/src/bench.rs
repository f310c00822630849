//! `cargo xtask bench`: starts the bench target `figures` of the package `tests` in the release profile.

use crate::run;
use anyhow::Result;
use clap::Args;
use std::path::PathBuf;

/// What to measure.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Names of figures; all of them if none is given.
    names: Vec<String>,
    /// Also write one JSON object per figure and line to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Events of the whole ledger, instead of a million.
    #[arg(long)]
    events: Option<u64>,
}

/// Builds and runs the figures.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let mut command = run::cargo(&[
        "bench",
        "--locked",
        "-p",
        "countersign-tests",
        "--bench",
        "figures",
        "--",
    ])?;
    command.args(&arguments.names);
    if let Some(file) = &arguments.json {
        // The bench runs from its package's directory, so a relative path would land there.
        command.arg("--json").arg(std::path::absolute(file)?);
    }
    if let Some(events) = arguments.events {
        command.arg("--events").arg(events.to_string());
    }
    run::must(command)
}
