//! Deliveries: the event that holds an order, and the proofs of the moment that it is in the chain.
//!
//! docs/format.md, "Deliveries". A wire shape only; [`crate::checks`] verifies it.

use countersign_ids::Salt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::dsse::Envelope;
use crate::wire::ProofHash;

/// An event as text, whole: E, the salt and B, from which both of its hashes can be made again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventCopy {
    /// The header E, byte for byte.
    pub header: String,
    /// The salt of the body: 32 hexadecimal digits.
    pub salt: Salt,
    /// The body B, byte for byte.
    pub body: String,
}

/// What a poll is answered with when there is an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Delivery {
    /// The `action.authorized` event, which holds the order in its body.
    pub event: EventCopy,
    /// A signed note of the tenant's chain, made after the event was durable.
    pub checkpoint: String,
    /// The inclusion proof of E under the checkpoint, leaf to root.
    pub inclusion: Vec<ProofHash>,
    /// The consistency proof from the size that the connector named in its poll.
    pub consistency: Vec<ProofHash>,
    /// Key statements newer than the version that the connector named, in order.
    pub keys: Vec<Envelope>,
}
