//! The store: a journal that is the truth, and a log in sled behind it that can always be made again.
//!
//! **Writing.** [`Ledger::append`] checks, salts and seals on the caller's thread; one writer orders the appends, checks their
//! conditions, writes them as one frame each, and answers when an fdatasync has returned (`write`, `journal`). A thread behind
//! it verifies the place of every event again and takes it into trees and sled; another folds it into projections (`log`).
//! **Opening** runs that same code over the part of the journal that sled lacks (`recover`). **Reading** never waits for any of
//! them. Formats: docs/format.md section 5.
//!
//! # What happens when
//!
//! - **The process is killed.** Everything acknowledged is in the journal. What was on its way is there whole or not at all;
//!   sent again with the same key it is there once. A half-written end is cut off when the ledger is opened, and reported.
//! - **The power fails.** The same: the journal is fdatasynced before anybody is answered, directories are fsynced when files
//!   are made, and what sled lost it takes in again.
//! - **The disk is full**, or the system refuses a file for want of permission or handles. Segments are allocated whole and
//!   ahead, so this happens between commands. The writer waits: [`Status::stopped`] says `disk-full` or `disk-failed`, reading
//!   goes on, and nothing more is acknowledged. Once it is mended the journal is opened again as at a start, with the next
//!   append or by [`Ledger::resume`]. The log waits for room before it begins to write, because sled does not survive ENOSPC.
//! - **An fdatasync fails**, or a write for another reason. What the file holds is then unknown, so the writer stops until the
//!   ledger is opened again; it never tries again on the same open file. The group that failed is not shown to readers, and is there whole, in part (only whole
//!   commands, from its beginning) or not at all when the ledger is opened next.
//! - **sled is lost, damaged or foreign.** It is set aside as `sled.aside-<n>` and made again, out loud, before any append is
//!   accepted. Damage that is met while reading is healed from the journal if it links there.
//! - **A projection is made again** when its code has another version or somebody asks ([`Ledger::rebuild`]). The rows before are
//!   served until the new ones reach as far; killed in between, it goes on at the next start.
//! - **A removal is interrupted.** Each segment is before or after, and so is the log; doing it again does the rest
//!   ([`Ledger::remove`]).
//! - **A pruning is interrupted.** The journal holds a beginning of the chain and then what is left of pruned events, and a log
//!   that is made from that begins at the cut; doing it again does the rest ([`Ledger::prune`]).
//! - **The journal is damaged** where it was durable. Nothing is cut. One flipped bit is put right by its checksum, frames that
//!   the log has are written again, out loud ([`Status::healed`]): in what opening reads at once, in the rest when somebody
//!   calls [`Ledger::sweep`]. Opening goes on behind what nothing heals, and says where it is ([`Status::damage`]). A chain that lost an event by it, or one of whose events does not verify, is read-only, by name; the
//!   other chains go on. Where it cannot be told which chains lost something, all are read-only. A journal that lost its end,
//!   or a whole segment of which nothing is left behind it, is not opened ([`Error::Damaged`]).
//! - **A second process** opens the directory: [`Error::Locked`], and nothing was touched.

mod append;
mod audit;
pub mod backup;
mod blobs;
mod blobs_together;
pub mod clock;
pub mod codes;
mod cost;
mod damage;
mod digests;
mod disk;
mod entropy;
mod entry;
mod error;
mod journal;
mod keyring;
mod layout;
mod ledger;
mod log;
mod mend;
mod options;
mod proofs;
mod prune;
pub mod read;
mod read_rows;
mod recover;
mod removal;
mod rows;
mod status;
mod sweep;
mod tree;
mod view;
#[cfg(feature = "faults")]
mod world;
mod write;

pub use append::{Append, Condition, HASH_TO_COME, Level, Match, NewEvent, Receipt, Stamp};
pub use audit::Audit;
pub use blobs::Blobs;
pub use codes::CODES;
pub use cost::RebuildCost;
pub use damage::{Damage, Place, Remedy};
pub use disk::Disk;
#[cfg(feature = "faults")]
pub use disk::simulated as faults;
pub use entry::Entry;
pub use error::{Error, Overload};
pub use journal::Position;
pub use layout::{Description, Layout};
pub use ledger::Ledger;
pub use options::{Options, Projections};
pub use proofs::Checkpoint;
pub use prune::Pruning;
pub use removal::{Doomed, Removed};
pub use rows::{Row, RowRange};
pub use status::{Rebuilding, Refused, Status};
pub use sweep::Swept;
pub use view::Head;

pub(crate) use journal::frame::PAYLOAD_BYTES_MAX;
