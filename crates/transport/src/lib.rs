//! The signed messages between a connector and its control plane: the shapes of the routes, and the client.
//!
//! The wire structs are shared with the server, so both sides read the same members. What the envelopes hold and who may
//! sign them is `evidence`; when a connector sends what is `connector`. Nothing here decides; it carries and it names
//! refusals. HTTP only: the envelopes are signed, and TLS ends in front of the server until it is built in.

mod client;
mod code;
pub mod codes;
mod connections;
mod listener;
mod refusal;
mod wire;

pub use client::{Client, Error};
pub use code::{CodeError, PairingCode};
pub use codes::CODES;
pub use connections::answer;
pub use listener::{Bounded, Guarded};
pub use refusal::{Problem, Refusal};
pub use wire::{
    Accepted, BEATS_PATH, BLOBS_PATH, BeatAnswer, CONNECTOR_HEADER, Containment, MESSAGES_PATH,
    PAIR_PATH, PAIRING_PATH, POLL_PATH, PROOF_HEADER, PairReceipt, PairRequest, PairingInfo,
    PairingRequest, Signed, decode_proof, encode_proof,
};
