//! Behind the journal: verifies the place of every durable event again, hashes it into its tree, has it folded into the
//! projections (`folding`), and writes it to sled.
//!
//! Opening a ledger runs [`Behind::absorb`] over the part of the journal that sled lacks; a running ledger runs it over what the
//! writer hands over. There is no other recovery. Everything of one [`Behind::log`] changes in one sled batch: heads, indexes,
//! tree, rows, and the position that says how far the journal is taken in. Full blocks of events are there before.

mod lost;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, mpsc};
use std::time::{Duration, Instant};

use countersign_chain::ChainState;
use countersign_ids::ChainId;

use super::folding::Folding;
use super::followed::Followed;
use super::handover::{Asked, Ending, Gone, Handover, Order, What, Woken, Written};
use super::heads::{Accepted, Damage, event_place};
use super::keys;
use super::loaded::{Loaded, LogPosition};
use super::project::Projector;
use super::rebuild::Step;
use super::run_writer::IndexWriter;
use super::{COMMAND_BYTES, EVENT_BYTES, open, recorded, rewrite, values};
use crate::disk::crash_at;
use crate::status::Board;
use crate::view::{Chain, View};
use crate::write::chains::Marks;
use crate::{Blobs, Entry, Error, Position};

/// How much of the journal is taken in before the position in sled moves, and how long less may wait. Until then readers are
/// served from memory, and a crash costs reading as much again.
const LOG_BYTES: u64 = 16 * 1024 * 1024;
const LOG_AFTER: Duration = Duration::from_secs(1);
/// How much of the journal may wait for the log before projections that are made again wait for it.
const YIELD_BYTES: u64 = 4 * 1024 * 1024;
/// Events that a projection catches up with at a time.
const CATCH_UP_EVENTS: u64 = 16 * 1024;

/// The state of the log's thread.
#[derive(Debug)]
pub(crate) struct Behind {
    pub(super) view: Arc<View>,
    blobs: Blobs,
    dir: PathBuf,
    /// What sled writes to, for its fdatasync.
    file: File,
    pub(super) chains: BTreeMap<ChainId, Followed>,
    pub(super) touched: BTreeSet<ChainId>,
    commands: IndexWriter<COMMAND_BYTES>,
    events: IndexWriter<EVENT_BYTES>,
    fresh_commands: Vec<([u8; 16], [u8; COMMAND_BYTES])>,
    fresh_events: Vec<([u8; 16], [u8; EVENT_BYTES])>,
    folding: Folding,
    marks: Marks,
    /// The last frame that was absorbed.
    absorbed: LogPosition,
    /// Everything before this position is in sled, durably.
    logged: Position,
    /// A step of what is made again is done even if much waits, once for each time that the position moved.
    owes_step: bool,
    /// Who is told of it: segments that the log does not need any more are compressed.
    told: Option<mpsc::Sender<Position>>,
}

impl Behind {
    pub(crate) fn new(
        view: Arc<View>,
        blobs: Blobs,
        (dir, file): (PathBuf, File),
        loaded: Loaded,
        indexes: (IndexWriter<COMMAND_BYTES>, IndexWriter<EVENT_BYTES>),
        projector: Projector,
    ) -> Result<Self, Error> {
        let folding = Folding::start(&view, projector).map_err(|error| Error::io(&dir, error))?;
        let mut chains = BTreeMap::new();
        let mut marks = Marks::default();
        for (number, row) in loaded.heads {
            let chain = Arc::new(Chain::new(row.chain.clone(), number));
            if row.chain.is_platform() {
                marks = row.marks;
            }
            chain.restore(&row);
            view.add(Arc::clone(&chain));
            if let Some(Damage { at, reason }) = &row.damaged {
                view.board.chain_damaged(&row.chain, *at, reason);
            }
            chains.insert(row.chain.clone(), Followed::restore(chain, row));
        }
        Ok(Self {
            view,
            blobs,
            dir,
            file,
            chains,
            touched: BTreeSet::new(),
            commands: indexes.0,
            events: indexes.1,
            fresh_commands: Vec::new(),
            fresh_events: Vec::new(),
            folding,
            marks,
            absorbed: loaded.position,
            logged: Position::new(loaded.position.end),
            owes_step: true,
            told: None,
        })
    }

