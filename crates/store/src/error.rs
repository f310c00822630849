//! What can go wrong in the store, each failure with its code.
//!
//! `Conflict`, `Mismatch`, `OutsideValidity`, `StalePlatform` and `Refused` are about one append and leave nothing behind; the
//! rest are about the ledger.

use std::path::PathBuf;
use std::time::Duration;
use std::{fmt, io};

use countersign_ids::{ChainId, Code, CommandId, DataSubject, Digest, Sequence, Time};

use crate::codes;

use crate::journal::scan;

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
    /// Something that is bounded is at its bound.
    #[error("the ledger is overloaded: {by}")]
    Overloaded {
        /// What is.
        by: Overload,
        /// When to try again.
        retry_after: Duration,
    },
    /// An earlier write failed; nothing more is acknowledged until the ledger is opened again.
    #[error("the ledger stopped writing: {reason}")]
    Stopped {
        /// What failed first.
        reason: String,
    },
    /// An earlier write was refused for want of space, permission or handles; the ledger goes on by itself once that is mended.
    #[error("the ledger waits until it can write: {reason}")]
    Waiting {
        /// The code of what failed first.
        code: Code,
        /// What failed first.
        reason: String,
        /// When to try again.
        retry_after: Duration,
    },
    /// The writer came upon a fault of this program; nothing more is acknowledged until the ledger is opened again.
    #[error("the writer panicked")]
    WriterPanicked,
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
    /// A body that was to be removed was found again; the removal is not receipted.
    #[error("`{path}` still holds a body that was to be removed, at {at}")]
    RemovalIncomplete {
        /// Where.
        path: PathBuf,
        /// A position of the journal, or the sequence of an event.
        at: String,
    },
    /// No read model has this name.
    #[error("there is no read model `{name}`")]
    ProjectionUnknown {
        /// The name.
        name: String,
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
    /// Before the cut of a chain that was pruned.
    #[error("chain `{chain}` begins at {first}: what was before it was pruned")]
    Pruned {
        /// The chain.
        chain: ChainId,
        /// Its first event.
        first: Sequence,
    },
    /// Beyond the end of the chain, or no such chain.
    #[error("chain `{chain}` has no event {sequence}")]
    Missing {
        /// The chain.
        chain: ChainId,
        /// The sequence.
        sequence: Sequence,
    },
}

/// What is at its bound where the ledger is overloaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Overload {
    /// The chain's share of the queue; other chains are still taken.
    Share,
    /// The queue.
    Queue,
    /// The part of the journal that the log lacks.
    Log,
}

impl Overload {
    /// The word that figures name it by.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Share => "share",
            Self::Queue => "queue",
            Self::Log => "log",
        }
    }
}

impl fmt::Display for Overload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Share => "as much waits for this chain as may wait for one",
            Self::Queue => "as much waits for the disk as may wait",
            Self::Log => "the log is too far behind the journal",
        })
    }
}

impl Error {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::Conflict { .. } => codes::CONFLICT,
            Self::Mismatch { .. } => codes::MISMATCH,
            Self::Overloaded { .. } => codes::OVERLOADED,
            Self::Stopped { .. } => codes::STOPPED,
            Self::Waiting { code, .. } => *code,
            Self::WriterPanicked => codes::WRITER_PANICKED,
            Self::Closed => codes::CLOSED,
            Self::DiskFull { .. } => codes::DISK_FULL,
            Self::Disk { .. } => codes::DISK_FAILED,
            Self::Locked { .. } => codes::LOCKED,
            Self::ClockJumped { .. } => codes::CLOCK_JUMPED,
            Self::Damaged(_) => codes::DAMAGED,
            Self::ChainDamaged { .. } => codes::CHAIN_DAMAGED,
            Self::Foreign { .. } => codes::FOREIGN,
            Self::Exists { .. } => codes::EXISTS,
            Self::OutsideValidity { .. } => codes::OUTSIDE_VALIDITY,
            Self::StalePlatform { .. } => codes::STALE_PLATFORM,
            Self::Refused { .. } => codes::REFUSED,
            Self::BlobTooLarge { .. } => codes::BLOB_TOO_LARGE,
            Self::BlobMismatch { .. } => codes::BLOB_MISMATCH,
            Self::BlobUnknown { .. } => codes::BLOB_UNKNOWN,
            Self::RemovalIncomplete { .. } => codes::REMOVAL_INCOMPLETE,
            Self::ProjectionUnknown { .. } => codes::PROJECTION_UNKNOWN,
            Self::KeyDestroyed { .. } => codes::KEY_DESTROYED,
            Self::Log(_) => codes::LOG_FAILED,
            Self::Pruned { .. } => codes::PRUNED,
            Self::Missing { .. } => codes::MISSING,
        }
    }

    /// Whether the command should be decided again on newer events.
    #[must_use]
    pub const fn decide_again(&self) -> bool {
        matches!(self, Self::Conflict { .. } | Self::StalePlatform { .. })
    }

    pub(crate) const fn overloaded(by: Overload) -> Self {
        Self::Overloaded {
            by,
            retry_after: Duration::from_secs(1),
        }
    }

    pub(crate) fn io(path: &std::path::Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        if matches!(
            source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        ) {
            Self::DiskFull { path }
        } else {
            Self::Disk { path, source }
        }
    }
}

impl From<scan::Error> for Error {
    fn from(error: scan::Error) -> Self {
        match error {
            scan::Error::Io { path, source } => Self::io(&path, source),
            scan::Error::Damaged { .. } => Self::Damaged(Box::new(error)),
        }
    }
}

impl From<sled::Error> for Error {
    fn from(error: sled::Error) -> Self {
        Self::Log(error)
    }
}
