//! The Merkle tree of RFC 6962 (SHA-256), grown one leaf at a time, and its proofs.
//!
//! Nothing here keeps a tree: a proof is a plan of ranges whose roots whoever holds them supplies, so that a store answers
//! from tiles and an auditor from a list. Checked against a naive implementation and the vectors of Certificate Transparency.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A node of the tree: 32 bytes of SHA-256.
pub type Node = [u8; 32];

/// Hash of a leaf: SHA-256(0x00 ‖ data), RFC 6962 section 2.1.
#[must_use]
pub fn leaf_hash(data: &[u8]) -> Node {
    Sha256::new()
        .chain_update([0])
        .chain_update(data)
        .finalize()
        .into()
}

/// Hash of an inner node: SHA-256(0x01 ‖ left ‖ right), RFC 6962 section 2.1.
#[must_use]
pub fn node_hash(left: &Node, right: &Node) -> Node {
    Sha256::new()
        .chain_update([1])
        .chain_update(left)
        .chain_update(right)
        .finalize()
        .into()
}

/// The root of the tree without leaves: SHA-256 of nothing.
#[must_use]
pub fn empty_root() -> Node {
    Sha256::digest([]).into()
}

/// The right edge of a growing tree: one complete subtree for each bit of its size.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Frontier {
    size: u64,
    // INVARIANT: as many entries as `size` has one-bits, the largest subtree first.
    peaks: Vec<Node>,
}

impl Frontier {
    /// A tree without leaves.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            size: 0,
            peaks: Vec::new(),
        }
    }

    /// A tree of so many leaves, by its complete subtrees, the largest first; none where these are not as many as it has.
    #[must_use]
    pub fn at(size: u64, peaks: Vec<Node>) -> Option<Self> {
        let fits = u32::try_from(peaks.len()).is_ok_and(|peaks| peaks == size.count_ones());
        fits.then_some(Self { size, peaks })
    }

    /// Its complete subtrees, the largest first.
    #[must_use]
    pub fn peaks(&self) -> &[Node] {
        &self.peaks
    }

    /// Adds a leaf by its hash.
    pub fn push(&mut self, leaf: Node) {
        self.push_completing(leaf, |_, _, _| ());
    }

    /// Adds a leaf and tells `complete(level, index, node)` of every inner subtree that it completes (level 1 has two leaves).
    pub fn push_completing(&mut self, leaf: Node, mut complete: impl FnMut(u32, u64, Node)) {
        let mut node = leaf;
        let mut level = 0;
        while self.size >> level & 1 == 1 {
            // INVARIANT: a one-bit has its peak.
            let Some(left) = self.peaks.pop() else { break };
            node = node_hash(&left, &node);
            level += 1;
            complete(level, self.size >> level, node);
        }
        self.peaks.push(node);
        self.size = self.size.saturating_add(1);
    }

    /// How many leaves it has.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Its root.
    #[must_use]
    pub fn root(&self) -> Node {
        let mut peaks = self.peaks.iter().rev();
        let Some(last) = peaks.next() else {
            return empty_root();
        };
        peaks.fold(*last, |right, left| node_hash(left, &right))
    }
}

/// A complete subtree: the `2^level` leaves from `index << level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subtree {
    /// Its height; a leaf has 0.
    pub level: u32,
    /// Which one of its height, from the left.
    pub index: u64,
}

/// One hash of a proof, as the complete subtrees, from the left, whose hashes it is folded from.
pub type Step = Vec<Subtree>;

/// What an inclusion proof of leaf `index` in a tree of `size` leaves consists of, the leaf's sibling first.
#[must_use]
pub fn inclusion_plan(index: u64, size: u64) -> Option<Vec<Step>> {
    if index >= size {
        return None;
    }
    let mut steps = Vec::new();
    let (mut start, mut end) = (0, size);
    while end - start > 1 {
        let middle = start + split(end - start);
        if index < middle {
            steps.push(subtrees(middle, end));
            end = middle;
        } else {
            steps.push(subtrees(start, middle));
            start = middle;
        }
    }
    steps.reverse();
    Some(steps)
}

