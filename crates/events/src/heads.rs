//! Family `heads`: what every chain was, all at one moment.

use countersign_ids::{Digest, EventHash};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::declare::events;

/// The family `keys` as of the event before the recorded heads, the same append included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeysHead {
    /// How many events of family `keys` there are.
    pub count: u64,
    /// The hash of the last of them.
    pub last: EventHash,
}

events! {
    /// Sizes and roots of all chains, recorded together.
    Heads = "heads" Evidence;

    /// The heads of all announced chains, as leaves of one tree: what it covers came before it.
    Recorded = "recorded" v 1 on Platform about "`heads`" {
        /// How many leaves the tree of heads has: one per announced chain.
        pub size: u64,
        /// The root of the tree of heads.
        pub root: Digest,
        /// The keys in force.
        pub keys: KeysHead,
        /// The blob that holds the leaves that changed since the heads before, in order of number; none changed, none held.
        pub blobs: Vec<Digest>,
    }
}
