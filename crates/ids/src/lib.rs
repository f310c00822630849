//! Identifiers, positions, digests, times and limits: parsed newtypes.
//!
//! Every value that crosses a boundary is one of these, so that what has a type is well formed. Each prints to the text that
//! stands in headers and bodies and parses only that text. No I/O, no clock, no randomness, no hashing (that is `chain`).
//! The grammars are docs/format.md sections 1 and 2.

mod actor;
mod code;
mod digest;
mod event_type;
mod invalid;
pub mod limits;
mod names;
mod sequence;
mod text;
mod time;

pub use actor::{Actor, AuthType, Retention};
pub use code::Code;
pub use digest::{
    BodyHash, BodyKey, CommandId, Digest, EventHash, LedgerId, Nonce, RequestDigest, Salt,
};
pub use event_type::{EventType, Family};
pub use invalid::Invalid;
pub use names::{
    ActionId, ActorId, ApproverId, ChainId, ConnectorId, CredentialId, DataSubject, EventId,
    FreezeId, SiteId, SubjectRef, TenantId, TokenId,
};
pub use sequence::{PlatformHead, Sequence};
pub use text::Plain;
pub use time::Time;
