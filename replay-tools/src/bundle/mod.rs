//! A bundle: one zip that holds a ledger, or one tenant's part of it (docs/format.md section 6).
//!
//! `names` and `manifest` are the format, `line` is one event as text, `read` is the source. Writing is `export`.

mod events;
pub mod line;
pub mod manifest;
pub mod names;
mod read;

pub use read::Bundle;

/// Files of events of this size and more are compressed.
pub const COMPRESS_FROM_BYTES: u64 = 64 << 20;
/// Largest window that a reader of compressed events allocates: 8 MiB.
pub(crate) const WINDOW_LOG_MAX: u32 = 23;
/// Hashes in a tile of a pruned chain, each over 256 events, and how long one is.
pub(crate) const TILE_NODES: u64 = 256;
pub(crate) const NODE_BYTES: usize = 32;
/// Largest single file that is read into memory: a manifest, a heads page, a note, a blob.
pub(crate) const FILE_BYTES_MAX: u64 = 64 << 20;
