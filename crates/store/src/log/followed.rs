//! One chain as the log's thread sees it: its state, what is not in sled yet, and its blocks that are not full.
//!
//! Blocks are written small, as events come, and packed into full ones when there are enough of them.

use std::sync::{Arc, PoisonError};

use countersign_chain::{ChainState, Record};
use countersign_ids::{LedgerId, Sequence};
use serde::{Deserialize, Serialize};

use super::blocks::{self, BLOCK_BYTES, BLOCK_EVENTS};
use super::heads::{Damage, HeadRow};
use super::keys;
use crate::view::Chain;
use crate::write::chains::Marks;
use crate::{Entry, Error};

/// One chain as the log's thread sees it.
#[derive(Debug)]
pub(crate) struct Followed {
    pub(crate) chain: Arc<Chain>,
    pub(crate) state: ChainState,
    /// Events that are not in sled yet.
    pub(crate) open: Vec<Entry>,
    /// Blocks at the end of the chain that will be packed together.
    small: Vec<Small>,
    pub(crate) damaged: Option<Damage>,
}

/// A block that is not full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Small {
    first: Sequence,
    events: usize,
    bytes: usize,
}

impl Followed {
    /// A chain that has no events yet.
    pub(crate) fn empty(ledger: &LedgerId, chain: Arc<Chain>) -> Self {
        Self {
            state: ChainState::genesis(ledger, &chain.id),
            chain,
            open: Vec::new(),
            small: Vec::new(),
            damaged: None,
        }
    }

    /// A chain as the log holds it.
    pub(crate) fn restore(chain: Arc<Chain>, row: HeadRow) -> Self {
        Self {
            chain,
            state: row.state,
            open: Vec::new(),
            small: row.small,
            damaged: row.damaged,
        }
    }

    /// What the log keeps about the chain; what its tree completed goes into the batch.
    pub(crate) fn row(&self, marks: Marks, batch: &mut sled::Batch) -> HeadRow {
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
    pub(crate) fn write_blocks(
        &mut self,
        db: &sled::Db,
        batch: &mut sled::Batch,
    ) -> Result<(), Error> {
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

    fn add(&mut self, record: &Record, batch: &mut sled::Batch) -> Result<(), Error> {
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
