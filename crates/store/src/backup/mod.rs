//! Backups of a ledger, live or stopped: journal, blobs and policies in a directory that `replay verify` reads; and back.
//!
//! ```text
//! DIR/lock            one backup at a time
//! DIR/blobs/          as in a data directory; a digest is copied once
//! DIR/<8 digits>/     one backup: backup.json, ledger.toml, journal/, policies/, blobs -> ../blobs
//! ```
//!
//! A backup appears whole, by one rename: a kill leaves the one before. A sealed segment whose file did not change since is
//! linked, not copied. An earlier backup that holds what was removed from the ledger since goes with it. Private keys and the keyring of data subjects are never in it (design section 9): with them an erased
//! text would come back. `docs/operations.md` says how they are kept.

mod error;
mod files;
mod follow;
mod manifest;
mod removed;
mod restore;
mod take;

pub use error::{CODES, Error};
pub use follow::Known;
pub use manifest::{Manifest, generations};
pub use restore::{Restore, Restored, restore};
pub use take::{Take, Taken, take};
