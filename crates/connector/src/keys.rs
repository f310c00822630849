//! The connector's own Ed25519 key: made here, kept in a file that only the owner reads, never sent anywhere.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use countersign_evidence::PublicKey;
use ed25519_dalek::{
    SigningKey,
    pkcs8::{DecodePrivateKey, EncodePrivateKey, spki::der::pem::LineEnding},
};

use crate::{Error, config::Layout, files};

fn unusable(path: &Path, what: impl Into<String>) -> Error {
    Error::Key {
        path: path.to_owned(),
        what: what.into(),
    }
}

/// Makes a key and writes it to `path`, replacing what an unfinished pairing left there.
pub(crate) fn make(path: &Path) -> Result<SigningKey, Error> {
    let key = SigningKey::from_bytes(&files::random::<32>().map_err(Error::io(path))?);
    let text = key
        .to_pkcs8_pem(LineEnding::LF)
        .map_err(|error| unusable(path, error.to_string()))?;
    files::replace(path, text.as_bytes(), files::OWNER_ONLY).map_err(Error::io(path))?;
    Ok(key)
}

/// Reads a key; refuses a file that anybody else can read.
pub(crate) fn read(path: &Path) -> Result<SigningKey, Error> {
    let metadata = fs::symlink_metadata(path).map_err(Error::io(path))?;
    if !metadata.is_file() {
        return Err(unusable(path, "it is no regular file"));
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err(unusable(
            path,
            "others can read it; make it again by pairing again, then keep it at 0600",
        ));
    }
    let text = fs::read_to_string(path).map_err(Error::io(path))?;
    SigningKey::from_pkcs8_pem(&text).map_err(|error| unusable(path, error.to_string()))
}

/// The key of the current generation. Finishes the rename that an interrupted pairing left undone.
pub(crate) fn current(layout: &Layout, public: &PublicKey) -> Result<SigningKey, Error> {
    let (path, next) = (layout.key(), layout.new_key());
    if next.exists() {
        let key = read(&next)?;
        if PublicKey::from(&key) == *public {
            adopt(layout)?;
            return Ok(key);
        }
    }
    let key = read(&path)?;
    if PublicKey::from(&key) == *public {
        Ok(key)
    } else {
        Err(unusable(&path, "it is not the key that was paired"))
    }
}

/// The key of a finished pairing becomes the current one; the one before is archived under its own name.
pub(crate) fn adopt(layout: &Layout) -> Result<(), Error> {
    let (path, next) = (layout.key(), layout.new_key());
    if path.exists() {
        let old = PublicKey::from(&read(&path)?).digest();
        let archive = layout.state().join(format!("key.{}", old.hex()));
        fs::rename(&path, &archive).map_err(Error::io(&archive))?;
    }
    fs::rename(&next, &path).map_err(Error::io(&path))?;
    files::sync_directory(&layout.state()).map_err(Error::io(layout.state()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        let key = make(&path).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(read(&path).unwrap().to_bytes(), key.to_bytes());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(read(&path), Err(Error::Key { .. })));
    }

    #[test]
    fn an_interrupted_adoption_is_finished() {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::new(directory.path());
        files::make_private_directory(&layout.state()).unwrap();
        let old = make(&layout.key()).unwrap();
        let new = make(&layout.new_key()).unwrap();
        // The journal does not name the new key yet: the old one counts.
        assert_eq!(
            current(&layout, &(&old).into()).unwrap().to_bytes(),
            old.to_bytes()
        );
        assert!(layout.new_key().exists());
        assert_eq!(
            current(&layout, &(&new).into()).unwrap().to_bytes(),
            new.to_bytes()
        );
        assert!(!layout.new_key().exists());
        assert!(matches!(
            current(&layout, &(&old).into()),
            Err(Error::Key { .. })
        ));
    }
}
