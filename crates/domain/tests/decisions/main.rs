//! What the domain decides, in its own words: tables of lines, refusals by name, and properties of any history.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests; a failure is the test's"
)]

mod guards;
mod keeping;
mod life;
mod platform;
mod properties;
mod refused;
mod views;
mod waits;
mod world;
