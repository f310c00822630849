//! The store: the journal that is the truth, and the log in sled behind it.
mod append;
mod audit;
mod blobs;
pub mod clock;
mod entropy;
mod entry;
mod error;
mod journal;
mod keyring;
mod layout;
mod ledger;
mod log;
mod options;
mod proofs;
pub mod read;
mod read_rows;
mod recover;
mod rows;
mod status;
mod tree;
mod view;
mod write;

pub use append::{Append, Condition, Level, Match, NewEvent, Receipt, Stamp};
pub use audit::Audit;
pub use blobs::Blobs;
pub use entry::Entry;
pub use error::{CODES, Error};
pub use journal::{Faults, Position};
pub use layout::{Description, Layout};
pub use ledger::Ledger;
pub use options::{Options, Projections};
pub use proofs::Checkpoint;
pub use rows::{Row, RowRange};
pub use status::Status;
pub use view::Head;

pub(crate) use journal::frame::PAYLOAD_BYTES_MAX;
