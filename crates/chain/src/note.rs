//! Signed notes (C2SP signed-note v1.0.0): a text and signatures by named keys.
//!
//! Only Ed25519 signatures of type 0x01 are made and verified here; others are kept and ignored, as the specification asks.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use countersign_ids::limits;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};
use std::fmt;

const ED25519: u8 = 0x01;

/// A name and a public key: who may sign a note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verifier {
    name: String,
    key: VerifyingKey,
}

/// Why a note or a key is not acceptable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A key name is empty or holds a space or `+`.
    #[error("`{0}` is not a key name")]
    Name(String),
    /// A key is not `name+id+key`, or its id does not fit it.
    #[error("the verifier key is malformed")]
    Key,
    /// The bytes are not a signed note.
    #[error("not a signed note: {0}")]
    Malformed(&'static str),
    /// A known key, a wrong signature: the whole note is worth nothing.
    #[error("the signature of `{0}` is wrong")]
    Signature(String),
    /// No signature is by a known key.
    #[error("no known key signed it")]
    Unsigned,
}

impl Verifier {
    /// A key under a name.
    ///
    /// # Errors
    /// When the name cannot stand in a note.
    pub fn new(name: &str, key: VerifyingKey) -> Result<Self, Error> {
        if name.is_empty()
            || name.contains('+')
            || name
                .chars()
                .any(|letter| letter.is_whitespace() || letter.is_control())
        {
            return Err(Error::Name(name.to_owned()));
        }
        Ok(Self {
            name: name.to_owned(),
            key,
        })
    }

    /// Reads the text form `name+hex key id+base64 key`.
    ///
    /// # Errors
    /// When it is malformed, of another type, or its id does not fit the key.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let (name, rest) = text.split_once('+').ok_or(Error::Key)?;
        let (_, encoded) = rest.split_once('+').ok_or(Error::Key)?;
        let raw = STANDARD.decode(encoded).map_err(|_| Error::Key)?;
        let raw: &[u8; 32] = raw
            .strip_prefix(&[ED25519])
            .and_then(|raw| raw.try_into().ok())
            .ok_or(Error::Key)?;
        let verifier = Self::new(name, VerifyingKey::from_bytes(raw).map_err(|_| Error::Key)?)?;
        if verifier.to_string() == text {
            Ok(verifier)
        } else {
            Err(Error::Key)
        }
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The public key.
    #[must_use]
    pub const fn key(&self) -> &VerifyingKey {
        &self.key
    }

    /// The first four bytes of SHA-256(name ‖ 0x0A ‖ type ‖ key).
    #[must_use]
    pub fn id(&self) -> [u8; 4] {
        let hash = Sha256::new()
            .chain_update(&self.name)
            .chain_update([b'\n', ED25519])
            .chain_update(self.key.as_bytes())
            .finalize();
        let mut id = [0; 4];
        id.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
        id
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let raw = [&[ED25519], self.key.as_bytes().as_slice()].concat();
        write!(
            f,
            "{}+{}+{}",
            self.name,
            hex::encode(self.id()),
            STANDARD.encode(raw)
        )
    }
}

/// Signs `text`, which ends with a line break, under `name`.
///
/// # Errors
/// When text or name cannot stand in a note.
pub fn sign(text: &str, name: &str, key: &SigningKey) -> Result<String, Error> {
    check_text(text)?;
    let verifier = Verifier::new(name, key.verifying_key())?;
    let signature = [
        verifier.id().as_slice(),
        &key.sign(text.as_bytes()).to_bytes(),
    ]
    .concat();
    Ok(format!(
        "{text}\n\u{2014} {name} {}\n",
        STANDARD.encode(signature)
    ))
}

/// A note as parsed; none of its signatures is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note<'a> {
    text: &'a str,
    signatures: Vec<(&'a str, Vec<u8>)>,
}

impl<'a> Note<'a> {
    /// Takes a note apart, at its last blank line.
    ///
    /// # Errors
    /// What is malformed.
    pub fn parse(note: &'a [u8]) -> Result<Self, Error> {
        if note.len() > limits::NOTE_BYTES_MAX {
            return Err(Error::Malformed("it is too long"));
        }
        let note = std::str::from_utf8(note).map_err(|_| Error::Malformed("it is not UTF-8"))?;
        let blank = note.rfind("\n\n").ok_or(Error::Malformed(
            "no blank line stands before the signatures",
        ))?;
        let (text, rest) = note
            .split_at_checked(blank + 1)
            .ok_or(Error::Malformed("it is cut"))?;
        check_text(text)?;
        let lines = rest
            .strip_prefix('\n')
            .and_then(|rest| rest.strip_suffix('\n'))
            .ok_or(Error::Malformed("it does not end with a line break"))?;
        let signatures = lines
            .split('\n')
            .map(signature_line)
            .collect::<Result<Vec<_>, _>>()?;
        if signatures.len() > limits::NOTE_SIGNATURES_MAX {
            return Err(Error::Malformed("it has too many signatures"));
        }
        Ok(Self { text, signatures })
    }

