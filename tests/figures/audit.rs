//! Verifying a stopped ledger as `replay verify --through tree --threads 2` does, beside a loop that only reads, decompresses
//! and hashes the same bytes.

use crate::Run;
use crate::child::Running;
use crate::corpus::{CHAINS, Commands, ledger_with};
use crate::report::{Figure, median};
use crate::writing::{fill, per_second};
use anyhow::{Context, Result, ensure};
use countersign_chain::{Body, Record};
use countersign_replay::open::open;
use countersign_replay::progress::Progress;
use countersign_replay::report::{Verdict, peak_memory_bytes};
use countersign_replay::verdict::{Demands, Level, Status};
use countersign_replay::verify::{Pins, verify};
use countersign_store::Options;
use countersign_store::read::{Item, Reader};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::hint::black_box;
use std::io::{BufReader, Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

const THREADS: usize = 2;
/// How often both are measured, in turns.
const ROUNDS: usize = 3;
/// What is compressed at once for the bare loop.
const BLOCK_BYTES: usize = 256 * 1024;
const ZSTD_LEVEL: i32 = 3;

/// What a process says that verified a ledger.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Verified {
    events: u64,
    seconds: f64,
    peak_memory_bytes: u64,
}

/// Events per second, and memory.
pub(crate) fn audit(run: &Run) -> Result<Vec<Figure>> {
    let directory = tempfile::tempdir_in(".")?;
    let (large, small) = (
        directory.path().join("large"),
        directory.path().join("small"),
    );
    let (many, few) = (build(&large, run.events)?, build(&small, run.events / 5)?);
    let packed = directory.path().join("packed");
    pack(&large, &packed)?;
    let (mut ours, mut limit, mut peak) = (Vec::new(), Vec::new(), 0);
    for _ in 0..ROUNDS {
        limit.push(per_second(many, bare(&packed)?));
        let said = verified(&large, many)?;
        ours.push(per_second(many, Duration::from_secs_f64(said.seconds)));
        peak = peak.max(said.peak_memory_bytes);
    }
    let fewer = verified(&small, few)?.peak_memory_bytes;
    let how = format!(
        "{many} events in {CHAINS} chains, levels framing to tree, {THREADS} threads, in a process of its own; median of {ROUNDS} turns"
    );
    let bare = "one thread that reads, decompresses and hashes the same bytes";
    Ok(vec![
        Figure::plain("verify, framing to tree", "events/s", median(ours))
            .beside(bare, median(limit))
            .at_least(0.7)
            .how(how.clone()),
        Figure::plain("verify, peak memory", "MB", megabytes(peak))
            .at_most(100.0)
            .how(how.clone()),
        Figure::plain("verify, peak memory of many events", "MB", megabytes(peak))
            .beside("a fifth of the events", megabytes(fewer))
            .at_most(1.1)
            .how(how),
    ])
}

/// Verifies in this process, as the bench started it again for, and says what it took.
pub(crate) fn child(root: &Path) -> Result<()> {
    let began = Instant::now();
    let events = follow(root)?;
    let said = Verified {
        events,
        seconds: began.elapsed().as_secs_f64(),
        peak_memory_bytes: peak_memory_bytes().context("the system does not tell")?,
    };
    writeln!(std::io::stdout(), "{}", serde_json::to_string(&said)?)?;
    Ok(())
}

/// Verifies every event from its frame to the tree of its chain; gives how many there are.
fn follow(root: &Path) -> Result<u64> {
    let demands = Demands {
        through: Some(Level::Tree),
        threads: THREADS,
        ..Demands::default()
    };
    let mut source = open(root)?;
    let verdict = verify(
        source.as_mut(),
        &Pins::default(),
        &demands,
        &mut Progress::hidden(),
    )?;
    ensure!(sound(&verdict), "{}", verdict.to_text());
    Ok(verdict.counts.events)
}

fn sound(verdict: &Verdict) -> bool {
    let verified = |level| verdict.levels.get(&level) == Some(&Status::Verified);
    [Level::Framing, Level::Chain, Level::Tree]
        .into_iter()
        .all(verified)
}

fn verified(root: &Path, events: u64) -> Result<Verified> {
    let child = Running::<Verified>::start("verify", root)?;
    ensure!(
        child.said.events == events,
        "other events than were written"
    );
    Ok(child.said.clone())
}

/// Makes a ledger of so many events, or a few more; says how many.
fn build(root: &Path, events: u64) -> Result<u64> {
    let ledger = ledger_with(root, Options::default())?;
    fill(ledger, &Commands::new("audit")?, events)?;
    Ok(crate::walk::walk(root)?.events)
}

/// Writes the bytes of every event into compressed blocks of their own, without anything of a journal around them.
fn pack(root: &Path, to: &Path) -> Result<()> {
    let (mut file, mut block) = (File::create(to)?, Vec::new());
    for item in Reader::open(root)?.journal()? {
        let Item::Events { records, .. } = item? else {
            continue;
        };
        for record in records {
            put(&mut block, &record)?;
            if block.len() >= BLOCK_BYTES {
                write_block(&mut file, &block)?;
                block.clear();
            }
        }
    }
    write_block(&mut file, &block)?;
    file.sync_all()?;
    Ok(())
}

fn put(block: &mut Vec<u8>, record: &Record) -> Result<()> {
    let Body::Present { salt, bytes } = &record.body else {
        anyhow::bail!("a body is absent");
    };
    for part in [
        record.header.clone(),
        [salt.as_bytes().as_slice(), bytes].concat(),
    ] {
        block.extend_from_slice(&u32::try_from(part.len())?.to_be_bytes());
        block.extend_from_slice(&part);
    }
    Ok(())
}

fn write_block(file: &mut File, block: &[u8]) -> Result<()> {
    let packed = zstd::bulk::compress(block, ZSTD_LEVEL)?;
    file.write_all(&u32::try_from(packed.len())?.to_be_bytes())?;
    file.write_all(&packed)?;
    Ok(())
}

/// Reads, decompresses and hashes: E by BLAKE3 and SHA-256, salt and body by BLAKE3.
fn bare(packed: &Path) -> Result<Duration> {
    let began = Instant::now();
    let mut file = BufReader::with_capacity(1 << 20, File::open(packed)?);
    let (mut length, mut block) = ([0; 4], Vec::new());
    while file.read_exact(&mut length).is_ok() {
        block.resize(usize::try_from(u32::from_be_bytes(length))?, 0);
        file.read_exact(&mut block)?;
        let plain = zstd::bulk::decompress(&block, 4 * BLOCK_BYTES)?;
        let mut rest = plain.as_slice();
        while !rest.is_empty() {
            let header = take(&mut rest)?;
            black_box((blake3::hash(header), Sha256::digest(header)));
            black_box(blake3::hash(take(&mut rest)?));
        }
    }
    Ok(began.elapsed())
}

fn take<'b>(rest: &mut &'b [u8]) -> Result<&'b [u8]> {
    let (length, behind) = rest.split_first_chunk().context("a block is cut off")?;
    let length = usize::try_from(u32::from_be_bytes(*length))?;
    let (part, behind) = behind
        .split_at_checked(length)
        .context("a block is cut off")?;
    *rest = behind;
    Ok(part)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "sizes of a bench are far below 2^52"
)]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
