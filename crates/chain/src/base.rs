//! The base of a pruned chain: what an event at the cut continues, and the tree over everything before it.
//!
//! A chain is followed from its genesis or from a base. A base proves nothing by itself: the event at the cut must link to it,
//! and the tree that grows from it must have the recorded root. docs/format.md section 2.

use std::collections::BTreeMap;

use countersign_ids::{Digest, EventHash, Family, PlatformHead, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::merkle::{Frontier, Node};
use crate::{ChainState, Header};

/// A cut is a multiple of so many events: the hashes of level 1 stand for so many leaves each.
pub const CUT_EVENTS: u64 = 256;

/// Where a pruned chain begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Base {
    /// The sequence of the first event that is kept: a multiple of 256.
    pub cut: u64,
    /// The hash of the event before it.
    pub head: EventHash,
    /// The time of that event.
    pub time: Time,
    /// How many of the events before the cut there are of each family.
    pub families: BTreeMap<Family, u64>,
    /// The last `platformhead` before the cut.
    pub platformhead: PlatformHead,
    /// The complete subtrees over the events before the cut, the largest first.
    pub tree: Vec<Digest>,
}

impl Base {
    /// The base at the end of what was followed so far; none where no cut can be.
    #[must_use]
    pub fn of(state: &ChainState, tree: &Frontier) -> Option<Self> {
        let base = Self {
            cut: state.size(),
            head: state.head(),
            time: state.time(),
            families: state.families().clone(),
            platformhead: state.platformhead()?,
            tree: tree
                .peaks()
                .iter()
                .copied()
                .map(Digest::from_bytes)
                .collect(),
        };
        (tree.size() == base.cut && base.is_whole()).then_some(base)
    }

    /// Whether its parts fit each other.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let events = self
            .families
            .values()
            .try_fold(0_u64, |sum, events| sum.checked_add(*events));
        self.cut > 0
            && self.cut.is_multiple_of(CUT_EVENTS)
            && events == Some(self.cut)
            && self.tree().is_some()
    }

    /// The tree over the events before the cut; none where it has another number of subtrees.
    #[must_use]
    pub fn tree(&self) -> Option<Frontier> {
        let peaks: Vec<Node> = self.tree.iter().map(|node| *node.as_bytes()).collect();
        Frontier::at(self.cut, peaks)
    }

    /// Whether these hashes of 256 leaves each, from the first event on, are those of its tree.
    #[must_use]
    pub fn is_over(&self, tiles: &Frontier) -> bool {
        tiles.size() == self.cut / CUT_EVENTS
            && tiles
                .peaks()
                .iter()
                .eq(self.tree.iter().map(Digest::as_bytes))
    }

    /// Whether `header` can be the event at the cut, as far as it says.
    #[must_use]
    pub fn precedes(&self, header: &Header) -> bool {
        header.sequence.get() == self.cut && header.prevhash == self.head
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::leaf_hash;

    fn base(cut: u64) -> Base {
        let mut tree = Frontier::new();
        (0..cut).for_each(|leaf| tree.push(leaf_hash(&leaf.to_be_bytes())));
        let head = EventHash::from_bytes([7; 32]);
        Base {
            cut,
            head,
            time: Time::MIN,
            families: [("chain", 1), ("beat", cut - 1)]
                .map(|(family, events)| (family.parse().unwrap(), events))
                .into(),
            platformhead: PlatformHead {
                sequence: countersign_ids::Sequence::new(3),
                hash: head,
            },
            tree: tree
                .peaks()
                .iter()
                .copied()
                .map(Digest::from_bytes)
                .collect(),
        }
    }

    #[test]
    fn a_tree_goes_on_from_its_base_and_its_tiles_are_told() {
        let cut = 3 * CUT_EVENTS;
        let base = base(cut);
        let (mut whole, mut tiles) = (Frontier::new(), Frontier::new());
        for leaf in 0..cut + 5 {
            whole.push_completing(leaf_hash(&leaf.to_be_bytes()), |level, _, node| {
                if level == 8 {
                    tiles.push(node);
                }
            });
        }
        let mut tree = base.tree().unwrap();
        (cut..cut + 5).for_each(|leaf| tree.push(leaf_hash(&leaf.to_be_bytes())));
        assert_eq!((tree.size(), tree.root()), (whole.size(), whole.root()));
        assert!(base.is_whole() && base.is_over(&tiles));
        tiles.push([1; 32]);
        assert!(!base.is_over(&tiles), "one more than it has");
    }

    #[test]
    fn parts_that_do_not_fit_are_no_base() {
        for change in [
            |base: &mut Base| base.cut = 0,
            |base: &mut Base| base.cut -= 1,
            |base: &mut Base| base.cut += CUT_EVENTS,
            |base: &mut Base| base.tree.truncate(0),
            |base: &mut Base| base.families.clear(),
            |base: &mut Base| base.families.extend([("beat".parse().unwrap(), u64::MAX)]),
        ] {
            let mut changed = base(2 * CUT_EVENTS);
            assert!(changed.is_whole());
            change(&mut changed);
            assert!(!changed.is_whole(), "{changed:?}");
        }
    }
}
