//! A whole ledger as a server keeps it, of 1 M events or as many as were asked for: space, memory, opening, rebuilding, proofs.

use crate::Run;
use crate::child::{Plane, Running, Writer};
use crate::conditions::line_of;
use crate::corpus::{CHAINS, Commands, random};
use crate::cpu;
use crate::http;
use crate::report::Figure;
use crate::walk::{Walked, bytes_of, walk};
use crate::writing::{fill, per_second, runtime};
use anyhow::{Context, Result, ensure};
use countersign_chain::checkpoint::{Checkpoint, TlogProof};
use countersign_chain::merkle;
use countersign_ids::{ChainId, Sequence};
use countersign_store::{Ledger, Options};
use ed25519_dalek::SigningKey;
use rustix::fs::{Advice, fadvise};
use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long the server is asked before its memory is read.
const ASKED: Duration = Duration::from_secs(5);
/// How many proofs are asked for.
const PROOFS: usize = 500;

/// Builds the ledger once, and measures everything that a whole ledger can tell.
pub(crate) fn whole(run: &Run) -> Result<Vec<Figure>> {
    let directory = tempfile::tempdir_in(".")?;
    let root = directory.path().join("ledger");
    let plane = Running::<Plane>::start("plane", directory.path())?;
    let chains = plane.said.stage.chains();
    plane.stop()?;
    fill(open(&root)?, &Commands::to("whole", &chains)?, run.events)?;
    let all = walk(&root)?;
    let how = format!(
        "a ledger of {} events in {CHAINS} tenants' chains, all read models",
        all.events
    );
    let mut figures =
        vec![space(&root, &all)?.how(format!("{how}; allocated bytes after a clean stop"))];
    let began = Instant::now();
    let ledger = open(&root)?;
    figures.push(
        Figure::plain(
            "open after a clean stop",
            "s",
            began.elapsed().as_secs_f64(),
        )
        .at_most(1.0)
        .how(how.clone()),
    );
    figures.extend(proofs(&ledger, &root, &chains, &how)?);
    ledger.close()?;
    // Its lock goes with it.
    drop(ledger);
    figures.push(killed(directory.path(), &root, &how)?);
    figures.push(memory(directory.path(), &how)?);
    figures.extend(rebuild(&root, &how)?);
    Ok(figures)
}

fn open(root: &Path) -> Result<Ledger> {
    Ledger::open(root, Options::default()).context("the ledger does not open")
}

#[expect(
    clippy::cast_precision_loss,
    reason = "sizes of a bench are far below 2^52"
)]
fn space(root: &Path, all: &Walked) -> Result<Figure> {
    let ours = bytes_of(&root.join("journal"))? + bytes_of(&root.join("sled"))?;
    let per_event = |bytes: u64| bytes as f64 / all.events as f64;
    Ok(
        Figure::plain("space of journal and sled", "bytes/event", per_event(ours))
            .beside("header, salt and body", per_event(all.bytes))
            .at_most(0.7),
    )
}

/// Proofs that an event is in the tree of its chain; nothing of the files is in memory before each.
fn proofs(ledger: &Ledger, root: &Path, chains: &[ChainId], how: &str) -> Result<Vec<Figure>> {
    let chain = chains.first().context("no chain")?;
    let head = ledger.tree_head(chain)?;
    let checkpoint = Checkpoint {
        origin: format!("ledger.example.org/{chain}"),
        head,
    };
    let checkpoint = checkpoint.sign(&SigningKey::from_bytes(&random()?))?;
    let (mut spent, mut largest) = (Vec::new(), 0);
    for _ in 0..PROOFS {
        let index = u64::from_be_bytes(random()?) % head.size;
        forget(root)?;
        let began = Instant::now();
        let hashes = ledger.inclusion(chain, Sequence::new(index), head.size)?;
        spent.push(began.elapsed().as_secs_f64() * 1e3);
        let entry = ledger.event(chain, Sequence::new(index))?;
        let leaf = merkle::leaf_hash(&entry.record().header);
        ensure!(
            merkle::verify_inclusion(&leaf, index, head.size, &hashes, &head.root).is_ok(),
            "a proof does not verify"
        );
        let proof = TlogProof {
            index,
            hashes,
            checkpoint: checkpoint.clone(),
        };
        largest = largest.max(proof.to_string().len());
    }
    spent.sort_by(f64::total_cmp);
    let p99 = spent
        .get(PROOFS * 99 / 100)
        .copied()
        .unwrap_or(f64::INFINITY);
    let how = format!(
        "{how}; {PROOFS} proofs of one chain of {} events, its files dropped from the page cache before each",
        head.size
    );
    Ok(vec![
        Figure::plain("inclusion proof, cold, p99", "ms", p99)
            .at_most(2.0)
            .how(how.clone()),
        Figure::plain(
            "inclusion proof with its checkpoint",
            "bytes",
            f64::from(u32::try_from(largest)?),
        )
        .at_most(3072.0)
        .how(how),
    ])
}

