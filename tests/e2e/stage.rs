//! A control plane as docs/operations.md sets it up, with the commands that it names: tenant, people, site, connector.

use crate::harness::{Running, countersign, root, three_ports, told};
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) const TENANT: &str = "harbour";
pub(crate) const SITE: &str = "kittiwake";

/// A directory with a ledger in it, and the server that serves it.
pub(crate) struct Plane {
    directory: PathBuf,
    port: u16,
    under: Option<u32>,
    log: Option<PathBuf>,
    settings: Vec<(String, String)>,
    running: Option<Running>,
}

impl Plane {
    fn idle(directory: &Path) -> Self {
        Self {
            directory: directory.to_path_buf(),
            port: three_ports(),
            under: None,
            log: None,
            settings: Vec::new(),
            running: None,
        }
    }

    /// Makes a ledger in a directory and serves it.
    pub(crate) fn start(directory: &Path) -> Self {
        let mut plane = Self::idle(directory);
        plane.resume();
        plane
    }

    /// The same, with settings in its environment.
    pub(crate) fn start_set(directory: &Path, settings: &[(&str, &str)]) -> Self {
        let mut plane = Self::idle(directory);
        plane.set(settings);
        plane.resume();
        plane
    }

    fn set(&mut self, settings: &[(&str, &str)]) {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        self.settings = settings.iter().map(owned).collect();
    }

    /// The same, and what runs writes everything that it could log into a file, as JSON.
    pub(crate) fn start_logged(directory: &Path, log: &Path) -> Self {
        let mut plane = Self::idle(directory);
        plane.log = Some(log.to_path_buf());
        plane.resume();
        plane
    }

    /// The same, as another user of this machine.
    pub(crate) fn start_under(directory: &Path, uid: u32, settings: &[(&str, &str)]) -> Self {
        let mut plane = Self {
            under: Some(uid),
            ..Self::idle(directory)
        };
        plane.set(settings);
        // The build may stand where that user cannot go.
        let plain = countersign(&[]);
        std::fs::copy(plain.get_program(), plane.own_binary()).unwrap();
        plane.resume();
        plane
    }

    /// A copy of the program that the other user can start.
    fn own_binary(&self) -> std::path::PathBuf {
        self.directory.join("countersign")
    }

    /// Writes what runs from now on says into a file.
    pub(crate) fn log_to(&mut self, log: &Path) {
        self.log = Some(log.to_path_buf());
    }

    pub(crate) fn restart(&mut self) {
        assert_eq!(self.stop(), Some(0));
        self.resume();
    }

    /// Serves again.
    pub(crate) fn resume(&mut self) {
        self.running = None;
        self.running = Some(Running::start(self.logged(self.command())));
    }

    /// Serves again, with these in its environment.
    pub(crate) fn resume_with(&mut self, variables: &[(&str, &str)]) {
        self.running = None;
        let mut command = self.logged(self.command());
        command.envs(variables.iter().copied());
        self.running = Some(Running::start(command));
    }

    /// Waits until the server died by itself.
    pub(crate) fn wait_for_death(&mut self) {
        self.running.take().unwrap().died();
    }

    /// Writes everything that a command could log into the file of the log, where there is one.
    pub(crate) fn logged(&self, mut command: Command) -> Command {
        if let Some(log) = &self.log {
            let file = std::fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(log)
                .unwrap();
            command
                .env("RUST_LOG", "trace")
                .env("COUNTERSIGN_LOG_FORMAT", "json")
                .stderr(file);
        }
        command
    }

