//! What can go wrong in the store, each failure with its code.
//!
//! `Conflict`, `Mismatch`, `OutsideValidity`, `StalePlatform` and `Refused` are about one append and leave nothing behind; the
//! rest are about the ledger.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use countersign_ids::{ChainId, Code, CommandId, DataSubject, Digest, Sequence, Time};

use crate::journal::scan;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $id:literal, $title:literal;)*) => {
        $($(#[$doc])* pub(crate) const $name: Code = Code { id: $id, title: $title };)*

        /// Every code of this crate.
        pub const CODES: &[Code] = &[$($name),*];
    };
}

codes! {
    /// See [`Error::Conflict`].
    CONFLICT = "append-conflict", "the chain changed while the command was decided";
    /// See [`Error::Mismatch`].
    MISMATCH = "idempotency-mismatch", "the same command was accepted before with another request";
    /// See [`Error::Overloaded`].
    OVERLOADED = "ledger-overloaded", "the ledger has more to write than it takes on";
    /// See [`Error::Stopped`].
    STOPPED = "ledger-stopped", "the ledger stopped writing after a disk failure";
    /// See [`Error::Closed`].
    CLOSED = "ledger-closed", "the ledger is shutting down";
    /// See [`Error::DiskFull`].
    DISK_FULL = "disk-full", "there is no space left for the ledger";
    /// See [`Error::Disk`].
    DISK_FAILED = "disk-failed", "a file of the ledger could not be read or written";
    /// See [`Error::Locked`].
    LOCKED = "ledger-locked", "another process has this ledger open";
    /// See [`Error::ClockJumped`].
    CLOCK_JUMPED = "clock-jumped", "the clock jumped ahead, so nothing is written";
    /// See [`Error::Damaged`].
    DAMAGED = "ledger-damaged", "bytes of the journal are not what was written";
    /// See [`Error::ChainDamaged`].
    CHAIN_DAMAGED = "chain-damaged", "an event of one chain is not what was written";
    /// See [`Error::Foreign`].
    FOREIGN = "not-a-ledger", "the directory does not hold a ledger that this program can open";
    /// See [`Error::Exists`].
    EXISTS = "ledger-exists", "the directory already holds something";
    /// See [`Error::OutsideValidity`].
    OUTSIDE_VALIDITY = "outside-validity", "what was signed is not valid at this time";
    /// See [`Error::StalePlatform`].
    STALE_PLATFORM = "platform-stale", "keys changed while the command was decided";
    /// See [`Error::Refused`].
    REFUSED = "append-refused", "the events do not follow the formats";
    /// See [`Error::BlobTooLarge`].
    BLOB_TOO_LARGE = "blob-too-large", "the blob is larger than the limit";
    /// See [`Error::BlobMismatch`].
    BLOB_MISMATCH = "blob-mismatch", "the bytes of a blob do not have its digest";
    /// See [`Error::BlobUnknown`].
    BLOB_UNKNOWN = "blob-unknown", "there is no such blob here";
    /// See [`Error::KeyDestroyed`].
    KEY_DESTROYED = "key-destroyed", "the key of this personal text was destroyed";
    /// See [`Error::Log`].
    LOG_FAILED = "log-failed", "the log behind the journal cannot be read or written";
    /// See [`Error::Missing`].
    MISSING = "event-missing", "there is no such event";
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An event that matches the condition came after what the caller had seen: decide again.
    #[error("chain `{chain}` changed after the first {seen} events")]
    Conflict {
        /// The chain.
        chain: ChainId,
        /// What the caller had seen.
        seen: u64,
    },
    /// The command id is taken by another request.
    #[error("command {command} was accepted before with another request")]
    Mismatch {
        /// The command.
        command: CommandId,
    },
    /// The queue, or the part of the journal that the log lacks, is at its bound.
    #[error("the ledger is overloaded")]
    Overloaded {
        /// When to try again.
        retry_after: Duration,
    },
    /// An earlier write failed; nothing more is acknowledged until the ledger is opened again.
    #[error("the ledger stopped writing: {reason}")]
    Stopped {
        /// What failed first.
        reason: String,
    },
    /// The ledger was closed.
    #[error("the ledger is closed")]
    Closed,
    /// No space left; the append may or may not be in the journal, and the command can be sent again.
    #[error("no space left in `{path}`")]
    DiskFull {
        /// Where.
        path: PathBuf,
    },
    /// The system refused a file operation.
    #[error("cannot use `{path}`")]
    Disk {
        /// Which file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// Another process holds the lock.
    #[error("another process has `{path}` open")]
    Locked {
        /// The data directory.
        path: PathBuf,
    },
    /// The wall clock is more than an hour ahead of where it should be.
    #[error("the clock says {now}, expected about {expected}")]
    ClockJumped {
        /// By the boot-time clock.
        expected: Time,
        /// What the wall clock says.
        now: Time,
    },
    /// Something that was durable is gone or changed.
    #[error(transparent)]
    Damaged(Box<scan::Error>),
    /// One chain does not verify; it is read-only and the others go on.
    #[error("chain `{chain}` is damaged at {sequence}: {reason}")]
    ChainDamaged {
        /// The chain.
        chain: ChainId,
        /// The first bad event.
        sequence: Sequence,
        /// What is wrong with it.
        reason: String,
    },
    /// No ledger here, or one of another format version.
    #[error("`{path}` is not a ledger: {reason}")]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A ledger is made in an empty place only.
    #[error("`{path}` is not empty")]
    Exists {
        /// The directory.
        path: PathBuf,
    },
    /// The writer's clock is outside the times that the caller gave.
    #[error("it is {now}, valid from {from} to {until}")]
    OutsideValidity {
        /// The time that the event would have had.
        now: Time,
        /// Not before.
        from: Time,
        /// Not after.
        until: Time,
    },
    /// A key statement came after what the caller had seen of the platform chain: decide again.
    #[error("keys changed at platform event {at}")]
    StalePlatform {
        /// The newest event of family `keys`.
        at: Sequence,
    },
    /// An event breaks a rule of the formats.
    #[error("event {index} of the command is refused: {reason}")]
    Refused {
        /// Which event, from 0.
        index: usize,
        /// Which rule.
        reason: String,
    },
    /// Larger than the limit.
    #[error("a blob of {bytes} bytes is larger than {limit}")]
    BlobTooLarge {
        /// Its size.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// The bytes have another digest.
    #[error("the bytes are not {digest}")]
    BlobMismatch {
        /// What was expected.
        digest: Digest,
    },
    /// Not stored, or not for this tenant.
    #[error("no blob {digest} here")]
    BlobUnknown {
        /// What was asked for.
        digest: Digest,
    },
    /// The key that sealed a body is gone.
    #[error("the key of `{subject}` was destroyed")]
    KeyDestroyed {
        /// Whose key.
        subject: DataSubject,
    },
    /// sled failed.
    #[error("the log failed")]
    Log(#[source] sled::Error),
    /// Beyond the end of the chain, or no such chain.
    #[error("chain `{chain}` has no event {sequence}")]
    Missing {
        /// The chain.
        chain: ChainId,
        /// The sequence.
        sequence: Sequence,
    },
}

impl Error {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::Conflict { .. } => CONFLICT,
            Self::Mismatch { .. } => MISMATCH,
            Self::Overloaded { .. } => OVERLOADED,
            Self::Stopped { .. } => STOPPED,
            Self::Closed => CLOSED,
            Self::DiskFull { .. } => DISK_FULL,
            Self::Disk { .. } => DISK_FAILED,
            Self::Locked { .. } => LOCKED,
            Self::ClockJumped { .. } => CLOCK_JUMPED,
            Self::Damaged(_) => DAMAGED,
            Self::ChainDamaged { .. } => CHAIN_DAMAGED,
            Self::Foreign { .. } => FOREIGN,
            Self::Exists { .. } => EXISTS,
            Self::OutsideValidity { .. } => OUTSIDE_VALIDITY,
            Self::StalePlatform { .. } => STALE_PLATFORM,
            Self::Refused { .. } => REFUSED,
            Self::BlobTooLarge { .. } => BLOB_TOO_LARGE,
            Self::BlobMismatch { .. } => BLOB_MISMATCH,
            Self::BlobUnknown { .. } => BLOB_UNKNOWN,
            Self::KeyDestroyed { .. } => KEY_DESTROYED,
            Self::Log(_) => LOG_FAILED,
            Self::Missing { .. } => MISSING,
        }
    }

    /// Whether the command should be decided again on newer events.
    #[must_use]
    pub const fn decide_again(&self) -> bool {
        matches!(self, Self::Conflict { .. } | Self::StalePlatform { .. })
    }

    pub(crate) fn io(path: &std::path::Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        if source.kind() == io::ErrorKind::StorageFull {
            Self::DiskFull { path }
        } else {
            Self::Disk { path, source }
        }
    }
}

impl From<scan::Error> for Error {
    fn from(error: scan::Error) -> Self {
        Self::Damaged(Box::new(error))
    }
}

impl From<sled::Error> for Error {
    fn from(error: sled::Error) -> Self {
        Self::Log(error)
    }
}
