//! The control plane without a face: an open ledger, the domain's decisions, and what follows from events and time.
//!
//! The only place where state is loaded, decided on and appended; HTTP is `api`, files and journals are `store`. Entry
//! points: [`Service::start`], [`Service::authenticate`], and one method per command and per read. A command is idempotent
//! by its `Request`; a refusal is an [`Error`] with a stable code. docs/format.md sections 2 to 4 say what is appended.

mod access;
mod actions;
mod beats;
mod checkpoints;
mod connector;
mod damage;
mod delivery;
mod engine;
mod error;
mod figures;
mod genesis;
mod judge;
mod keep;
mod keyfiles;
mod keys;
mod model;
mod platform;
mod policies;
mod proposing;
mod prune;
mod reactor;
mod readmodels;
mod reads;
mod ready;
mod secrets;
mod service;
mod sources;
mod state;
mod subjects;
mod tenants;
mod together;

pub use access::{Access, Need, PlatformAccess, TenantAccess};
pub use connector::LEASE_MILLIS;
pub use error::{CODES, Class, Error};
pub use figures::{FIGURES, Figure};
pub use genesis::key_problems;
pub use keep::Whose;
pub use keyfiles::KeyUse;
pub use model::{
    ActionDetail, ActionInfo, Ballot, Config, Enrolment, EventsPage, GivenReason, HistoryLine,
    Invitation, IssuedToken, Kept, NewFreeze, NewSite, NewTenant, NewToken, Preview, Proposal,
    Proposed, Readiness, Request, SaltedReason, SiteDetail, TenantInfo,
};
pub use policies::Policies;
pub use readmodels::ReadModel;
pub use reads::Follow;
pub use secrets::BearerToken;
pub use service::Service;
