//! Writing: a lone writer, many writers, batches; each beside a bare preallocated file.

use crate::Run;
use crate::corpus::{CHAINS, Commands, EVENT_BYTES, ledger_with, random};
use crate::limit::Bare;
use crate::report::{Figure, median};
use anyhow::{Context, Result};
use countersign_projections::{Change, Folded, Projection, Rows, Stop};
use countersign_store::{Append, Error, Ledger, Options, Projections};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// How many appends of a lone writer.
const LONE_APPENDS: usize = 2_000;
/// How long writers write in a row, with everything behind them.
const SUSTAINED: Duration = Duration::from_secs(60);
/// How long they write to the journal alone.
const ALONE: Duration = Duration::from_secs(15);
/// How long the bare segment is written, before and after ours.
const BARE: Duration = Duration::from_secs(5);
/// How long a writer waits that was refused because the log is behind.
const COME_AGAIN: Duration = Duration::from_millis(50);
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

/// What is kept behind the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keeping {
    /// The log and all read models, as the server does.
    All,
    /// The log without read models.
    Nothing,
    /// Nothing at all until the end: the log's thread is held at the first event.
    Journal,
}

/// What came of writing for a while.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) events_per_second: f64,
    /// Bytes of the journal that the log lacked at the end.
    pub(crate) lag: u64,
}

/// One append at a time, each durable, beside one bare write and fdatasync of as many bytes; in turns.
pub(crate) fn lone(_: &Run) -> Result<Vec<Figure>> {
    let directory = tempfile::tempdir_in(".")?;
    let ledger = ledger_with(&directory.path().join("ledger"), Options::default())?;
    let mut bare = Bare::create(directory.path())?;
    let (commands, runtime) = (Commands::new("lone")?, runtime()?);
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
            .at_most(1.2)
            .how(format!(
                "{LONE_APPENDS} appends of one event, each followed by one bare write of {EVENT_BYTES} bytes"
            )),
    ])
}

/// 64 and 256 writers, one event a command, each waiting for its own to be durable.
pub(crate) fn writers(_: &Run) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (writers, goal) in [(64, 0.8), (256, 0.5)] {
        let name = format!("{writers} writers");
        figures.extend(beside_bare(
            &name,
            writers,
            (goal, 0.9),
            |time, keeping| many(writers, time, keeping),
        )?);
    }
    Ok(figures)
}

/// 1024 events under way together, in commands of 64, over the 16 chains.
pub(crate) fn batches(_: &Run) -> Result<Vec<Figure>> {
    beside_bare(
        "batches of 1024",
        usize::try_from(BATCH_EVENTS)?,
        (0.45, 0.85),
        batched,
    )
}

/// Writes with everything behind the journal, then to the journal alone; the bare segment before, between and after.
fn beside_bare(
    name: &str,
    group: usize,
    (goal, goal_alone): (f64, f64),
    write: impl Fn(Duration, Keeping) -> Result<Written>,
) -> Result<Vec<Figure>> {
    let before = bare_segment(group)?;
    let ours = write(SUSTAINED, Keeping::All)?;
    let between = bare_segment(group)?;
    let alone = write(ALONE, Keeping::Journal)?;
    let after = bare_segment(group)?;
    let how = |time: Duration, behind: &str| {
        format!(
            "{} s in a row, {CHAINS} chains, {behind}; the bare segment {} s before and after, in groups of {group} events of {EVENT_BYTES} bytes",
            time.as_secs(),
            BARE.as_secs()
        )
    };
    let lag = format!(
        "log and all read models behind, {} KiB of them behind at the end",
        ours.lag / 1024
    );
    Ok(vec![
        Figure::plain(name, "events/s", ours.events_per_second)
            .beside("bare segment", f64::midpoint(before, between))
            .at_least(goal)
            .how(how(SUSTAINED, &lag)),
        Figure::plain(
            &format!("{name}, journal alone"),
            "events/s",
            alone.events_per_second,
        )
        .beside("bare segment", f64::midpoint(between, after))
        .at_least(goal_alone)
        .how(how(ALONE, "the log held until the end")),
    ])
}

