//! `cargo xtask gen`: files that are derived from declarations in the code.
//!
//! The generator itself is the test target `generated` of the package `tests`: it links the crates that declare events and
//! routes, and it is built with the same features as every other test. Here it is only started, in one of its two modes.

use crate::run;
use anyhow::Result;
use clap::{Args, ValueEnum};

/// What to do with generated files.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Write the files, or compare them and fail where one differs.
    #[arg(long, value_enum, default_value_t = Mode::Write)]
    pub(crate) mode: Mode,
}

/// Write or compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// Write what differs.
    Write,
    /// Compare, change nothing, fail where a file differs.
    Check,
}

/// Starts the generator.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let mut command = run::cargo(&[
        "test",
        "--quiet",
        "--locked",
        "--workspace",
        "--test",
        "generated",
    ])?;
    command.env(
        "COUNTERSIGN_GENERATED",
        match arguments.mode {
            Mode::Write => "write",
            Mode::Check => "check",
        },
    );
    run::must(command)
}
