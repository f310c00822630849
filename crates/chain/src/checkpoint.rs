//! Checkpoints (C2SP tlog-checkpoint v1.0.0), proofs that carry one (tlog-proof), and the leaves of `heads.recorded`.

use crate::merkle::Node;
use crate::note::{self, Note, Verifier};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use countersign_ids::{ChainId, EventHash, limits};
use ed25519_dalek::SigningKey;
use std::fmt;

/// How many leaves a tree had and its root then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeHead {
    /// The number of leaves.
    pub size: u64,
    /// The root.
    pub root: Node,
}

/// A tree head under the name of its log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// `<ledger origin>/<chain>`, with `/e<epoch>` after a recorded loss; also the name of the key that signs.
    pub origin: String,
    /// What it is about.
    pub head: TreeHead,
}

/// Why some bytes are no checkpoint or no proof.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The note around it.
    #[error("the signed note is not acceptable")]
    Note(#[from] note::Error),
    /// The text inside.
    #[error("not a checkpoint: {0}")]
    Malformed(&'static str),
    /// A proof file.
    #[error("not a tlog-proof: {0}")]
    Proof(&'static str),
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}\n{}\n{}\n",
            self.origin,
            self.head.size,
            STANDARD.encode(self.head.root)
        )
    }
}

impl Checkpoint {
    /// Reads the text of a note: exactly three lines, no extension lines.
    ///
    /// # Errors
    /// What is malformed.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut lines = text
            .strip_suffix('\n')
            .ok_or(Error::Malformed("it does not end with a line break"))?
            .split('\n');
        let (Some(origin), Some(size), Some(root), None) =
            (lines.next(), lines.next(), lines.next(), lines.next())
        else {
            return Err(Error::Malformed("it has not three lines"));
        };
        if origin.is_empty() {
            return Err(Error::Malformed("the origin is empty"));
        }
        let size = decimal(size).ok_or(Error::Malformed("the size is not a decimal number"))?;
        let root = node(root).ok_or(Error::Malformed("the root is not 32 bytes in base64"))?;
        Ok(Self {
            origin: origin.to_owned(),
            head: TreeHead { size, root },
        })
    }

    /// The signed note, under the origin as key name.
    ///
    /// # Errors
    /// When the origin cannot be a key name.
    pub fn sign(&self, key: &SigningKey) -> Result<String, Error> {
        Ok(note::sign(&self.to_string(), &self.origin, key)?)
    }

    /// Reads a signed checkpoint and verifies that one of `known` signed it under its own origin.
    ///
    /// # Errors
    /// What is malformed or wrong.
    pub fn open(bytes: &[u8], known: &[Verifier]) -> Result<Self, Error> {
        let note = Note::parse(bytes)?;
        let checkpoint = Self::parse(note.text())?;
        let signers = note.verify(known)?;
        if signers
            .iter()
            .any(|signer| signer.name() == checkpoint.origin)
        {
            Ok(checkpoint)
        } else {
            Err(Error::Malformed("no key of its own origin signed it"))
        }
    }
}

/// The origin of a chain's checkpoints.
#[must_use]
pub fn origin(ledger_origin: &str, chain: &ChainId) -> String {
    format!("{ledger_origin}/{chain}")
}

/// A proof in one file: `c2sp.org/tlog-proof@v1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlogProof {
    /// The leaf's index.
    pub index: u64,
    /// The inclusion proof.
    pub hashes: Vec<Node>,
    /// The signed checkpoint, verbatim.
    pub checkpoint: String,
}

const PROOF: &str = "c2sp.org/tlog-proof@v1";

impl fmt::Display for TlogProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PROOF}\nindex {}\n", self.index)?;
        for hash in &self.hashes {
            writeln!(f, "{}", STANDARD.encode(hash))?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

impl TlogProof {
    /// Reads a proof without an `extra` line. Nothing is verified yet.
    ///
    /// # Errors
    /// What is malformed.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let text = std::str::from_utf8(bytes).map_err(|_| Error::Proof("it is not UTF-8"))?;
        let (head, checkpoint) = text
            .split_once("\n\n")
            .ok_or(Error::Proof("no blank line stands before the checkpoint"))?;
        let mut lines = head.split('\n');
        if lines.next() != Some(PROOF) {
            return Err(Error::Proof("it has another first line"));
        }
        let index = lines
            .next()
            .and_then(|line| line.strip_prefix("index "))
            .and_then(decimal);
        let index = index.ok_or(Error::Proof("the index is missing"))?;
        let hashes = lines
            .map(node)
            .collect::<Option<Vec<_>>>()
            .ok_or(Error::Proof("a hash is not 32 bytes in base64"))?;
        if hashes.len() > limits::PROOF_HASHES_MAX {
            return Err(Error::Proof("it has too many hashes"));
        }
        Ok(Self {
            index,
            hashes,
            checkpoint: checkpoint.to_owned(),
        })
    }
}

