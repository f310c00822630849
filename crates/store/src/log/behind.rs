//! Behind the journal: verifies every durable event again, hashes it into its tree, folds it into the projections, and
//! writes it to sled.
//!
//! Opening a ledger runs [`Behind::absorb`] over the part of the journal that sled lacks; a running ledger runs it over what the
//! writer hands over. There is no other recovery. Everything of one [`Behind::apply`] changes in one sled batch: blocks, heads,
//! indexes, tree, rows, and the position that says how far the journal is taken in.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use countersign_chain::ChainState;
use countersign_ids::ChainId;

use super::followed::Followed;
use super::handover::{Ending, Handover, What, Woken, Written};
use super::heads::{Accepted, Damage, event_place};
use super::keys;
use super::loaded::{Loaded, LogPosition};
use super::project::Projector;
use super::runs::IndexWriter;
use super::{COMMAND_BYTES, EVENT_BYTES, open, recorded};
use crate::view::{Chain, View};
use crate::write::chains::Marks;
use crate::{Blobs, Entry, Error, Position};

/// Events that are written to sled together at most, and how long fewer may wait for more.
const APPLY_EVENTS: usize = 2048;
const APPLY_AFTER: Duration = Duration::from_millis(50);
/// How much may be applied before sled is made durable, and how long less may wait.
const SYNC_BYTES: u64 = 16 * 1024 * 1024;
const SYNC_AFTER: Duration = Duration::from_secs(1);

/// The state of the log's thread.
#[derive(Debug)]
pub(crate) struct Behind {
    view: Arc<View>,
    blobs: Blobs,
    dir: PathBuf,
    chains: BTreeMap<ChainId, Followed>,
    touched: BTreeSet<ChainId>,
    commands: IndexWriter<COMMAND_BYTES>,
    events: IndexWriter<EVENT_BYTES>,
    fresh_commands: Vec<([u8; 16], [u8; COMMAND_BYTES])>,
    fresh_events: Vec<([u8; 16], [u8; EVENT_BYTES])>,
    projector: Projector,
    marks: Marks,
    /// The last frame that was absorbed.
    absorbed: LogPosition,
    pending: usize,
    unsynced: Position,
}

impl Behind {
    pub(crate) fn new(
        view: Arc<View>,
        blobs: Blobs,
        dir: PathBuf,
        loaded: Loaded,
        indexes: (IndexWriter<COMMAND_BYTES>, IndexWriter<EVENT_BYTES>),
        projector: Projector,
    ) -> Self {
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
        Self {
            view,
            blobs,
            dir,
            chains,
            touched: BTreeSet::new(),
            commands: indexes.0,
            events: indexes.1,
            fresh_commands: Vec::new(),
            fresh_events: Vec::new(),
            projector,
            marks,
            absorbed: loaded.position,
            pending: 0,
            unsynced: Position::new(loaded.position.end),
        }
    }

    /// What the writer needs to continue: every chain's state, and the platform's marks.
    pub(crate) fn ends(&self) -> (Vec<(Arc<Chain>, ChainState)>, Marks) {
        let ends = self
            .chains
            .values()
            .map(|followed| (Arc::clone(&followed.chain), followed.state.clone()));
        (ends.collect(), self.marks)
    }

    /// Runs until the ledger is closed or abandoned.
    pub(crate) fn run(&mut self, handover: &Handover) -> Result<(), Error> {
        let mut inbox = VecDeque::new();
        let mut applied = Instant::now();
        let mut synced = Instant::now();
        loop {
            let dirty = self.absorbed.end > self.unsynced.get();
            let patience = match (self.pending > 0, dirty) {
                (true, _) => Some(APPLY_AFTER.saturating_sub(applied.elapsed())),
                (false, true) => Some(SYNC_AFTER.saturating_sub(synced.elapsed())),
                (false, false) => None,
            };
            match handover.take(&mut inbox, patience) {
                Woken::End(Ending::Abandon) => return Ok(()),
                Woken::End(Ending::Finish) => {
                    self.apply()?;
                    return self.sync();
                }
                Woken::Work => {
                    if self.pending == 0 {
                        applied = Instant::now();
                    }
                    if !dirty {
                        synced = Instant::now();
                    }
                    while let Some(written) = inbox.pop_front() {
                        self.absorb(&written)?;
                        if self.pending >= APPLY_EVENTS {
                            self.apply()?;
                        }
                    }
                    self.view
                        .folded
                        .send_replace(Position::new(self.absorbed.end));
                }
                Woken::Nothing => {}
            }
            if self.pending > 0 && applied.elapsed() >= APPLY_AFTER {
                self.apply()?;
            }
            let behind = self.absorbed.end.saturating_sub(self.unsynced.get());
            if behind > SYNC_BYTES || (behind > 0 && synced.elapsed() >= SYNC_AFTER) {
                self.apply()?;
                self.sync()?;
                synced = Instant::now();
            }
        }
    }

