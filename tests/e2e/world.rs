//! What the tests of a failing world share: a small file system of its own, and commands whose receipts are noted.

use crate::http::{Answer, Caller};
use crate::stage::{Plane, TENANT};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Small segments, so that the next one is soon needed.
pub(crate) const SMALL: (&str, &str) = ("COUNTERSIGN_SEGMENT_SIZE", "1MiB");

/// Whether this is root, which alone can make the world fail so; loud where it is not, and a failure in CI.
pub(crate) fn can(what: &str) -> bool {
    if rustix::process::geteuid().is_root() {
        return true;
    }
    assert!(
        std::env::var_os("CI").is_none_or(|ci| ci != "true"),
        "only root can {what}, and CI must"
    );
    eprintln!("SKIPPED: only root can {what}");
    false
}

/// Runs a program of the system; what it said if it failed.
pub(crate) fn system(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!(
        "{program} {arguments:?}: {}",
        crate::harness::told(&output)
    ))
}

/// A file system of a few megabytes, in a file.
pub(crate) struct Volume {
    directory: tempfile::TempDir,
}

impl Volume {
    pub(crate) fn new(megabytes: u64) -> Self {
        Self::try_new(megabytes).unwrap()
    }

    /// Fails where this is not root, or where there are no loop devices.
    pub(crate) fn try_new(megabytes: u64) -> Result<Self, String> {
        let volume = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        let image = std::fs::File::create(volume.image()).unwrap();
        image.set_len(megabytes * 1024 * 1024).unwrap();
        std::fs::create_dir(volume.path()).unwrap();
        let image = volume.image();
        system("mkfs.ext4", &["-q", "-m", "0", image.to_str().unwrap()])?;
        volume.mount("rw")?;
        Ok(volume)
    }

    fn image(&self) -> PathBuf {
        self.directory.path().join("image")
    }

    /// Where it is mounted.
    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("volume")
    }

    pub(crate) fn mount(&self, how: &str) -> Result<(), String> {
        let (image, path) = (self.image(), self.path());
        let options = format!("loop,{how}");
        system(
            "mount",
            &[
                "-o",
                &options,
                image.to_str().unwrap(),
                path.to_str().unwrap(),
            ],
        )
    }

    pub(crate) fn remount(&self, how: &str) -> Result<(), String> {
        let options = format!("remount,{how}");
        system("mount", &["-o", &options, self.path().to_str().unwrap()])
    }

    pub(crate) fn unmount(&self) -> Result<(), String> {
        system("umount", &[self.path().to_str().unwrap()])
    }

    /// Copies what the device has received, as a power cut at this moment would leave it.
    pub(crate) fn what_is_left(&self) -> PathBuf {
        let (image, left) = (self.image(), self.directory.path().join("left"));
        let (from, to) = (image.to_str().unwrap(), left.to_str().unwrap());
        system("cp", &["--sparse=always", from, to]).unwrap();
        left
    }

    /// Goes on with that; nobody may have a file open here.
    pub(crate) fn put_back(&self, left: PathBuf) {
        self.unmount().unwrap();
        std::fs::rename(left, self.image()).unwrap();
        self.mount("rw").unwrap();
    }

    /// Fills it to the last byte.
    pub(crate) fn fill(&self) {
        use std::io::Write as _;
        let mut ballast = std::fs::File::create(self.ballast()).unwrap();
        let block = vec![7; 256 * 1024];
        for size in [block.len(), 4096, 512, 1] {
            while ballast.write_all(&block[..size]).is_ok() {}
        }
        // What is only in the page cache has no block yet.
        ballast.sync_all().unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }

    pub(crate) fn free(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // After a test that failed the server may still have files open there.
        drop(system("umount", &["-l", self.path().to_str().unwrap()]));
    }
}

/// Commands that are sent again and again, and the receipts that came.
pub(crate) struct Commands {
    pub(crate) caller: Caller,
    acknowledged: Vec<(String, Value)>,
    next: u64,
}

impl Commands {
    pub(crate) fn new(caller: Caller) -> Self {
        Self {
            caller,
            acknowledged: Vec::new(),
            next: 0,
        }
    }