    /// What the writer needs to continue: every chain's state, and the platform's marks.
    pub(crate) fn ends(&self) -> (Vec<(Arc<Chain>, ChainState)>, Marks) {
        let ends = self
            .chains
            .values()
            .map(|followed| (Arc::clone(&followed.chain), followed.state.clone()));
        (ends.collect(), self.marks)
    }

    /// Tells somebody how far the log reaches, now and whenever it reaches further.
    pub(crate) fn tell(&mut self, told: mpsc::Sender<Position>) {
        self.told = Some(told);
        self.say_logged();
    }

    fn say_logged(&self) {
        if let Some(told) = &self.told
            && told.send(self.logged).is_err()
        {
            tracing::warn!("nobody compresses sealed segments any more");
        }
    }

    /// Runs until the ledger is closed or abandoned.
    pub(crate) fn run(&mut self, handover: &Handover) -> Result<(), Error> {
        let mut inbox = VecDeque::new();
        let mut since = Instant::now();
        loop {
            let patience = if self.may_step() {
                Some(Duration::ZERO)
            } else {
                self.is_behind()
                    .then(|| LOG_AFTER.saturating_sub(since.elapsed()))
            };
            match handover.take(&mut inbox, patience) {
                Woken::End(Ending::Abandon) => return Ok(()),
                Woken::End(Ending::Finish) => {
                    self.wait_for_room(handover, 0)?;
                    return self.log();
                }
                Woken::Work => {
                    if !self.is_behind() {
                        since = Instant::now();
                    }
                    let bytes = inbox
                        .iter()
                        .map(|written| written.place.end.since(written.place.at));
                    if !self.wait_for_room(handover, bytes.sum())? {
                        return Ok(());
                    }
                    while let Some(written) = inbox.pop_front() {
                        self.absorb(&written)?;
                        if self.behind_bytes() >= LOG_BYTES {
                            self.log()?;
                            since = Instant::now();
                        }
                    }
                    self.folding.reach(Position::new(self.absorbed.end))?;
                }
                Woken::Asked(asked) => self.remove(&asked)?,
                Woken::Ordered(order) => self.order(&order)?,
                Woken::Nothing => {}
            }
            if self.may_step() {
                if !self.wait_for_room(handover, 0)? {
                    return Ok(());
                }
                self.step()?;
            }
            if self.is_behind() && since.elapsed() >= LOG_AFTER {
                if !self.wait_for_room(handover, 0)? {
                    return Ok(());
                }
                self.log()?;
            }
        }
    }

    /// Whether projections are made again now: not while events wait to be taken in, but always a little.
    fn may_step(&mut self) -> bool {
        let waits = self.view.durable.borrow().get();
        let waits = waits.saturating_sub(self.absorbed.end);
        (self.owes_step || waits < YIELD_BYTES) && self.folding.has_work()
    }

    fn step(&mut self) -> Result<(), Error> {
        self.owes_step = false;
        let chains = &self.chains;
        let stepped = self
            .folding
            .settled()?
            .step(&self.view, |id| size(chains, id))?;
        match stepped {
            Step::Nothing | Step::More => Ok(()),
            Step::Stage => self.log(),
        }
    }

    /// Begins to make a projection again in every chain.
    fn order(&mut self, order: &Order) -> Result<(), Error> {
        let room = self.room_for(0);
        let ordered = room.is_ok();
        if ordered {
            self.folding.settled()?.order(&self.view, &order.projection);
            self.log()?;
            crash_at("rebuild.ordered");
        }
        if order.reply.send(room).is_err() {
            tracing::debug!("nobody waits for the order any more");
        }
        Ok(())
    }

