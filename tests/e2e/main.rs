//! End to end: real processes of the binary `countersign`, looked at from outside.
//!
//! Nothing here links the server. The binary under test is the one that `cargo test --workspace` builds in the same run, with
//! the same profile and features (crates/cli has an integration test, so cargo builds it).

#[cfg(test)]
mod backup;
#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod damage;
#[cfg(test)]
mod deploy;
#[cfg(test)]
mod doctor;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod http;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod kills;
#[cfg(test)]
mod lists;
#[cfg(test)]
mod load;
#[cfg(test)]
mod log;
#[cfg(test)]
mod orders;
#[cfg(test)]
mod power;
#[cfg(test)]
mod projections;
#[cfg(test)]
mod pruning;
#[cfg(test)]
mod retention;
#[cfg(test)]
mod separation;
#[cfg(test)]
mod stage;
#[cfg(test)]
mod stream;
#[cfg(test)]
mod tour;
#[cfg(test)]
mod world;
#[cfg(test)]
mod world_disk;
#[cfg(test)]
mod world_files;
#[cfg(test)]
mod world_time;
#[cfg(test)]
mod writers;
