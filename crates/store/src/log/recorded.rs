//! Which events a `heads.recorded` covers: receipts rise from `local` to `recorded`.
//!
//! The event names a blob that holds the leaves that changed (formats section 3); a blob that is missing or malformed raises
//! nothing, and says so.

use std::collections::BTreeMap;

use countersign_ids::ChainId;

use crate::view::View;
use crate::{Blobs, Entry};

const LEAF: &str = "countersign/head/v1";

#[derive(serde::Deserialize)]
struct Heads {
    #[serde(default)]
    blobs: Vec<countersign_ids::Digest>,
}

/// How many events of which chains an event of the platform chain covers; nothing unless it is `heads.recorded`.
pub(crate) fn covered(blobs: &Blobs, entry: &Entry) -> BTreeMap<ChainId, u64> {
    let mut sizes = BTreeMap::new();
    if entry.header().event_type.family().as_str() != "heads" {
        return sizes;
    }
    // The platform chain's own events stand before the list of heads that they are in.
    sizes.insert(ChainId::platform(), entry.sequence().get());
    let heads: Heads = match serde_json::from_slice(entry.body().unwrap_or(b"{}")) {
        Ok(heads) => heads,
        Err(error) => {
            tracing::warn!(%error, "a list of heads is malformed");
            return sizes;
        }
    };
    for digest in heads.blobs {
        match blobs.read(&digest) {
            Ok(leaves) => sizes.extend(parse(&leaves)),
            Err(error) => tracing::warn!(%error, "a list of heads cannot be read"),
        }
    }
    sizes
}

fn parse(leaves: &[u8]) -> BTreeMap<ChainId, u64> {
    let lines: Vec<&str> = std::str::from_utf8(leaves)
        .unwrap_or_default()
        .lines()
        .collect();
    let leaf = |lines: &[&str]| match lines {
        [LEAF, chain, size, ..] => {
            // After a recorded loss the name carries an epoch; the chain is what stands before it.
            let chain = chain.split_once("/e").map_or(*chain, |(chain, _)| chain);
            Some((chain.parse().ok()?, size.parse().ok()?))
        }
        _ => None,
    };
    lines.chunks(5).filter_map(leaf).collect()
}

/// Raises the receipts of those chains; returns the chains.
pub(crate) fn apply(view: &View, covered: BTreeMap<ChainId, u64>) -> Vec<ChainId> {
    for (id, size) in &covered {
        if let Some(chain) = view.chain(id) {
            chain.set_recorded(*size);
        }
    }
    covered.into_keys().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_are_five_lines_each() {
        let leaves = "countersign/head/v1\nblog\n7\nAAAA\nblake3:00\ncountersign/head/v1\nblog.beats\n0\nAAAA\n-\n";
        let sizes = parse(leaves.as_bytes());
        assert_eq!(
            sizes,
            BTreeMap::from([
                ("blog".parse().unwrap(), 7),
                ("blog.beats".parse().unwrap(), 0)
            ])
        );
        assert!(parse(b"\xff").is_empty() && parse(b"countersign/head/v1\nblog").is_empty());
    }
}
