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
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 6962 section 2.1, word for word.
    fn naive_root(leaves: &[Node]) -> Node {
        match leaves {
            [] => empty_root(),
            [leaf] => *leaf,
            _ => {
                let (left, right) =
                    leaves.split_at(usize::try_from(split(leaves.len() as u64)).unwrap());
                node_hash(&naive_root(left), &naive_root(right))
            }
        }
    }

    /// RFC 6962 section 2.1.1, word for word.
    fn naive_path(index: usize, leaves: &[Node]) -> Vec<Node> {
        if leaves.len() < 2 {
            return Vec::new();
        }
        let (left, right) = leaves.split_at(usize::try_from(split(leaves.len() as u64)).unwrap());
        let (mut path, other) = if index < left.len() {
            (naive_path(index, left), right)
        } else {
            (naive_path(index - left.len(), right), left)
        };
        path.push(naive_root(other));
        path
    }

    /// RFC 6962 section 2.1.2, word for word.
    fn naive_subproof(old: usize, leaves: &[Node], whole: bool) -> Vec<Node> {
        if old == leaves.len() {
            return if whole {
                Vec::new()
            } else {
                vec![naive_root(leaves)]
            };
        }
        let (left, right) = leaves.split_at(usize::try_from(split(leaves.len() as u64)).unwrap());
        let (mut proof, other) = if old <= left.len() {
            (naive_subproof(old, left, whole), right)
        } else {
            (naive_subproof(old - left.len(), right, false), left)
        };
        proof.push(naive_root(other));
        proof
    }

    fn answer(plan: &[Step], leaves: &[Node]) -> Vec<Node> {
        let subtree = |subtree: &Subtree| {
            let start = usize::try_from(subtree.index << subtree.level).unwrap();
            naive_root(&leaves[start..start + (1 << subtree.level)])
        };
        plan.iter()
            .map(|step| fold(&step.iter().map(subtree).collect::<Vec<_>>()))
            .collect()
    }

    fn leaves(count: usize) -> Vec<Node> {
        (0..count)
            .map(|index| leaf_hash(&index.to_be_bytes()))
            .collect()
    }

    fn hex(text: &str) -> Node {
        hex::decode(text).unwrap().try_into().unwrap()
    }

    /// The leaves and roots that the tests of Certificate Transparency publish.
    #[test]
    fn roots_of_certificate_transparency() {
        let data = [
            "",
            "00",
            "10",
            "2021",
            "3031",
            "40414243",
            "5051525354555657",
            "606162636465666768696a6b6c6d6e6f",
        ];
        let roots = [
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        let mut tree = Frontier::new();
        assert_eq!(tree.root(), hex(roots[0]));
        for (data, root) in data.iter().zip(&roots[1..]) {
            tree.push(leaf_hash(&hex::decode(data).unwrap()));
            assert_eq!(tree.root(), hex(root));
        }
    }

    #[test]
    fn small_trees_agree_with_the_naive_ones() {
        for size in 0..66_usize {
            let leaves = leaves(size);
            let mut tree = Frontier::new();
            leaves.iter().for_each(|leaf| tree.push(*leaf));
            let root = naive_root(&leaves);
            assert_eq!(tree.root(), root);
            assert_eq!(answer(&[root_plan(size as u64)], &leaves)[0], root);
            for index in 0..size {
                let proof = answer(&inclusion_plan(index as u64, size as u64).unwrap(), &leaves);
                assert_eq!(proof, naive_path(index, &leaves));
                assert_eq!(
                    verify_inclusion(&leaves[index], index as u64, size as u64, &proof, &root),
                    Ok(())
                );
            }
            for old in 0..=size {
                let proof = answer(&consistency_plan(old as u64, size as u64).unwrap(), &leaves);
                if old > 0 {
                    assert_eq!(proof, naive_subproof(old, &leaves, true));
                }
                assert_eq!(
                    verify_consistency(
                        old as u64,
                        size as u64,
                        &naive_root(&leaves[..old]),
                        &root,
                        &proof
                    ),
                    Ok(())
                );
            }
        }
        assert_eq!(inclusion_plan(5, 5), None);
        assert_eq!(consistency_plan(6, 5), None);
    }

    proptest! {
        #[test]
        fn no_other_proof_verifies(size in 2_usize..200, index in any::<prop::sample::Index>(), flip in any::<prop::sample::Index>(), cut in any::<bool>()) {
            let leaves = leaves(size);
            let (index, root) = (index.index(size), naive_root(&leaves));
            let (at, count) = (index as u64, size as u64);
            let proof = answer(&inclusion_plan(at, count).unwrap(), &leaves);
            let mut other = proof.clone();
            if cut { other.pop(); } else { other.push(root); }
            prop_assert!(verify_inclusion(&leaves[index], at, count, &other, &root).is_err());
            let mut other = proof.clone();
            let place = flip.index(other.len());
            other[place][0] ^= 1;
            prop_assert_eq!(verify_inclusion(&leaves[index], at, count, &other, &root), Err(Error::Root));
            prop_assert!(verify_inclusion(&leaves[(index + 1) % size], at, count, &proof, &root).is_err());
            prop_assert_eq!(verify_inclusion(&leaves[index], count, count, &proof, &root), Err(Error::Range));

            let old = 1 + index % (size - 1);
            let old_root = naive_root(&leaves[..old]);
            let proof = answer(&consistency_plan(old as u64, count).unwrap(), &leaves);
            let mut other = proof.clone();
            let place = flip.index(other.len());
            other[place][0] ^= 1;
            prop_assert!(verify_consistency(old as u64, count, &old_root, &root, &other).is_err());
            let mut other = proof.clone();
            if cut { other.pop(); } else { other.push(root); }
            prop_assert!(verify_consistency(old as u64, count, &old_root, &root, &other).is_err());
            prop_assert!(verify_consistency(old as u64, count, &root, &root, &proof).is_err());
        }

        #[test]
        fn a_frontier_names_the_subtrees_that_it_completes(size in 1_usize..400) {
            let leaves = leaves(size);
            let mut tree = Frontier::new();
            for leaf in &leaves {
                let mut completed = Vec::new();
                tree.push_completing(*leaf, |level, index, node| completed.push((level, index, node)));
                for (level, index, node) in completed {
                    let start = usize::try_from(index << level).unwrap();
                    prop_assert_eq!(node, naive_root(&leaves[start..start + (1 << level)]));
                }
            }
            let snapshot: Frontier = serde_json::from_str(&serde_json::to_string(&tree).unwrap()).unwrap();
            prop_assert_eq!(snapshot.root(), naive_root(&leaves));
        }
    }
}
