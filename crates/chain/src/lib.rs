//! The hash chain, the Merkle tree, checkpoints and proofs: bytes in, verdict out.
//!
//! One module per format: I-JSON and canonical JSON, hashes, the header E, links between events, the RFC 6962 tree, C2SP signed
//! notes and proofs. No I/O, no clock, no randomness; no meaning of any event. docs/format.md sections 1 to 3.

pub mod base;
pub mod checkpoint;
#[cfg(test)]
mod ed25519_vectors;
pub mod hash;
pub mod hashed;
pub mod header;
pub mod json;
pub mod link;
pub mod merkle;
pub mod note;
pub mod record;

pub use base::{Base, CUT_EVENTS};
pub use checkpoint::{Checkpoint, TlogProof, TreeHead};
pub use hash::{
    CommandKey, body_hash, body_key_commitment, command_id, event_hash, genesis_hash, ledger_id,
    request_digest, sha256,
};
pub use hashed::{Hashed, HashedBody, NoHeader};
pub use header::Header;
pub use link::{Broken, ChainState, Verified};
pub use record::{Absence, Body, Record};
