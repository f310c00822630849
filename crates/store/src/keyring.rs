//! The keys of data subjects: personal bodies are sealed from the first write, and erased by destroying the key.
//!
//! One file of mode 0600 per data subject under `keys/keyring`, so that making or destroying one key rewrites no other. A new
//! key is durable before an event sealed with it can be.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use countersign_chain::body_key_commitment;
use countersign_ids::{BodyKey, DataSubject, EventId};
use zeroize::Zeroizing;

use crate::Error;
use crate::disk::{Disk, Part, crash_at};
use crate::entropy::Entropy;

type Secret = Zeroizing<[u8; 32]>;

/// The keyring of one data directory.
#[derive(Debug)]
pub(crate) struct Keyring {
    disk: Disk,
    dir: PathBuf,
    keys: Mutex<BTreeMap<DataSubject, Held>>,
    /// Data subjects that were erased: no key is made under their names again.
    ended: Mutex<BTreeSet<DataSubject>>,
}

/// A key in memory.
#[derive(Debug, Clone)]
struct Held {
    secret: Secret,
    /// Whether its file survives a power cut for certain. Reading needs that not, sealing does.
    durable: bool,
}

/// A body as it is stored, and what the header says about its key.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub(crate) body: Vec<u8>,
    pub(crate) key: BodyKey,
}

impl Keyring {
    pub(crate) const fn new(disk: Disk, dir: PathBuf) -> Self {
        Self {
            disk,
            dir,
            keys: Mutex::new(BTreeMap::new()),
            ended: Mutex::new(BTreeSet::new()),
        }
    }