/// The leaf of `heads.recorded` for one chain. `chain` has `/e<epoch>` after a recorded loss.
#[must_use]
pub fn head_leaf(chain: &str, head: &TreeHead, last: Option<&EventHash>) -> Vec<u8> {
    let last = last.map_or_else(|| "-".to_owned(), ToString::to_string);
    format!(
        "countersign/head/v1\n{chain}\n{}\n{}\n{last}\n",
        head.size,
        STANDARD.encode(head.root)
    )
    .into_bytes()
}

/// Reads the leaf of `heads.recorded`: the chain, its tree head, the hash of its last event.
///
/// # Errors
/// What is malformed.
pub fn parse_head_leaf(leaf: &[u8]) -> Result<(String, TreeHead, Option<EventHash>), Error> {
    let wrong = || Error::Malformed("it is not a leaf of recorded heads");
    let text = std::str::from_utf8(leaf).map_err(|_| wrong())?;
    let mut lines = text
        .strip_prefix("countersign/head/v1\n")
        .and_then(|text| text.strip_suffix('\n'))
        .ok_or_else(wrong)?
        .split('\n');
    let (Some(chain), Some(size), Some(root), Some(last), None) = (
        lines.next(),
        lines.next(),
        lines.next(),
        lines.next(),
        lines.next(),
    ) else {
        return Err(wrong());
    };
    let head = TreeHead {
        size: decimal(size).ok_or_else(wrong)?,
        root: node(root).ok_or_else(wrong)?,
    };
    let last = if last == "-" {
        None
    } else {
        Some(last.parse().map_err(|_| wrong())?)
    };
    Ok((chain.to_owned(), head, last))
}

fn decimal(text: &str) -> Option<u64> {
    text.parse::<u64>()
        .ok()
        .filter(|number| number.to_string() == text)
}

fn node(text: &str) -> Option<Node> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            origin: "ledger.example/acme".to_owned(),
            head: TreeHead {
                size: 7,
                root: [3; 32],
            },
        }
    }

    #[test]
    fn a_checkpoint_opens_under_the_key_of_its_origin() {
        let key = SigningKey::from_bytes(&[1; 32]);
        let note = checkpoint().sign(&key).unwrap();
        let named = |name: &str| [Verifier::new(name, key.verifying_key()).unwrap()];
        assert_eq!(
            Checkpoint::open(note.as_bytes(), &named("ledger.example/acme")),
            Ok(checkpoint())
        );
        assert!(Checkpoint::open(note.as_bytes(), &named("ledger.example/other")).is_err());
        let foreign = note::sign(&checkpoint().to_string(), "witness", &key).unwrap();
        assert!(
            Checkpoint::open(foreign.as_bytes(), &named("witness")).is_err(),
            "a witness alone does not make it the log's"
        );
    }

    #[test]
    fn malformed_checkpoints_are_refused() {
        let text = checkpoint().to_string();
        assert_eq!(Checkpoint::parse(&text), Ok(checkpoint()));
        for (from, to) in [
            ("\n7\n", "\n07\n"),
            ("\n7\n", "\n-7\n"),
            ("\n7\n", "\n+7\n"),
            ("ledger.example/acme", ""),
            ("=\n", "=\nextension\n"),
            ("=\n", "="),
            ("AwMD", "AwM"),
        ] {
            assert!(
                Checkpoint::parse(&text.replacen(from, to, 1)).is_err(),
                "{from:?} to {to:?}"
            );
        }
    }

    #[test]
    fn proofs_print_and_parse() {
        let key = SigningKey::from_bytes(&[1; 32]);
        let proof = TlogProof {
            index: 5,
            hashes: vec![[1; 32], [2; 32]],
            checkpoint: checkpoint().sign(&key).unwrap(),
        };
        let text = proof.to_string();
        assert_eq!(TlogProof::parse(text.as_bytes()), Ok(proof.clone()));
        let empty = TlogProof {
            hashes: Vec::new(),
            ..proof
        };
        assert_eq!(TlogProof::parse(empty.to_string().as_bytes()), Ok(empty));
        for (from, to) in [
            ("@v1", "@v2"),
            ("index 5", "index 05"),
            ("index 5\n", ""),
            ("AQEB", "AQE"),
            ("\n\n", "\n"),
        ] {
            assert!(
                TlogProof::parse(text.replacen(from, to, 1).as_bytes()).is_err(),
                "{from:?} to {to:?}"
            );
        }
    }

    #[test]
    fn head_leaves_print_and_parse() {
        let head = TreeHead {
            size: 7,
            root: [3; 32],
        };
        for last in [None, Some(EventHash::from_bytes([4; 32]))] {
            let leaf = head_leaf("acme/e2", &head, last.as_ref());
            assert_eq!(
                parse_head_leaf(&leaf),
                Ok(("acme/e2".to_owned(), head, last))
            );
            assert!(parse_head_leaf(&leaf[1..]).is_err());
            assert!(parse_head_leaf(&leaf[..leaf.len() - 1]).is_err());
        }
    }
}
