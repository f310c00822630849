//! The store from outside. One binary, so that it is linked once.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod around;
mod backup;
mod conformance;
mod damage;
mod failing;
mod faults;
mod flips;
mod kill;
mod ledger;
mod log;
mod packed;
mod prune;
mod rebuild;
mod removal;
mod support;
mod writer;