    /// Seals `plain` for `subject`, making the key if there is none yet.
    pub(crate) fn seal(
        &self,
        entropy: &Entropy,
        subject: &DataSubject,
        place: (&str, &EventId),
        plain: &[u8],
    ) -> Result<Sealed, Error> {
        let failed = |error| Error::io(&self.dir, error);
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if ended.contains(subject) {
            return Err(Error::KeyDestroyed {
                subject: subject.clone(),
            });
        }
        // Held until the key is there, so that it is not made while it is destroyed.
        let key = match self.key(subject)? {
            Some(held) => self.durable(subject, held)?,
            None => self.make(entropy, subject)?,
        };
        drop(ended);
        let nonce: [u8; 24] = entropy.draw().map_err(failed)?;
        let aad = associated(place.0, place.1);
        let cipher = XChaCha20Poly1305::new(&Key::from(*key));
        let ciphertext = cipher
            .encrypt(
                &XNonce::from(nonce),
                Payload {
                    msg: plain,
                    aad: &aad,
                },
            )
            .map_err(|_| failed(io::Error::other("sealing failed")))?;
        let encoded = |bytes: &[u8]| {
            base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes)
        };
        let body = format!(
            "{{\"ciphertext\":\"{}\",\"nonce\":\"{}\"}}",
            encoded(&ciphertext),
            encoded(&nonce)
        );
        Ok(Sealed {
            body: body.into_bytes(),
            key: body_key_commitment(&key),
        })
    }

    /// Opens a sealed body; `key` is what the header commits to.
    pub(crate) fn unseal(
        &self,
        subject: &DataSubject,
        place: (&str, &EventId),
        key: &BodyKey,
        body: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let gone = || Error::KeyDestroyed {
            subject: subject.clone(),
        };
        let secret = self
            .key(subject)?
            .map(|held| held.secret)
            .filter(|secret| body_key_commitment(secret) == *key)
            .ok_or_else(gone)?;
        let broken = |what: &str| {
            Error::io(
                &self.dir,
                io::Error::new(io::ErrorKind::InvalidData, what.to_owned()),
            )
        };
        let sealed: SealedBody =
            serde_json::from_slice(body).map_err(|_| broken("the sealed body is malformed"))?;
        let decoded = |text: &str| {
            base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text).ok()
        };
        let ciphertext =
            decoded(&sealed.ciphertext).ok_or_else(|| broken("the ciphertext is malformed"))?;
        let nonce: [u8; 24] = decoded(&sealed.nonce)
            .and_then(|nonce| nonce.try_into().ok())
            .ok_or_else(|| broken("the nonce is malformed"))?;
        let aad = associated(place.0, place.1);
        XChaCha20Poly1305::new(&Key::from(*secret))
            .decrypt(
                &XNonce::from(nonce),
                Payload {
                    msg: &ciphertext,
                    aad: &aad,
                },
            )
            .map_err(|_| broken("the key does not open the body"))
    }

    /// Destroys a key for ever. Whatever it sealed still verifies and can no longer be read.
    pub(crate) fn destroy(&self, subject: &DataSubject) -> Result<(), Error> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.remove(subject);
        self.erase(&self.path(subject))
    }

    /// The same, and no other key is made under that name as long as this process lives; fails unless it is gone.
    pub(crate) fn destroy_for_ever(&self, subject: &DataSubject) -> Result<(), Error> {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.insert(subject.clone());
        crash_at("erasure.begun");
        self.destroy(subject)?;
        crash_at("erasure.destroyed");
        let path = self.path(subject);
        if self.disk.is_file(&path) {
            let at = subject.to_string();
            return Err(Error::RemovalIncomplete { path, at });
        }
        Ok(())
    }

    /// Erases the file of a key, if there is one.
    fn erase(&self, path: &Path) -> Result<(), Error> {
        let failed = |error| Error::io(path, error);
        if self.disk.is_file(path) {
            // The bytes go before the name does; where the file system writes elsewhere this does no harm.
            let file = self.disk.open_to_write(path).map_err(failed)?;
            file.write_at(Part::Erasure, &[0; 64], 0).map_err(failed)?;
            file.sync_all(Part::Erasure).map_err(failed)?;
            self.disk.remove(Part::Erasure, path).map_err(failed)?;
        }
        self.disk.sync_dir(Part::Erasure, &self.dir).map_err(failed)
    }

    fn path(&self, subject: &DataSubject) -> PathBuf {
        self.dir.join(subject.as_str())
    }

    fn key(&self, subject: &DataSubject) -> Result<Option<Held>, Error> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = keys.get(subject) {
            return Ok(Some(held.clone()));
        }
        let path = self.path(subject);
        let text = match self.disk.read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => Zeroizing::new(other.map_err(|error| Error::io(&path, error))?),
        };
        if text.contains(&0) {
            // Its destruction began; until that is finished, a power cut could bring the key back.
            self.erase(&path)?;
            return Ok(None);
        }
        let mut key = Secret::default();
        let malformed = |_| {
            Error::io(
                &path,
                io::Error::new(io::ErrorKind::InvalidData, "not a key"),
            )
        };
        hex::decode_to_slice(text.as_slice(), key.as_mut_slice()).map_err(malformed)?;
        let held = Held {
            secret: key,
            durable: false,
        };
        keys.insert(subject.clone(), held.clone());
        Ok(Some(held))
    }

    /// A key that something may be sealed with: whoever made it may have died before its name was durable.
    fn durable(&self, subject: &DataSubject, held: Held) -> Result<Secret, Error> {
        if !held.durable {
            let path = self.path(subject);
            let confirmed = self.disk.confirm(Part::Key, &path);
            confirmed.map_err(|error| Error::io(&path, error))?;
            let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(held) = keys.get_mut(subject) {
                held.durable = true;
            }
        }
        Ok(held.secret)
    }

    fn make(&self, entropy: &Entropy, subject: &DataSubject) -> Result<Secret, Error> {
        let path = self.path(subject);
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made_meanwhile) = keys.get(subject) {
            return Ok(made_meanwhile.secret.clone());
        }
        let key = Secret::new(entropy.draw().map_err(|error| Error::io(&path, error))?);
        let text = Zeroizing::new(hex::encode(key.as_slice()));
        let written = self.disk.replace(Part::Key, &path, text.as_bytes(), 0o600);
        written.map_err(|error| Error::io(&path, error))?;
        let held = Held {
            secret: key.clone(),
            durable: true,
        };
        keys.insert(subject.clone(), held);
        Ok(key)
    }
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct SealedBody {
    ciphertext: String,
    nonce: String,
}

fn associated(source: &str, id: &EventId) -> Vec<u8> {
    format!("{source}\n{id}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = include_str!("../../../docs/format.md");

    fn vector(name: &str) -> &'static str {
        let line = PAGE
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
        line.unwrap_or_else(|| panic!("the page has no vector `{name}`"))
    }

    #[test]
    fn the_sealed_body_of_the_format_page_opens_with_its_key_in_its_place_only() {
        let dir = tempfile::tempdir().unwrap();
        let ring = Keyring::new(Disk::default(), dir.path().to_path_buf());
        let subject: DataSubject = "d1".parse().unwrap();
        std::fs::write(ring.path(&subject), vector("sealed.key")).unwrap();
        let source = format!("/ledgers/{}/chains/bakery", vector("ledger"));
        let (id, other) = (vector("sealed.id").parse().unwrap(), vector("event.header"));
        let key = vector("sealed.bodykey").parse().unwrap();
        let body = vector("sealed.body").as_bytes();
        let opened = ring.unseal(&subject, (&source, &id), &key, body).unwrap();
        assert_eq!(opened, vector("sealed.plain").as_bytes());
        assert!(
            ring.unseal(&subject, (other, &id), &key, body).is_err(),
            "it is bound to its chain and event"
        );
    }
}
