//! Why the service did not do what it was asked: a rejection by the domain, a failure of the world, or a caller's mistake.

use std::{fmt, io, path::PathBuf, time::Duration};

use countersign_domain::Rejection;
use countersign_ids::{ChainId, Code, Invalid, Sequence, SiteId, TenantId, Time};
use thiserror::Error;

/// What kind of answer a failure is, for whoever turns it into HTTP or an exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The request cannot be read.
    Malformed,
    /// Nobody says who calls.
    Unauthenticated,
    /// The caller may not do this.
    Forbidden,
    /// There is no such thing, or not for this caller.
    NotFound,
    /// It was there, and is no more.
    Gone,
    /// The state of things does not allow it now.
    Conflict,
    /// The request can be read and is refused as it stands.
    Refused,
    /// Too much at once: again later.
    Overloaded,
    /// The server cannot do it now: again later.
    Unavailable,
    /// The server's own fault.
    Internal,
}

/// Nothing was changed, unless the command is in the ledger already: the same command again gives its receipt.
#[derive(Debug, Error)]
pub enum Error {
    /// The domain says no.
    #[error(transparent)]
    Rejected(#[from] Box<Rejection>),
    /// The ledger says no, or failed.
    #[error(transparent)]
    Store(#[from] countersign_store::Error),
    /// Policy cannot be evaluated, or its files are not sound.
    #[error(transparent)]
    Policy(#[from] countersign_policy::Error),
    /// A message of a connector does not verify.
    #[error(transparent)]
    Message(#[from] countersign_evidence::message::MessageError),
    /// An enrolment does not verify.
    #[error(transparent)]
    Enrolment(#[from] countersign_evidence::enrolment::EnrolmentError),
    /// Text of the caller is not what it should be.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The request does not say what it must.
    #[error("the request cannot be read: {detail}")]
    Request {
        /// What is wrong with it.
        detail: String,
    },
    /// No token, an unknown or a revoked one.
    #[error("the token is missing, unknown or revoked")]
    Unauthenticated,
    /// A token of another tenant.
    #[error("there is no tenant `{tenant}` for this token")]
    OtherTenant {
        /// The tenant that was asked for.
        tenant: TenantId,
    },
    /// A token whose role does not do this.
    #[error("a token of role `{role}` cannot {need}")]
    RoleTooSmall {
        /// The token's role.
        role: &'static str,
        /// What was asked for.
        need: &'static str,
    },
    /// The command was decided again and again, and each time somebody was faster.
    #[error("the chain `{chain}` changes too fast to decide the command")]
    Contended {
        /// The chain.
        chain: ChainId,
    },
    /// A connector's clock is too far off.
    #[error("the connector's clock says `{theirs}`, the server's `{ours}`")]
    ClockSkew {
        /// The server's time.
        ours: Time,
        /// What the message says.
        theirs: Time,
    },
    /// A message that no paired connector of this generation signed.
    #[error("the message is not signed by the connector that is paired with the site")]
    UnknownKey,
    /// A counter that was used by another message, or is not the next.
    #[error("counter {found} is not the next one; {wanted} is")]
    Replayed {
        /// The counter that comes next.
        wanted: u64,
        /// The counter of the message.
        found: u64,
    },
    /// An event in the ledger cannot be read as what its type says: stop, keep the evidence.
    #[error("event {sequence} of chain `{chain}` cannot be folded: {detail}")]
    Corrupt {
        /// The chain.
        chain: ChainId,
        /// The event.
        sequence: Sequence,
        /// What is wrong.
        detail: String,
    },
    /// A file of the server cannot be used.
    #[error("`{}` cannot be used", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Others can read a private key.
    #[error("the key file `{}` can be read by others; make it private (chmod 600)", path.display())]
    KeyFileOpen {
        /// The file.
        path: PathBuf,
    },
    /// A key file that holds no key.
    #[error("the key file `{}` holds no Ed25519 key in PKCS#8 PEM", path.display())]
    KeyFileMalformed {
        /// The file.
        path: PathBuf,
    },
    /// A key file holds another key than the ledger's statements name.
    #[error("the key in `{}` is not the one that the ledger names", path.display())]
    KeyFileOther {
        /// The file.
        path: PathBuf,
    },
    /// An order is out whose connector would not take it any more once its key ended.
    #[error("site `{site}` of tenant `{tenant}` has an order that is not settled")]
    OrdersOut {
        /// The tenant.
        tenant: TenantId,
        /// The site.
        site: SiteId,
    },
    /// The system gives no randomness.
    #[error("the system gives no random bytes: {detail}")]
    Randomness {
        /// What it said.
        detail: String,
    },
    /// The server is stopping.
    #[error("the server is stopping")]
    Stopping,
    /// Something that cannot be so: a fault of the program.
    #[error("the server contradicts itself: {detail}")]
    Internal {
        /// What.
        detail: String,
    },
}

const REQUEST: Code = Code {
    id: "request-malformed",
    title: "The request cannot be read",
};
const UNAUTHENTICATED: Code = Code {
    id: "unauthenticated",
    title: "The token is missing, unknown or revoked",
};
const OTHER_TENANT: Code = Code {
    id: "tenant-not-found",
    title: "There is no such tenant for this token",
};
const ROLE: Code = Code {
    id: "role-too-small",
    title: "The token's role does not allow this",
};
const CONTENDED: Code = Code {
    id: "chain-contended",
    title: "The chain changes too fast to decide the command",
};
const CORRUPT: Code = Code {
    id: "event-unreadable",
    title: "An event in the ledger cannot be read",
};
const FILE: Code = Code {
    id: "server-file",
    title: "A file of the server cannot be used",
};
const KEY_FILE: Code = Code {
    id: "key-file",
    title: "A private key file cannot be used",
};
const ORDERS_OUT: Code = Code {
    id: "orders-out",
    title: "An order that this key signed is not settled",
};
const RANDOMNESS: Code = Code {
    id: "randomness-failed",
    title: "The system gives no random bytes",
};
const STOPPING: Code = Code {
    id: "server-stopping",
    title: "The server is stopping",
};
/// A read model stopped: reads from it are old, everything else goes on.
pub(crate) const PROJECTION: Code = Code {
    id: "projection-stopped",
    title: "A read model stopped at an event",
};
const INTERNAL: Code = Code {
    id: "server-fault",
    title: "The server contradicts itself",
};

/// Every code of this crate's own failures.
pub const CODES: &[Code] = &[
    REQUEST,
    UNAUTHENTICATED,
    OTHER_TENANT,
    ROLE,
    CONTENDED,
    CORRUPT,
    FILE,
    KEY_FILE,
    ORDERS_OUT,
    RANDOMNESS,
    STOPPING,
    PROJECTION,
    INTERNAL,
];

impl Error {
    pub(crate) fn file(path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::File {
            path: path.into(),
            source,
        }
    }

    pub(crate) fn internal(detail: impl fmt::Display) -> Self {
        Self::Internal {
            detail: detail.to_string(),
        }
    }

    pub(crate) fn request(detail: impl fmt::Display) -> Self {
        Self::Request {
            detail: detail.to_string(),
        }
    }

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Rejected(rejection) => rejection.code(),
            Self::Store(error) => error.code(),
            Self::Policy(error) => error.code(),
            Self::Message(error) => error.code(),
            Self::Enrolment(error) => error.code(),
            Self::Invalid(_) | Self::Request { .. } => REQUEST,
            Self::Unauthenticated => UNAUTHENTICATED,
            Self::OtherTenant { .. } => OTHER_TENANT,
            Self::RoleTooSmall { .. } => ROLE,
            Self::Contended { .. } => CONTENDED,
            Self::ClockSkew { .. } => countersign_transport::codes::CLOCK_SKEW,
            Self::UnknownKey => countersign_transport::codes::UNKNOWN_KEY,
            Self::Replayed { .. } => countersign_transport::codes::MESSAGE_REPLAYED,
            Self::Corrupt { .. } => CORRUPT,
            Self::File { .. } => FILE,
            Self::KeyFileOpen { .. }
            | Self::KeyFileMalformed { .. }
            | Self::KeyFileOther { .. } => KEY_FILE,
            Self::OrdersOut { .. } => ORDERS_OUT,
            Self::Randomness { .. } => RANDOMNESS,
            Self::Stopping => STOPPING,
            Self::Internal { .. } => INTERNAL,
        }
    }

    /// What kind of answer it is.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Rejected(rejection) => rejection_class(rejection),
            Self::Store(error) => store_class(error),
            Self::Policy(_)
            | Self::Corrupt { .. }
            | Self::File { .. }
            | Self::KeyFileOpen { .. }
            | Self::KeyFileMalformed { .. }
            | Self::KeyFileOther { .. }
            | Self::Randomness { .. }
            | Self::Internal { .. } => Class::Internal,
            Self::Message(_) | Self::Enrolment(_) | Self::ClockSkew { .. } => Class::Refused,
            Self::Invalid(_) | Self::Request { .. } => Class::Malformed,
            Self::Unauthenticated | Self::UnknownKey => Class::Unauthenticated,
            Self::OtherTenant { .. } => Class::NotFound,
            Self::RoleTooSmall { .. } => Class::Forbidden,
            Self::Replayed { .. } | Self::OrdersOut { .. } => Class::Conflict,
            Self::Contended { .. } | Self::Stopping => Class::Unavailable,
        }
    }

    /// When to try again, where trying again helps.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Store(
                countersign_store::Error::Overloaded { retry_after, .. }
                | countersign_store::Error::Waiting { retry_after, .. },
            ) => Some(*retry_after),
            Self::Contended { .. } | Self::Stopping => Some(Duration::from_secs(1)),
            _ => None,
        }
    }

    /// The server's time, in the one refusal that must tell it.
    #[must_use]
    pub const fn server_time(&self) -> Option<Time> {
        match self {
            Self::ClockSkew { ours, .. } => Some(*ours),
            _ => None,
        }
    }
}

