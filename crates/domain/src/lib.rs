//! The domain: what a tenant and the platform are, and what may happen to them. Pure: no I/O, no clock, no randomness.
//!
//! `decide(state, command, facts)` gives drafts of events or a named [`Rejection`]; `evolve(state, event)` folds what became
//! durable; [`due()`] tells what follows from the state. Read in this order: [`state`], [`tenant`], [`commands`],
//! [`decision`], [`policy`], [`platform`]. Who calls, what is stored and what time it is are the shell's.
#![warn(clippy::wildcard_enum_match_arm)]

pub mod action;
pub mod commands;
pub mod decision;
mod due;
mod evolve;
pub mod keeping;
pub mod kinds;
pub mod manifest;
mod note;
pub mod plan;
pub mod platform;
pub mod policy;
mod pruning;
pub mod rejection;
pub mod site;
mod source;
pub mod state;
pub mod tenant;
pub mod text;
mod view;
pub mod words;

pub use action::Action;
pub use commands::{
    AddRelease, Assess, Command, DeclareFreeze, Deliver, Erase, Expire, ExpireBodies, Facts,
    InviteConnector, KeepBeats, LiftFreeze, MarkUnresolved, Mint, NotePlatform, OpenTenant,
    PairConnector, PairingTerms, Propose, ReceiptRemoval, RecordObservation, RecordOutcome,
    RegisterSite, Remark, Revoke, SetRetention, Vote, Withdraw, blobs_wanted, compose, decide,
    imagine, obstacle, pairing_terms,
};
pub use decision::{Aggregate, Blob, Decision, Draft, Guard, Stamp};
pub use due::{Due, due};
pub use keeping::{BeatsKept, Keeping, Removal};
pub use manifest::Manifest;
pub use note::is_restated;
pub use platform::{Platform, PlatformCommand, decide_platform};
pub use policy::{ApproverEntity, Exclusion, PolicyInput, PolicyOutcome};
pub use pruning::{PruneBeats, Pruned, ReceiptPruning};
pub use rejection::{CODES, Rejection};
pub use site::Site;
pub use source::Source;
pub use state::State;
pub use tenant::Tenant;
pub use text::Reason;
