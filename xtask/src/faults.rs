//! `cargo xtask faults`: the ledger on a simulated disk, with other seeds, counts and names than a normal run of the tests has.
//!
//! The tests themselves are those of the store; here they are only started, and told by their environment what to do.

use crate::run;
use anyhow::Result;
use clap::{Args, Subcommand};
use std::process::Command;

/// What to do.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Show every durable write by its name.
    List,
    /// Let one durable write fail, at each place where it is made.
    Run {
        /// Its name, as `list` shows it.
        name: String,
        /// Only so that it is lost.
        #[arg(long, conflicts_with = "stored")]
        lost: bool,
        /// Only so that it is stored though it failed.
        #[arg(long)]
        stored: bool,
    },
    /// Run random lives of a ledger, each determined by its seed.
    Seeds {
        /// How many, from 0 on.
        #[arg(long, default_value_t = 10_000)]
        count: u64,
        /// Only this one, step by step.
        #[arg(long, conflicts_with = "count")]
        seed: Option<u64>,
    },
}

/// Starts the tests.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    match &arguments.task {
        Task::List => run::must(test(
            "table::the_table_names_every_durable_write_and_the_tour_makes_each",
        )?),
        Task::Run { name, lost, stored } => {
            let mut command = test("table::every_durable_write_may_fail_lost_or_stored")?;
            command.env("COUNTERSIGN_FAULTS_RUN", name);
            if *lost {
                command.env("COUNTERSIGN_FAULTS_FATE", "lost");
            }
            if *stored {
                command.env("COUNTERSIGN_FAULTS_FATE", "stored");
            }
            run::must(command)
        }
        Task::Seeds { count, seed } => {
            let mut command = test("seeds::nothing_told_is_lost_doubled_or_forked_on_any_seed")?;
            command.env("COUNTERSIGN_FAULTS_SEEDS", count.to_string());
            if let Some(seed) = seed {
                command.env("COUNTERSIGN_FAULTS_SEED", seed.to_string());
            }
            run::must(command)
        }
    }
}

/// One test of the store, with everything that it says.
fn test(name: &str) -> Result<Command> {
    let name = format!("faults::{name}");
    run::cargo(&[
        "test",
        "--locked",
        "--package",
        "countersign-store",
        "--test",
        "store",
        "--",
        "--exact",
        &name,
        "--nocapture",
    ])
}
