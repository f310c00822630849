//! Content-addressed files, each visible to the tenants that it was put for.
//!
//! `blobs/sha256/<2>/<62>` holds the bytes, `blobs/scopes/<chain>/<2>/<62>` says that a chain may read them. A blob is durable,
//! its directories included, when `put` returns, so an event that names it may follow. Bytes are checked on every read.

use std::io;
use std::path::{Path, PathBuf};

use countersign_chain::sha256;
use countersign_ids::{ChainId, Digest, limits};

use crate::Error;
use crate::blobs_together::Together;
use crate::disk::{Disk, Known, Part};
use crate::journal::bytes as length_of;

/// The blobs of one data directory.
#[derive(Debug, Clone)]
pub struct Blobs {
    disk: Disk,
    root: PathBuf,
    known: Known,
}

impl Blobs {
    pub(crate) fn new(disk: Disk, root: PathBuf) -> Self {
        Self {
            disk,
            root,
            known: Known::default(),
        }
    }

    /// Stores `bytes` for `chain`; storing them again changes nothing.
    pub fn put(&self, chain: &ChainId, bytes: &[u8]) -> Result<Digest, Error> {
        check_length(bytes)?;
        let digest = sha256(bytes);
        let path = self.file(&digest);
        // A file that an earlier writer left damaged is replaced, not trusted because it is there.
        let stored = self.disk.read(&path).is_ok_and(|stored| stored == bytes);
        self.ensure(Part::Blob, &path, stored, bytes)?;
        let scope = self.scope(chain, &digest);
        let stored = self.disk.is_file(&scope);
        self.ensure(Part::Scope, &scope, stored, &[])?;
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

    /// Whether this process knows that such a blob is durable for `chain`: nothing is to be done for an event that names it.
    #[must_use]
    pub fn is_durable(&self, chain: &ChainId, digest: &Digest) -> bool {
        self.known.contains(&self.file(digest)) && self.known.contains(&self.scope(chain, digest))
    }

    /// Stores several blobs for `chain`, if each has its digest, for little more than one of them costs.
    ///
    /// Those that [`Blobs::is_durable`] are left as they are: unlike [`Blobs::put`] this mends nothing.
    pub fn put_all<'a>(
        &self,
        chain: &ChainId,
        blobs: impl IntoIterator<Item = (&'a Digest, &'a [u8])>,
    ) -> Result<(), Error> {
        let mut together = Together::new(&self.disk, &self.known);
        for (digest, bytes) in blobs {
            check_length(bytes)?;
            if sha256(bytes) != *digest {
                return Err(Error::BlobMismatch { digest: *digest });
            }
            together.put(Part::Blob, self.file(digest), bytes);
            together.put(Part::Scope, self.scope(chain, digest), &[]);
        }
        together.finish()
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
        self.disk.is_file(&self.scope(chain, digest))
    }

    /// The bytes, for whoever may read everything.
    pub fn read(&self, digest: &Digest) -> Result<Vec<u8>, Error> {
        let path = self.file(digest);
        let bytes = match self.disk.read(&path) {
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

    /// The digests of all files that there are.
    pub(crate) fn all(&self) -> Result<Vec<Digest>, Error> {
        let root = self.root.join("sha256");
        let list = |dir: &Path| match self.disk.list(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            other => other.map_err(|error| Error::io(dir, error)),
        };
        let mut all = Vec::new();
        for front in list(&root)? {
            for rest in list(&root.join(&front))? {
                let name = format!("sha256:{}{}", front.display(), rest.display());
                all.extend(name.parse::<Digest>());
            }
        }
        Ok(all)
    }

    /// Puts `bytes` at `path` unless they stand there, and makes sure that they are durable.
    fn ensure(&self, part: Part, path: &Path, stands: bool, bytes: &[u8]) -> Result<(), Error> {
        let (disk, known) = (&self.disk, &self.known);
        let failed = |error| Error::io(path, error);
        if !stands {
            let parent = path
                .parent()
                .ok_or_else(|| failed(io::ErrorKind::InvalidInput.into()))?;
            known
                .ensure(parent, || disk.create_dir(part, parent))
                .map_err(failed)?;
            disk.replace(part, path, bytes, 0o600).map_err(failed)?;
            known.add(path);
            return Ok(());
        }
        // Whoever put it there may still wait for the disk, or have died while it waited.
        known
            .ensure(path, || disk.confirm(part, path))
            .map_err(failed)
    }

    fn file(&self, digest: &Digest) -> PathBuf {
        under(&self.root.join("sha256"), digest)
    }

    fn scope(&self, chain: &ChainId, digest: &Digest) -> PathBuf {
        under(&self.root.join("scopes").join(chain.to_string()), digest)
    }
}

fn check_length(bytes: &[u8]) -> Result<(), Error> {
    let (bytes, limit) = (length_of(bytes.len()), length_of(limits::BLOB_BYTES_MAX));
    if bytes > limit {
        return Err(Error::BlobTooLarge { bytes, limit });
    }
    Ok(())
}

fn under(root: &Path, digest: &Digest) -> PathBuf {
    let hex = digest.hex();
    let (front, rest) = hex.split_at_checked(2).unwrap_or((&hex, ""));
    root.join(front).join(rest)
}
