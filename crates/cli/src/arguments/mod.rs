//! Every argument of every command, declared once: help, completions and parsing derive from it.

mod action;
mod operate;

pub(crate) use action::{Decide, Propose, Queue, Rollback, Show, Signer, Status, Wait, Withdraw};
pub(crate) use operate::{
    Approver, Backup, Completions, Connector, ConnectorPair, Doctor, Erase, Freeze, Key, Keys,
    Projections, Release, Restore, Retention, Serve, Settings, Site, Tenant, Token, Up,
};

use crate::exit::EXIT_CODES;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Nothing reaches a site unless it was proposed, judged, approved, signed and written down.
#[derive(Debug, Parser)]
#[command(name = "countersign", version, after_help = EXIT_CODES, propagate_version = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) shared: Shared,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Shared {
    /// Print data as JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// A TOML file with server, tenant, site, token_file, key, approver and credential.
    #[arg(long, global = true, env = "COUNTERSIGN_PROFILE", value_name = "FILE")]
    pub(crate) profile: Option<PathBuf>,
    /// The server's address, for example `http://127.0.0.1:7400`.
    #[arg(long, global = true, env = "COUNTERSIGN_SERVER", value_name = "URL")]
    pub(crate) server: Option<String>,
    /// The tenant.
    #[arg(long, global = true, env = "COUNTERSIGN_TENANT")]
    pub(crate) tenant: Option<String>,
    /// A file with the bearer token (or set COUNTERSIGN_TOKEN to the token).
    #[arg(
        long,
        global = true,
        env = "COUNTERSIGN_TOKEN_FILE",
        value_name = "FILE"
    )]
    pub(crate) token_file: Option<PathBuf>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve a sample: a control plane, a real site behind a real connector, a proposal that waits.
    Up(Up),
    /// Serve for real.
    Serve(Serve),
    /// The settings of a server.
    #[command(subcommand)]
    Config(Settings),
    /// Say what is wrong with a data directory or a running server, what is safe, and what to do. Reads only.
    Doctor(Doctor),
    /// Back up a ledger, of a running server or a stopped one: journal, files and policies, no keys.
    Backup(Backup),
    /// Make a data directory from a backup; says first if acknowledged events would be lost. With --server it is asked, too.
    Restore(Restore),
    /// Propose a change to a site.
    Propose(Propose),
    /// What waits for a decision.
    Queue(Queue),
    /// One action: what it would do, how it was judged, who decided, what came of it.
    Show(Show),
    /// Approve an action with your own key.
    Approve(Decide),
    /// Deny an action with your own key.
    Deny(Decide),
    /// Take back an action that you proposed, or your own vote.
    Withdraw(Withdraw),
    /// Propose to go back to an earlier release.
    Rollback(Rollback),
    /// The state of the tenant's sites.
    Status(Status),
    /// Releases of a site.
    #[command(subcommand)]
    Release(Release),
    /// Sites of a tenant.
    #[command(subcommand)]
    Site(Site),
    /// Tenants of a ledger.
    #[command(subcommand)]
    Tenant(Tenant),
    /// People who may approve.
    #[command(subcommand)]
    Approver(Approver),
    /// Bearer tokens.
    #[command(subcommand)]
    Token(Token),
    /// Times in which nothing is published.
    #[command(subcommand)]
    Freeze(Freeze),
    /// How long operational bodies are kept, and what is being removed.
    #[command(subcommand)]
    Retention(Retention),
    /// Erase a person's data: their key is destroyed, and nobody can read again what it sealed. Needs a token of role `owner`.
    Erase(Erase),
    /// The program beside a site.
    #[command(subcommand)]
    Connector(Connector),
    /// An approver's key.
    #[command(subcommand)]
    Key(Key),
    /// The keys that the server itself signs with.
    #[command(subcommand)]
    Keys(Keys),
    /// The read models of the server: how far they are, and making one again. Needs a token of role `admin`.
    #[command(subcommand)]
    Projections(Projections),
    /// Verify, show, export and rebuild, without trusting the server; also the binary `replay`.
    #[command(subcommand)]
    Replay(countersign_replay::cli::Command),
    /// Print a completion script for a shell.
    Completions(Completions),
}

#[cfg(test)]
mod tests {
    use super::Arguments;
    use clap::{CommandFactory, Parser};

    #[test]
    fn the_declaration_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn json_may_stand_on_either_side_of_the_command() {
        for line in ["countersign --json queue", "countersign queue --json"] {
            assert!(
                Arguments::try_parse_from(line.split(' '))
                    .unwrap()
                    .shared
                    .json,
                "{line}"
            );
        }
    }
}
