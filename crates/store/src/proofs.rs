//! Proofs from the trees: signed checkpoints, inclusion and consistency.
//!
//! A checkpoint is made in two steps, because the store has no signing keys: [`Ledger::tree_head`] gives size and root over
//! durable events only, the caller signs them, and [`Ledger::record_checkpoint`] returns when the note's own frame is durable;
//! only then may it leave the process.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use countersign_chain::TreeHead;
use countersign_chain::merkle::{self, Node, Subtree, leaf_hash};
use countersign_chain::note::Note;
use countersign_ids::{ChainId, Sequence};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::log::tiles::{self, Answer, TILE_LEVELS};
use crate::view::{Chain, View};
use crate::write::front::answered;
use crate::write::writer::Request;
use crate::{Error, Ledger};

/// A checkpoint that was signed and is durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// How many leaves it covers.
    pub size: u64,
    /// Their root.
    pub root: Node,
    /// The signed note.
    pub note: String,
}

impl Checkpoint {
    /// Reads size and root out of a signed note; whose signatures it carries is not looked at.
    #[must_use]
    pub fn of_note(note: String) -> Option<Self> {
        let text = Note::parse(note.as_bytes()).ok()?.text();
        let head = countersign_chain::Checkpoint::parse(text).ok()?.head;
        Some(Self {
            size: head.size,
            root: head.root,
            note,
        })
    }
}

impl Ledger {
    /// Size and root of a chain as it is durable now; size 0 and the empty root if it has no events.
    pub fn tree_head(&self, chain: &ChainId) -> Result<TreeHead, Error> {
        let Some(chain) = self.view().chain(chain) else {
            return Ok(TreeHead {
                size: 0,
                root: merkle::empty_root(),
            });
        };
        self.view().tree_head(&chain)
    }

    /// Makes a signed checkpoint durable. The note must be over a head that [`Ledger::tree_head`] gave.
    pub async fn record_checkpoint(
        &self,
        chain: &ChainId,
        note: String,
    ) -> Result<Checkpoint, Error> {
        let refused = |reason: &str| Error::Refused {
            index: 0,
            reason: reason.to_owned(),
        };
        let found = self
            .view()
            .chain(chain)
            .ok_or_else(|| refused("the chain has no events"))?;
        let checkpoint =
            Checkpoint::of_note(note).ok_or_else(|| refused("the note is no checkpoint"))?;
        if checkpoint.size > found.size()
            || self.view().root_at(&found, checkpoint.size)? != checkpoint.root
        {
            return Err(refused("the note is not over events of this chain"));
        }
        let (reply, answer) = oneshot::channel();
        self.request(Request::Checkpoint {
            chain: found,
            checkpoint: checkpoint.clone(),
            reply,
        })?;
        answered(answer.await)?;
        Ok(checkpoint)
    }

    /// The last checkpoint of a chain that was recorded.
    #[must_use]
    pub fn last_checkpoint(&self, chain: &ChainId) -> Option<Checkpoint> {
        self.view().chain(chain)?.checkpoint()
    }

    /// How many events of a chain the newest recorded heads cover.
    #[must_use]
    pub fn recorded(&self, chain: &ChainId) -> u64 {
        self.view().chain(chain).map_or(0, |chain| chain.recorded())
    }

    /// The root over the first `size` events.
    pub fn root_at(&self, chain: &ChainId, size: u64) -> Result<Node, Error> {
        if size == 0 {
            return Ok(merkle::empty_root());
        }
        let found = self.covered(chain, size)?;
        self.view().root_at(&found, size)
    }

    /// The proof that event `index` is in the tree of the first `size` events.
    pub fn inclusion(
        &self,
        chain: &ChainId,
        index: Sequence,
        size: u64,
    ) -> Result<Vec<Node>, Error> {
        let found = self.covered(chain, size)?;
        let missing = || Error::Missing {
            chain: chain.clone(),
            sequence: index,
        };
        let plan = merkle::inclusion_plan(index.get(), size).ok_or_else(missing)?;
        self.view().answer(&found, &plan)
    }

    /// The proof that the tree of the first `from` events is the beginning of that of the first `to`.
    pub fn consistency(&self, chain: &ChainId, from: u64, to: u64) -> Result<Vec<Node>, Error> {
        let missing = || Error::Missing {
            chain: chain.clone(),
            sequence: Sequence::new(from),
        };
        let plan = merkle::consistency_plan(from, to).ok_or_else(missing)?;
        if plan.is_empty() {
            return Ok(Vec::new());
        }
        let found = self.covered(chain, to)?;
        self.view().answer(&found, &plan)
    }

    fn covered(&self, chain: &ChainId, size: u64) -> Result<Arc<Chain>, Error> {
        self.chain(chain, Sequence::new(size.saturating_sub(1)))
    }
}

