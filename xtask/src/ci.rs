//! `cargo xtask test` and `cargo xtask ci`: what a change must pass.

use crate::{generate, run, tidy};
use anyhow::Result;
use clap::Args;

/// What to test.
#[derive(Debug, Args)]
pub(crate) struct TestArguments {
    /// Handed on to `cargo test`, for example `-p countersign-chain` or a part of a test's name.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

/// Runs the tests of the whole workspace with one feature set and profile, so that nothing is built twice.
pub(crate) fn test(arguments: &TestArguments) -> Result<()> {
    let mut command = run::cargo(&["test", "--locked"])?;
    if !arguments
        .rest
        .iter()
        .any(|argument| argument == "-p" || argument == "--package")
    {
        command.arg("--workspace");
    }
    command
        .args(&arguments.rest)
        // A snapshot that differs is a failure, never a file beside it.
        .env("INSTA_UPDATE", "no")
        .env("RUST_BACKTRACE", "1")
        // Servers under test listen on loopback; no proxy may stand between.
        .env("NO_PROXY", "127.0.0.1,localhost")
        .env("no_proxy", "127.0.0.1,localhost")
        .env("LC_ALL", "C.UTF-8")
        .env("TZ", "UTC");
    run::must(command)
}

/// Runs every check besides the tests, cheapest first.
pub(crate) fn run() -> Result<()> {
    tidy::run()?;
    run::must(run::cargo(&["fmt", "--all", "--", "--check"])?)?;
    generate::run(&generate::Arguments {
        mode: generate::Mode::Check,
    })?;
    run::must(run::cargo(&[
        "clippy",
        "--locked",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ])?)?;
    let mut doc = run::cargo(&[
        "doc",
        "--locked",
        "--workspace",
        "--no-deps",
        "--document-private-items",
    ])?;
    doc.env("RUSTDOCFLAGS", "-D warnings");
    run::must(doc)
}
