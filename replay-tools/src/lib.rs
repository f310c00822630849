//! The auditors' library: what a ledger says, checked by somebody who trusts nobody.
//!
//! Reads a data directory (live or stopped, from its journal only) or a bundle; never writes to either. Verdicts and
//! bundles are docs/format.md section 6. Also the command line behind `replay` and `countersign replay`.

mod base64;
pub mod bundle;
pub mod cli;
pub mod codes;
pub mod cost;
pub mod diff;
pub mod directory;
pub mod export;
pub mod open;
mod pipeline;
pub mod progress;
pub mod prove;
pub mod rebuild;
pub mod report;
pub mod settled;
pub mod show;
pub mod source;
pub mod timeline;
pub mod verdict;
pub mod verify;
pub mod zip;

pub use codes::CODES;