impl From<Rejection> for Error {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(Box::new(rejection))
    }
}

fn rejection_class(rejection: &Rejection) -> Class {
    let code = rejection.code().id;
    if code.ends_with("-unknown") {
        Class::NotFound
    } else if code.ends_with("-exists")
        || code.ends_with("-used")
        || code.ends_with("-locked")
        || code == "wrong-state"
    {
        Class::Conflict
    } else {
        Class::Refused
    }
}

const fn store_class(error: &countersign_store::Error) -> Class {
    use countersign_store::Error as E;
    match error {
        E::Conflict { .. } | E::StalePlatform { .. } => Class::Conflict,
        E::Mismatch { .. }
        | E::OutsideValidity { .. }
        | E::Refused { .. }
        | E::BlobMismatch { .. }
        | E::BlobTooLarge { .. } => Class::Refused,
        E::Overloaded { .. } => Class::Overloaded,
        E::BlobUnknown { .. }
        | E::Missing { .. }
        | E::KeyDestroyed { .. }
        | E::ProjectionUnknown { .. } => Class::NotFound,
        E::Pruned { .. } => Class::Gone,
        E::Stopped { .. }
        | E::Waiting { .. }
        | E::WriterPanicked
        | E::Closed
        | E::DiskFull { .. }
        | E::Disk { .. }
        | E::Locked { .. }
        | E::ClockJumped { .. }
        | E::Damaged(_)
        | E::ChainDamaged { .. }
        | E::Foreign { .. }
        | E::Exists { .. }
        | E::RemovalIncomplete { .. }
        | E::Log(_) => Class::Unavailable,
    }
}