/// Many writers for a while, each waiting for its own event to be durable.
pub(crate) fn many(writers: usize, time: Duration, keeping: Keeping) -> Result<Written> {
    let directory = tempfile::tempdir_in(".")?;
    let held = Held::default();
    let root = directory.path().join("ledger");
    let ledger = Arc::new(ledger_with(&root, held.options(keeping))?);
    let commands = Arc::new(Commands::pooled("many")?);
    let events: u64 = runtime()?.block_on(async {
        let end = Instant::now() + time;
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
    ended(&ledger, &held, per_second(events, time))
}

/// Appends as a client does that is told to come again: what is refused because the log is behind is not counted.
pub(crate) async fn taken(ledger: &Ledger, append: Append) -> Result<bool> {
    match ledger.append(append).await {
        Ok(_) => Ok(true),
        Err(Error::Overloaded { .. }) => {
            tokio::time::sleep(COME_AGAIN).await;
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

async fn write_until(end: Instant, ledger: &Ledger, commands: &Commands) -> Result<u64> {
    let mut events = 0;
    while Instant::now() < end {
        if taken(ledger, commands.next(ledger, 1)?).await? {
            events += 1;
        }
    }
    Ok(events)
}

/// Batches for a while: all commands of one are under way together.
fn batched(time: Duration, keeping: Keeping) -> Result<Written> {
    let directory = tempfile::tempdir_in(".")?;
    let held = Held::default();
    let root = directory.path().join("ledger");
    let ledger = Arc::new(ledger_with(&root, held.options(keeping))?);
    let commands = Commands::pooled("batch")?;
    let (mut events, began) = (0, Instant::now());
    runtime()?.block_on(async {
        while began.elapsed() < time {
            let mut under_way = JoinSet::new();
            for _ in 0..BATCH_EVENTS / COMMAND_EVENTS {
                let append = commands.next(&ledger, COMMAND_EVENTS)?;
                let ledger = Arc::clone(&ledger);
                under_way.spawn(async move { taken(&ledger, append).await });
            }
            while let Some(appended) = under_way.join_next().await {
                if appended?? {
                    events += COMMAND_EVENTS;
                }
            }
        }
        Ok::<_, anyhow::Error>(())
    })?;
    ended(&ledger, &held, per_second(events, began.elapsed()))
}

/// Writes batches until there are so many more events, and closes the ledger.
pub(crate) fn fill(ledger: Ledger, commands: &Commands, events: u64) -> Result<()> {
    let ledger = Arc::new(ledger);
    runtime()?.block_on(async {
        let mut written = 0;
        while written < events {
            let mut under_way = JoinSet::new();
            for _ in
                0..(BATCH_EVENTS / COMMAND_EVENTS).min((events - written).div_ceil(COMMAND_EVENTS))
            {
                let append = commands.next(&ledger, COMMAND_EVENTS)?;
                let ledger = Arc::clone(&ledger);
                under_way.spawn(async move { taken(&ledger, append).await });
            }
            while let Some(appended) = under_way.join_next().await {
                if appended?? {
                    written += COMMAND_EVENTS;
                }
            }
        }
        Ok::<_, anyhow::Error>(())
    })?;
    ledger.close()?;
    Ok(())
}

/// What lags is looked at before the ledger is closed; then nothing is held any more.
fn ended(ledger: &Ledger, held: &Held, events_per_second: f64) -> Result<Written> {
    let status = ledger.status();
    let lag = status.durable.since(status.logged);
    held.0.store(true, Ordering::Release);
    ledger.close()?;
    Ok(Written {
        events_per_second,
        lag,
    })
}

/// Events per second of a bare segment: groups of so many events, hashed, checksummed, one write, one fdatasync.
fn bare_segment(group: usize) -> Result<f64> {
    let directory = tempfile::tempdir_in(".")?;
    let mut bare = Bare::create(directory.path())?;
    let event: [u8; EVENT_BYTES] = random()?;
    let mut events = 0;
    let began = Instant::now();
    while began.elapsed() < BARE {
        bare.group(std::iter::repeat_n(event.as_slice(), group))?;
        events += u64::try_from(group)?;
    }
    Ok(per_second(events, began.elapsed()))
}

/// Whether the log may go on.
#[derive(Debug, Clone, Default)]
struct Held(Arc<AtomicBool>);

impl Held {
    fn options(&self, keeping: Keeping) -> Options {
        let held = self.clone();
        match keeping {
            Keeping::All => Options::default(),
            Keeping::Nothing => Options {
                projections: Projections::none(),
                ..Options::default()
            },
            Keeping::Journal => Options {
                projections: Projections::of(move || vec![Box::new(held.clone())]),
                lag_bytes_max: u64::MAX,
                ..Options::default()
            },
        }
    }
}

/// A read model that waits: what stands behind the journal waits with it.
impl Projection for Held {
    fn name(&self) -> &'static str {
        "held"
    }

    fn version(&self) -> u32 {
        1
    }

    fn fold(&self, _: &dyn Rows, _: &Folded<'_>) -> Result<Vec<Change>, Stop> {
        while !self.0.load(Ordering::Acquire) {
            std::thread::park_timeout(Duration::from_millis(20));
        }
        Ok(Vec::new())
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of a bench are far below 2^52"
)]
pub(crate) fn per_second(events: u64, time: Duration) -> f64 {
    events as f64 / time.as_secs_f64()
}
