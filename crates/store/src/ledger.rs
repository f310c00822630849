//! The ledger: one data directory, open in one process.
//!
//! Everything here is about durable events: a reader never sees one whose fdatasync has not returned.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use countersign_chain::CommandKey;
use countersign_ids::{Actor, ChainId, CommandId, EventId, Sequence, Time};
use tokio::sync::{oneshot, watch};

use crate::append::{Append, Level, Receipt};
use crate::clock::{Clock, SteppedBack};
use crate::entropy::Entropy;
use crate::journal::packing::Packing;
use crate::journal::segment::Journal;
use crate::keyring::Keyring;
use crate::layout::Lock;
use crate::log::behind::Behind;
use crate::log::handover::{Ending, Handover};
use crate::log::heads::Accepted;
use crate::recover::{Recovered, recover};
use crate::status::{Refused, Status};
use crate::view::{Chain, Head, View};
use crate::write::front::{Front, answered};
use crate::write::lag::Lagging;
use crate::write::prepare::{Prepared, Tools, asker, prepare};
use crate::write::queue::{Bounds, Queue, Refusals};
use crate::write::writer::{Outcome, Request, Writer};
use crate::{Blobs, Description, Entry, Error, Layout, Options, Overload, Position, Projections};

/// How often it is looked whether the log's thread still runs.
const ALIVE: Duration = Duration::from_secs(1);

/// An open ledger.
#[derive(Debug)]
pub struct Ledger {
    view: Arc<View>,
    front: Arc<Front>,
    threads: Mutex<Option<Threads>>,
    handover: Arc<Handover>,
    entropy: Entropy,
    keyring: Keyring,
    clock: Arc<dyn Clock>,
    lagging: Lagging,
    refused_behind: AtomicU64,
    projections: Projections,
    /// Held by whoever removes bodies.
    pub(crate) removing: Mutex<()>,
    blobs: Blobs,
    layout: Layout,
    description: Description,
    _lock: Lock,
}

#[derive(Debug)]
struct Threads {
    writer: JoinHandle<()>,
    log: JoinHandle<()>,
    /// Ends after the log's thread.
    _packing: Option<Packing>,
}

impl Ledger {
    /// Makes an empty ledger of a genesis key in an empty or absent directory; [`Ledger::open`] opens it.
    pub fn create(root: &Path, genesis: [u8; 32], options: &Options) -> Result<Description, Error> {
        let layout = Layout::on(options.disk.clone(), root);
        if layout.is_ledger() || layout.holds_events()? {
            return Err(Error::Exists {
                path: root.to_path_buf(),
            });
        }
        layout.create_dirs()?;
        let _lock = Lock::exclusive(&layout)?;
        Journal::create(layout.disk(), &layout.journal(), options.segment_bytes)
            .map_err(|error| Error::io(&layout.journal(), error))?;
        let description = Description::of(genesis);
        // Last, because this file is what makes the directory a ledger.
        description.write(&layout)?;
        Ok(description)
    }