    /// The text that is signed.
    #[must_use]
    pub const fn text(&self) -> &'a str {
        self.text
    }

    /// Verifies every signature by a known key and returns which of them signed, in the order of `known`.
    ///
    /// # Errors
    /// A wrong signature by a known key, or none by any.
    pub fn verify<'k>(&self, known: &'k [Verifier]) -> Result<Vec<&'k Verifier>, Error> {
        let mut signers = Vec::new();
        for verifier in known {
            let mut signed = false;
            for (name, signature) in &self.signatures {
                let ours = *name == verifier.name;
                let Some(raw) = signature
                    .strip_prefix(verifier.id().as_slice())
                    .filter(|_| ours)
                else {
                    continue;
                };
                let wrong = || Error::Signature(verifier.name.clone());
                let signature = Signature::from_slice(raw).map_err(|_| wrong())?;
                verifier
                    .key
                    .verify_strict(self.text.as_bytes(), &signature)
                    .map_err(|_| wrong())?;
                signed = true;
            }
            if signed {
                signers.push(verifier);
            }
        }
        if signers.is_empty() {
            Err(Error::Unsigned)
        } else {
            Ok(signers)
        }
    }
}

fn check_text(text: &str) -> Result<(), Error> {
    if !text.ends_with('\n') {
        return Err(Error::Malformed("its text does not end with a line break"));
    }
    if text
        .chars()
        .any(|letter| letter.is_control() && letter != '\n')
    {
        return Err(Error::Malformed("its text holds a control character"));
    }
    Ok(())
}

fn signature_line(line: &str) -> Result<(&str, Vec<u8>), Error> {
    let malformed = || Error::Malformed("a signature line is not `— name base64`");
    let (name, encoded) = line
        .strip_prefix("\u{2014} ")
        .and_then(|rest| rest.split_once(' '))
        .ok_or_else(malformed)?;
    if name.is_empty() || name.contains('+') {
        return Err(malformed());
    }
    let signature = STANDARD
        .decode(encoded)
        .ok()
        .filter(|signature| signature.len() > 4)
        .ok_or_else(malformed)?;
    Ok((name, signature))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    fn verifier(name: &str, seed: u8) -> Verifier {
        Verifier::new(name, key(seed).verifying_key()).unwrap()
    }

    #[test]
    fn a_note_of_the_specification_verifies() {
        // The example of the Go package that the specification grew from.
        let known =
            Verifier::parse("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
                .unwrap();
        let note = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
        let known = [known];
        let note = Note::parse(note.as_bytes()).unwrap();
        assert_eq!(note.verify(&known).unwrap(), [&known[0]]);
    }

    #[test]
    fn what_is_signed_verifies_under_its_name_and_key_only() {
        let note = sign("hello\nworld\n", "ledger.example/acme", &key(1)).unwrap();
        let parsed = Note::parse(note.as_bytes()).unwrap();
        assert_eq!(parsed.text(), "hello\nworld\n");
        let check = |known: &[Verifier]| parsed.verify(known).map(|signers| signers.len());
        assert_eq!(check(&[verifier("ledger.example/acme", 1)]), Ok(1));
        assert_eq!(
            check(&[verifier("ledger.example/other", 1)]),
            Err(Error::Unsigned)
        );
        assert_eq!(
            check(&[verifier("ledger.example/acme", 2)]),
            Err(Error::Unsigned)
        );
        assert_eq!(check(&[]), Err(Error::Unsigned));
        let changed = note.replacen("world", "mars", 1);
        let changed = Note::parse(changed.as_bytes()).unwrap();
        assert!(matches!(
            changed.verify(&[verifier("ledger.example/acme", 1)]),
            Err(Error::Signature(_))
        ));
        // A second signer, and a wrong signature by a known key beside a right one.
        let other = sign("hello\nworld\n", "witness", &key(2)).unwrap();
        let both = format!("{note}{}", other.rsplit_once("\n\n").unwrap().1);
        let known = [verifier("ledger.example/acme", 1), verifier("witness", 2)];
        assert_eq!(
            Note::parse(both.as_bytes())
                .unwrap()
                .verify(&known)
                .unwrap()
                .len(),
            2
        );
        let wrong = sign("another\n", "witness", &key(2)).unwrap();
        let mixed = format!("{note}{}", wrong.rsplit_once("\n\n").unwrap().1);
        assert!(matches!(
            Note::parse(mixed.as_bytes()).unwrap().verify(&known),
            Err(Error::Signature(_))
        ));
    }

    #[test]
    fn malformed_notes_and_keys_are_refused() {
        let note = sign("hello\n", "ledger", &key(1)).unwrap();
        for refused in [
            String::new(),
            "hello\n".to_owned(),
            note.trim_end().to_owned(),
            note.replacen('\u{2014}', "-", 1),
            note.replacen("hello", "hel\tlo", 1),
            note.replacen("ledger ", "led+ger ", 1),
            "hello\n\n\u{2014} ledger AAAA\n".to_owned(),
            "hello\n\n\u{2014} ledger ???\n".to_owned(),
            format!("{note}trailing\n"),
        ] {
            assert!(Note::parse(refused.as_bytes()).is_err(), "{refused:?}");
        }
        assert!(Note::parse(b"\xff\n\n").is_err());
        assert!(sign("no line break", "ledger", &key(1)).is_err());
        for name in ["", "a b", "a+b", "a\u{2003}b"] {
            assert!(sign("hello\n", name, &key(1)).is_err());
        }
        let text = verifier("ledger", 1).to_string();
        assert_eq!(Verifier::parse(&text).unwrap().to_string(), text);
        for refused in [
            "",
            "ledger",
            "ledger+00000000+AAAA",
            &text.replacen('+', "+0", 1),
            &text.replacen("ledger", "other", 1),
        ] {
            assert!(Verifier::parse(refused).is_err(), "{refused}");
        }
    }
}