impl View {
    pub(crate) fn tree_head(&self, chain: &Chain) -> Result<TreeHead, Error> {
        // Durable events that the log's thread has not hashed yet are hashed here, once for both.
        loop {
            let durable = chain.size();
            let head = chain
                .tree
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .head();
            if head.size >= durable {
                return Ok(head);
            }
            let missing = usize::try_from(durable - head.size)
                .unwrap_or(usize::MAX)
                .min(4096);
            let read = self.read(chain, head.size, missing)?;
            chain
                .tree
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .absorb(&read);
        }
    }

    fn root_at(&self, chain: &Chain, size: u64) -> Result<Node, Error> {
        let head = self.tree_head(chain)?;
        if size == head.size {
            return Ok(head.root);
        }
        Nodes::of(self, chain).fold(&merkle::root_plan(size))
    }

    fn answer(&self, chain: &Chain, plan: &[merkle::Step]) -> Result<Vec<Node>, Error> {
        self.tree_head(chain)?;
        let mut nodes = Nodes::of(self, chain);
        plan.iter().map(|step| nodes.fold(step)).collect()
    }
}

/// Finds the hashes of complete subtrees for one proof.
struct Nodes<'a> {
    view: &'a View,
    chain: &'a Chain,
    /// Leaf hashes by aligned groups of 256 that were read already.
    leaves: BTreeMap<u64, Vec<Node>>,
}

impl<'a> Nodes<'a> {
    const fn of(view: &'a View, chain: &'a Chain) -> Self {
        Self {
            view,
            chain,
            leaves: BTreeMap::new(),
        }
    }

    fn fold(&mut self, step: &merkle::Step) -> Result<Node, Error> {
        let hashes: Result<Vec<Node>, Error> =
            step.iter().map(|subtree| self.node(*subtree)).collect();
        Ok(merkle::fold(&hashes?))
    }

    fn node(&mut self, subtree: Subtree) -> Result<Node, Error> {
        let Subtree { level, index } = subtree;
        if level >= TILE_LEVELS {
            if let Some(node) = self.stored(subtree)? {
                return Ok(node);
            }
            // Part of it is in memory and part in a tile, or a tile is damaged: made from its two halves.
            let first = index.saturating_mul(2);
            let halves = [first, first.saturating_add(1)].map(|index| Subtree {
                level: level - 1,
                index,
            });
            return self.fold(&halves.to_vec());
        }
        let first = index << level;
        let group = first >> TILE_LEVELS;
        if !self.leaves.contains_key(&group) {
            let leaves = self.leaves(group)?;
            self.leaves.insert(group, leaves);
        }
        let start = usize::try_from(first - (group << TILE_LEVELS)).unwrap_or(usize::MAX);
        let leaves = self
            .leaves
            .get(&group)
            .and_then(|leaves| leaves.get(start..)?.get(..1 << level));
        let missing = || Error::Missing {
            chain: self.chain.id.clone(),
            sequence: Sequence::new(first),
        };
        Ok(root_of(leaves.ok_or_else(missing)?))
    }

    /// The leaf hashes of a group of 256 events, or of as many as there are.
    ///
    /// A whole group is hashed without verifying each event, if that gives the hash that stands in the tile.
    fn leaves(&self, group: u64) -> Result<Vec<Node>, Error> {
        let (from, count) = (group << TILE_LEVELS, 1 << TILE_LEVELS);
        let above = Subtree {
            level: TILE_LEVELS,
            index: group,
        };
        if let Some(expected) = self.stored(above)? {
            let leaves = self.view.log.leaves(self.chain, from, count)?;
            if leaves.len() == count && root_of(&leaves) == expected {
                return Ok(leaves);
            }
        }
        let entries = self.view.read(self.chain, from, count)?;
        let leaves = entries
            .iter()
            .map(|entry| leaf_hash(&entry.record().header));
        Ok(leaves.collect())
    }

    fn stored(&self, subtree: Subtree) -> Result<Option<Node>, Error> {
        let fresh = self
            .chain
            .tree
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .fresh(subtree);
        if fresh.is_some() {
            return Ok(fresh);
        }
        match tiles::node(&self.view.log.db(), self.chain.number, subtree)? {
            Answer::Node(node) => Ok(Some(node)),
            Answer::Absent => Ok(None),
            Answer::Damaged => {
                let first = Sequence::new(subtree.index << subtree.level);
                let reason = "a tile of its tree is not what was written";
                self.view.board.log_damaged(&self.chain.id, first, reason);
                self.view.log.mark_damaged()?;
                Ok(None)
            }
        }
    }
}

fn root_of(leaves: &[Node]) -> Node {
    let mut frontier = merkle::Frontier::new();
    leaves.iter().for_each(|leaf| frontier.push(*leaf));
    frontier.root()
}