    /// The command that serves this ledger.
    pub(crate) fn command(&self) -> Command {
        let (data, genesis) = (self.data(), self.directory.join("genesis.pem"));
        let address = format!("127.0.0.1:{}", self.port);
        let arguments = [
            "serve",
            "--json",
            "--origin",
            "ledger.example.org",
            "--listen",
            &address,
            "--data",
            data.to_str().unwrap(),
            "--genesis-key",
            genesis.to_str().unwrap(),
        ];
        let mut plain = countersign(&arguments);
        plain.envs(self.settings.iter().map(|(name, value)| (name, value)));
        let Some(uid) = self.under else { return plain };
        let mut command = Command::new("setpriv");
        command.args([
            format!("--reuid={uid}"),
            format!("--regid={uid}"),
            "--clear-groups".to_owned(),
        ]);
        command
            .arg(self.own_binary())
            .args(plain.get_args())
            .stdin(std::process::Stdio::null());
        for (name, value) in plain.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }

    pub(crate) fn running(&self) -> &Running {
        self.running.as_ref().unwrap()
    }

    pub(crate) fn kill(&mut self) {
        self.running.take().unwrap().kill();
    }

    pub(crate) fn stop(&mut self) -> Option<i32> {
        self.running.take().unwrap().stop()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.directory.join("ledger")
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The first administrator's token.
    pub(crate) fn admin(&self) -> String {
        std::fs::read_to_string(self.data().join("keys/admin-token"))
            .unwrap()
            .trim()
            .to_owned()
    }

    /// Runs a command with a token; fails the test if it fails.
    pub(crate) fn run(&self, token: &str, arguments: &[&str]) -> String {
        let output = self.try_run(token, arguments);
        assert!(output.status.success(), "{arguments:?}: {}", told(&output));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Runs a command with a token.
    pub(crate) fn try_run(&self, token: &str, arguments: &[&str]) -> std::process::Output {
        let mut command = countersign(arguments);
        command
            .env("COUNTERSIGN_SERVER", self.url())
            .env("COUNTERSIGN_TENANT", TENANT)
            .env("COUNTERSIGN_TOKEN", token);
        command.output().unwrap()
    }

    /// Creates the tenant; returns its owner's token.
    pub(crate) fn tenant(&self) -> String {
        let admin = self.admin();
        self.run(
            &admin,
            &["tenant", "add", TENANT, "--name", "Kittiwake Bay"],
        );
        self.run(
            &admin,
            &["token", "issue", "--role", "owner", "--actor", "olive"],
        )
    }

    /// `replay verify` of the ledger, which must hold.
    pub(crate) fn verify(&self) {
        self.verify_with(&[]);
    }

    /// The same, going on from the last time: chains and trees as a whole, what stands in bodies from there on.
    pub(crate) fn verify_on(&self) {
        let saved = self.directory.join("verified");
        let saved = saved.to_str().unwrap();
        let mut arguments = vec!["--save", saved];
        if Path::new(saved).exists() {
            arguments.extend(["--from", saved]);
        }
        self.verify_with(&arguments);
    }

    fn verify_with(&self, options: &[&str]) {
        let data = self.data();
        let mut arguments = vec!["replay", "verify", data.to_str().unwrap()];
        arguments.extend(options);
        let output = countersign(&arguments).output().unwrap();
        assert!(output.status.success(), "{}", told(&output));
    }
}

/// A plane with a tenant, an approver, an agent, a paired and running connector, and release 1 of the sample live.
pub(crate) struct Stage {
    pub(crate) plane: Plane,
    pub(crate) owner: String,
    pub(crate) agent: String,
    pub(crate) approver: String,
    pub(crate) key: PathBuf,
    pub(crate) site_port: u16,
    pub(crate) connector_directory: PathBuf,
    /// The pairing code that the connector used.
    pub(crate) code: String,
    connector: Option<Running>,
}

impl Stage {
    #[expect(
        clippy::too_many_lines,
        reason = "a script of commands, in their order"
    )]
    pub(crate) fn set(plane: Plane) -> Self {
        let admin = plane.admin();
        let owner = plane.tenant();
        let agent = plane.run(
            &admin,
            &[
                "token",
                "issue",
                "--role",
                "proposer",
                "--actor",
                "site-agent",
                "--kind",
                "agent",
                "--owner",
                "olive",
            ],
        );
        let approver = plane.run(
            &admin,
            &["token", "issue", "--role", "approver", "--actor", "alice"],
        );
        let beside = plane.directory.join("beside");
        std::fs::create_dir(&beside).unwrap();
        let key = beside.join("alice.pem");
        let key_text = key.to_str().unwrap();
        plane.run(&admin, &["key", "new", key_text]);
        plane.run(
            &admin,
            &[
                "approver",
                "enrol",
                "--approver",
                "alice",
                "--credential",
                "laptop",
                "--key",
                key_text,
            ],
        );
        plane.run(&owner, &["site", "add", SITE, "--name", "Kittiwake Light"]);
        let code = plane.run(&owner, &["site", "invite", SITE]);
        let connector_directory = beside.join("connector");
        let site_port = three_ports();
        let (listen, preview) = (
            format!("127.0.0.1:{site_port}"),
            format!("127.0.0.1:{}", site_port + 1),
        );
        plane.run(
            "-",
            &[
                "connector",
                "pair",
                &code,
                "--directory",
                connector_directory.to_str().unwrap(),
                "--listen",
                &listen,
                "--preview-listen",
                &preview,
            ],
        );
        let mut stage = Self {
            plane,
            owner,
            agent,
            approver,
            key,
            site_port,
            connector_directory,
            code,
            connector: None,
        };
        stage.run_connector();
        for (number, label) in [(1, "2026-summer"), (2, "2026-autumn"), (3, "2026-winter")] {
            let directory = root().join(format!("examples/site/release-{number}"));
            let arguments = [
                "release",
                "add",
                directory.to_str().unwrap(),
                "--label",
                label,
                "--site",
                SITE,
            ];
            stage.plane.run(&stage.owner, &arguments);
        }
        let first = stage.propose("2026-summer");
        assert_eq!(stage.decide("approve", &first), Some(0));
        stage
    }

