//! A whole ledger of 100,000 events: its size, the memory that writing it took, opening it, rebuilding it, reading it.

use crate::conditions::line_of;
use crate::corpus::{CHAINS, Commands, EVENT_BYTES, ledger};
use crate::report::Figure;
use crate::writing::per_second;
use anyhow::{Context, Result};
use countersign_store::{Ledger, Options};
use std::fs;
use std::path::Path;
use std::time::Instant;

const COMMANDS: u64 = 6_250;
const COMMAND_EVENTS: u64 = 16;
const EVENTS: u64 = COMMANDS * COMMAND_EVENTS;

/// Builds the ledger once, and measures everything that a whole ledger can tell.
pub(crate) fn whole() -> Result<Vec<Figure>> {
    let directory = tempfile::tempdir_in(".")?;
    let root = directory.path().join("ledger");
    build(&root)?;
    let how = format!("a ledger of {EVENTS} events in {CHAINS} chains, all read models");
    let mut figures = vec![
        space("journal", &root.join("journal"))?,
        space("sled", &root.join("sled"))?,
    ];
    figures.push(
        Figure::plain("memory, resident at most", "MiB", peak_memory()?).how(format!(
            "this process, which held the ledger while {EVENTS} events were written to it"
        )),
    );
    let began = Instant::now();
    open(&root)?.close()?;
    let spent = began.elapsed().as_secs_f64() * 1e3;
    figures.push(Figure::plain("open and close after a clean stop", "ms", spent).how(how.clone()));
    fs::remove_dir_all(root.join("sled")).context("no sled to remove")?;
    let began = Instant::now();
    let rebuilt = open(&root)?;
    let all = rebuilt.durable();
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(rebuilt.folded(all));
    let rebuild = per_second(EVENTS, began.elapsed());
    rebuilt.close()?;
    let (hashing, verify) = (hash_all(&root.join("journal"))?, verify(&root)?);
    figures.push(
        Figure::plain("rebuild of sled and read models", "events/s", rebuild)
            .beside("BLAKE3 of the journal", hashing)
            .how(how.clone()),
    );
    figures.push(
        Figure::plain("verify hashes and links", "events/s", verify)
            .beside("BLAKE3 of the journal", hashing)
            .how(how.clone()),
    );
    Ok(figures)
}

fn open(root: &Path) -> Result<Ledger> {
    Ledger::open(root, Options::default()).context("the ledger does not open")
}

fn build(root: &Path) -> Result<()> {
    let ledger = ledger(root)?;
    let commands = Commands::new("whole");
    for _ in 0..COMMANDS {
        ledger.append_blocking(commands.next(&ledger, COMMAND_EVENTS)?)?;
    }
    ledger.close()?;
    Ok(())
}

#[expect(
    clippy::cast_precision_loss,
    reason = "sizes of a bench are far below 2^52"
)]
fn space(name: &str, directory: &Path) -> Result<Figure> {
    let bytes = bytes_of(directory)? as f64 / EVENTS as f64;
    Ok(
        Figure::plain(&format!("space in {name}"), "bytes/event", bytes)
            .beside("header, salt and body", EVENT_BYTES as f64)
            .how(format!(
                "allocated bytes of a closed ledger of {EVENTS} events"
            )),
    )
}

/// Bytes that are allocated on disk.
fn bytes_of(path: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_dir() {
        return Ok(metadata.blocks() * 512);
    }
    fs::read_dir(path)?
        .map(|entry| bytes_of(&entry?.path()))
        .sum()
}

/// The most memory that this process ever had resident, in MiB.
fn peak_memory() -> Result<f64> {
    let line = line_of("/proc/self/status", "VmHWM:")?;
    let kib: f64 = line.trim_end_matches(" kB").parse()?;
    Ok(kib / 1024.0)
}

/// Reads the journal and follows every chain, as an auditor does first.
fn verify(root: &Path) -> Result<f64> {
    let began = Instant::now();
    let read = crate::audit::follow(root)?;
    anyhow::ensure!(read == EVENTS, "{read} events instead of {EVENTS}");
    Ok(per_second(read, began.elapsed()))
}

/// How fast one thread reads and hashes the same files.
fn hash_all(journal: &Path) -> Result<f64> {
    let began = Instant::now();
    let mut hasher = blake3::Hasher::new();
    for entry in fs::read_dir(journal)? {
        hasher.update(&fs::read(entry?.path())?);
    }
    std::hint::black_box(hasher.finalize());
    Ok(per_second(EVENTS, began.elapsed()))
}