/// What a consistency proof between the trees of `old` and `new` leaves consists of, RFC 6962 section 2.1.2.
#[must_use]
pub fn consistency_plan(old: u64, new: u64) -> Option<Vec<Step>> {
    if old > new {
        return None;
    }
    let mut steps = Vec::new();
    if old == 0 || old == new {
        return Some(steps);
    }
    let (mut start, mut end, mut whole) = (0, new, true);
    // SUBPROOF(m, D[n], b), its recursion unrolled: what it appends after returning is pushed first and reversed.
    while old != end {
        let middle = start + split(end - start);
        if old <= middle {
            steps.push(subtrees(middle, end));
            end = middle;
        } else {
            steps.push(subtrees(start, middle));
            start = middle;
            whole = false;
        }
    }
    if !whole {
        steps.push(subtrees(start, end));
    }
    steps.reverse();
    Some(steps)
}

/// The complete subtrees whose hashes, folded, give the root of the tree of the first `size` leaves.
#[must_use]
pub fn root_plan(size: u64) -> Step {
    subtrees(0, size)
}

/// Folds the hashes of one step, given from the left.
#[must_use]
pub fn fold(hashes: &[Node]) -> Node {
    let mut from_right = hashes.iter().rev();
    let Some(last) = from_right.next() else {
        return empty_root();
    };
    from_right.fold(*last, |right, left| node_hash(left, &right))
}

/// The largest power of two smaller than `size`, which is at least 2.
const fn split(size: u64) -> u64 {
    1 << (size - 1).ilog2()
}

/// Complete subtrees that cover the leaves from `start` to before `end`, where `start` is aligned as plans make it.
fn subtrees(mut start: u64, end: u64) -> Step {
    let mut cover = Vec::new();
    while start < end {
        let fits = (end - start).ilog2();
        let aligned = if start == 0 {
            fits
        } else {
            start.trailing_zeros().min(fits)
        };
        cover.push(Subtree {
            level: aligned,
            index: start >> aligned,
        });
        start += 1 << aligned;
    }
    cover
}

/// Why a proof does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The index lies outside the tree, or the old size beyond the new one.
    #[error("the proof is about a position outside the tree")]
    Range,
    /// Too many or too few hashes.
    #[error("the proof has another number of hashes than its position asks for")]
    Length,
    /// The hashes lead to another root.
    #[error("the proof leads to another root")]
    Root,
}

/// Verifies that `leaf` is leaf `index` of the tree of `size` leaves with this root (RFC 9162 section 2.1.3.2).
///
/// # Errors
/// Why it is not shown.
pub fn verify_inclusion(
    leaf: &Node,
    index: u64,
    size: u64,
    proof: &[Node],
    root: &Node,
) -> Result<(), Error> {
    if index >= size {
        return Err(Error::Range);
    }
    let (mut at, mut last) = (index, size - 1);
    let mut hash = *leaf;
    for sibling in proof {
        if last == 0 {
            return Err(Error::Length);
        }
        if at & 1 == 1 || at == last {
            hash = node_hash(sibling, &hash);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    match (last, hash == *root) {
        (0, true) => Ok(()),
        (0, false) => Err(Error::Root),
        _ => Err(Error::Length),
    }
}

/// Verifies that the tree of `old` leaves is a beginning of the tree of `new` leaves (RFC 9162 section 2.1.4.2).
///
/// The empty tree is a beginning of every tree; its root is checked all the same.
///
/// # Errors
/// Why it is not shown.
pub fn verify_consistency(
    old: u64,
    new: u64,
    old_root: &Node,
    new_root: &Node,
    proof: &[Node],
) -> Result<(), Error> {
    if old > new {
        return Err(Error::Range);
    }
    if old == 0 || old == new {
        let expected = if old == 0 { empty_root() } else { *new_root };
        return match (proof.is_empty(), *old_root == expected) {
            (false, _) => Err(Error::Length),
            (true, false) => Err(Error::Root),
            (true, true) => Ok(()),
        };
    }
    // A tree of a power of two is itself the first hash of the proof.
    let mut hashes = proof.iter();
    let first = if old.is_power_of_two() {
        *old_root
    } else {
        *hashes.next().ok_or(Error::Length)?
    };
    let (mut at, mut last) = (old - 1, new - 1);
    while at & 1 == 1 {
        at >>= 1;
        last >>= 1;
    }
    let (mut old_hash, mut new_hash) = (first, first);
    for sibling in hashes {
        if last == 0 {
            return Err(Error::Length);
        }
        if at & 1 == 1 || at == last {
            old_hash = node_hash(sibling, &old_hash);
            new_hash = node_hash(sibling, &new_hash);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            new_hash = node_hash(&new_hash, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(Error::Length);
    }
    if old_hash == *old_root && new_hash == *new_root {
        Ok(())
    } else {
        Err(Error::Root)
    }
}

#[cfg(test)]
mod tests;
