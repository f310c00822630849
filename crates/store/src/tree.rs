//! The RFC 6962 tree of one chain, as it grows: its frontier, and the complete subtrees of 256 leaves and more.
//!
//! Hashes of level 8 and up are stored, one sled key for each (one per 128 events); below that they are hashed again from the
//! events, which is cheaper than keeping them.

use countersign_chain::TreeHead;
use countersign_chain::merkle::{Frontier, Node, Subtree, leaf_hash};
use serde::{Deserialize, Serialize};

use crate::Entry;

/// Subtrees of this level and above are stored: the leaves of tiles of level 1.
pub(crate) const STORED_LEVEL: u32 = 8;

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
                        if level >= STORED_LEVEL {
                            fresh.push((Subtree { level, index }, node));
                        }
                    },
                );
            }
        }
    }

    /// The hash of a stored subtree that is not in the log yet.
    pub(crate) fn fresh(&self, subtree: Subtree) -> Option<Node> {
        self.fresh
            .iter()
            .find(|fresh| fresh.0 == subtree)
            .map(|fresh| fresh.1)
    }

    /// The stored subtrees that are not in the log yet; they are then taken for stored.
    pub(crate) fn take_fresh(&mut self) -> Vec<(Subtree, Node)> {
        std::mem::take(&mut self.fresh)
    }
}
