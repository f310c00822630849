//! 256 writers beside the plain way to keep events in sled: one record an event, `flush`, then fdatasync of its file.
//!
//! The peer does no more than that: no hash, no link, no condition, no command id. Both keep no read models.

use crate::Run;
use crate::corpus::EVENT_BYTES;
use crate::report::Figure;
use crate::writing::{Keeping, many, per_second, runtime};
use anyhow::{Context, Result};
use rustix::fs::fdatasync;
use std::fs::File;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

const WRITERS: usize = 256;
/// How long each writes.
const WRITING: Duration = Duration::from_secs(15);
/// The most records of one group, as the journal's groups are bounded too.
const GROUP_MAX: usize = 1024;

/// A record, and who waits for it.
type Waiting = (Vec<u8>, oneshot::Sender<()>);

/// Events per second.
pub(crate) fn sled_per_event(_: &Run) -> Result<Vec<Figure>> {
    let ours = many(WRITERS, WRITING, Keeping::Nothing)?;
    let directory = tempfile::tempdir_in(".")?;
    let (send, waiting) = channel();
    let root = directory.path().join("sled");
    let keeper = std::thread::spawn(move || keep(&root, &waiting));
    let end = Instant::now() + WRITING;
    let events = runtime()?.block_on(async {
        let mut tasks = JoinSet::new();
        for _ in 0..WRITERS {
            let send = send.clone();
            tasks.spawn(async move { write_until(end, &send).await });
        }
        drop(send);
        let mut events = 0;
        while let Some(written) = tasks.join_next().await {
            events += written??;
        }
        Ok::<u64, anyhow::Error>(events)
    })?;
    match keeper.join() {
        Ok(kept) => kept?,
        Err(_) => anyhow::bail!("the thread that keeps the records broke off"),
    }
    Ok(vec![
        Figure::plain("256 writers, no read models", "events/s", ours.events_per_second)
            .beside("one sled record per event", per_second(events, WRITING))
            .at_least(2.2)
            .how(format!(
                "{} s each, one event a command of {EVENT_BYTES} bytes; the peer commits all that wait as one batch, flush, fdatasync",
                WRITING.as_secs()
            )),
    ])
}

async fn write_until(end: Instant, send: &Sender<Waiting>) -> Result<u64> {
    let mut events = 0;
    while Instant::now() < end {
        let (done, kept) = oneshot::channel();
        let event: [u8; EVENT_BYTES] = crate::corpus::random()?;
        send.send((event.to_vec(), done))?;
        kept.await?;
        events += 1;
    }
    Ok(events)
}

/// Takes all that wait, writes them, makes them durable, answers.
fn keep(root: &Path, waiting: &Receiver<Waiting>) -> Result<()> {
    let sled = sled::Config::new()
        .path(root)
        .cache_capacity(64 * 1024 * 1024)
        .open()?;
    let file = File::open(root.join("db")).context("sled has no file `db`")?;
    let mut next = 0_u64;
    while let Ok(first) = waiting.recv() {
        let mut group = vec![first];
        group.extend(waiting.try_iter().take(GROUP_MAX - 1));
        let mut batch = sled::Batch::default();
        for (event, _) in &group {
            batch.insert(&next.to_be_bytes(), event.as_slice());
            next += 1;
        }
        sled.apply_batch(batch)?;
        sled.flush()?;
        fdatasync(&file)?;
        for (_, done) in group {
            done.send(()).ok();
        }
    }
    Ok(())
}
