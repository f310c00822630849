//! The stable codes of the store's failures; each has a page in docs/errors/.

use countersign_ids::Code;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $id:literal, $title:literal;)*) => {
        $($(#[$doc])* pub const $name: Code = Code { id: $id, title: $title };)*

        /// Every code of this crate.
        pub const CODES: &[Code] = &[$($name),*];
    };
}

codes! {
    /// See [`crate::Error::Conflict`].
    CONFLICT = "append-conflict", "the chain changed while the command was decided";
    /// See [`crate::Error::Mismatch`].
    MISMATCH = "idempotency-mismatch", "the same command was accepted before with another request";
    /// See [`crate::Error::Overloaded`].
    OVERLOADED = "ledger-overloaded", "the ledger has more to write than it takes on";
    /// See [`crate::Error::Stopped`].
    STOPPED = "ledger-stopped", "the ledger stopped writing after a disk failure";
    /// See [`crate::Error::WriterPanicked`].
    WRITER_PANICKED = "writer-panicked", "the ledger stopped writing because of a fault in this program";
    /// See [`crate::Error::Closed`].
    CLOSED = "ledger-closed", "the ledger is shutting down";
    /// See [`crate::Error::DiskFull`].
    DISK_FULL = "disk-full", "there is no space left for the ledger";
    /// See [`crate::Error::Disk`].
    DISK_FAILED = "disk-failed", "a file of the ledger could not be read or written";
    /// See [`crate::Error::Locked`].
    LOCKED = "ledger-locked", "another process has this ledger open";
    /// See [`crate::Error::ClockJumped`].
    CLOCK_JUMPED = "clock-jumped", "the clock jumped ahead, so nothing is written";
    /// See [`crate::Error::Damaged`].
    DAMAGED = "ledger-damaged", "bytes of the journal are not what was written";
    /// See [`crate::Error::ChainDamaged`].
    CHAIN_DAMAGED = "chain-damaged", "an event of one chain is not what was written";
    /// See [`crate::Status::damage`].
    DAMAGE_LEFT = "damage-left", "a part of the data directory is damaged, and nothing healed it";
    /// See [`crate::Error::Foreign`].
    FOREIGN = "not-a-ledger", "the directory does not hold a ledger that this program can open";
    /// See [`crate::Error::Exists`].
    EXISTS = "ledger-exists", "the directory already holds something";
    /// See [`crate::Error::OutsideValidity`].
    OUTSIDE_VALIDITY = "outside-validity", "what was signed is not valid at this time";
    /// See [`crate::Error::StalePlatform`].
    STALE_PLATFORM = "platform-stale", "keys changed while the command was decided";
    /// See [`crate::Error::Refused`].
    REFUSED = "append-refused", "the events do not follow the formats";
    /// See [`crate::Error::BlobTooLarge`].
    BLOB_TOO_LARGE = "blob-too-large", "the blob is larger than the limit";
    /// See [`crate::Error::BlobMismatch`].
    BLOB_MISMATCH = "blob-mismatch", "the bytes of a blob do not have its digest";
    /// See [`crate::Error::BlobUnknown`].
    BLOB_UNKNOWN = "blob-unknown", "there is no such blob here";
    /// See [`crate::Error::KeyDestroyed`].
    KEY_DESTROYED = "key-destroyed", "the key of this personal text was destroyed";
    /// See [`crate::Error::RemovalIncomplete`].
    REMOVAL_INCOMPLETE = "removal-incomplete", "a body that was to be removed is still there";
    /// See [`crate::Error::ProjectionUnknown`].
    PROJECTION_UNKNOWN = "projection-unknown", "there is no read model of this name";
    /// See [`crate::Error::Log`].
    LOG_FAILED = "log-failed", "the log behind the journal cannot be read or written";
    /// See [`crate::Error::Pruned`].
    PRUNED = "events-pruned", "the events before the chain's cut were pruned";
    /// See [`crate::Error::Missing`].
    MISSING = "event-missing", "there is no such event";
}
