//! Tiles of the Merkle trees: 256 hashes of one level each, as C2SP tlog-tiles cuts a tree. A tile of level 1 holds the hashes
//! of subtrees of 256 events, one of level 2 those of 65,536; level 0 is hashed again from the events.
//!
//! The last tile of a level holds fewer and is written over as it grows.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use countersign_chain::merkle::{Frontier, Node, Subtree};

use super::keys::{self, Number};
use super::values::{self, Found};
use crate::Error;

/// The levels of a tree that one tile spans, and so how many hashes it holds: 2 to the power of this.
pub(crate) const TILE_LEVELS: u32 = 8;
const TILE_NODES: u64 = 1 << TILE_LEVELS;

/// Whether hashes of this level stand in tiles.
pub(crate) const fn stored(level: u32) -> bool {
    level >= TILE_LEVELS && level.is_multiple_of(TILE_LEVELS)
}

/// One tile's level and index.
type Place = (u8, u64);

/// Adds completed subtrees to the tiles that they belong into.
pub(crate) fn write(
    db: &sled::Db,
    batch: &mut sled::Batch,
    chain: Number,
    fresh: &[(Subtree, Node)],
) -> Result<(), Error> {
    let mut tiles: BTreeMap<Place, Vec<u8>> = BTreeMap::new();
    for (subtree, node) in fresh {
        let place = (tile_level(subtree.level), subtree.index / TILE_NODES);
        let tile = match tiles.entry(place) {
            Entry::Occupied(tile) => tile.into_mut(),
            Entry::Vacant(empty) if subtree.index % TILE_NODES == 0 => empty.insert(Vec::new()),
            Entry::Vacant(empty) => {
                let begun = values::get_small(db, &keys::tile(chain, place.0, place.1))?;
                empty.insert(begun.value().unwrap_or_default())
            }
        };
        let at = usize::try_from(subtree.index % TILE_NODES)
            .unwrap_or_default()
            .saturating_mul(node.len());
        // What is missing in between was damaged; zeros are no hash, and readers make it again from the events.
        tile.resize(at.max(tile.len()), 0);
        tile.truncate(at);
        tile.extend_from_slice(node);
    }
    for ((level, index), tile) in tiles {
        let key = keys::tile(chain, level, index);
        batch.insert(key.as_slice(), values::seal(&key, &tile));
    }
    Ok(())
}

/// What a tile says about a subtree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Node(Node),
    /// The tile does not hold all that it takes.
    Absent,
    Damaged,
}

/// The hash of a complete subtree of level 8 or above, from the tile that holds it or what it is made of.
pub(crate) fn node(db: &sled::Db, chain: Number, subtree: Subtree) -> Result<Answer, Error> {
    let above = subtree.level % TILE_LEVELS;
    let first = subtree.index << above;
    let place = (tile_level(subtree.level), first / TILE_NODES);
    let tile = match values::get_small(db, &keys::tile(chain, place.0, place.1))? {
        Found::Value(tile) => tile,
        Found::Absent => return Ok(Answer::Absent),
        Found::Damaged => return Ok(Answer::Damaged),
    };
    let skip = usize::try_from(first % TILE_NODES).unwrap_or(usize::MAX);
    let nodes: Vec<Node> = tile
        .chunks_exact(32)
        .skip(skip)
        .take(1 << above)
        .filter_map(|node| node.try_into().ok())
        .filter(|node| *node != [0; 32])
        .collect();
    if nodes.len() < 1 << above {
        return Ok(Answer::Absent);
    }
    let mut frontier = Frontier::new();
    nodes.iter().for_each(|node| frontier.push(*node));
    Ok(Answer::Node(frontier.root()))
}

fn tile_level(level: u32) -> u8 {
    u8::try_from(level / TILE_LEVELS).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use countersign_chain::merkle::{leaf_hash, node_hash};

    use super::*;

    #[test]
    fn every_level_above_the_leaves_is_told_by_tiles_that_grew_in_steps() {
        let dir = tempfile::tempdir().unwrap();
        let db = sled::open(dir.path()).unwrap();
        let mut frontier = Frontier::new();
        let (mut fresh, mut nodes) = (Vec::new(), BTreeMap::new());
        let leaves = 66_000_u64;
        for leaf in 0..leaves {
            frontier.push_completing(leaf_hash(&leaf.to_be_bytes()), |level, index, node| {
                nodes.insert((level, index), node);
                if stored(level) {
                    fresh.push((Subtree { level, index }, node));
                }
            });
            if leaf % 4999 == 0 || leaf + 1 == leaves {
                let mut batch = sled::Batch::default();
                write(&db, &mut batch, 7, &std::mem::take(&mut fresh)).unwrap();
                db.apply_batch(batch).unwrap();
            }
        }
        let above: Vec<_> = nodes
            .iter()
            .filter(|((level, _), _)| *level >= TILE_LEVELS)
            .collect();
        assert!(above.iter().any(|((level, _), _)| *level == 16));
        for ((level, index), expected) in above {
            let (level, index) = (*level, *index);
            let half = |child: u64| nodes[&(level - 1, child)];
            assert_eq!(*expected, node_hash(&half(2 * index), &half(2 * index + 1)));
            assert_eq!(
                node(&db, 7, Subtree { level, index }).unwrap(),
                Answer::Node(*expected)
            );
        }
        let beyond = Subtree {
            level: 8,
            index: leaves >> 8,
        };
        assert_eq!(node(&db, 7, beyond).unwrap(), Answer::Absent);
        let key = keys::tile(7, 1, 0);
        let mut tile = db.get(&key).unwrap().unwrap().to_vec();
        tile[700] ^= 1;
        db.insert(key, tile).unwrap();
        assert_eq!(
            node(&db, 7, Subtree { level: 8, index: 1 }).unwrap(),
            Answer::Damaged
        );
        // What was lost in between stays unknown, and what comes after it is known.
        let mut batch = sled::Batch::default();
        write(
            &db,
            &mut batch,
            7,
            &[(Subtree { level: 8, index: 9 }, [1; 32])],
        )
        .unwrap();
        db.apply_batch(batch).unwrap();
        assert_eq!(
            node(&db, 7, Subtree { level: 8, index: 8 }).unwrap(),
            Answer::Absent
        );
        assert_eq!(
            node(&db, 7, Subtree { level: 8, index: 9 }).unwrap(),
            Answer::Node([1; 32])
        );
    }
}
