//! Content-addressed files, each visible to the tenants that it was put for.
//!
//! `blobs/sha256/<2>/<62>` holds the bytes, `blobs/scopes/<chain>/<2>/<62>` says that a chain may read them. A blob is durable,
//! its directories included, when `put` returns, so an event that names it may follow. Bytes are checked on every read.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign_chain::sha256;
use countersign_ids::{ChainId, Digest, limits};

use crate::Error;
use crate::journal::bytes as length_of;
use crate::journal::file::{confirm, create_dir, replace};

/// Paths that are remembered as durable; past it all are forgotten, which costs an fsync each.
const DURABLE_PATHS_MAX: usize = 16 * 1024;

/// The blobs of one data directory.
#[derive(Debug, Clone)]
pub struct Blobs {
    root: PathBuf,
    durable: Durable,
}

impl Blobs {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self {
            root,
            durable: Durable::default(),
        }
    }

    /// Stores `bytes` for `chain`; storing them again changes nothing.
    pub fn put(&self, chain: &ChainId, bytes: &[u8]) -> Result<Digest, Error> {
        let (length, limit) = (length_of(bytes.len()), length_of(limits::BLOB_BYTES_MAX));
        if length > limit {
            return Err(Error::BlobTooLarge {
                bytes: length,
                limit,
            });
        }
        let digest = sha256(bytes);
        let path = self.file(&digest);
        // A file that an earlier writer left damaged is replaced, not trusted because it is there.
        let stored = std::fs::read(&path).is_ok_and(|stored| stored == bytes);
        self.ensure(&path, stored, bytes)?;
        let scope = self.scope(chain, &digest);
        self.ensure(&scope, scope.is_file(), &[])?;
        Ok(digest)
    }

    /// Stores `bytes` for `chain` if they have this digest.
    pub fn put_expected(
        &self,
        chain: &ChainId,
        digest: &Digest,
        bytes: &[u8],
    ) -> Result<(), Error> {
        if sha256(bytes) != *digest {
            return Err(Error::BlobMismatch { digest: *digest });
        }
        self.put(chain, bytes).map(|_| ())
    }

    /// The bytes, if `chain` may read them.
    pub fn get(&self, chain: &ChainId, digest: &Digest) -> Result<Vec<u8>, Error> {
        if !self.contains(chain, digest) {
            return Err(Error::BlobUnknown { digest: *digest });
        }
        self.read(digest)
    }

    /// Whether `chain` may read such a blob.
    #[must_use]
    pub fn contains(&self, chain: &ChainId, digest: &Digest) -> bool {
        self.scope(chain, digest).is_file()
    }

    /// The bytes, for whoever may read everything.
    pub fn read(&self, digest: &Digest) -> Result<Vec<u8>, Error> {
        let path = self.file(digest);
        let bytes = match std::fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::BlobUnknown { digest: *digest });
            }
            other => other.map_err(|error| Error::io(&path, error))?,
        };
        if sha256(&bytes) == *digest {
            Ok(bytes)
        } else {
            Err(Error::BlobMismatch { digest: *digest })
        }
    }

    /// Puts `bytes` at `path` unless they stand there, and makes sure that they are durable.
    fn ensure(&self, path: &Path, stands: bool, bytes: &[u8]) -> Result<(), Error> {
        let failed = |error| Error::io(path, error);
        if !stands {
            let parent = path
                .parent()
                .ok_or_else(|| failed(io::ErrorKind::InvalidInput.into()))?;
            self.durable
                .ensure(parent, || create_dir(parent))
                .map_err(failed)?;
            replace(path, bytes, 0o600).map_err(failed)?;
            self.durable.add(path);
            return Ok(());
        }
        // Whoever put it there may still wait for the disk, or have died while it waited.
        self.durable.ensure(path, || confirm(path)).map_err(failed)
    }

    fn file(&self, digest: &Digest) -> PathBuf {
        under(&self.root.join("sha256"), digest)
    }

    fn scope(&self, chain: &ChainId, digest: &Digest) -> PathBuf {
        under(&self.root.join("scopes").join(chain.to_string()), digest)
    }
}

fn under(root: &Path, digest: &Digest) -> PathBuf {
    let hex = digest.hex();
    let (front, rest) = hex.split_at_checked(2).unwrap_or((&hex, ""));
    root.join(front).join(rest)
}

/// What this process knows to be durable, so that a path is confirmed once and not at every use.
#[derive(Debug, Clone, Default)]
struct Durable(Arc<Mutex<BTreeSet<PathBuf>>>);

impl Durable {
    /// Makes `path` durable unless it is known to be.
    fn ensure(&self, path: &Path, make: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        if self.paths().contains(path) {
            return Ok(());
        }
        make()?;
        self.add(path);
        Ok(())
    }

    fn add(&self, path: &Path) {
        let mut paths = self.paths();
        if paths.len() >= DURABLE_PATHS_MAX {
            paths.clear();
        }
        paths.insert(path.to_path_buf());
    }

    fn paths(&self) -> MutexGuard<'_, BTreeSet<PathBuf>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
