//! Starting, asking, stopping and killing the processes under test; every wait has a bound and a condition.

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// The longest that anything here may take; what is waited for usually comes in milliseconds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// The binary `countersign` of this build.
pub(crate) fn binary() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let binary = test.parent().unwrap().parent().unwrap().join("countersign");
    assert!(
        binary.exists(),
        "no `{}`: run `cargo test --workspace`, or `cargo build` first",
        binary.display()
    );
    binary
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_path_buf()
}

/// A command of the binary, with none of the caller's settings.
pub(crate) fn countersign(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(arguments);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("COUNTERSIGN_")) {
        command.env_remove(name);
    }
    command.env("RUST_LOG", "warn").stdin(Stdio::null());
    command
}

/// Three ports beside each other that were free a moment ago.
pub(crate) fn three_ports() -> u16 {
    for _ in 0..200 {
        let first = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = first.local_addr().unwrap().port();
        if port < u16::MAX - 2
            && (1..=2).all(|beside| TcpListener::bind(("127.0.0.1", port + beside)).is_ok())
        {
            return port;
        }
    }
    panic!("no three free ports beside each other");
}

/// A long-running process that says on its first line of standard output, as JSON, that it is ready.
pub(crate) struct Running {
    child: Option<Child>,
}

impl Running {
    /// Starts it and waits until it is ready; its standard error goes to ours.
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let out = child.stdout.take().unwrap();
        let (send, first) = mpsc::channel();
        // Reads on to the end, so that the process never blocks on a full pipe.
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                send.send(line).ok();
            }
        });
        match first.recv_timeout(PATIENCE) {
            Ok(line) => {
                let ready: Result<Value, _> = serde_json::from_str(&line);
                assert!(ready.is_ok(), "`{line}`: {ready:?}");
                Self { child: Some(child) }
            }
            Err(_) => {
                child.kill().ok();
                panic!("{command:?} did not get ready: {:?}", child.wait());
            }
        }
    }

    fn child(&mut self) -> &mut Child {
        self.child.as_mut().unwrap()
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Asks it to stop, as Ctrl-C does, and returns its exit code.
    pub(crate) fn stop(mut self) -> Option<i32> {
        let pid = rustix::process::Pid::from_child(self.child());
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        let mut child = self.child.take().unwrap();
        let (send, ended) = mpsc::channel();
        std::thread::spawn(move || send.send(child.wait()));
        match ended.recv_timeout(PATIENCE) {
            Ok(status) => status.unwrap().code(),
            Err(_) => {
                rustix::process::kill_process(pid, rustix::process::Signal::KILL).ok();
                panic!("the process does not stop");
            }
        }
    }

    /// Lets it do nothing more, and keeps it.
    pub(crate) fn pause(&self) {
        let pid = rustix::process::Pid::from_child(self.child.as_ref().unwrap());
        rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    }

    /// Waits until it died by itself.
    pub(crate) fn died(mut self) {
        until("the process to die", || {
            self.child().try_wait().unwrap().map(|status| {
                assert!(!status.success(), "it ended well");
            })
        });
    }

    /// Kills it without a warning.
    pub(crate) fn kill(mut self) {
        self.child().kill().unwrap();
        self.child().wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

/// Looks again and again, with a pause, until `look` finds something.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What a finished command wrote, with what it was and how it ended, for messages.
pub(crate) fn told(output: &Output) -> String {
    format!(
        "{}\n--- standard output\n{}\n--- standard error\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
