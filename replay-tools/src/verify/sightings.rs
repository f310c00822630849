//! Trees that events say somebody saw, against the trees that are here: a split view is found from the ledger alone.

use std::collections::{BTreeMap, BTreeSet};

use countersign_chain::{event_hash, merkle};
use countersign_ids::EventHash;

use super::Run;
use super::chain::ChainRun;
use super::fault::{need, record};
use super::leaves::Hash;
use crate::pipeline;
use crate::source::{Chunk, Entry, Form, Item, SourceError, Wanted};
use crate::verdict::{Findings, Level};

impl Run<'_> {
    /// Compares every tree that somebody saw with the chain's own, reading a chain again only where it must be.
    pub(super) fn resolve_sightings(&mut self, findings: &mut Findings) -> Result<(), SourceError> {
        let mut unknown: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
        for (of, size) in self.sightings.keys() {
            let known = self
                .chains
                .get(of)
                .is_some_and(|run| *size > run.count() || run.at_size(*size).is_some());
            if !known {
                unknown.entry(of.clone()).or_default().insert(*size);
            }
        }
        let mut again = BTreeMap::new();
        if !unknown.is_empty() {
            let (ledger, wanted) = (self.ledger, |chain: &str| unknown.contains_key(chain));
            // Only the tree is wanted of it; what is wrong with the events was said the first time.
            pipeline::run(
                self.source.chunks(&wanted)?,
                self.threads,
                |chunk| leaves(chunk, &wanted),
                |leaves| {
                    for (chain, leaf, hash) in leaves {
                        if let (Some(wanted), Ok(id)) = (unknown.get(&chain), chain.parse()) {
                            again
                                .entry(chain)
                                .or_insert_with(|| {
                                    ChainRun::new(ledger, id, Form::Whole, wanted.clone())
                                })
                                .leaf(leaf, hash);
                        }
                    }
                    Ok(())
                },
            )?;
        }
        for ((of, size), seen) in &self.sightings {
            let snapshot = [self.chains.get(of), again.get(of)]
                .into_iter()
                .flatten()
                .find_map(|run| run.at_size(*size));
            for (root, first) in seen {
                let same = snapshot.is_some_and(|snapshot| snapshot.root == *root.as_bytes());
                let message = format!(
                    "saw another tree of size {size} of `{of}` than this one (a split view)"
                );
                let outcome = need(same, "split-view", &message);
                record(
                    findings,
                    Level::Evidence,
                    (&first.chain, first.sequence),
                    outcome,
                )?;
            }
        }
        Ok(())
    }
}

/// The leaves of a chunk, and the hashes of their events, by chain.
fn leaves(chunk: Chunk, wanted: &Wanted<'_>) -> Vec<(String, Hash, EventHash)> {
    let leaf = |item| match item {
        Item::Event(Entry { chain, record }) => {
            let leaf = merkle::leaf_hash(&record.header);
            Some((chain, leaf, event_hash(&record.header)))
        }
        Item::Fault(_) => None,
    };
    chunk.items(wanted).into_iter().filter_map(leaf).collect()
}