    /// Opens a ledger and brings everything behind the journal up to it.
    pub fn open(root: &Path, options: Options) -> Result<Self, Error> {
        let layout = Layout::on(options.disk.clone(), root);
        let description = Description::read(&layout)?;
        let lock = Lock::exclusive(&layout)?;
        // Its creator may have died before the name was durable, and without it this is no ledger.
        Description::confirm(&layout)?;
        let blobs = Blobs::new(layout.disk().clone(), layout.blobs());
        let Recovered {
            view,
            mut behind,
            journal,
            chains,
        } = recover(&layout, &description, &options, &blobs)?;
        let handover = Arc::new(Handover::default());
        let writer = Writer::new(
            Arc::clone(&view),
            Arc::clone(&handover),
            journal,
            &options,
            chains,
        );
        let bounds = Bounds {
            items: options.queue_requests,
            bytes: options.queue_bytes,
            group: options.group_bytes,
        };
        let front = Arc::new(Front::new(writer, Queue::new(bounds)));
        let failed = |error| Error::io(root, error);
        let mut packing = None;
        if layout.disk().is_concurrent() {
            let (started, logged) =
                Packing::start(layout.disk(), &layout.journal()).map_err(failed)?;
            behind.tell(logged);
            packing = Some(started);
        }
        let (state, given) = (Arc::clone(&view), Arc::clone(&handover));
        let log = named("countersign-log")
            .spawn(move || follow(&state, &mut behind, &given))
            .map_err(failed)?;
        let writing = Arc::clone(&front);
        let writer = named("countersign-writer")
            .spawn(move || writing.run())
            .map_err(failed)?;
        Ok(Self {
            view,
            front,
            threads: Mutex::new(Some(Threads {
                writer,
                log,
                _packing: packing,
            })),
            handover,
            entropy: Entropy::new(),
            keyring: Keyring::new(layout.disk().clone(), layout.keyring()),
            clock: options.clock,
            lagging: Lagging::new(options.lag_bytes_max),
            refused_behind: AtomicU64::new(0),
            projections: options.projections,
            removing: Mutex::default(),
            blobs,
            layout,
            description,
            _lock: lock,
        })
    }

    /// What `ledger.toml` says.
    #[must_use]
    pub const fn description(&self) -> &Description {
        &self.description
    }

    /// Where the files lie.
    #[must_use]
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The content-addressed files.
    #[must_use]
    pub const fn blobs(&self) -> &Blobs {
        &self.blobs
    }

    /// The clock that events get their times from.
    #[must_use]
    pub fn now(&self) -> Time {
        self.clock.now()
    }

    /// Writes one command's events; returns when they are durable.
    ///
    /// The same command again gives its first receipt. After [`Error::DiskFull`], [`Error::Disk`], [`Error::Stopped`] or
    /// [`Error::Closed`] the command may or may not be in the ledger: send it again once the ledger is open.
    pub async fn append(&self, append: Append) -> Result<Receipt, Error> {
        let prepared = self.prepare(append)?;
        let (chain, command) = (prepared.chain.clone(), prepared.command);
        let outcome = self.front.append(prepared).await?;
        self.receipt_of(outcome, chain, command)
    }

    /// [`Ledger::append`] for a thread of its own; never call it from async code.
    pub fn append_blocking(&self, append: Append) -> Result<Receipt, Error> {
        let prepared = self.prepare(append)?;
        let (chain, command) = (prepared.chain.clone(), prepared.command);
        let outcome = self.front.append_blocking(prepared)?;
        self.receipt_of(outcome, chain, command)
    }

    /// Writes commands of one or several chains in one go, so that they share groups; each is written or refused for itself,
    /// as by [`Ledger::append`]. The answers are in the order of the commands.
    pub async fn append_all(&self, appends: Vec<Append>) -> Vec<Result<Receipt, Error>> {
        if appends.len() == 1 {
            let mut answers = Vec::new();
            for append in appends {
                answers.push(self.append(append).await);
            }
            return answers;
        }
        let prepared = appends.into_iter().map(|append| {
            let prepared = self.prepare(append)?;
            Ok((prepared.chain.clone(), prepared.command, prepared))
        });
        // All are ready before the first is handed over, or the writer would begin with a group of one.
        let prepared: Vec<Result<_, Error>> = prepared.collect();
        let _callers = self.front.together();
        let waiting: Vec<Result<_, Error>> = prepared
            .into_iter()
            .map(|prepared| {
                let (chain, command, prepared) = prepared?;
                Ok((chain, command, self.front.queue(prepared)?))
            })
            .collect();
        let mut answers = Vec::with_capacity(waiting.len());
        for waiting in waiting {
            answers.push(match waiting {
                Ok((chain, command, answer)) => answered(answer.await)
                    .and_then(|outcome| self.receipt_of(outcome, chain, command)),
                Err(error) => Err(error),
            });
        }
        answers
    }

