//! The binary `countersign`: everything that people, agents and operators do from a command line.
//!
//! Thin on purpose. Commands talk to a server over HTTP as anybody else would; `serve`, `up` and `connector` start the
//! long-running parts; `replay` is the auditors' library. Data goes to standard output, everything else to standard error.

mod arguments;
mod client;
mod codes;
mod commands;
mod doctor;
mod exit;
mod keys;
mod moment;
mod output;
mod profile;
mod progress;
mod serve;
mod settings;
mod survey;
mod up;

use arguments::Arguments;
use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return exit::usage(&error),
    };
    let json = arguments.shared.json;
    match commands::run(arguments) {
        Ok(code) => code,
        Err(error) => exit::report(&error, json),
    }
}