    /// Bytes of the journal that were taken in and are not in sled.
    pub(super) const fn behind_bytes(&self) -> u64 {
        self.absorbed.end.saturating_sub(self.logged.get())
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn board(&self) -> &Board {
        &self.view.board
    }

    const fn is_behind(&self) -> bool {
        self.behind_bytes() > 0
    }

    /// Takes in one durable frame.
    pub(crate) fn absorb(&mut self, written: &Written) -> Result<(), Error> {
        match &written.what {
            What::Events { chain, entries } => self.absorb_events(chain, entries, written)?,
            What::Checkpoint { chain, .. } => {
                self.touched.insert(chain.id.clone());
            }
            What::Pruned { chain, stump } => self.absorb_stump(chain, stump),
            What::Other => {}
        }
        self.placed_again(written);
        Ok(())
    }

    /// Notes the last frame that was taken in, which may have been made again since.
    pub(crate) const fn placed_again(&mut self, written: &Written) {
        let place = &written.place;
        self.absorbed = LogPosition {
            end: place.end.get(),
            frame: place.at.get(),
            crc: place.crc,
        };
    }

    /// Takes in a frame of the journal that the log lacked when the ledger was opened, and shows what verified.
    pub(crate) fn absorb_recovered(&mut self, written: &Written) -> Result<(), Error> {
        self.absorb(written)?;
        let damaged = match &written.what {
            What::Events { chain, .. } | What::Checkpoint { chain, .. } => self
                .chains
                .get(&chain.id)
                .is_some_and(|followed| followed.damaged.is_some()),
            What::Pruned { .. } | What::Other => false,
        };
        if !damaged {
            written.publish();
        }
        if self.behind_bytes() >= LOG_BYTES {
            self.log()
        } else {
            Ok(())
        }
    }

    fn absorb_events(
        &mut self,
        chain: &Arc<Chain>,
        entries: &[Entry],
        written: &Written,
    ) -> Result<(), Error> {
        let ledger = self.view.ledger;
        let followed = self
            .chains
            .entry(chain.id.clone())
            .or_insert_with(|| Followed::empty(&ledger, Arc::clone(chain)));
        if followed.damaged.is_some() {
            return Ok(());
        }
        // INVARIANT: nothing reaches a projection before its bytes, hash and link were verified. An entry was hashed when it was
        // made, by the writer of the bytes that became durable or by whoever read them; the rest is compared here.
        let before = (entries.len() > 1).then(|| followed.state.clone());
        for entry in entries {
            if let Err(broken) = followed.state.advance(entry.hashed()) {
                // A command is taken in whole or not at all.
                followed.state = before.unwrap_or_else(|| followed.state.clone());
                self.lose(chain, broken.at(), &broken.to_string());
                return Ok(());
            }
        }
        chain
            .tree
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .absorb(entries);
        for entry in entries {
            followed.add(&self.view.log.db(), entry.record())?;
        }
        self.touched.insert(chain.id.clone());
        self.index(chain, entries, written);
        if chain.id.is_platform() {
            for entry in entries {
                self.marks.note(
                    entry.header().event_type.family(),
                    entry.sequence(),
                    entry.hash(),
                );
                let covered = recorded::covered(&self.blobs, entry);
                self.touched.extend(recorded::apply(&self.view, covered));
            }
        }
        self.folding.give(chain, entries)
    }

    fn index(&mut self, chain: &Chain, entries: &[Entry], written: &Written) {
        let Some(first) = entries.first() else { return };
        let accepted = Accepted {
            chain: chain.number,
            first: first.sequence(),
            events: u32::try_from(entries.len()).unwrap_or(u32::MAX),
            position: written.place.end,
            request: first.header().requestdigest,
        };
        let command = (*first.header().commandid.as_bytes(), accepted.to_bytes());
        self.view.log.commands.insert(command.0, command.1);
        self.fresh_commands.push(command);
        for entry in entries {
            let event = (
                *entry.header().id.uuid().as_bytes(),
                event_place(chain.number, entry.sequence()),
            );
            self.view.log.events.insert(event.0, event.1);
            self.fresh_events.push(event);
        }
    }

    /// Writes everything that was absorbed to sled, in one batch, and makes it durable; only then does its position count.
    pub(crate) fn log(&mut self) -> Result<(), Error> {
        let view = Arc::clone(&self.view);
        let db = &view.log.db();
        let mut batch = sled::Batch::default();
        self.remember_damage();
        let touched = std::mem::take(&mut self.touched);
        for id in &touched {
            let Some(followed) = self.chains.get_mut(id) else {
                continue;
            };
            let marks = if id.is_platform() {
                self.marks
            } else {
                Marks::default()
            };
            let row = json(&followed.stage(db, &mut batch, marks)?)?;
            values::put(&mut batch, &keys::head(followed.chain.number), &row);
        }
        self.commands
            .stage(&view.log.commands, db, &mut batch, &mut self.fresh_commands)?;
        self.events
            .stage(&view.log.events, db, &mut batch, &mut self.fresh_events)?;
        let chains = &self.chains;
        let mut projector = self.folding.settled()?;
        projector.stage(&view, &mut batch, |id| size(chains, id))?;
        let position = values::seal(keys::POSITION, &json(&self.absorbed)?);
        batch.insert(keys::POSITION, position);
        let replaces = projector.replaces();
        if replaces {
            crash_at("rebuild.staged");
        }
        db.apply_batch(batch)?;

        self.commands.settle(&view.log.commands);
        self.events.settle(&view.log.events);
        projector.settle(&view);
        drop(projector);
        for id in &touched {
            if let Some(followed) = self.chains.get_mut(id) {
                followed.settle();
            }
        }
        open::sync(db, &self.dir, &self.file)?;
        if replaces {
            crash_at("rebuild.replaced");
        }
        self.logged = Position::new(self.absorbed.end);
        view.set_logged(self.logged);
        self.say_logged();
        self.owes_step = true;
        let chains = &self.chains;
        self.folding.settled()?.tell(&view, |id| size(chains, id));
        Ok(())
    }

    /// Replaces the log by one without what is to go. Whoever asked is told what went wrong before anything was
    /// exchanged; what goes wrong after it ends this thread.
    fn remove(&mut self, asked: &Asked) -> Result<(), Error> {
        // Where bodies are removed, the log stands there twice for a while.
        let copied = match &asked.gone {
            Some(_) => self.view.log.db().size_on_disk()?,
            None => 0,
        };
        if let Err(full) = self.room_for(copied) {
            answer(asked, Err(full));
            return Ok(());
        }
        if let Some(Gone::Events(pruning)) = &asked.gone {
            self.begin_at(pruning);
        }
        self.log()?;
        let (view, Some(gone)) = (&self.view, &asked.gone) else {
            answer(asked, Ok(()));
            return Ok(());
        };
        let followed = self.chains.values();
        let numbers = followed.map(|followed| (followed.chain.number, followed.chain.id.clone()));
        let copied = rewrite::copy(
            &view.log.db(),
            &self.dir,
            &view.ledger,
            &numbers.collect(),
            gone,
        );
        let done = match copied {
            Ok(()) => {
                view.log
                    .exchange(rewrite::exchange(&self.dir, &view.ledger)?);
                self.file = open::file(&self.dir)?;
                if let Gone::Bodies(doomed) = gone {
                    for followed in self.chains.values() {
                        followed.chain.forget_bodies(doomed);
                    }
                }
                rewrite::remove_leftovers(&self.dir)
            }
            Err(error) => {
                // What was copied takes the room that may be what it failed for.
                if let Err(left) = rewrite::remove_leftovers(&self.dir) {
                    tracing::warn!(%left, "a copy of the log that failed is left beside it");
                }
                Err(error)
            }
        };
        answer(asked, done);
        Ok(())
    }

    /// Brings projections that are behind their chains up to them: new ones, and those of another version.
    pub(crate) fn catch_up(&mut self) -> Result<(), Error> {
        let chains: Vec<Arc<Chain>> = self
            .chains
            .values()
            .map(|followed| Arc::clone(&followed.chain))
            .collect();
        for chain in chains {
            loop {
                let mut projector = self.folding.settled()?;
                let more = projector.catch_up(&self.view, &chain, CATCH_UP_EVENTS)?;
                drop(projector);
                if !more {
                    break;
                }
                self.log()?;
            }
        }
        Ok(())
    }
}

/// How many events of a chain are taken in.
fn size(chains: &BTreeMap<ChainId, Followed>, id: &ChainId) -> u64 {
    chains.get(id).map_or(0, |followed| followed.state.size())
}

fn answer(asked: &Asked, done: Result<(), Error>) {
    if asked.reply.send(done).is_err() {
        tracing::debug!("nobody waits for the removal any more");
    }
}

fn json(value: &impl serde::Serialize) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(|error| Error::Log(std::io::Error::from(error).into()))
}