    fn prepare(&self, append: Append) -> Result<Box<Prepared>, Error> {
        let (asker, lag) = (asker(&append.actor), self.view.lag());
        if !self.lagging.admits(asker, &append.chain, lag) {
            self.refused_behind.fetch_add(1, Ordering::Relaxed);
            return Err(Error::overloaded(Overload::Log));
        }
        let ledger = &self.description.ledger;
        let (entropy, keyring) = (&self.entropy, &self.keyring);
        let tools = Tools {
            ledger,
            entropy,
            keyring,
            now: self.clock.now(),
        };
        let prepared = prepare(&tools, append)?;
        self.lagging.note(&prepared.chain, prepared.weight(), lag);
        Ok(Box::new(prepared))
    }

    fn receipt_of(
        &self,
        outcome: Outcome,
        chain: ChainId,
        command: CommandId,
    ) -> Result<Receipt, Error> {
        match outcome {
            Outcome::Written(receipt) => Ok(receipt),
            Outcome::Replayed(accepted) => {
                let mut receipt = self.accepted(chain, command, &accepted)?;
                receipt.replayed = true;
                Ok(receipt)
            }
        }
    }

    fn accepted(
        &self,
        chain: ChainId,
        command: CommandId,
        accepted: &Accepted,
    ) -> Result<Receipt, Error> {
        let found = self.chain(&chain, accepted.first)?;
        let count = usize::try_from(accepted.events).unwrap_or(usize::MAX);
        let entries = self.view.read(&found, accepted.first.get(), count)?;
        let last = entries.last().map_or(accepted.first, Entry::sequence);
        let level = if last.get() < found.recorded() {
            Level::Recorded
        } else {
            Level::Local
        };
        Ok(Receipt {
            chain,
            command,
            first: accepted.first,
            last,
            events: entries
                .iter()
                .map(|entry| (entry.header().id, entry.hash()))
                .collect(),
            position: accepted.position,
            level,
            replayed: false,
        })
    }

    /// The receipt of a command that was accepted, as it would be given now.
    pub fn receipt(&self, chain: &ChainId, command: &CommandId) -> Result<Option<Receipt>, Error> {
        let accepted = self
            .view
            .command(command)?
            .filter(|accepted| accepted.position <= self.durable());
        accepted
            .map(|accepted| self.accepted(chain.clone(), *command, &accepted))
            .transpose()
    }

    /// The receipt of the command that `key` makes for this actor, if it was accepted.
    pub fn receipt_for(
        &self,
        chain: &ChainId,
        actor: &Actor,
        key: &CommandKey,
    ) -> Result<Option<Receipt>, Error> {
        self.receipt(chain, &countersign_chain::command_id(chain, actor, key))
    }

    /// The receipt of the command that wrote one event.
    pub fn receipt_at(&self, chain: &ChainId, sequence: Sequence) -> Result<Receipt, Error> {
        let missing = || Error::Missing {
            chain: chain.clone(),
            sequence,
        };
        let entry = self.event(chain, sequence)?;
        self.receipt(chain, &entry.header().commandid)?
            .ok_or_else(missing)
    }

    /// The chains that have events, in order of their ids.
    #[must_use]
    pub fn chains(&self) -> Vec<(ChainId, Head)> {
        self.view
            .all()
            .into_iter()
            .filter_map(|chain| Some((chain.id.clone(), chain.head()?)))
            .collect()
    }

    /// The end of a chain; `None` if it has no events.
    #[must_use]
    pub fn head(&self, chain: &ChainId) -> Option<Head> {
        self.view.chain(chain)?.head()
    }

    /// Up to `limit` events from sequence `from` on; fewer only where the chain ends. An unknown chain has none.
    pub fn read(&self, chain: &ChainId, from: u64, limit: usize) -> Result<Vec<Entry>, Error> {
        self.view.chain(chain).map_or_else(
            || Ok(Vec::new()),
            |chain| self.view.read(&chain, from, limit),
        )
    }

