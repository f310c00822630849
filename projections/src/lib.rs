//! Read models: pure folds of one chain's events into rows.
//!
//! One module per read model; no I/O, no clock, no randomness. What runs them and keeps their rows is `store`.
//! Each folds one chain, so a [`digest`] over rows does not depend on how chains interleaved. Rows are canonical JSON: folding
//! the same chain again gives the same bytes. Every module says what each family means to it, and what an absent body does.
#![warn(clippy::wildcard_enum_match_arm)]

mod counts;
mod queue;
mod row;
mod sites;
mod timeline;

pub use counts::{COUNTERS, Counts};
pub use queue::Queue;
pub use sites::Sites;
pub use timeline::Timeline;

use countersign_chain::Header;
use countersign_events::Event;
use countersign_ids::{ChainId, Digest, EventHash};
use sha2::{Digest as _, Sha256};

/// The rows of one projection in one chain, as its fold may read them.
pub trait Rows {
    /// The value of a row.
    fn get(&self, key: &[u8]) -> Option<Vec<u8>>;
}

/// What a fold does to one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Writes a row, over the one with this key if there is one.
    Put {
        /// Its key; rows stand in the order of their keys' bytes.
        key: Vec<u8>,
        /// Canonical JSON.
        value: Vec<u8>,
    },
    /// Removes a row.
    Delete {
        /// Its key.
        key: Vec<u8>,
    },
}

/// One verified event, as a fold sees it.
#[derive(Debug, Clone, Copy)]
pub struct Folded<'a> {
    /// Its attributes.
    pub header: &'a Header,
    /// The hash of E.
    pub hash: EventHash,
    /// What it says; `None` where its body is gone or sealed.
    pub event: Option<&'a Event>,
}

/// Why a fold cannot go on: it then stops in that chain, by name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Stop(pub String);

/// One read model.
pub trait Projection: Send + Sync {
    /// Its name, which is part of its rows' keys.
    fn name(&self) -> &'static str;
    /// Another version starts again from the first event.
    fn version(&self) -> u32;
    /// What the next event of a chain changes.
    fn fold(&self, rows: &dyn Rows, folded: &Folded<'_>) -> Result<Vec<Change>, Stop>;
}

/// Every read model of this program.
#[must_use]
pub fn all() -> Vec<Box<dyn Projection>> {
    vec![
        Box::new(Timeline),
        Box::new(Queue),
        Box::new(Sites),
        Box::new(Counts),
    ]
}

/// Whether read models are folded over this chain.
///
/// Heartbeats have none: what the last of them says is read from the chain's end, and a row for each would outgrow everything
/// else.
#[must_use]
pub const fn has_read_models(chain: &ChainId) -> bool {
    !chain.is_beats()
}

/// SHA-256 over all rows in order of key: the length of the key (u64, big-endian), the key, then the same of the value.
pub fn digest<'a>(rows: impl IntoIterator<Item = (&'a Vec<u8>, &'a Vec<u8>)>) -> Digest {
    let mut sha = Sha256::new();
    for part in rows.into_iter().flat_map(|(key, value)| [key, value]) {
        let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
        sha.update(length.to_be_bytes());
        sha.update(part);
    }
    Digest::from_bytes(sha.finalize().into())
}
