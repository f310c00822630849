//! The command line of `replay` and of `countersign replay`: arguments in, data on standard output, an exit code.
//!
//! Exit 0 verified or done, 1 bytes contradict, 2 something needed is absent or unreadable, 64 wrong usage.

mod resume;
mod run;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use countersign_ids::Time;

use crate::verdict::Level;

pub use run::run;

/// Exit code for wrong usage, files that cannot be opened included.
pub const USAGE: u8 = 64;

/// `replay`: verify, read and export a ledger, trusting nobody.
#[derive(Debug, Parser)]
#[command(name = "replay", version, about, long_about = None)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What an auditor can do with a ledger. SOURCE is a data directory, live or stopped, or a bundle.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check every byte: links, trees, checkpoints, keys, signatures, approvals, orders, outcomes, policy decisions
    Verify(VerifyArgs),
    /// Print events in order
    Show(ShowArgs),
    /// Write a bundle that anybody can verify
    Export(ExportArgs),
    /// Rebuild the read models and compare them with the ones in use
    Rebuild(RebuildArgs),
    /// Write the proof that one event is in the ledger (`.tlog-proof`)
    Prove(ProveArgs),
    /// Tell what happened to one action, in words
    Timeline(TimelineArgs),
    /// Compare two copies of a ledger, chain by chain: the same, one behind the other, or a fork
    Diff(DiffArgs),
}

/// Arguments of `verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Data directory or bundle
    pub source: PathBuf,
    /// The genesis key (64 hex digits or base64) or the ledger id that it must be
    #[arg(long, value_name = "KEY")]
    pub genesis: Option<String>,
    /// File of approvers' keys, one base64 or hex key a line; any other key that approved is a violation
    #[arg(long, value_name = "FILE")]
    pub approvers: Option<PathBuf>,
    /// File of connectors' keys, one base64 or hex key a line; any other key that signed messages is a violation
    #[arg(long, value_name = "FILE")]
    pub connectors: Option<PathBuf>,
    /// File of witnesses' keys (vkeys), one a line; any other key in the witness policy is a violation
    #[arg(long, value_name = "FILE")]
    pub witnesses: Option<PathBuf>,
    /// A checkpoint (signed note) that the ledger must contain and go on from
    #[arg(long, value_name = "FILE")]
    pub at_least: Option<PathBuf>,
    /// A level that may stay unchecked; can be given more than once
    #[arg(long, value_name = "LEVEL")]
    pub allow: Vec<Level>,
    /// Stop behind this level; those behind it are unchecked
    #[arg(long, value_name = "LEVEL")]
    pub through: Option<Level>,
    /// How many threads to use; as many as the machine has without it
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub threads: usize,
    /// Go on from what an earlier run saved: signatures and policy decisions before are not checked again
    #[arg(long, value_name = "STATE")]
    pub from: Option<PathBuf>,
    /// Save what a later run can go on from, if everything was verified; replaces the file
    #[arg(long, value_name = "STATE")]
    pub save: Option<PathBuf>,
    /// Ask for pinned, signed, recorded, anchored where witnesses are in force, and nothing unchecked
    #[arg(long)]
    pub strict: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Data directory or bundle
    pub source: PathBuf,
    /// Only this chain
    #[arg(long)]
    pub chain: Option<String>,
    /// Only from this sequence on
    #[arg(long, default_value_t = 0)]
    pub from: u64,
    /// At most so many events
    #[arg(long)]
    pub limit: Option<u64>,
    /// Only types that contain this, for example `action.` or `action.approved`
    #[arg(long = "type", value_name = "TYPE")]
    pub event_type: Option<String>,
    /// Only events about this action
    #[arg(long)]
    pub action: Option<String>,
    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Data directory or bundle
    pub source: PathBuf,
    /// The bundle to write; it must not exist
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Only this tenant, with what the platform chain proves about it
    #[arg(long)]
    pub tenant: Option<String>,
    /// Release files and diffs too
    #[arg(long)]
    pub attachments: bool,
    /// Leave out operational and personal bodies before this time (2026-01-31T00:00:00.000Z); evidence is always whole
    #[arg(long, value_name = "TIME")]
    pub from: Option<Time>,
    /// Leave out operational and personal bodies after this time
    #[arg(long, value_name = "TIME")]
    pub until: Option<Time>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `rebuild`.
#[derive(Debug, Args)]
pub struct RebuildArgs {
    /// Data directory
    pub source: PathBuf,
    /// Compare with the rows in use; without it, only print the digests of the rebuilt ones
    #[arg(long)]
    pub check: bool,
    /// Only say what it would cost: events, bytes, and about how long
    #[arg(long, conflicts_with = "check")]
    pub cost: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `prove`.
#[derive(Debug, Args)]
pub struct ProveArgs {
    /// Data directory or bundle
    pub source: PathBuf,
    /// The event's chain
    #[arg(long)]
    pub chain: String,
    /// The event's sequence
    #[arg(long)]
    pub sequence: u64,
    /// Where to write the proof instead of standard output
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Arguments of `timeline`.
#[derive(Debug, Args)]
pub struct TimelineArgs {
    /// Data directory or bundle
    pub source: PathBuf,
    /// The tenant; not needed where there is one only
    #[arg(long)]
    pub tenant: Option<String>,
    /// Only this action
    #[arg(long)]
    pub action: Option<String>,
    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `diff`.
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// Data directory or bundle
    pub one: PathBuf,
    /// Data directory or bundle
    pub other: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Reads the process's arguments, runs, and gives the exit code: all that a binary has to do.
pub fn main() -> u8 {
    let (mut out, mut err) = (std::io::stdout().lock(), std::io::stderr());
    match Cli::try_parse() {
        Ok(cli) => run(&cli.command, &mut out, &mut err),
        Err(error) => {
            // Help and version are answers, everything else is wrong usage.
            let code = if error.use_stderr() { USAGE } else { 0 };
            if error.print().is_err() { USAGE } else { code }
        }
    }
}
