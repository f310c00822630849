//! Following every chain of a stopped ledger from its journal: what every verification does first.

use anyhow::{Context, Result};
use countersign_chain::{ChainState, Header};
use countersign_ids::ChainId;
use countersign_store::read::{Item, Reader};
use std::collections::BTreeMap;
use std::path::Path;

/// Hashes and links every event; returns how many there are.
pub(crate) fn follow(root: &Path) -> Result<u64> {
    let reader = Reader::open(root)?;
    let ledger = reader.description().ledger;
    let mut chains: BTreeMap<ChainId, ChainState> = BTreeMap::new();
    let mut events = 0;
    for item in reader.journal()? {
        let Item::Events { records, .. } = item? else {
            continue;
        };
        for record in records {
            let chain = Header::parse(&record.header)
                .context("a header is broken")?
                .chain;
            let state = chains
                .entry(chain.clone())
                .or_insert_with(|| ChainState::genesis(&ledger, &chain));
            state.follow(&record).context("a chain is broken")?;
            events += 1;
        }
    }
    Ok(events)
}
