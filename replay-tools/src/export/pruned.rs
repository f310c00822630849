//! Pruned chains in a bundle: their events from the cut on, and the hashes of their trees before it.

use std::collections::BTreeMap;

use countersign_chain::merkle::{Frontier, Node, leaf_hash};
use countersign_chain::{Base, CUT_EVENTS};
use countersign_events::Event;
use countersign_events::chain::Chain;

use super::ExportError;
use super::parts::Parts;
use super::whole::{self, spool};
use crate::bundle::names;
use crate::bundle::{NODE_BYTES, TILE_NODES};
use crate::source::{Entry, GO_ON, Source, Wanted};
use crate::verdict::Findings;
use crate::verify::sequence_named;

/// The height of a subtree of 256 leaves.
const NODE_LEVEL: u32 = CUT_EVENTS.trailing_zeros();

/// The newest pruning of a chain.
#[derive(Debug)]
pub(super) struct Cut {
    /// Where the platform's chain orders it.
    pub at: u64,
    /// The recorded heads that it names.
    pub heads: u64,
    /// What the chain begins with.
    pub base: Base,
    /// What the events before the cut that are still here give of its tree, as far as they come.
    begun: Frontier,
    nodes: BTreeMap<u64, Node>,
}

/// The newest pruning of each chain of the source.
pub(super) type Cuts = BTreeMap<String, Cut>;

/// Reads which chains were pruned.
pub(super) fn cuts(source: &dyn Source) -> Result<Cuts, ExportError> {
    let mut cuts = Cuts::new();
    source.events(
        &|chain| chain == "platform",
        &mut Findings::default(),
        &mut |entry, _| {
            if let Some(Event::Chain(Chain::Pruned(pruned))) = whole::read(&entry.record) {
                let cut = Cut {
                    at: sequence_named(&entry.record.header).unwrap_or_default(),
                    heads: pruned.heads,
                    base: pruned.base,
                    begun: Frontier::new(),
                    nodes: BTreeMap::new(),
                };
                cuts.insert(pruned.chain.to_string(), cut);
            }
            GO_ON
        },
    )?;
    Ok(cuts)
}

/// Whether an event stands before the cut of its chain; its place in the tree is kept.
pub(super) fn is_before(cuts: &mut Cuts, entry: &Entry) -> bool {
    let Some(cut) = cuts.get_mut(&entry.chain) else {
        return false;
    };
    let header = &entry.record.header;
    let Some(at) = sequence_named(header).filter(|at| *at < cut.base.cut) else {
        return false;
    };
    if at == cut.begun.size() {
        let nodes = &mut cut.nodes;
        cut.begun
            .push_completing(leaf_hash(header), |level, index, node| {
                if level == NODE_LEVEL {
                    nodes.insert(index, node);
                }
            });
    }
    true
}

/// Writes what is kept of the trees before the cuts.
pub(super) fn tiles(
    source: &dyn Source,
    mut cuts: Cuts,
    wanted: &Wanted<'_>,
    parts: &mut Parts,
) -> Result<(), ExportError> {
    if cuts.is_empty() {
        return Ok(());
    }
    source.tiles(&mut |chain, size, node| {
        if let Some(cut) = cuts.get_mut(chain).filter(|cut| size <= cut.base.cut) {
            cut.nodes.insert(size / CUT_EVENTS - 1, node);
        }
    })?;
    for (chain, cut) in cuts.into_iter().filter(|(chain, _)| wanted(chain)) {
        let mut tiles: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        for (index, node) in &cut.nodes {
            let tile = tiles.entry(index / TILE_NODES).or_default();
            let missing = index % TILE_NODES - (tile.len() / NODE_BYTES) as u64;
            if missing > 0 {
                parts
                    .warnings
                    .push(format!("the tree of `{chain}` before its cut has gaps"));
            }
            tile.extend_from_slice(node);
        }
        for (index, tile) in tiles {
            parts
                .small(&names::tile(&chain, index), &tile)
                .map_err(spool)?;
        }
    }
    Ok(())
}
