//! An approver's Ed25519 key: a PKCS#8 PEM file that only its owner can read, and that never leaves this machine.

use crate::codes;
use crate::exit::Failure;
use anyhow::{Context, Result};
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey, EncodePrivateKey};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Makes a key and writes it to a new file, mode 0600; an existing file is never touched.
pub(crate) fn create(path: &Path) -> Result<SigningKey> {
    let mut seed = [0_u8; 32];
    getrandom::fill(&mut seed).context("the system gives no randomness")?;
    let key = SigningKey::from_bytes(&seed);
    let pem = key
        .to_pkcs8_pem(LineEnding::LF)
        .context("the key cannot be written as PEM")?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot create `{}`", path.display()))?;
    file.write_all(pem.as_bytes())
        .and_then(|()| file.sync_all())
        .with_context(|| format!("cannot write `{}`", path.display()))?;
    Ok(key)
}

/// Reads a key; refuses a file that others can read.
pub(crate) fn read(path: &Path) -> Result<SigningKey> {
    let metadata = std::fs::metadata(path)
        .with_context(|| format!("cannot read the key `{}`", path.display()))?;
    if metadata.mode() & 0o077 != 0 {
        return Err(
            Failure::refused(format!("others can read the key `{}`", path.display()))
                .with_code(codes::KEY_EXPOSED)
                .with_hint(format!("chmod 600 {}", path.display()))
                .into(),
        );
    }
    let pem = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the key `{}`", path.display()))?;
    SigningKey::from_pkcs8_pem(&pem).map_err(|error| {
        Failure::usage(format!(
            "`{}` is not an Ed25519 key in PKCS#8 PEM: {error}",
            path.display()
        ))
        .into()
    })
}

#[cfg(test)]
mod tests {
    use super::{create, read};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_key_is_written_once_and_read_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key.pem");
        let key = create(&path).unwrap();
        assert_eq!(read(&path).unwrap().to_bytes(), key.to_bytes());
        assert!(create(&path).is_err());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(
            read(&path)
                .unwrap_err()
                .to_string()
                .contains("others can read")
        );
    }
}