    pub(crate) fn run_connector(&mut self) {
        self.connector = None;
        let directory = self.connector_directory.to_str().unwrap().to_owned();
        let command = countersign(&["connector", "run", "--json", "--directory", &directory]);
        self.connector = Some(Running::start(self.plane.logged(command)));
    }

    pub(crate) fn kill_connector(&mut self) {
        self.connector.take().unwrap().kill();
    }

    pub(crate) fn stop_connector(&mut self) {
        self.connector.take().unwrap().stop();
    }

    pub(crate) fn propose(&self, release: &str) -> String {
        self.plane.run(
            &self.agent,
            &["propose", release, "--site", SITE, "--reason", "it is time"],
        )
    }

    /// Approves or denies as alice, and waits for the end; the exit code.
    pub(crate) fn decide(&self, verb: &str, action: &str) -> Option<i32> {
        let key = self.key.to_str().unwrap();
        let arguments = [
            verb,
            action,
            "--key",
            key,
            "--approver",
            "alice",
            "--credential",
            "laptop",
            "--yes",
            "--wait",
        ];
        let output = self.plane.try_run(&self.approver, &arguments);
        let code = output.status.code();
        assert!(matches!(code, Some(0 | 1 | 3)), "{}", told(&output));
        code
    }

    /// Approves as alice, and waits for nothing.
    pub(crate) fn vote(&self, action: &str) {
        let key = self.key.to_str().unwrap();
        let arguments = [
            "approve",
            action,
            "--key",
            key,
            "--approver",
            "alice",
            "--credential",
            "laptop",
            "--yes",
        ];
        self.plane.run(&self.approver, &arguments);
    }

    /// Asks the live site for a page.
    pub(crate) fn page(&self, path: &str) -> String {
        let url = format!("http://127.0.0.1:{}/{path}", self.site_port);
        let output = Command::new("curl")
            .args(["-s", "--noproxy", "*", &url])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    }
}
