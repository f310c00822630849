//! One module per group of commands; each turns arguments into calls and answers into text.

pub(crate) mod act;
pub(crate) mod administer;
mod backup;
mod config;
mod connector;
pub(crate) mod decide;
mod key;
mod page;
mod projections;
mod proposals;
pub(crate) mod release;
pub(crate) mod watch;

use crate::arguments::{Arguments, Command};
use crate::client::Client;
use crate::profile::Profile;
use crate::settings::log::Logging;
use crate::{doctor, output, serve, up};
use anyhow::{Context, Result};
use clap::CommandFactory;
use std::process::ExitCode;

/// What a command that calls a server has at hand.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) profile: Profile,
    pub(crate) client: Client,
    pub(crate) json: bool,
}

impl Caller {
    /// `/v1/tenants/<tenant>` and `rest`.
    pub(crate) fn path(&self, rest: &str) -> Result<String> {
        Ok(format!("/v1/tenants/{}{rest}", self.profile.tenant()?))
    }
}

/// Runs one command.
pub(crate) fn run(arguments: Arguments) -> Result<ExitCode> {
    let Arguments { shared, command } = arguments;
    let caller = || -> Result<Caller> {
        let profile = Profile::of(&shared)?;
        let client = Client::of(&profile)?;
        Ok(Caller {
            profile,
            client,
            json: shared.json,
        })
    };
    match command {
        Command::Propose(arguments) => wait_for(act::propose(caller()?, arguments)),
        Command::Rollback(arguments) => wait_for(act::rollback(caller()?, arguments)),
        Command::Queue(arguments) => wait_for(watch::queue(caller()?, arguments)),
        Command::Show(arguments) => wait_for(watch::show(caller()?, arguments)),
        Command::Status(arguments) => wait_for(watch::status(caller()?, arguments)),
        Command::Approve(arguments) => wait_for(decide::approve(caller()?, arguments)),
        Command::Deny(arguments) => wait_for(decide::deny(caller()?, arguments)),
        Command::Withdraw(arguments) if arguments.vote => {
            wait_for(decide::take_back(caller()?, arguments))
        }
        Command::Withdraw(arguments) => wait_for(act::withdraw(caller()?, arguments)),
        Command::Release(arguments) => wait_for(release::run(caller()?, arguments)),
        Command::Site(arguments) => wait_for(administer::site(caller()?, arguments)),
        Command::Tenant(arguments) => wait_for(administer::tenant(caller()?, arguments)),
        Command::Approver(arguments) => wait_for(administer::approver(caller()?, arguments)),
        Command::Token(arguments) => wait_for(administer::token(caller()?, arguments)),
        Command::Retention(arguments) => wait_for(administer::retention(caller()?, arguments)),
        Command::Erase(arguments) => wait_for(administer::erase(caller()?, arguments)),
        Command::Freeze(arguments) => wait_for(administer::freeze(caller()?, arguments)),
        Command::Projections(arguments) => wait_for(projections::run(caller()?, arguments)),
        Command::Keys(arguments) => wait_for(administer::keys(caller()?, arguments)),
        Command::Key(arguments) => key::run(&arguments, shared.json),
        Command::Completions(arguments) => {
            let mut script = Vec::new();
            clap_complete::generate(
                arguments.shell,
                &mut Arguments::command(),
                "countersign",
                &mut script,
            );
            output::data(&String::from_utf8_lossy(&script))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Config(arguments) => config::run(arguments, &shared),
        Command::Backup(arguments) => backup::take(&arguments, shared.json),
        Command::Restore(arguments) => wait_for(backup::restore(arguments, &shared)),
        Command::Doctor(arguments) => match doctor::directory(&arguments, &shared)? {
            Some(code) => Ok(code),
            None => wait_for(doctor::server(&shared)),
        },
        Command::Connector(arguments) => serve_until_stopped(
            &Logging::of_environment()?,
            connector::run(arguments, shared),
        ),
        Command::Up(arguments) => {
            serve_until_stopped(&Logging::of_environment()?, up::run(arguments, shared.json))
        }
        Command::Serve(arguments) => {
            let settings = serve::Settings::of(arguments)?;
            let log = settings.log.clone();
            serve_until_stopped(&log, serve::run(settings, shared.json))
        }
        Command::Replay(command) => {
            let (mut out, mut err) = (std::io::stdout().lock(), std::io::stderr());
            Ok(ExitCode::from(countersign_replay::cli::run(
                &command, &mut out, &mut err,
            )))
        }
    }
}

/// Runs a command that calls a server, on one thread.
fn wait_for(command: impl Future<Output = Result<ExitCode>>) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no runtime")?;
    runtime.block_on(command)
}

/// Runs a server, on all threads, with a log on standard error.
fn serve_until_stopped(
    log: &Logging,
    server: impl Future<Output = Result<ExitCode>>,
) -> Result<ExitCode> {
    log.begin()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("no runtime")?;
    runtime.block_on(server)
}
