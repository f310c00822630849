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
use countersign_ids::{ChainId, Sequence};
use serde::{Deserialize, Serialize};

use super::blocks::{self, BLOCK_BYTES, BLOCK_EVENTS};
use super::handover::{Ending, Handover, What, Woken, Written};
use super::heads::{Accepted, Damage, HeadRow, event_place};
use super::keys;
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

/// One chain as the log's thread sees it.
#[derive(Debug)]
struct Followed {
    chain: Arc<Chain>,
    state: ChainState,
    /// Events that are not in sled yet.
    open: Vec<Entry>,
    /// Blocks at the end of the chain that will be packed together.
    small: Vec<Small>,
    damaged: Option<Damage>,
}

/// A block that is not full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Small {
    first: Sequence,
    events: usize,
    bytes: usize,
}

/// How far into the journal the log reaches, and the last frame before, by which the two are known to belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct LogPosition {
    pub(crate) end: u64,
    pub(crate) frame: u64,
    pub(crate) crc: u32,
}

/// What a log holds when it is opened.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) heads: Vec<(keys::Number, HeadRow)>,
    pub(crate) position: LogPosition,
}

/// Reads heads and position; a log whose rows do not parse is not to be trusted.
pub(crate) fn load(db: &sled::Db) -> Result<Loaded, String> {
    let told = |error: sled::Error| error.to_string();
    let mut heads = Vec::new();
    for item in db.scan_prefix(keys::HEADS) {
        let (key, value) = item.map_err(told)?;
        let number = key
            .get(1..)
            .and_then(|rest| rest.first_chunk())
            .map(|number| u32::from_be_bytes(*number));
        let row: HeadRow = serde_json::from_slice(&value)
            .map_err(|error| format!("a head is malformed: {error}"))?;
        heads.push((number.ok_or("a head has a malformed key")?, row));
    }
    let position = match db.get(keys::POSITION).map_err(told)? {
        Some(value) => serde_json::from_slice(&value)
            .map_err(|error| format!("its position is malformed: {error}"))?,
        None if heads.is_empty() => LogPosition::default(),
        None => return Err("it has no position".to_owned()),
    };
    Ok(Loaded { heads, position })
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
            let followed = Followed {
                chain,
                state: row.state,
                open: Vec::new(),
                small: row.small,
                damaged: row.damaged,
            };
            chains.insert(row.chain, followed);
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
            .or_insert_with(|| Followed {
                chain: Arc::clone(chain),
                state: ChainState::genesis(&ledger, &chain.id),
                open: Vec::new(),
                small: Vec::new(),
                damaged: None,
            });
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

impl Followed {
    fn row(&self, marks: Marks, batch: &mut sled::Batch) -> HeadRow {
        let mut tree = self
            .chain
            .tree
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for (subtree, node) in tree.take_fresh() {
            batch.insert(keys::node(self.chain.number, subtree), node.as_slice());
        }
        HeadRow {
            chain: self.chain.id.clone(),
            state: self.state.clone(),
            tree: tree.clone(),
            recorded: self.chain.recorded(),
            checkpoint: self.chain.checkpoint(),
            small: self.small.clone(),
            damaged: self.damaged.clone(),
            marks,
        }
    }

    /// Writes the open events as small blocks, or packs them with the small ones before into full blocks.
    fn write_blocks(&mut self, db: &sled::Db, batch: &mut sled::Batch) -> Result<(), Error> {
        if self.open.is_empty() {
            return Ok(());
        }
        let events = self
            .small
            .iter()
            .map(|small| small.events)
            .sum::<usize>()
            .saturating_add(self.open.len());
        let bytes = self.small.iter().map(|small| small.bytes).sum::<usize>()
            + self.open.iter().map(Entry::bytes).sum::<usize>();
        let mut packer = Packer::new(
            self.chain.number,
            self.open.first().map_or(0, |entry| entry.sequence().get()),
        );
        if events >= BLOCK_EVENTS || bytes >= BLOCK_BYTES {
            let small = std::mem::take(&mut self.small);
            let read = |small: &Small| {
                blocks::read_whole(db, self.chain.number, small.first, small.events)
            };
            // A block that cannot be read stays as it is: whoever reads it heals it.
            if let Some(blocks) = small
                .iter()
                .map(read)
                .collect::<Result<Option<Vec<_>>, _>>()?
            {
                packer.next = small.first().map_or(packer.next, |small| small.first.get());
                for small in &small {
                    blocks::remove(batch, db, self.chain.number, small.first)?;
                }
                for record in blocks.iter().flatten() {
                    packer.add(record, batch)?;
                }
            }
        }
        for entry in self.open.drain(..) {
            packer.add(entry.record(), batch)?;
        }
        self.small.extend(packer.finish(batch)?);
        Ok(())
    }
}

/// Collects events into blocks and writes the full ones.
struct Packer {
    chain: keys::Number,
    first: u64,
    next: u64,
    raw: Vec<u8>,
}

impl Packer {
    const fn new(chain: keys::Number, first: u64) -> Self {
        Self {
            chain,
            first,
            next: first,
            raw: Vec::new(),
        }
    }

    fn add(
        &mut self,
        record: &countersign_chain::Record,
        batch: &mut sled::Batch,
    ) -> Result<(), Error> {
        if self.raw.is_empty() {
            self.first = self.next;
        }
        let event = blocks::raw([record]);
        let full = self.next.saturating_sub(self.first) >= BLOCK_EVENTS as u64;
        if !self.raw.is_empty()
            && (full || self.raw.len().saturating_add(event.len()) > BLOCK_BYTES)
        {
            blocks::write(batch, self.chain, Sequence::new(self.first), &self.raw)?;
            self.raw.clear();
            self.first = self.next;
        }
        self.raw.extend_from_slice(&event);
        self.next = self.next.saturating_add(1);
        Ok(())
    }

    /// Writes what is left; a block that is not full is given back.
    fn finish(self, batch: &mut sled::Batch) -> Result<Option<Small>, Error> {
        if self.raw.is_empty() {
            return Ok(None);
        }
        blocks::write(batch, self.chain, Sequence::new(self.first), &self.raw)?;
        let events = usize::try_from(self.next.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let small = Small {
            first: Sequence::new(self.first),
            events,
            bytes: self.raw.len(),
        };
        Ok((events < BLOCK_EVENTS && self.raw.len() < BLOCK_BYTES).then_some(small))
    }
}
