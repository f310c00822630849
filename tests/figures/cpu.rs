//! CPU time of this process and of its threads, as Linux counts it, in hundredths of a second.

use anyhow::{Context, Result};
use std::fs;
use std::time::Duration;

/// What all threads took since the process began, those that ended too.
pub(crate) fn all() -> Result<Duration> {
    taken(&fs::read_to_string("/proc/self/stat")?).context("the times of this process")
}

/// What the threads whose name begins so took, of those that run.
pub(crate) fn of_threads(name: &str) -> Result<Duration> {
    let mut sum = Duration::ZERO;
    for task in fs::read_dir("/proc/self/task")? {
        let task = task?.path();
        if fs::read_to_string(task.join("comm"))?.starts_with(name) {
            sum += taken(&fs::read_to_string(task.join("stat"))?).context("a thread's times")?;
        }
    }
    Ok(sum)
}

/// In user and in system; the name in front may hold anything, so it is counted from behind it.
fn taken(stat: &str) -> Option<Duration> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11).take(2);
    let mut hundredths = 0_u64;
    for _ in 0..2 {
        hundredths += times.next()?.parse::<u64>().ok()?;
    }
    Some(Duration::from_millis(hundredths * 10))
}
