//! Private keys of the plane: one PKCS#8 PEM file each, readable by the server's user alone.
//!
//! `checkpoint.pem` and `order.pem` stand under `DATA/keys`; while one is rotated, its next key stands beside it as
//! `<use>.next.pem`. The genesis key stands in a file of its own, outside the data
//! directory where the caller says so: it is needed to begin a ledger and to add or end keys, and for nothing else.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use countersign_evidence::keys::Role;
use countersign_evidence::{KeyRing, PublicKey};
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::{
    DecodePrivateKey as _, EncodePrivateKey as _, spki::der::pem::LineEnding,
};
use zeroize::Zeroizing;

use crate::{Error, secrets};

/// What the server signs with a key of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyUse {
    /// Checkpoints of chains.
    Checkpoint,
    /// Orders to connectors.
    Order,
}

impl KeyUse {
    /// The role of the key in key statements.
    #[must_use]
    pub const fn role(self) -> Role {
        match self {
            Self::Checkpoint => Role::Checkpoint,
            Self::Order => Role::Order,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Checkpoint => "checkpoint",
            Self::Order => "order",
        }
    }

    pub(crate) fn file(self, keys: &Path) -> PathBuf {
        keys.join(format!("{}.pem", self.as_str()))
    }

    /// The file of the key that a rotation brings in.
    pub(crate) fn next_file(self, keys: &Path) -> PathBuf {
        keys.join(format!("{}.next.pem", self.as_str()))
    }
}

/// Everything that the running server signs with.
#[derive(Debug)]
pub(crate) struct Signers {
    pub(crate) checkpoint: SigningKey,
    pub(crate) order: SigningKey,
}

impl Signers {
    /// The keys of a ledger that begins.
    pub(crate) fn first(keys: &Path) -> Result<Self, Error> {
        Ok(Self {
            checkpoint: load_or_create(&KeyUse::Checkpoint.file(keys))?,
            order: load_or_create(&KeyUse::Order.file(keys))?,
        })
    }

    /// The keys that the ledger's statements name.
    pub(crate) fn in_force(keys: &Path, ring: &KeyRing) -> Result<Self, Error> {
        Ok(Self {
            checkpoint: in_force(keys, KeyUse::Checkpoint, ring)?,
            order: in_force(keys, KeyUse::Order, ring)?,
        })
    }

    pub(crate) const fn of(&self, usage: KeyUse) -> &SigningKey {
        match usage {
            KeyUse::Checkpoint => &self.checkpoint,
            KeyUse::Order => &self.order,
        }
    }

    pub(crate) fn replace(&mut self, usage: KeyUse, key: SigningKey) {
        match usage {
            KeyUse::Checkpoint => self.checkpoint = key,
            KeyUse::Order => self.order = key,
        }
    }
}

/// The key that the ledger's statements name for a use. A rotation that is in the ledger and whose key did not reach its
/// place yet is finished: the file of the ended key is replaced, and with it the ended key is gone.
pub(crate) fn in_force(keys: &Path, usage: KeyUse, ring: &KeyRing) -> Result<SigningKey, Error> {
    let (key, found) = find(keys, usage, ring)?;
    let file = usage.file(keys);
    if found != file {
        std::fs::rename(&found, &file).map_err(|error| Error::file(&file, error))?;
        sync_directory(keys)?;
    }
    Ok(key)
}

/// The key that the ledger's statements name for a use, and the file that holds it: its own, or that of the next one where a
/// rotation is not finished.
pub(crate) fn find(
    keys: &Path,
    usage: KeyUse,
    ring: &KeyRing,
) -> Result<(SigningKey, PathBuf), Error> {
    let (file, next) = (usage.file(keys), usage.next_file(keys));
    let holds = |key: &SigningKey| {
        ring.current(usage.role())
            .any(|held| held.key == PublicKey::from(key))
    };
    let refused = match load(&file) {
        Ok(key) if holds(&key) => return Ok((key, file)),
        Ok(_) => Error::KeyFileOther { path: file },
        Err(error) => error,
    };
    match load(&next) {
        Ok(key) if holds(&key) => Ok((key, next)),
        _ => Err(refused),
    }
}

/// Reads a key, or makes one if there is no such file.
pub(crate) fn load_or_create(path: &Path) -> Result<SigningKey, Error> {
    match load(path) {
        Err(Error::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => create(path),
        other => other,
    }
}

/// Reads a key; a file that others may read is refused.
pub(crate) fn load(path: &Path) -> Result<SigningKey, Error> {
    let failed = |error| Error::file(path, error);
    let mode = std::fs::metadata(path)
        .map_err(failed)?
        .permissions()
        .mode();
    if mode & 0o077 != 0 {
        return Err(Error::KeyFileOpen {
            path: path.to_path_buf(),
        });
    }
    let text = Zeroizing::new(std::fs::read_to_string(path).map_err(failed)?);
    SigningKey::from_pkcs8_pem(&text).map_err(|_| Error::KeyFileMalformed {
        path: path.to_path_buf(),
    })
}

fn create(path: &Path) -> Result<SigningKey, Error> {
    let key = SigningKey::from_bytes(&secrets::random()?);
    let text = key
        .to_pkcs8_pem(LineEnding::LF)
        .map_err(|_| Error::KeyFileMalformed {
            path: path.to_path_buf(),
        })?;
    write_private(path, text.as_bytes())?;
    Ok(key)
}

/// Writes a file of mode 0600 that is whole or absent, and durable.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let failed = |error| Error::file(path, error);
    let parent = path.parent().unwrap_or_else(|| Path::new("."));
    std::fs::create_dir_all(parent).map_err(failed)?;
    let partial = path.with_extension("partial");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&partial)
        .map_err(failed)?;
    file.set_permissions(std::fs::Permissions::from_mode(0o600))
        .map_err(failed)?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(failed)?;
    std::fs::rename(&partial, path).map_err(failed)?;
    sync_directory(parent)
}

pub(crate) fn sync_directory(path: &Path) -> Result<(), Error> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| Error::file(path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_kept_private() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys").join("order.pem");
        let made = load_or_create(&path).unwrap();
        assert_eq!(load_or_create(&path).unwrap().to_bytes(), made.to_bytes());
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );

        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(load(&path), Err(Error::KeyFileOpen { .. })));
        write_private(&path, b"not a key").unwrap();
        assert!(
            matches!(load_or_create(&path), Err(Error::KeyFileMalformed { .. })),
            "a damaged key is never replaced"
        );
    }
}