/// Asks the kernel to drop what it holds of a directory's files.
fn forget(path: &Path) -> Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            forget(&entry.path())?;
        } else {
            fadvise(File::open(entry.path())?, 0, None, Advice::DontNeed)?;
        }
    }
    Ok(())
}

/// Opening after another process that wrote to the ledger was killed.
fn killed(directory: &Path, root: &Path, how: &str) -> Result<Figure> {
    let writer = Running::<Writer>::start("writer", directory)?;
    let said = writer.said.events;
    std::thread::sleep(ASKED);
    writer.kill()?;
    let began = Instant::now();
    let ledger = open(root)?;
    let spent = began.elapsed();
    let found: u64 = ledger.chains().iter().map(|(_, head)| head.size).sum();
    ledger.close()?;
    Ok(
        Figure::plain("open after SIGKILL", "s", spent.as_secs_f64())
            .at_most(3.0)
            .how(format!(
                "{how}; killed while it wrote batches, {} events later",
                found - said
            )),
    )
}

/// What the server's process has resident after it was asked for a while.
#[expect(
    clippy::cast_precision_loss,
    reason = "sizes of a bench are far below 2^52"
)]
fn memory(directory: &Path, how: &str) -> Result<Figure> {
    let plane = Running::<Plane>::start("plane", directory)?;
    let (answered, _) = http::propose_for(&plane.said, ASKED, "memory")?;
    let status = line_of(&format!("/proc/{}/status", plane.id()), "VmRSS:")?;
    let kib: u64 = status.trim_end_matches(" kB").parse()?;
    plane.stop()?;
    Ok(Figure::plain("server memory", "MB", kib as f64 * 1024.0 / 1e6)
        .at_most(250.0)
        .how(format!("{how}; resident after all tenants were opened and {answered} proposals over 64 connections")))
}

/// Takes sled away, and waits until everything is there again.
fn rebuild(root: &Path, how: &str) -> Result<Vec<Figure>> {
    fs::remove_dir_all(root.join("sled")).context("no sled to remove")?;
    let (began, cpu) = (Instant::now(), cpu::all()?);
    let rebuilt = open(root)?;
    let all = rebuilt.durable();
    runtime()?.block_on(rebuilt.folded(all));
    let (spent, cpu) = (began.elapsed(), cpu::all()?.saturating_sub(cpu));
    let folding = cpu::of_threads("countersign-fol")?;
    rebuilt.close()?;
    let bare = walk(root)?;
    let per_event = |time: Duration| 1e6 / per_second(bare.events, time);
    Ok(vec![
        Figure::plain(
            "rebuild of sled and read models",
            "events/s",
            per_second(bare.events, spent),
        )
        .beside(
            "bare decoding and verifying",
            per_second(bare.events, bare.spent),
        )
        .at_least(0.5)
        .how(how),
        Figure::plain("CPU of the rebuild", "µs/event", per_event(cpu)).how(format!(
            "{how}; user and system, of all threads; {:.1} µs of it where read models are folded",
            per_event(folding)
        )),
    ])
}
