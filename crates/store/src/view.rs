//! What every thread may see of the ledger: durable events only.
//!
//! The writer publishes into it after each fdatasync; readers never wait for the disk, the writer or the log.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use countersign_chain::Base;
use countersign_ids::{
    ChainId, CommandId, EventHash, EventId, LedgerId, PlatformHead, Sequence, Time,
};
use tokio::sync::watch;

use crate::log::Log;
use crate::log::heads::{Accepted, HeadRow};
use crate::log::keys::{Generation, Number, Place};
use crate::log::row_blocks::Changed;
use crate::removal::Doomed;
use crate::status::Board;
use crate::tree::Tree;
use crate::{Checkpoint, Entry, Error, Position};

/// Events of a chain that stay in memory after the log has them, for readers who follow closely.
const KEPT_EVENTS: usize = 16;

/// Changed rows by what their blocks' keys begin with.
pub(crate) type ChangedRows = BTreeMap<Vec<u8>, Changed>;

/// The durable state of all chains.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) ledger: LedgerId,
    pub(crate) chains: RwLock<BTreeMap<ChainId, Arc<Chain>>>,
    pub(crate) log: Log,
    pub(crate) board: Board,
    /// Everything before this position is durable and published.
    pub(crate) durable: watch::Sender<Position>,
    /// Everything before this position is folded into the projections.
    pub(crate) folded: watch::Sender<Position>,
    /// Rows of projections that changed and are not in sled yet.
    pub(crate) rows: RwLock<ChangedRows>,
    /// Where projections were made again: the generation that is served.
    pub(crate) generations: RwLock<BTreeMap<Place, Generation>>,
    /// Everything before this position is in the log, durably.
    pub(crate) logged: AtomicU64,
}

/// One chain.
#[derive(Debug)]
pub(crate) struct Chain {
    pub(crate) id: ChainId,
    pub(crate) number: Number,
    tail: RwLock<Tail>,
    pub(crate) tree: Mutex<Tree>,
    recorded: AtomicU64,
    checkpoint: RwLock<Option<Checkpoint>>,
    /// What it begins with, if it was pruned.
    base: RwLock<Option<Base>>,
}

/// The newest events of a chain; the log has all before them.
#[derive(Debug, Default)]
struct Tail {
    first: u64,
    entries: VecDeque<Entry>,
    head: Option<(EventHash, Time)>,
    platformhead: Option<PlatformHead>,
}

impl Tail {
    fn size(&self) -> u64 {
        self.first.saturating_add(self.entries.len() as u64)
    }
}

/// The end of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// How many events it has.
    pub size: u64,
    /// The hash of the last one.
    pub hash: EventHash,
    /// Its time.
    pub time: Time,
}