    /// Takes in one durable frame.
    pub(crate) fn absorb(&mut self, written: &Written) -> Result<(), Error> {
        match &written.what {
            What::Events { chain, entries } => self.absorb_events(chain, entries, written)?,
            What::Checkpoint { chain, .. } => {
                self.touched.insert(chain.id.clone());
            }
            What::Other => {}
        }
        let place = &written.place;
        self.absorbed = LogPosition {
            end: place.end.get(),
            frame: place.at.get(),
            crc: place.crc,
        };
        self.pending = self.pending.saturating_add(1);
        Ok(())
    }

    /// Takes in a frame of the journal that the log lacked when the ledger was opened, and shows what verified.
    pub(crate) fn absorb_recovered(&mut self, written: &Written) -> Result<(), Error> {
        self.absorb(written)?;
        let damaged = match &written.what {
            What::Events { chain, .. } | What::Checkpoint { chain, .. } => self
                .chains
                .get(&chain.id)
                .is_some_and(|followed| followed.damaged.is_some()),
            What::Other => false,
        };
        if !damaged {
            written.publish();
        }
        if self.pending >= APPLY_EVENTS {
            self.apply()
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
        // INVARIANT: nothing reaches a projection before its bytes, hash and link were verified.
        let before = (entries.len() > 1).then(|| followed.state.clone());
        for entry in entries {
            if let Err(broken) = followed.state.follow(entry.record()) {
                // A command is taken in whole or not at all.
                followed.state = before.unwrap_or_else(|| followed.state.clone());
                let (at, reason) = (entry.sequence(), broken.to_string());
                self.view.board.chain_damaged(&chain.id, at, &reason);
                followed.damaged = Some(Damage { at, reason });
                self.touched.insert(chain.id.clone());
                return Ok(());
            }
        }
        chain
            .tree
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .absorb(entries);
        followed.open.extend(entries.iter().cloned());
        self.touched.insert(chain.id.clone());
        self.pending = self.pending.saturating_add(entries.len());
        self.index(chain, entries, written);
        for entry in entries {
            if chain.id.is_platform() {
                self.marks.note(
                    entry.header().event_type.family(),
                    entry.sequence(),
                    entry.hash(),
                );
                let covered = recorded::covered(&self.blobs, entry);
                self.touched.extend(recorded::apply(&self.view, covered));
            }
            self.projector.fold(&self.view, chain, entry)?;
        }
        Ok(())
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

    /// Writes everything that was absorbed to sled, in one batch.
    pub(crate) fn apply(&mut self) -> Result<(), Error> {
        if self.pending == 0 {
            return Ok(());
        }
        let view = Arc::clone(&self.view);
        let db = &view.log.db;
        let mut batch = sled::Batch::default();
        let touched = std::mem::take(&mut self.touched);
        for id in &touched {
            let Some(followed) = self.chains.get_mut(id) else {
                continue;
            };
            followed.write_blocks(db, &mut batch)?;
            let row = followed.row(
                if id.is_platform() {
                    self.marks
                } else {
                    Marks::default()
                },
                &mut batch,
            );
            let bytes = serde_json::to_vec(&row)
                .map_err(|error| Error::Log(std::io::Error::from(error).into()))?;
            batch.insert(keys::head(followed.chain.number), bytes);
        }
        self.commands
            .stage(&view.log.commands, db, &mut batch, &self.fresh_commands)?;
        self.events
            .stage(&view.log.events, db, &mut batch, &self.fresh_events)?;
        self.projector.stage(&view, &mut batch)?;
        let position = serde_json::to_vec(&self.absorbed)
            .map_err(|error| Error::Log(std::io::Error::from(error).into()))?;
        batch.insert(keys::POSITION, position);
        db.apply_batch(batch)?;

        self.commands.settle(&view.log.commands);
        self.events.settle(&view.log.events);
        self.projector.settle(&view);
        self.fresh_commands.clear();
        self.fresh_events.clear();
        self.pending = 0;
        for followed in touched.iter().filter_map(|id| self.chains.get(id)) {
            followed.chain.forget(followed.state.size());
        }
        Ok(())
    }

    /// Makes what was applied durable; only then does its position count.
    pub(crate) fn sync(&mut self) -> Result<(), Error> {
        open::sync(&self.view.log.db, &self.dir)?;
        self.unsynced = Position::new(self.absorbed.end);
        self.view.set_logged(self.unsynced);
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
            self.projector.catch_up(&self.view, &chain)?;
            self.pending = self.pending.saturating_add(1);
            self.apply()?;
        }
        Ok(())
    }
}