    /// One event.
    pub fn event(&self, chain: &ChainId, sequence: Sequence) -> Result<Entry, Error> {
        let missing = || Error::Missing {
            chain: chain.clone(),
            sequence,
        };
        self.read(chain, sequence.get(), 1)?
            .pop()
            .ok_or_else(missing)
    }

    /// Finds an event by its id.
    pub fn find(&self, id: &EventId) -> Result<Option<Entry>, Error> {
        let place = self.view.event(id)?;
        let chains = self.view.all();
        let Some((number, sequence)) = place else {
            // Durable, but not in the index yet: it is among the newest of its chain.
            return Ok(chains.iter().find_map(|chain| chain.newest_with(id)));
        };
        let Some(chain) = chains.into_iter().find(|chain| chain.number == number) else {
            return Ok(None);
        };
        Ok(self.view.read(&chain, sequence.get(), 1)?.pop())
    }

    /// The body of a personal event, for somebody who may read it.
    pub fn unseal(&self, entry: &Entry) -> Result<Vec<u8>, Error> {
        let header = entry.header();
        let (Some(subject), Some(key), Some(body)) =
            (&header.datasubject, &header.bodykey, entry.body())
        else {
            return Ok(entry.body().unwrap_or_default().to_vec());
        };
        let source = header.source();
        self.keyring
            .unseal(subject, (&source, &header.id), key, body)
    }

    /// Destroys the key of a data subject: what it sealed can never be read again.
    pub fn destroy_key(&self, subject: &countersign_ids::DataSubject) -> Result<(), Error> {
        self.keyring.destroy(subject)
    }

    /// Everything before this position is durable and can be read.
    #[must_use]
    pub fn durable(&self) -> Position {
        *self.view.durable.borrow()
    }

