//! The connector as a process of its own, which ends when we end, however we end.

use super::Addresses;
use crate::output;
use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::process::{Child, ChildStdin, Command};

/// How long a clean stop may take before the process is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// A child process that is stopped cleanly.
#[derive(Debug)]
pub(crate) struct Connector {
    child: Child,
    /// Held open as long as the connector is to run; waiting for a child would close it.
    alive: Option<ChildStdin>,
}

impl Connector {
    /// Pairs the connector, and waits until that is done.
    pub(crate) async fn pair(code: &str, directory: &Path, addresses: &Addresses) -> Result<()> {
        let mut command = ourselves(&["connector", "pair", code])?;
        command
            .args(addresses.arguments())
            .arg("--directory")
            .arg(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let status = command
            .status()
            .await
            .context("cannot start the connector")?;
        anyhow::ensure!(status.success(), "the connector could not pair: {status}");
        Ok(())
    }

    /// Starts the connector.
    pub(crate) fn run(directory: &Path, addresses: &Addresses) -> Result<Self> {
        let mut command = ourselves(&["connector", "run", "--until-stdin-closes"])?;
        command.args(addresses.arguments());
        // Its standard input is our promise to be alive: it closes even if we are killed.
        command
            .arg("--directory")
            .arg(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::null());
        // Ctrl-C in a terminal reaches a whole process group; the connector is stopped by us, in order.
        command.process_group(0).kill_on_drop(true);
        let mut child = command.spawn().context("cannot start the connector")?;
        let alive = child.stdin.take();
        Ok(Self { child, alive })
    }

    /// Waits until the process has ended by itself.
    pub(crate) async fn ended(&mut self) -> Result<ExitStatus> {
        self.child
            .wait()
            .await
            .context("cannot wait for the connector")
    }

    /// Asks the process to stop, and waits for it.
    pub(crate) async fn stop(mut self) -> Result<()> {
        drop(self.alive.take());
        if let Some(pid) = self
            .child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw)
        {
            kill_process(pid, Signal::TERM).ok();
        }
        if tokio::time::timeout(STOP_TIMEOUT, self.child.wait())
            .await
            .is_err()
        {
            output::note(format_args!(
                "the connector did not stop in {} s and is killed",
                STOP_TIMEOUT.as_secs()
            ));
            self.child
                .kill()
                .await
                .context("cannot kill the connector")?;
        }
        Ok(())
    }
}

fn ourselves(arguments: &[&str]) -> Result<Command> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let mut command = Command::new(program);
    command.args(arguments);
    // What the caller set for their own commands is not meant for the connector.
    for name in [
        "COUNTERSIGN_PROFILE",
        "COUNTERSIGN_SERVER",
        "COUNTERSIGN_TENANT",
        "COUNTERSIGN_TOKEN_FILE",
        "COUNTERSIGN_TOKEN",
    ] {
        command.env_remove(name);
    }
    Ok(command)
}
