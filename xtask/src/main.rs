//! `cargo xtask`: the one entry for checks, generated files, tests and figures.
//!
//! It holds no product code and links none: what needs our crates is a target of the package `tests`, which this starts.

mod bench;
mod ci;
mod faults;
mod fuzz;
mod generate;
mod mutants;
mod report;
mod run;
mod tidy;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Checks, generated files, tests and figures.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Write or compare everything that is generated from declarations in the code.
    Gen(generate::Arguments),
    /// Check the house rules that no compiler checks.
    Tidy,
    /// Run all tests, with one feature set and profile.
    Test(ci::TestArguments),
    /// Measure, and print a table of figures.
    Bench(bench::Arguments),
    /// Let durable writes of the store fail, by name or by chance.
    Faults(faults::Arguments),
    /// Feed mutations of its corpus to a parser of untrusted bytes.
    Fuzz(fuzz::Arguments),
    /// Take each check of an order out of the code in turn, and see a test fail.
    Mutants,
    /// What a change must pass besides the tests: tidy, format, lints, docs, generated files.
    Ci,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Gen(arguments) => generate::run(&arguments),
        Task::Tidy => tidy::run(),
        Task::Test(arguments) => ci::test(&arguments),
        Task::Bench(arguments) => bench::run(&arguments),
        Task::Faults(arguments) => faults::run(&arguments),
        Task::Fuzz(arguments) => fuzz::run(&arguments),
        Task::Mutants => mutants::run(),
        Task::Ci => ci::run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::line(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
