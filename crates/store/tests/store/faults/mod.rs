//! The ledger on a simulated disk: seeds, every durable write failed by name, and a crash at every one of them.
//!
//! `cargo xtask faults` starts the same tests with other counts and names. sled stays on a real directory, in memory where
//! there is one; what became of it is chosen by the test: it is as it was left, as it was last made durable, damaged, or gone.

#![expect(
    clippy::print_stdout,
    reason = "a run is followed and a failing seed is found by what it prints"
)]

mod crashes;
mod gate;
mod log_fate;
mod seeds;
mod step;
mod table;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// A directory that forgets its contents with the machine, so that thousands of small logs cost little.
pub(crate) fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        tempfile::tempdir_in(memory).unwrap()
    } else {
        tempfile::tempdir().unwrap()
    }
}

/// Does `act` for each number below `count`, on all cores; returns those that panicked.
pub(crate) fn each(count: u64, act: impl Fn(u64) + Sync) -> Vec<u64> {
    let (next, failed) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::SeqCst);
            if number >= count {
                break;
            }
            if catch_unwind(AssertUnwindSafe(|| act(number))).is_err() {
                failed.lock().unwrap().push(number);
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    failed.into_inner().unwrap()
}