    async fn post(&self, key: &str) -> Answer {
        let body = json!({ "site": key, "name": "n".repeat(100), "environment": "production" });
        self.caller
            .post(&format!("/v1/tenants/{TENANT}/sites"), key, &body)
            .await
    }

    /// Sends one command; its answer if it was refused.
    pub(crate) async fn send(&mut self) -> Option<Answer> {
        let key = format!("site-{}", self.next);
        self.next += 1;
        let answer = self.post(&key).await;
        if answer.is_ok() {
            self.acknowledged
                .push((key, answer.body["receipt"]["events"].clone()));
            return None;
        }
        Some(answer)
    }

    /// Sends so many commands, which are all taken.
    pub(crate) async fn send_all(&mut self, count: u64) {
        for _ in 0..count {
            let refused = self.send().await;
            assert!(refused.is_none(), "{refused:?}");
        }
    }

    /// Sends commands until one is refused.
    pub(crate) async fn until_refused(&mut self) -> Answer {
        for _ in 0..20_000 {
            if let Some(answer) = self.send().await {
                return answer;
            }
        }
        panic!("nothing is refused");
    }

    /// Sends the last command again until it is taken.
    pub(crate) async fn until_taken(&mut self) {
        let end = Instant::now() + crate::harness::PATIENCE;
        loop {
            self.next -= 1;
            let Some(refused) = self.send().await else {
                return;
            };
            assert_eq!(refused.status, 503, "{refused:?}");
            assert!(Instant::now() < end, "{refused:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Everything acknowledged is there as it was: sent again it gives its first receipt, and nothing is there twice.
    pub(crate) async fn check(&self) {
        assert!(self.acknowledged.len() > 10);
        for (key, events) in &self.acknowledged {
            let again = self.post(key).await;
            assert!(again.is_ok(), "{key}: {again:?}");
            assert_eq!(again.body["receipt"]["events"], *events, "{key}");
        }
        let sites = self
            .caller
            .get(&format!("/v1/tenants/{TENANT}/sites"))
            .await;
        assert_eq!(
            sites.body["items"].as_array().unwrap().len(),
            self.acknowledged.len()
        );
    }

    /// Reading goes on.
    pub(crate) async fn read(&self) {
        let events = self
            .caller
            .get(&format!("/v1/tenants/{TENANT}/events?limit=500"))
            .await;
        assert!(events.is_ok(), "{events:?}");
        assert!(!events.body["items"].as_array().unwrap().is_empty());
    }

    /// The codes of what `/readyz` says is wrong; `None` if commands are taken.
    pub(crate) async fn unready(&self) -> Option<Vec<String>> {
        let answer = self.caller.get("/readyz").await;
        let code = |problem: &Value| problem["code"].as_str().unwrap().to_owned();
        let codes = answer.body["problems"].as_array().unwrap().iter().map(code);
        (answer.status == 503).then(|| codes.collect())
    }

    pub(crate) async fn until_ready(&self) {
        let end = Instant::now() + crate::harness::PATIENCE;
        while let Some(codes) = self.unready().await {
            assert!(Instant::now() < end, "{codes:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// A figure of a server, summed over its labels.
pub(crate) async fn figure(plane: &Plane, name: &str) -> f64 {
    let caller = Caller::new(&plane.url(), &plane.admin());
    let answer = caller
        .request(reqwest::Method::GET, "/metrics")
        .send()
        .await
        .unwrap();
    let text = answer.text().await.unwrap();
    let value = |line: &str| -> f64 { line.rsplit_once(' ').unwrap().1.parse().unwrap() };
    let lines: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with(name))
        .map(value)
        .collect();
    assert!(!lines.is_empty(), "no `{name}` in:\n{text}");
    lines.iter().sum()
}

/// Waits until the log has all that the journal has.
pub(crate) async fn until_logged(plane: &Plane) {
    let end = Instant::now() + crate::harness::PATIENCE;
    while figure(plane, LAG).await > 0.5 {
        assert!(Instant::now() < end, "the log does not follow");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

const LAG: &str = "countersign_log_lag_bytes";

/// All files under a directory whose names end so.
pub(crate) fn files_ending(directory: &Path, end: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_ending(&path, end));
        } else if path.to_str().unwrap().ends_with(end) {
            found.push(path);
        }
    }
    found
}
