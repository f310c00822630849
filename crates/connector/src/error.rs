//! What can fail beside a site, with codes. A refused order is no error: it is an outcome (`evidence::checks::Refusal`).

use std::{io, net::SocketAddr, path::PathBuf};

use countersign_evidence::{document::DocumentError, keys::KeyError, message::MessageError};
use countersign_ids::Code;

use crate::{
    journal::JournalError,
    site::{ManifestError, ReleaseError},
};

/// Why the connector cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or directory of its own cannot be used.
    #[error("`{path}` cannot be used")]
    Io {
        /// The file.
        path: PathBuf,
        /// How.
        #[source]
        source: io::Error,
    },
    /// The journal cannot be read or written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A release cannot be kept, read or made live.
    #[error(transparent)]
    Release(#[from] ReleaseError),
    /// The control plane cannot be spoken to.
    #[error(transparent)]
    Transport(#[from] countersign_transport::Error),
    /// Another process works in this directory.
    #[error("a connector is running in this directory (process {pid})")]
    Running {
        /// Its process id.
        pid: String,
    },
    /// It was asked to stop and did not.
    #[error("process {pid} did not stop in time")]
    NotStopped {
        /// Its process id.
        pid: String,
    },
    /// Nobody paired this directory with a site.
    #[error("this connector is not paired; run `countersign connector pair` first")]
    NotPaired,
    /// What the control plane presented is not what the code pins, or contradicts itself.
    #[error("the pairing was stopped: {0}")]
    Pairing(String),
    /// What it did under its last pairing was not said yet.
    #[error("pairing would leave something behind: {0}")]
    Owes(&'static str),
    /// The connector's own key cannot be used.
    #[error("the key `{path}` cannot be used: {what}")]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        what: String,
    },
    /// A server of the site cannot listen.
    #[error("`{address}` cannot be listened on")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// How.
        #[source]
        source: io::Error,
    },
    /// A message of its own cannot be written.
    #[error("a message cannot be written")]
    Message(#[from] MessageError),
    /// The pinned document cannot be used.
    #[error("the pinned document cannot be used")]
    Document(#[from] DocumentError),
    /// The ledger's key statements cannot be used.
    #[error("the ledger's key statements cannot be used")]
    Keys(#[from] KeyError),
    /// The client for probes cannot be made.
    #[error("the probes cannot be prepared")]
    Probes(#[source] reqwest::Error),
    /// A task of its own ended early.
    #[error("a part of the connector ended early")]
    Task,
}

impl Error {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        |source| Self::Io { path, source }
    }

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Io { .. } | Self::Probes(_) | Self::Task | Self::Message(_) => CONNECTOR_IO,
            Self::Journal(JournalError::Damaged { .. }) => JOURNAL_DAMAGED,
            Self::Journal(JournalError::Io { .. } | JournalError::Failed) => CONNECTOR_IO,
            Self::Release(error) => release_code(error),
            Self::Transport(error) => error.code(),
            Self::Running { .. } => CONNECTOR_RUNNING,
            Self::NotStopped { .. } => CONNECTOR_NOT_STOPPED,
            Self::NotPaired => CONNECTOR_NOT_PAIRED,
            Self::Pairing(_) | Self::Document(_) | Self::Keys(_) => PAIRING_MISMATCH,
            Self::Owes(_) => OUTCOME_OWED,
            Self::Key { .. } => CONNECTOR_KEY,
            Self::Listen { .. } => SITE_ADDRESS,
        }
    }
}

impl ManifestError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> Code {
        MANIFEST_INVALID
    }
}

/// The code of a failure of the release store.
pub(crate) fn release_code(error: &ReleaseError) -> Code {
    match error {
        ReleaseError::Io { .. } => SITE_IO,
        ReleaseError::Manifest { .. } => MANIFEST_INVALID,
        ReleaseError::Differs { .. } => RELEASE_DIFFERS,
        ReleaseError::Missing { .. } => RELEASE_UNAVAILABLE,
        ReleaseError::ForeignLink { .. } => SITE_FOREIGN_LINK,
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $id:literal, $title:literal;)*) => {
        $($(#[$doc])* pub const $name: Code = Code { id: $id, title: $title };)*
        /// All codes of this crate.
        pub const CODES: &[Code] = &[$($name),*];
    };
}

codes! {
    /// A file of the connector's own cannot be used.
    CONNECTOR_IO = "connector-io", "A file of the connector's own cannot be read or written";
    /// The journal says something that was not written.
    JOURNAL_DAMAGED = "journal-damaged", "The connector's journal is damaged";
    /// Another process works in the directory.
    CONNECTOR_RUNNING = "connector-running", "A connector is already running in this directory";
    /// It did not stop.
    CONNECTOR_NOT_STOPPED = "connector-not-stopped", "The connector did not stop in time";
    /// Nobody paired it.
    CONNECTOR_NOT_PAIRED = "connector-not-paired", "The connector is not paired with a site";
    /// The control plane is not the one that the code names.
    PAIRING_MISMATCH = "pairing-mismatch", "What the control plane presented does not fit the pairing code";
    /// Pairing would leave an order or an outcome behind.
    OUTCOME_OWED = "outcome-owed", "An order is not ended, or its outcome was not taken by the ledger that gave it";
    /// The connector's key cannot be used.
    CONNECTOR_KEY = "connector-key", "The connector's own key cannot be used";
    /// An address of the site cannot be listened on.
    SITE_ADDRESS = "site-address", "An address of the site cannot be listened on";
    /// The file system of the site failed.
    SITE_IO = "site-io", "The site's files cannot be read or written";
    /// `current` is not ours.
    SITE_FOREIGN_LINK = "site-foreign-link", "The link `current` does not point to a release";
    /// The manifest cannot be served.
    MANIFEST_INVALID = "manifest-invalid", "The manifest of the release cannot be served";
    /// Fetched or kept bytes are not those of the digest.
    RELEASE_DIFFERS = "release-differs", "A file of the release does not have the bytes that its digest names";
    /// The release cannot be had.
    RELEASE_UNAVAILABLE = "release-unavailable", "The release is not kept here and could not be fetched";
    /// The release is broken before it is live.
    PREVIEW_BROKEN = "preview-broken", "A page of the release is broken at its preview address";
    /// The release was broken when it was live.
    LIVE_BROKEN = "live-broken", "A page of the release was broken live; the previous release is live again";
    /// The connector ended in the middle of it.
    EXECUTION_INTERRUPTED = "execution-interrupted", "The connector was interrupted while it executed the order";
    /// The connector does not know this kind, or not these parameters.
    KIND_NOT_EXECUTED = "kind-not-executed", "The connector does not execute this kind of action with these parameters";
    /// The new document is not the next one.
    DOCUMENT_NOT_NEXT = "document-not-next", "The new pinned document does not follow the one in force";
}
