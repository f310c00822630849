//! The world of a server under test, for what no test can do to a real machine: a clock that is off, a disk that is slow.
//!
//! Only with the feature `faults`, so in nothing that is released. The environment names a file of lines `clock MILLIS` and
//! `sync MILLIS`; it is read at every use, so that a test changes the world while the server runs.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

const FILE: &str = "COUNTERSIGN_FAULTS";

/// How far the wall clock is off, in milliseconds.
pub(crate) fn clock_millis() -> i64 {
    said("clock").unwrap_or_default()
}

/// Takes as long as the disk does, beside what it really takes.
pub(crate) fn slow_sync() {
    let millis = said("sync").and_then(|millis| u64::try_from(millis).ok());
    if let Some(millis) = millis {
        std::thread::sleep(Duration::from_millis(millis));
    }
}

fn said(what: &str) -> Option<i64> {
    static WORLD: OnceLock<Option<PathBuf>> = OnceLock::new();
    let path = WORLD.get_or_init(|| std::env::var_os(FILE).map(PathBuf::from));
    let text = std::fs::read_to_string(path.as_ref()?).ok()?;
    text.lines()
        .find_map(|line| line.strip_prefix(what)?.trim().parse().ok())
}
