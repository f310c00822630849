//! The program beside a site: pairing, heartbeats, orders checked and executed, and the way back.
//!
//! It trusts the control plane with nothing that it can check itself: keys by key statements from the pinned genesis key,
//! approvals by the document pinned here, the chain by inclusion and consistency. Every decision is in a fsynced journal
//! before anything follows from it. The checks of an order are `evidence::checks`; which kinds there are is `domain`.
//! docs/format.md, "Orders", "Deliveries" and "Connector messages".

mod agent;
mod backoff;
mod checkpoint;
mod config;
pub mod error;
mod execute;
mod files;
mod journal;
mod keys;
mod lock;
mod observe;
mod obtain;
mod orders;
mod pairing;
mod report;
pub mod site;
mod speak;
mod state;
mod status;
mod unsaid;

pub use agent::run;
pub use config::Config;
pub use error::{CODES, Error};
pub use journal::JournalError;
pub use lock::stop;
pub use pairing::{Paired, pair, pair_leaving_unsaid};
pub use site::{FilePath, Manifest, ManifestError};
pub use status::{PairedWith, Running, Status, status};

#[cfg(test)]
extern crate self as countersign_connector;
#[cfg(test)]
mod crash_tests;
#[cfg(test)]
#[path = "../tests/plane/mod.rs"]
#[expect(
    dead_code,
    reason = "shared with the integration tests, which use all of it"
)]
mod plane;
#[cfg(test)]
mod refusal_tests;
