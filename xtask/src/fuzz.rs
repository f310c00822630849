//! `cargo xtask fuzz NAME`: starts the driver of the package `tests` on one parser of untrusted bytes.

use crate::run;
use anyhow::Result;
use clap::Args;

/// What to fuzz, and for how long.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The target; a wrong name lists them.
    name: String,
    /// How long.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// The same seed does the same to the same corpus.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Keep small inputs that were judged in a new way in the corpus.
    #[arg(long)]
    keep: bool,
}

/// Builds and runs the driver.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let mut command = run::cargo(&[
        "run",
        "--locked",
        "-p",
        "countersign-tests",
        "--example",
        "fuzz",
        "--",
    ])?;
    command.arg(&arguments.name);
    command.args(["--seconds", &arguments.seconds.to_string()]);
    command.args(["--seed", &arguments.seed.to_string()]);
    if arguments.keep {
        command.arg("--keep");
    }
    run::must(command)
}