impl View {
    pub(crate) fn chain(&self, id: &ChainId) -> Option<Arc<Chain>> {
        self.chains
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(id)
            .cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Chain>> {
        self.chains
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect()
    }

    /// A number that no chain has.
    pub(crate) fn next_number(&self) -> Number {
        let chains = self.chains.read().unwrap_or_else(PoisonError::into_inner);
        chains
            .values()
            .map(|chain| chain.number.saturating_add(1))
            .max()
            .unwrap_or_default()
    }

    pub(crate) fn add(&self, chain: Arc<Chain>) {
        self.chains
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(chain.id.clone(), chain);
    }

    /// Forgets a chain that no durable event has begun.
    pub(crate) fn take_back(&self, chain: &ChainId) {
        self.chains
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(chain);
    }

    /// Up to `limit` events from `from` on; fewer only at the end of the chain.
    pub(crate) fn read(&self, chain: &Chain, from: u64, limit: usize) -> Result<Vec<Entry>, Error> {
        chain.check_begun(from)?;
        let (mut newest, first) = chain.newest(from, limit);
        if from >= first {
            return Ok(newest);
        }
        let mut entries = self.read_log(
            chain,
            from,
            limit.min(usize::try_from(first - from).unwrap_or(usize::MAX)),
        )?;
        if entries.len() < limit {
            newest.truncate(limit - entries.len());
            entries.append(&mut newest);
        }
        Ok(entries)
    }

    /// The command that has this id, if it was accepted and its events are still there.
    pub(crate) fn command(&self, id: &CommandId) -> Result<Option<Accepted>, Error> {
        let accepted = self.log.command(id)?;
        Ok(accepted.filter(|accepted| !self.is_pruned(accepted.chain, accepted.first)))
    }

    /// Where the event with this id is, as far as the index was written, if it is still there.
    pub(crate) fn event(&self, id: &EventId) -> Result<Option<(Number, Sequence)>, Error> {
        let place = self.log.event(id)?;
        Ok(place.filter(|(number, sequence)| !self.is_pruned(*number, *sequence)))
    }

    /// Whether the log's indexes name an event that was pruned: they keep it, and it is forgotten all the same.
    fn is_pruned(&self, number: Number, sequence: Sequence) -> bool {
        let chains = self.chains.read().unwrap_or_else(PoisonError::into_inner);
        let chain = chains.values().find(|chain| chain.number == number);
        chain.is_some_and(|chain| sequence.get() < chain.first())
    }

    /// How much of the journal the log lacks.
    pub(crate) fn lag(&self) -> u64 {
        self.durable.borrow().since(self.logged())
    }

    pub(crate) fn logged(&self) -> Position {
        Position::new(self.logged.load(Ordering::Acquire))
    }

    pub(crate) fn set_logged(&self, position: Position) {
        self.logged.store(position.get(), Ordering::Release);
    }

    fn read_log(&self, chain: &Chain, from: u64, limit: usize) -> Result<Vec<Entry>, Error> {
        match self.log.read(&self.ledger, chain, from, limit) {
            Err(Error::ChainDamaged {
                chain: id,
                sequence,
                reason,
            }) => {
                // The log is a copy: what it lost is still in the journal, as long as it links there.
                self.board.log_damaged(&id, sequence, &reason);
                if let Err(error) = self.log.mark_damaged() {
                    // Reading goes on; without the mark the next start finds the damage when it comes upon it.
                    tracing::error!(
                        error = crate::status::chain_of(&error),
                        "the damage is not marked"
                    );
                }
                let healed = self.log.read_journal(&self.ledger, chain, from, limit);
                if let Err(Error::ChainDamaged {
                    chain,
                    sequence,
                    reason,
                }) = &healed
                {
                    self.board.chain_damaged(chain, *sequence, reason);
                }
                healed
            }
            other => other,
        }
    }
}

impl Chain {
    pub(crate) fn new(id: ChainId, number: Number) -> Self {
        Self {
            id,
            number,
            tail: RwLock::default(),
            tree: Mutex::default(),
            recorded: AtomicU64::new(0),
            checkpoint: RwLock::new(None),
            base: RwLock::new(None),
        }
    }

    /// What it begins with, if it was pruned.
    pub(crate) fn base(&self) -> Option<Base> {
        let base = self.base.read().unwrap_or_else(PoisonError::into_inner);
        base.clone()
    }

    /// The sequence of its first event that is not pruned.
    pub(crate) fn first(&self) -> u64 {
        let base = self.base.read().unwrap_or_else(PoisonError::into_inner);
        base.as_ref().map_or(0, |base| base.cut)
    }

    /// It begins at a cut from now on, and ends there if it was not further yet.
    pub(crate) fn begin_at(&self, base: &Base) {
        let mut tail = self.tail.write().unwrap_or_else(PoisonError::into_inner);
        if tail.size() < base.cut {
            *tail = Tail {
                first: base.cut,
                entries: VecDeque::new(),
                head: Some((base.head, base.time)),
                platformhead: Some(base.platformhead),
            };
        }
        drop(tail);
        *self.base.write().unwrap_or_else(PoisonError::into_inner) = Some(base.clone());
    }

