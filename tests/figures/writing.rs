//! Writing: a lone writer, many writers, batches; each beside a bare preallocated file.

use crate::corpus::{Commands, EVENT_BYTES, ledger, random};
use crate::limit::Bare;
use crate::report::{Figure, median};
use anyhow::{Context, Result};
use countersign_store::Ledger;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// How many appends of a lone writer.
const LONE_APPENDS: usize = 2_000;
/// How long many writers write.
const WRITING: Duration = Duration::from_secs(4);
/// Events of one batch: as many commands as fit, all under way together.
const BATCH_EVENTS: u64 = 1024;
/// Events of one command of a batch; the most that a command may have.
const COMMAND_EVENTS: u64 = 64;

/// As many threads as there are cores.
pub(crate) fn runtime() -> Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("no runtime")
}

/// One append at a time, each durable, beside one bare write and fdatasync of as many bytes; in turns.
pub(crate) fn lone() -> Result<Vec<Figure>> {
    let directory = tempfile::tempdir_in(".")?;
    let ledger = ledger(&directory.path().join("ledger"))?;
    let mut bare = Bare::create(directory.path())?;
    let (commands, runtime) = (Commands::new("lone"), runtime()?);
    let (mut ours, mut limit) = (Vec::new(), Vec::new());
    for number in 0..LONE_APPENDS + 100 {
        let append = commands.next(&ledger, 1)?;
        let bytes: [u8; EVENT_BYTES] = random()?;
        let began = Instant::now();
        runtime.block_on(ledger.append(append))?;
        let appended = began.elapsed();
        let began = Instant::now();
        bare.write(&bytes)?;
        let written = began.elapsed();
        if number >= 100 {
            ours.push(appended.as_secs_f64() * 1e6);
            limit.push(written.as_secs_f64() * 1e6);
        }
    }
    ledger.close()?;
    Ok(vec![
        Figure::plain("lone writer, p50", "µs", median(ours))
            .beside("bare write + fdatasync", median(limit))
            .at_most(1.3)
            .how(format!(
                "{LONE_APPENDS} appends of one event, each followed by one bare write of {EVENT_BYTES} bytes"
            )),
    ])
}

/// 64 and 256 writers, one event a command, each waiting for its own to be durable.
pub(crate) fn writers() -> Result<Vec<Figure>> {
    [64, 256].into_iter().map(many).collect()
}

fn many(writers: usize) -> Result<Figure> {
    let directory = tempfile::tempdir_in(".")?;
    let ledger = Arc::new(ledger(&directory.path().join("ledger"))?);
    let commands = Arc::new(Commands::new("many"));
    let events: u64 = runtime()?.block_on(async {
        let end = Instant::now() + WRITING;
        let mut tasks = JoinSet::new();
        for _ in 0..writers {
            let (ledger, commands) = (Arc::clone(&ledger), Arc::clone(&commands));
            tasks.spawn(async move { write_until(end, &ledger, &commands).await });
        }
        let mut events = 0;
        while let Some(written) = tasks.join_next().await {
            events += written??;
        }
        Ok::<_, anyhow::Error>(events)
    })?;
    let rate = per_second(events, WRITING);
    ledger.close()?;
    let limit = bare_segment(directory.path(), writers)?;
    Ok(
        Figure::plain(&format!("{writers} writers"), "events/s", rate)
            .beside("bare segment", limit)
            .how(format!(
                "{} s, one event a command, 16 chains, all read models; then {} s of groups of {writers} events of {EVENT_BYTES} bytes",
                WRITING.as_secs(),
                WRITING.as_secs()
            )),
    )
}

async fn write_until(end: Instant, ledger: &Ledger, commands: &Commands) -> Result<u64> {
    let mut events = 0;
    while Instant::now() < end {
        ledger.append(commands.next(ledger, 1)?).await?;
        events += 1;
    }
    Ok(events)
}

/// 1024 events under way together, in commands of 64, over the 16 chains.
pub(crate) fn batches() -> Result<Vec<Figure>> {
    let directory = tempfile::tempdir_in(".")?;
    let ledger = ledger(&directory.path().join("ledger"))?;
    let commands = Commands::new("batch");
    let (mut events, mut spent) = (0, Duration::ZERO);
    runtime()?.block_on(async {
        while spent < WRITING {
            let appends = (0..BATCH_EVENTS / COMMAND_EVENTS)
                .map(|_| commands.next(&ledger, COMMAND_EVENTS))
                .collect::<Result<Vec<_>>>()?;
            let began = Instant::now();
            let mut under_way = Vec::new();
            for append in appends {
                under_way.push(Box::pin(ledger.append(append)));
            }
            for append in under_way {
                append.await?;
            }
            spent += began.elapsed();
            events += BATCH_EVENTS;
        }
        Ok::<_, anyhow::Error>(())
    })?;
    ledger.close()?;
    let limit = bare_segment(directory.path(), usize::try_from(BATCH_EVENTS)?)?;
    Ok(vec![
        Figure::plain("batches of 1024", "events/s", per_second(events, spent))
            .beside("bare segment", limit)
            .how(format!(
                "{} s, {BATCH_EVENTS} events under way in commands of {COMMAND_EVENTS}, 16 chains, all read models; then {} s of groups of {BATCH_EVENTS} events of {EVENT_BYTES} bytes",
                WRITING.as_secs(),
                WRITING.as_secs()
            )),
    ])
}

/// Events per second of a bare segment: groups of so many events, hashed, checksummed, one write, one fdatasync.
fn bare_segment(directory: &std::path::Path, group: usize) -> Result<f64> {
    let mut bare = Bare::create(directory)?;
    let event: [u8; EVENT_BYTES] = random()?;
    let mut events = 0;
    let began = Instant::now();
    while began.elapsed() < WRITING {
        bare.group(std::iter::repeat_n(event.as_slice(), group))?;
        events += u64::try_from(group)?;
    }
    Ok(per_second(events, began.elapsed()))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of a bench are far below 2^52"
)]
pub(crate) fn per_second(events: u64, time: Duration) -> f64 {
    events as f64 / time.as_secs_f64()
}