    /// Follows what becomes durable. Compare [`Ledger::head`] or read on after each change; nothing is ever lost, because
    /// events are read from the ledger and not from here.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Position> {
        self.view.durable.subscribe()
    }

    /// Follows what the projections have taken in.
    #[must_use]
    pub fn subscribe_folded(&self) -> watch::Receiver<Position> {
        self.view.folded.subscribe()
    }

    /// Waits until the projections have taken in `position`, so that a caller sees its own write; `false` if the ledger
    /// closed first. Callers bound the wait.
    pub async fn folded(&self, position: Position) -> bool {
        let mut folded = self.view.folded.subscribe();
        self.handover.urge();
        folded.wait_for(|at| *at >= position).await.is_ok()
    }

    /// How many callers wait for the writer.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.front.waiting()
    }

    /// What the ledger says about itself.
    #[must_use]
    pub fn status(&self) -> Status {
        let mut status = self.view.board.read();
        status.durable = self.durable();
        status.logged = self.view.logged();
        let Refusals { share, queue } = self.front.refusals();
        let log = self.refused_behind.load(Ordering::Relaxed);
        status.refused = Refused { share, queue, log };
        status
    }

    /// Whether a chain does not verify, and so is read-only.
    #[must_use]
    pub fn is_damaged(&self, chain: &ChainId) -> bool {
        self.view.board.damaged(chain).is_some()
    }

    /// Takes the last step back of the clock, to write it down as an event.
    pub fn take_stepped_back(&self) -> Option<SteppedBack> {
        self.view.board.with(|status| status.stepped_back.take())
    }

    /// Says that the clock is right after it jumped ahead; appends go on.
    pub async fn confirm_clock(&self) -> Result<(), Error> {
        let (reply, answer) = oneshot::channel();
        self.front.send(Request::ConfirmClock { reply })?;
        answered(answer.await)
    }

    /// Tries to write again after a failure that may pass ([`Status::resumes`]), at most once a second; every append tries it
    /// too. It reads a segment and waits for the disk: never call it from async code.
    ///
    /// # Errors
    /// Why nothing is written.
    pub fn resume(&self) -> Result<(), Error> {
        self.front.resume()
    }

    /// Stops cleanly: everything accepted is answered, the log is made durable, and the journal says `closed`.
    pub fn close(&self) -> Result<(), Error> {
        let Some(sound) = self.end(Ending::Finish) else {
            return Ok(());
        };
        if let Some(error) = self.view.board.stopped() {
            return Err(error);
        }
        if !sound {
            return Err(Error::Closed);
        }
        self.front.close()
    }

    /// Stops as in a crash, but only when the log has taken in everything that was given to it.
    #[cfg(feature = "faults")]
    pub fn crash_behind_the_log(&self) {
        self.end(Ending::Finish);
    }

    /// Compresses what a thread of its own compresses on a real disk: a simulated one is written in one order.
    #[cfg(feature = "faults")]
    pub fn compress(&self) -> Result<(), Error> {
        self.ask_the_log(None)?;
        let (disk, dir) = (self.layout.disk(), self.layout.journal());
        let go_on = std::sync::atomic::AtomicBool::new(false);
        crate::journal::packing::pack_all(disk, &dir, self.view.logged(), &go_on)
            .map_err(|error| Error::io(&dir, error))
    }

    /// Ends both threads, and says whether they ended well; `None` if they had ended before.
    fn end(&self, ending: Ending) -> Option<bool> {
        let threads = self
            .threads
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()?;
        self.front.stop();
        let writer = threads.writer.join();
        self.handover.end(ending);
        let log = threads.log.join();
        Some(writer.is_ok() && log.is_ok())
    }

    pub(crate) const fn projections(&self) -> &Projections {
        &self.projections
    }

    pub(crate) const fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    pub(crate) fn handover(&self) -> &Handover {
        &self.handover
    }

    /// Waits for what the log's thread was asked for, as long as it runs.
    pub(crate) fn answered(&self, answer: &mpsc::Receiver<Result<(), Error>>) -> Result<(), Error> {
        loop {
            match answer.recv_timeout(ALIVE) {
                Ok(done) => return done,
                Err(mpsc::RecvTimeoutError::Timeout) if self.is_running() => {}
                Err(_) => return Err(Error::Closed),
            }
        }
    }

    /// Whether its threads run and nothing stopped it.
    fn is_running(&self) -> bool {
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.is_some() && self.view.board.stopped().is_none()
    }

    pub(crate) fn view(&self) -> &Arc<View> {
        &self.view
    }

    pub(crate) fn request(&self, request: Request) -> Result<(), Error> {
        self.front.send(request)
    }

    pub(crate) fn chain(&self, id: &ChainId, sequence: Sequence) -> Result<Arc<Chain>, Error> {
        let missing = || Error::Missing {
            chain: id.clone(),
            sequence,
        };
        self.view
            .chain(id)
            .filter(|chain| sequence.get() < chain.size())
            .ok_or_else(missing)
    }
}

impl Drop for Ledger {
    /// Without [`Ledger::close`] this is like a crash: nothing acknowledged is lost, and the next opening finds no `closed`.
    fn drop(&mut self) {
        self.end(Ending::Abandon);
    }
}

fn named(name: &str) -> std::thread::Builder {
    std::thread::Builder::new().name(name.to_owned())
}

/// The log's thread. Without the log nothing can be acknowledged for long, so its end is the writer's.
fn follow(view: &View, behind: &mut Behind, given: &Handover) {
    let run = std::panic::AssertUnwindSafe(|| behind.run(given));
    match std::panic::catch_unwind(run) {
        Ok(Ok(())) => {}
        Ok(Err(error)) => view.board.stop(&error),
        Err(_) => view.board.stop(&Error::Log(sled::Error::ReportableBug(
            "the log's thread panicked".to_owned(),
        ))),
    }
}
