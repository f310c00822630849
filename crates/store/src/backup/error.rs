//! Why a backup was not taken or not restored. Whatever stood there before stands there still.

use std::path::PathBuf;

use countersign_ids::{ChainId, Code};

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The ledger or a file cannot be read or written.
    #[error(transparent)]
    Store(#[from] crate::Error),
    /// The directory holds no backup, or something else.
    #[error("`{path}` holds no backup of this ledger: {reason}")]
    NotABackup {
        /// The directory.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The bytes of a backup are not those that were written.
    #[error("the backup `{path}` is damaged: {reason}")]
    Damaged {
        /// The backup.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// What is known elsewhere is more than the backup holds.
    #[error("restoring would lose acknowledged events: {}", told(lost))]
    WouldLose {
        /// What would be lost.
        lost: Vec<Lost>,
    },
    /// The backup tells another history than what is known elsewhere.
    #[error("the backup holds another history of chain `{chain}` than {from}")]
    OtherHistory {
        /// The chain.
        chain: ChainId,
        /// Who tells the other one.
        from: String,
    },
    /// Something stands where the ledger should be restored.
    #[error("`{path}` is not a place to restore to: {reason}")]
    Target {
        /// The directory.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// Events of one chain that a backup does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// The chain; none where what would be lost cannot be read.
    pub chain: Option<ChainId>,
    /// How many events the backup holds.
    pub held: u64,
    /// How many there are known to be.
    pub known: u64,
    /// Who knows.
    pub from: String,
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.chain {
            Some(chain) => write!(
                f,
                "chain `{chain}` has {} events by {}, {} of them in the backup",
                self.known, self.from, self.held
            ),
            None => write!(f, "{} cannot be read, so nobody knows what", self.from),
        }
    }
}

fn told(lost: &[Lost]) -> String {
    let lost: Vec<String> = lost.iter().map(ToString::to_string).collect();
    lost.join("; ")
}

macro_rules! codes {
    ($($name:ident = $id:literal, $title:literal;)*) => {
        $(const $name: Code = Code { id: $id, title: $title };)*

        /// Every code of backups.
        pub const CODES: &[Code] = &[$($name),*];
    };
}

codes! {
    NOT_A_BACKUP = "not-a-backup", "The directory holds no backup of this ledger";
    DAMAGED = "backup-damaged", "The bytes of a backup are not those that were written";
    WOULD_LOSE = "restore-would-lose", "Restoring would lose acknowledged events";
    OTHER_HISTORY = "backup-other-history", "The backup holds another history than is known elsewhere";
    TARGET = "restore-target", "Something else stands where the ledger should be restored";
}

impl Error {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Store(error) => error.code(),
            Self::NotABackup { .. } => NOT_A_BACKUP,
            Self::Damaged { .. } => DAMAGED,
            Self::WouldLose { .. } => WOULD_LOSE,
            Self::OtherHistory { .. } => OTHER_HISTORY,
            Self::Target { .. } => TARGET,
        }
    }
}
