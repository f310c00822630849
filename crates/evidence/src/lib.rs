//! What others sign: statements, orders, outcomes, key statements; their bytes and their verification.
//!
//! Pure: bytes and site facts in, verdict out; no clock, no randomness, no I/O. The server, the connector and the
//! auditor run this same code. Implements docs/format.md, chapters "Keys" to "Deliveries". A type whose name begins
//! with `Verified` is constructed by verification only.

pub mod action;
pub mod checks;
pub mod codes;
pub mod delivery;
pub mod document;
pub mod dsse;
pub mod enrolment;
pub mod keys;
pub mod message;
pub mod order;
pub mod refusal;
pub mod ring;
pub mod statement;
pub mod wire;
pub mod words;

pub use action::{ActionKind, ActionObject, Reversibility, ViewDocument};
pub use codes::CODES;
pub use delivery::{Delivery, EventCopy};
pub use document::{Credential, FloorRule, PinnedDocument};
pub use dsse::{Envelope, PayloadType};
pub use keys::{EndReason, KeyStatement, Role};
pub use message::{ConnectorMessage, Mode, Outcome, OutcomeResult, VerifiedMessage};
pub use order::{Order, VerifiedOrder};
pub use refusal::Refusal;
pub use ring::{KeyHistory, KeyRing};
pub use statement::{Alg, Decision, Scope, SignedStatement, Statement, VerifiedStatement};
pub use wire::{JsonObject, OrDash, PublicKey};
