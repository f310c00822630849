//! The tree over the heads of all chains: leaves change in place, so it keeps its complete subtrees.

use countersign_chain::checkpoint::{head_leaf, parse_head_leaf};
use countersign_chain::{TreeHead, merkle};
use countersign_ids::EventHash;

/// A SHA-256 node of an RFC 6962 tree.
pub(crate) type Hash = [u8; 32];

/// The head of one chain as a leaf of `heads.recorded`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    /// The chain, with `/e<epoch>` after a recorded loss.
    pub chain: String,
    /// Its size.
    pub size: u64,
    /// The root of its tree at that size.
    pub root: Hash,
    /// The hash of its last event; none before it is opened.
    pub last: Option<EventHash>,
}

impl Head {
    /// The head of a chain that is announced but not opened.
    pub(crate) fn unopened(chain: &str) -> Self {
        Self {
            chain: chain.to_owned(),
            size: 0,
            root: merkle::empty_root(),
            last: None,
        }
    }

    /// The last event's hash as text, `-` where there is none.
    pub(crate) fn last_text(&self) -> String {
        self.last
            .map_or_else(|| "-".to_owned(), |hash| hash.to_string())
    }

    /// The leaf's bytes.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        head_leaf(
            &self.chain,
            &TreeHead {
                size: self.size,
                root: self.root,
            },
            self.last.as_ref(),
        )
    }

    /// Reads a list of heads: leaves one after another.
    pub(crate) fn parse_list(bytes: &[u8]) -> Option<Vec<Self>> {
        const LINES: usize = 5;
        let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
        lines
            .chunks(LINES)
            .map(|leaf| Self::parse(&leaf.concat()))
            .collect()
    }

    fn parse(leaf: &[u8]) -> Option<Self> {
        let (chain, head, last) = parse_head_leaf(leaf).ok()?;
        let opened = (head.size == 0) == last.is_none();
        Some(Self {
            chain,
            size: head.size,
            root: head.root,
            last,
        })
        .filter(|_| opened)
    }
}

/// An RFC 6962 tree whose leaves can be replaced.
#[derive(Debug, Default)]
pub(crate) struct LeafTree {
    // INVARIANT: level k holds every complete subtree of 2^k leaves, in order.
    levels: Vec<Vec<Hash>>,
}

impl LeafTree {
    /// Number of leaves.
    pub(crate) fn len(&self) -> u64 {
        self.levels.first().map_or(0, |leaves| leaves.len() as u64)
    }

    /// Appends a leaf.
    pub(crate) fn push(&mut self, leaf: &[u8]) {
        let at = usize::try_from(self.len()).unwrap_or(usize::MAX);
        self.put(0, at, merkle::leaf_hash(leaf));
        self.climb(at);
    }

    /// Replaces a leaf that is there.
    pub(crate) fn set(&mut self, at: usize, leaf: &[u8]) {
        self.put(0, at, merkle::leaf_hash(leaf));
        self.climb(at);
    }

    fn put(&mut self, level: usize, at: usize, hash: Hash) {
        if self.levels.len() <= level {
            self.levels.resize_with(level + 1, Vec::new);
        }
        if let Some(nodes) = self.levels.get_mut(level) {
            match nodes.get_mut(at) {
                Some(node) => *node = hash,
                None => nodes.push(hash),
            }
        }
    }

    /// Makes every complete subtree above leaf `at` again.
    fn climb(&mut self, at: usize) {
        let (mut level, mut at) = (0, at);
        while let Some((left, right)) = self.pair(level, at) {
            (level, at) = (level + 1, at / 2);
            self.put(level, at, merkle::node_hash(&left, &right));
        }
    }

    fn pair(&self, level: usize, at: usize) -> Option<(Hash, Hash)> {
        let nodes = self.levels.get(level)?;
        let left = at & !1;
        Some((*nodes.get(left)?, *nodes.get(left + 1)?))
    }

    /// The root.
    pub(crate) fn root(&self) -> Hash {
        self.range(0, self.len())
    }

    /// The inclusion proof of leaf `at` in the tree of the first `size` leaves, the leaf's sibling first.
    pub(crate) fn path(&self, at: u64, size: u64) -> Vec<Hash> {
        let mut path = Vec::new();
        let (mut from, mut to) = (0, size.min(self.len()));
        while to.saturating_sub(from) > 1 {
            let middle = from + split(to - from);
            if at < middle {
                path.push(self.range(middle, to));
                to = middle;
            } else {
                path.push(self.range(from, middle));
                from = middle;
            }
        }
        path.reverse();
        path
    }

    /// The root over the leaves from `from` to before `to`, where `from` is where a complete subtree begins.
    fn range(&self, from: u64, to: u64) -> Hash {
        let size = to.saturating_sub(from);
        if size == 0 {
            return merkle::empty_root();
        }
        if size.is_power_of_two() {
            let level = size.trailing_zeros();
            let node = usize::try_from(from >> level).ok();
            let nodes = usize::try_from(level)
                .ok()
                .and_then(|level| self.levels.get(level));
            return nodes
                .and_then(|nodes| nodes.get(node?).copied())
                .unwrap_or_default();
        }
        let middle = from + split(size);
        merkle::node_hash(&self.range(from, middle), &self.range(middle, to))
    }
}

/// The largest power of two below `size`, which is at least 2.
fn split(size: u64) -> u64 {
    size.next_power_of_two() / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_leaves_give_the_root_and_the_paths_of_a_tree_made_at_once() {
        for size in 1..40_u64 {
            let mut tree = LeafTree::default();
            for number in 0..size {
                tree.push(&[0, u8::try_from(number).unwrap()]);
            }
            for number in (0..size).step_by(3) {
                let number = u8::try_from(number).unwrap();
                tree.set(number.into(), &[1, number]);
            }
            let mut frontier = merkle::Frontier::default();
            let leaf = |number: u64| {
                [
                    u8::from(number.is_multiple_of(3)),
                    u8::try_from(number).unwrap(),
                ]
            };
            for number in 0..size {
                frontier.push(merkle::leaf_hash(&leaf(number)));
            }
            assert_eq!(tree.root(), frontier.root());
            for number in 0..size {
                let path = tree.path(number, size);
                let verdict = merkle::verify_inclusion(
                    &merkle::leaf_hash(&leaf(number)),
                    number,
                    size,
                    &path,
                    &tree.root(),
                );
                assert!(verdict.is_ok(), "{number} of {size}");
            }
        }
    }

    #[test]
    fn lists_of_heads_read_back() {
        let heads = [
            Head::unopened("acme"),
            Head {
                chain: "b.beats".into(),
                size: 3,
                root: [7; 32],
                last: Some(EventHash::from_bytes([8; 32])),
            },
        ];
        let bytes: Vec<u8> = heads.iter().flat_map(Head::to_bytes).collect();
        assert_eq!(Head::parse_list(&bytes).unwrap(), heads);
        assert_eq!(Head::parse_list(b"").unwrap(), []);
        for bad in [
            &bytes[..bytes.len() - 1],
            b"\n",
            b"countersign/head/v2\na\n0\n\n-\n",
        ] {
            assert_eq!(Head::parse_list(bad), None);
        }
    }
}
