//! Folding beside the log: verified events go to a thread of their own, in order and never far ahead.
//!
//! The log's thread verifies, indexes and packs blocks while this one decodes bodies and folds them, live and when a ledger is
//! opened. Everything else that is done with projections is done by the log's thread, once all that is under way is folded
//! ([`Folding::settled`]). What came in small and finds nothing under way is folded at once: a thread that is woken for one
//! event costs more than the event.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, mpsc};
use std::thread::JoinHandle;

use super::project::Projector;
use crate::view::{Chain, View};
use crate::{Entry, Error, Position};

/// Events that go over together, and how many such parts may wait.
const PART_EVENTS: usize = 256;
const PARTS_MAX: usize = 8;
/// Up to so many events are folded at once where nothing is under way.
const AT_ONCE_EVENTS: usize = 64;

/// The events of one command, verified.
type Run = (Arc<Chain>, Vec<Entry>);

/// What goes to the thread.
#[derive(Debug)]
enum Work {
    Fold(Vec<Run>),
    /// Everything before this position went before.
    Reached(Position),
    /// Answered once everything that went before is folded.
    Settle(mpsc::Sender<()>),
}

/// The projections, and the thread that folds into them.
#[derive(Debug)]
pub(crate) struct Folding {
    view: Arc<View>,
    projector: Arc<Mutex<Projector>>,
    /// What the next part is made of.
    open: Vec<Run>,
    open_events: usize,
    /// Parts that are not folded yet.
    under_way: Arc<AtomicUsize>,
    /// `None` only while this goes away.
    queue: Option<mpsc::SyncSender<Work>>,
    thread: Option<JoinHandle<()>>,
    /// Whether something was to be made again when that was last seen.
    has_work: bool,
}

impl Folding {
    pub(crate) fn start(view: &Arc<View>, projector: Projector) -> std::io::Result<Self> {
        let (queue, work) = mpsc::sync_channel(PARTS_MAX);
        let projector = Arc::new(Mutex::new(projector));
        let under_way = Arc::new(AtomicUsize::new(0));
        let (state, folds, open) = (
            Arc::clone(view),
            Arc::clone(&projector),
            Arc::clone(&under_way),
        );
        let thread = std::thread::Builder::new()
            .name("countersign-fold".to_owned())
            .spawn(move || {
                for work in work {
                    do_work(&state, &folds, &open, work);
                }
            })?;
        Ok(Self {
            view: Arc::clone(view),
            projector,
            open: Vec::new(),
            open_events: 0,
            under_way,
            queue: Some(queue),
            thread: Some(thread),
            has_work: false,
        })
    }

    /// Has the next events of a chain folded; they were verified.
    pub(crate) fn give(&mut self, chain: &Arc<Chain>, entries: &[Entry]) -> Result<(), Error> {
        self.open.push((Arc::clone(chain), entries.to_vec()));
        self.open_events = self.open_events.saturating_add(entries.len());
        if self.open_events < PART_EVENTS {
            return Ok(());
        }
        self.send_open()
    }

    /// Has everybody told that all before `position` is folded, once it is.
    pub(crate) fn reach(&mut self, position: Position) -> Result<(), Error> {
        let idle = self.under_way.load(Ordering::Acquire) == 0;
        if idle && self.open_events <= AT_ONCE_EVENTS {
            let runs = std::mem::take(&mut self.open);
            self.open_events = 0;
            let mut projector = self.projector.lock().map_err(|_| panicked())?;
            fold(&self.view, &mut projector, runs);
            self.view.folded.send_replace(position);
            return Ok(());
        }
        self.send_open()?;
        self.send(Work::Reached(position))
    }

    /// The projections, with everything folded that was given.
    pub(crate) fn settled(&mut self) -> Result<MutexGuard<'_, Projector>, Error> {
        self.send_open()?;
        if self.under_way.load(Ordering::Acquire) > 0 {
            let (reply, settled) = mpsc::channel();
            self.send(Work::Settle(reply))?;
            settled.recv().map_err(|_| panicked())?;
        }
        let projector = self.projector.lock().map_err(|_| panicked())?;
        self.has_work = projector.has_work();
        Ok(projector)
    }

    /// Whether anything is to be made again; as it was last, while something is folded.
    pub(crate) fn has_work(&mut self) -> bool {
        match self.projector.try_lock() {
            Ok(projector) => self.has_work = projector.has_work(),
            Err(TryLockError::WouldBlock | TryLockError::Poisoned(_)) => {}
        }
        self.has_work
    }

    fn send_open(&mut self) -> Result<(), Error> {
        if self.open.is_empty() {
            return Ok(());
        }
        self.open_events = 0;
        let runs = std::mem::take(&mut self.open);
        self.send(Work::Fold(runs))
    }

    fn send(&self, work: Work) -> Result<(), Error> {
        self.under_way.fetch_add(1, Ordering::AcqRel);
        let sent = self.queue.as_ref().map(|queue| queue.send(work));
        sent.and_then(Result::ok).ok_or_else(panicked)
    }
}

impl Drop for Folding {
    /// What is under way is folded first: it is bounded.
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn do_work(view: &View, projector: &Mutex<Projector>, under_way: &AtomicUsize, work: Work) {
    match work {
        Work::Fold(runs) => {
            let mut projector = projector.lock().unwrap_or_else(PoisonError::into_inner);
            fold(view, &mut projector, runs);
        }
        Work::Reached(position) => {
            view.folded.send_replace(position);
        }
        Work::Settle(reply) => {
            if reply.send(()).is_err() {
                tracing::debug!("nobody waits for the projections any more");
            }
        }
    }
    under_way.fetch_sub(1, Ordering::AcqRel);
}

/// Chains are folded each for itself, so their events come together: what is looked up for a chain is looked up once.
fn fold(view: &View, projector: &mut Projector, mut runs: Vec<Run>) {
    runs.sort_by_key(|(chain, _)| chain.number);
    for of_chain in runs.chunk_by(|one, other| one.0.number == other.0.number) {
        if let Some((chain, _)) = of_chain.first() {
            let entries = of_chain.iter().flat_map(|(_, entries)| entries);
            projector.fold(view, chain, entries);
        }
    }
}

fn panicked() -> Error {
    Error::Log(sled::Error::ReportableBug(
        "the thread that folds panicked".to_owned(),
    ))
}