    /// Whether events from `from` on can be read.
    fn check_begun(&self, from: u64) -> Result<(), Error> {
        let first = self.first();
        if from < first {
            return Err(Error::Pruned {
                chain: self.id.clone(),
                first: Sequence::new(first),
            });
        }
        Ok(())
    }

    /// A chain whose first `size` events are in the log.
    pub(crate) fn restore(&self, row: &HeadRow) {
        let state = &row.state;
        let head = (state.size() > 0).then(|| (state.head(), state.time()));
        *self.tail.write().unwrap_or_else(PoisonError::into_inner) = Tail {
            first: state.size(),
            entries: VecDeque::new(),
            head,
            platformhead: state.platformhead(),
        };
        *self.tree.lock().unwrap_or_else(PoisonError::into_inner) = row.tree.clone();
        self.recorded.store(row.recorded, Ordering::Release);
        self.set_checkpoint(row.checkpoint.clone());
        *self.base.write().unwrap_or_else(PoisonError::into_inner) = row.base.clone();
    }

    /// The last checkpoint that was signed and is durable.
    pub(crate) fn checkpoint(&self) -> Option<Checkpoint> {
        self.checkpoint
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn set_checkpoint(&self, checkpoint: Option<Checkpoint>) {
        *self
            .checkpoint
            .write()
            .unwrap_or_else(PoisonError::into_inner) = checkpoint;
    }

    pub(crate) fn head(&self) -> Option<Head> {
        let tail = self.tail.read().unwrap_or_else(PoisonError::into_inner);
        tail.head.map(|(hash, time)| Head {
            size: tail.size(),
            hash,
            time,
        })
    }

    /// The last event of the platform chain that one of its events names.
    pub(crate) fn platformhead(&self) -> Option<PlatformHead> {
        self.tail
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .platformhead
    }

    pub(crate) fn size(&self) -> u64 {
        self.tail
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .size()
    }

    /// Shows a durable event to everybody.
    pub(crate) fn publish(&self, entry: Entry) {
        let mut tail = self.tail.write().unwrap_or_else(PoisonError::into_inner);
        tail.head = Some((entry.hash(), entry.header().time));
        tail.platformhead = entry.header().platformhead.or(tail.platformhead);
        tail.entries.push_back(entry);
    }

    /// The log has everything below `size`; what is older than a few events leaves memory.
    pub(crate) fn forget(&self, size: u64) {
        let mut tail = self.tail.write().unwrap_or_else(PoisonError::into_inner);
        while tail.first < size && tail.entries.len() > KEPT_EVENTS {
            tail.entries.pop_front();
            tail.first = tail.first.saturating_add(1);
        }
    }

    /// The events in memory from `from` on, and the sequence of the first event in memory.
    pub(crate) fn newest(&self, from: u64, limit: usize) -> (Vec<Entry>, u64) {
        let tail = self.tail.read().unwrap_or_else(PoisonError::into_inner);
        let skip = usize::try_from(from.saturating_sub(tail.first)).unwrap_or(usize::MAX);
        (
            tail.entries
                .iter()
                .skip(skip)
                .take(limit)
                .cloned()
                .collect(),
            tail.first,
        )
    }

    /// The event with this id, if it is in memory.
    pub(crate) fn newest_with(&self, id: &EventId) -> Option<Entry> {
        let tail = self.tail.read().unwrap_or_else(PoisonError::into_inner);
        tail.entries
            .iter()
            .rfind(|entry| entry.header().id == *id)
            .cloned()
    }

    /// Takes bodies that are to go out of memory.
    pub(crate) fn forget_bodies(&self, doomed: &Doomed) {
        let mut tail = self.tail.write().unwrap_or_else(PoisonError::into_inner);
        for entry in &mut tail.entries {
            if let Some(without) = doomed.without_body(entry) {
                *entry = without;
            }
        }
    }

    /// How many events a `heads.recorded` covers.
    pub(crate) fn recorded(&self) -> u64 {
        self.recorded.load(Ordering::Acquire)
    }

    pub(crate) fn set_recorded(&self, size: u64) {
        self.recorded.fetch_max(size, Ordering::AcqRel);
    }
}
