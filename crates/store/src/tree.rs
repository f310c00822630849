//! The RFC 6962 tree of one chain, as it grows: its frontier, and the complete subtrees of 256 leaves and more.
//!
//! Hashes of levels 8, 16 and so on are stored, in tiles; those between are made from them, and those below level 8 are hashed
//! again from the events, which is cheaper than keeping them.

use countersign_chain::merkle::{Frontier, Node, Subtree, leaf_hash};
use countersign_chain::{Base, CUT_EVENTS, TreeHead};
use serde::{Deserialize, Serialize};

use crate::Entry;
use crate::log::tiles;

/// The tree of a chain up to some size.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Tree {
    frontier: Frontier,
    /// Stored subtrees that are not in the log yet.
    #[serde(skip)]
    fresh: Vec<(Subtree, Node)>,
}

impl Tree {
    pub(crate) fn head(&self) -> TreeHead {
        TreeHead {
            size: self.frontier.size(),
            root: self.frontier.root(),
        }
    }

    /// Adds those of the entries that it lacks; they are consecutive and reach its end.
    pub(crate) fn absorb(&mut self, entries: &[Entry]) {
        for entry in entries {
            if entry.sequence().get() == self.frontier.size() {
                let fresh = &mut self.fresh;
                self.frontier.push_completing(
                    leaf_hash(&entry.record().header),
                    |level, index, node| {
                        if tiles::stored(level) {
                            fresh.push((Subtree { level, index }, node));
                        }
                    },
                );
            }
        }
    }

    /// Goes on from the base of a chain that was pruned, whose last 256 leaves have this hash.
    pub(crate) fn begin_at(&mut self, base: &Base, node: Node) {
        let (level, index) = (tiles::TILE_LEVELS, base.cut / CUT_EVENTS - 1);
        self.frontier = base.tree().unwrap_or_default();
        self.fresh.push((Subtree { level, index }, node));
    }

    /// The hash of a stored subtree that is not in the log yet.
    pub(crate) fn fresh(&self, subtree: Subtree) -> Option<Node> {
        self.fresh
            .iter()
            .find(|fresh| fresh.0 == subtree)
            .map(|fresh| fresh.1)
    }

    /// The stored subtrees that are not in the log yet, oldest first.
    pub(crate) fn fresh_nodes(&self) -> &[(Subtree, Node)] {
        &self.fresh
    }

    /// The oldest so many of them are in the log now.
    pub(crate) fn stored(&mut self, nodes: usize) {
        self.fresh.drain(..nodes.min(self.fresh.len()));
    }
}
