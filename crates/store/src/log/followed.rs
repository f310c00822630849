//! One chain as the log's thread sees it: its state, and the block at its end that is not full.
//!
//! A full block is written as soon as the next event does not fit, before the log's position counts it: it holds nothing but
//! durable events, so it does no harm if the process ends there. The block at the end is written when the position moves, and
//! then leaves memory until the chain goes on.

use std::sync::{Arc, PoisonError};

use countersign_chain::{ChainState, Record};
use countersign_ids::{LedgerId, Sequence};
use serde::{Deserialize, Serialize};

use super::blocks::{self, BLOCK_BYTES, BLOCK_EVENTS};
use super::heads::{Damage, HeadRow};
use super::tiles;
use crate::Error;
use crate::journal::frame::take;
use crate::journal::pruning::Mark;
use crate::journal::record;
use crate::view::Chain;
use crate::write::chains::Marks;

/// One chain as the log's thread sees it.
#[derive(Debug)]
pub(crate) struct Followed {
    pub(crate) chain: Arc<Chain>,
    pub(crate) state: ChainState,
    end: End,
    /// The events of the block at the end; `None` while they are in sled alone.
    raw: Option<Vec<u8>>,
    /// Hashes of its tree that were staged.
    staged_nodes: usize,
    pub(crate) damaged: Option<Damage>,
}

/// The block at the end of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct End {
    first: u64,
    events: u64,
}

impl Followed {
    /// A chain that has no events yet.
    pub(crate) fn empty(ledger: &LedgerId, chain: Arc<Chain>) -> Self {
        Self {
            state: ChainState::genesis(ledger, &chain.id),
            chain,
            end: End::default(),
            raw: None,
            staged_nodes: 0,
            damaged: None,
        }
    }

    /// A chain as the log holds it.
    pub(crate) fn restore(chain: Arc<Chain>, row: HeadRow) -> Self {
        Self {
            chain,
            state: row.state,
            end: row.end,
            raw: None,
            staged_nodes: 0,
            damaged: row.damaged,
        }
    }

    /// Goes on from a mark of the journal, unless it is there or further already.
    pub(crate) fn begin_at(&mut self, ledger: &LedgerId, mark: &Mark) -> bool {
        let base = &mark.base;
        if base.cut <= self.state.size() {
            return false;
        }
        self.state = ChainState::at(ledger, &self.chain.id, base);
        // What was taken in of the events before is not read any more.
        self.raw = None;
        self.end = End {
            first: base.cut,
            events: 0,
        };
        self.chain
            .tree
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .begin_at(base, mark.node);
        self.chain.begin_at(base);
        true
    }

    /// Adds the next event to the block at the end; a block that has no room for it is written.
    pub(crate) fn add(&mut self, db: &sled::Db, event: &Record) -> Result<(), Error> {
        let mut raw = match self.raw.take() {
            Some(raw) => raw,
            None => self.load(db)?,
        };
        let before = raw.len();
        record::encode(&mut raw, event);
        let full = self.end.events >= BLOCK_EVENTS || raw.len() > BLOCK_BYTES;
        if before > 0 && full {
            let event = raw.split_off(before);
            let mut batch = sled::Batch::default();
            blocks::write(&mut batch, self.chain.number, self.first(), &raw)?;
            db.apply_batch(batch)?;
            raw = event;
            self.end = End {
                first: self.end.first.saturating_add(self.end.events),
                events: 0,
            };
        }
        self.end.events = self.end.events.saturating_add(1);
        self.raw = Some(raw);
        Ok(())
    }

    /// Writes the block at the end and what the tree completed; returns what the log keeps about the chain.
    pub(crate) fn stage(
        &mut self,
        db: &sled::Db,
        batch: &mut sled::Batch,
        marks: Marks,
    ) -> Result<HeadRow, Error> {
        if let Some(raw) = self.raw.take() {
            blocks::write(batch, self.chain.number, self.first(), &raw)?;
        }
        // Whoever asks for a root may let the tree grow further at any time: what is staged is what this copy completed.
        let tree = self
            .chain
            .tree
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        self.staged_nodes = tree.fresh_nodes().len();
        tiles::write(db, batch, self.chain.number, tree.fresh_nodes())?;
        Ok(HeadRow {
            chain: self.chain.id.clone(),
            state: self.state.clone(),
            tree,
            recorded: self.chain.recorded(),
            checkpoint: self.chain.checkpoint(),
            end: self.end,
            damaged: self.damaged.clone(),
            base: self.chain.base(),
            marks,
        })
    }

    /// What was staged is in sled.
    pub(crate) fn settle(&mut self) {
        let staged = std::mem::take(&mut self.staged_nodes);
        self.chain
            .tree
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .stored(staged);
        self.chain.forget(self.state.size());
    }

    const fn first(&self) -> Sequence {
        Sequence::new(self.end.first)
    }

    /// The events of the block at the end as the log holds them. After a crash it may hold more than the position counts.
    fn load(&mut self, db: &sled::Db) -> Result<Vec<u8>, Error> {
        if self.end.events == 0 {
            return Ok(Vec::new());
        }
        let stored = blocks::read_raw(db, self.chain.number, self.first())?
            .filter(|(first, _)| first.get() == self.end.first)
            .and_then(|(_, raw)| front(raw, self.end.events));
        Ok(stored.unwrap_or_else(|| {
            // It stays as it is: whoever reads it heals it. The chain goes on in a new block.
            self.end = End {
                first: self.end.first.saturating_add(self.end.events),
                events: 0,
            };
            Vec::new()
        }))
    }
}

/// The first so many events of a block.
fn front(mut raw: Vec<u8>, events: u64) -> Option<Vec<u8>> {
    let mut rest = raw.as_slice();
    for _ in 0..events {
        // E, salt and B.
        for _ in 0..3 {
            take(&mut rest)?;
        }
    }
    let kept = raw.len().saturating_sub(rest.len());
    raw.truncate(kept);
    Some(raw)
}
