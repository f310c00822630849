//! What lies where in a data directory, who may open it, and what it says it is.
//!
//! ```text
//! DATA/ledger.toml   format version, ledger id, genesis public key      DATA/journal/<20 digits>.seg
//! DATA/lock          one process                                        DATA/sled/
//! DATA/removals/     what removals under way found
//! DATA/keys/         private keys (0600), keyring of data subjects      DATA/blobs/sha256/<2>/<62>
//! ```

use std::path::{Path, PathBuf};

use countersign_chain::ledger_id;
use countersign_ids::LedgerId;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::disk::{self, Disk, Part};
use crate::journal::Position;
use crate::journal::scan::{self, Scan};

/// The format version of a data directory.
const FORMAT: u32 = 1;

/// The paths in one data directory.
#[derive(Debug, Clone)]
pub struct Layout {
    disk: Disk,
    root: PathBuf,
}

impl Layout {
    /// The layout under `root`, whether anything is there or not.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self::on(Disk::default(), root)
    }

    pub(crate) fn on(disk: Disk, root: &Path) -> Self {
        Self {
            disk,
            root: root.to_path_buf(),
        }
    }

    /// The disk on which everything but sled lies.
    pub(crate) const fn disk(&self) -> &Disk {
        &self.disk
    }

    /// The data directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Segment files.
    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.root.join("journal")
    }

    /// The log in sled.
    #[must_use]
    pub fn sled(&self) -> PathBuf {
        self.root.join("sled")
    }

    /// Private keys; the store only keeps the keyring of data subjects in it.
    #[must_use]
    pub fn keys(&self) -> PathBuf {
        self.root.join("keys")
    }

    /// One file per data subject.
    #[must_use]
    pub fn keyring(&self) -> PathBuf {
        self.keys().join("keyring")
    }

    /// Blobs and their scopes.
    #[must_use]
    pub fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }

    /// What removals that are under way found before they began.
    #[must_use]
    pub fn removals(&self) -> PathBuf {
        self.root.join("removals")
    }

    /// Format version, ledger id, genesis key.
    #[must_use]
    pub fn description(&self) -> PathBuf {
        self.root.join("ledger.toml")
    }

    fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// Whether a process has the ledger open. The lock is tried for a moment and given back; no file is made.
    #[must_use]
    pub fn in_use(&self) -> bool {
        std::fs::File::open(self.lock()).is_ok_and(|file| {
            rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockShared)
                == Err(rustix::io::Errno::WOULDBLOCK)
        })
    }

    /// Whether a ledger was made here; a creation that died half-way does not count.
    #[must_use]
    pub fn is_ledger(&self) -> bool {
        self.disk.is_file(&self.description())
    }

    /// Whether anything was ever written to a journal here. A creation that died half-way leaves a blank one, and nothing can
    /// be in it, because the description is written last.
    pub(crate) fn holds_events(&self) -> Result<bool, Error> {
        let journal = self.journal();
        if !self.disk.is_dir(&journal) {
            return Ok(false);
        }
        let segments = scan::segments(&self.disk, &journal)?;
        let blank = match segments.as_slice() {
            [] => true,
            [only] => {
                let mut scan = Scan::new(&self.disk, &journal, Position::ZERO, Position::ZERO)?;
                scan.next_frame()?.is_none()
                    && scan.end().torn.is_none()
                    && only.base == Position::ZERO
            }
            _ => false,
        };
        for segment in segments.iter().filter(|_| blank) {
            let removed = self.disk.remove(Part::Segment, &segment.path);
            removed.map_err(|error| Error::io(&segment.path, error))?;
        }
        Ok(!blank)
    }

    pub(crate) fn create_dirs(&self) -> Result<(), Error> {
        for dir in [
            self.root.clone(),
            self.journal(),
            self.keys(),
            self.keyring(),
            self.blobs(),
        ] {
            let created = self.disk.create_dir(Part::Layout, &dir);
            created.map_err(|error| Error::io(&dir, error))?;
        }
        for secret in [self.keys(), self.keyring()] {
            let restricted = self.disk.restrict(&secret, 0o700);
            restricted.map_err(|error| Error::io(&secret, error))?;
        }
        Ok(())
    }
}

/// What `ledger.toml` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// The ledger.
    pub ledger: LedgerId,
    /// The raw genesis public key, of which the id is the hash.
    pub genesis: [u8; 32],
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Toml {
    format: u32,
    ledger: String,
    genesis: String,
}

impl Description {
    /// The ledger of a genesis key.
    #[must_use]
    pub fn of(genesis: [u8; 32]) -> Self {
        Self {
            ledger: ledger_id(&genesis),
            genesis,
        }
    }

    /// Reads it; the id must be that of the key.
    pub fn read(layout: &Layout) -> Result<Self, Error> {
        let path = layout.description();
        let foreign = |reason: &str| Error::Foreign {
            path: layout.root.clone(),
            reason: reason.to_owned(),
        };
        let text = match layout.disk.read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(foreign("`ledger.toml` is missing"));
            }
            other => other.map_err(|error| Error::io(&path, error))?,
        };
        let text = String::from_utf8(text).map_err(|_| foreign("`ledger.toml` is no text"))?;
        let toml: Toml = toml::from_str(&text).map_err(|error| foreign(error.message()))?;
        if toml.format != FORMAT {
            return Err(foreign("this program does not know its format version"));
        }
        let mut genesis = [0; 32];
        hex::decode_to_slice(&toml.genesis, &mut genesis)
            .map_err(|_| foreign("the genesis key is no key"))?;
        let description = Self::of(genesis);
        if description.ledger.to_string() != toml.ledger {
            return Err(foreign("the ledger id is not that of the genesis key"));
        }
        Ok(description)
    }

    /// Makes sure that what was read is durable.
    pub(crate) fn confirm(layout: &Layout) -> Result<(), Error> {
        let path = layout.description();
        let confirmed = layout.disk.confirm(Part::Description, &path);
        confirmed.map_err(|error| Error::io(&path, error))
    }

    pub(crate) fn write(&self, layout: &Layout) -> Result<(), Error> {
        let text = format!(
            "format = {FORMAT}\nledger = \"{}\"\ngenesis = \"{}\"\n",
            self.ledger,
            hex::encode(self.genesis)
        );
        let path = layout.description();
        let written = layout
            .disk
            .replace(Part::Description, &path, text.as_bytes(), 0o644);
        written.map_err(|error| Error::io(&path, error))
    }
}

/// Held while a process has the ledger open; the system releases it when the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct Lock {
    _held: disk::Lock,
}

impl Lock {
    /// For the process that writes.
    pub(crate) fn exclusive(layout: &Layout) -> Result<Self, Error> {
        Self::take(layout, true)
    }

    /// For a reader that needs a stopped ledger: keeps a writer from starting meanwhile.
    pub(crate) fn shared(layout: &Layout) -> Result<Self, Error> {
        Self::take(layout, false)
    }

    fn take(layout: &Layout, exclusive: bool) -> Result<Self, Error> {
        let path = layout.lock();
        let taken = layout.disk.lock(&path, exclusive);
        let _held = taken
            .map_err(|error| Error::io(&path, error))?
            .ok_or_else(|| Error::Locked {
                path: layout.root.clone(),
            })?;
        Ok(Self { _held })
    }
}
