//! A tenant's chain in memory: events, the tree over them, proofs and notes, each written out naively from its document
//! (RFC 6962, C2SP signed-note), so that the connector is not tested against its own arithmetic.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use countersign_chain::{body_hash, event_hash, genesis_hash, sha256};
use countersign_evidence::{EventCopy, wire::ProofHash};
use countersign_ids::{ChainId, Digest, LedgerId, Salt, Time};
use ed25519_dalek::{Signer as _, SigningKey};

/// The events of one chain.
#[derive(Debug, Clone)]
pub(crate) struct Events {
    pub(crate) ledger: LedgerId,
    pub(crate) chain: ChainId,
    pub(crate) events: Vec<EventCopy>,
}

type Hash = [u8; 32];

fn hash(parts: &[&[u8]]) -> Hash {
    *sha256(&parts.concat()).as_bytes()
}

/// MTH of RFC 6962 section 2.1.
fn root(leaves: &[&[u8]]) -> Hash {
    match leaves {
        [] => hash(&[]),
        [leaf] => hash(&[&[0], leaf]),
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            hash(&[&[1], &root(left), &root(right)])
        }
    }
}

/// The largest power of two below `n`.
fn split(n: usize) -> usize {
    n.next_power_of_two() / 2
}

/// PATH of RFC 6962 section 2.1.1.
fn path(leaf: usize, leaves: &[&[u8]]) -> Vec<Hash> {
    if leaves.len() <= 1 {
        return vec![];
    }
    let (left, right) = leaves.split_at(split(leaves.len()));
    let (mut below, sibling) = if leaf < left.len() {
        (path(leaf, left), root(right))
    } else {
        (path(leaf - left.len(), right), root(left))
    };
    below.push(sibling);
    below
}

/// SUBPROOF of RFC 6962 section 2.1.2.
fn subproof(size: usize, leaves: &[&[u8]], whole: bool) -> Vec<Hash> {
    if size == leaves.len() {
        return if whole { vec![] } else { vec![root(leaves)] };
    }
    let (left, right) = leaves.split_at(split(leaves.len()));
    let (mut below, sibling) = if size <= left.len() {
        (subproof(size, left, whole), root(right))
    } else {
        (subproof(size - left.len(), right, false), root(left))
    };
    below.push(sibling);
    below
}

fn proof(hashes: Vec<Hash>) -> Vec<ProofHash> {
    hashes.into_iter().map(ProofHash::from_bytes).collect()
}

impl Events {
    pub(crate) fn new(ledger: LedgerId, chain: ChainId) -> Self {
        Self {
            ledger,
            chain,
            events: vec![],
        }
    }

    /// Appends an event; gives its place.
    pub(crate) fn append(
        &mut self,
        family: &str,
        fact: &str,
        body: &serde_json::Value,
        time: Time,
    ) -> usize {
        let sequence = self.events.len();
        let body = String::from_utf8(countersign_chain::json::canonical(body).unwrap()).unwrap();
        let salt = Salt::from_bytes([u8::try_from(sequence).unwrap(); 16]);
        let before = self.events.last().map_or_else(
            || genesis_hash(&self.ledger, &self.chain),
            |event| event_hash(event.header.as_bytes()),
        );
        let family_before = format!("dev.countersign.{family}.");
        let of_family = self
            .events
            .iter()
            .filter(|event| event.header.contains(&family_before))
            .count();
        let mut header = serde_json::json!({
            "specversion": "1.0",
            "id": format!("0190a000-0000-7000-8000-{sequence:012x}"),
            "source": format!("/ledgers/{}/chains/{}", self.ledger, self.chain),
            "type": format!("dev.countersign.{family}.{fact}.v1"),
            "subject": "publish",
            "site": "www",
            "time": time.to_string(),
            "datacontenttype": "application/json",
            "retention": "evidence",
            "sequence": format!("{sequence:020}"),
            "familysequence": format!("{of_family:020}"),
            "prevhash": before.to_string(),
            "bodyhash": body_hash(&salt, body.as_bytes()).to_string(),
            "authtype": "reactor",
            "authid": "minter",
            "commandid": format!("{sequence:032x}"),
        });
        if (family, fact) == ("action", "authorized") {
            header["platformhead"] = format!("{:020} {}", 0, event_hash(b"platform")).into();
        }
        let header =
            String::from_utf8(countersign_chain::json::canonical(&header).unwrap()).unwrap();
        self.events.push(EventCopy { header, salt, body });
        sequence
    }

    fn leaves(&self, size: usize) -> Vec<&[u8]> {
        self.events[..size]
            .iter()
            .map(|event| event.header.as_bytes())
            .collect()
    }

    pub(crate) fn size(&self) -> usize {
        self.events.len()
    }

    pub(crate) fn root(&self, size: usize) -> Digest {
        Digest::from_bytes(root(&self.leaves(size)))
    }

    pub(crate) fn inclusion(&self, leaf: usize, size: usize) -> Vec<ProofHash> {
        proof(path(leaf, &self.leaves(size)))
    }

    pub(crate) fn consistency(&self, from: u64, size: usize) -> Vec<ProofHash> {
        let from = usize::try_from(from).unwrap();
        if from == 0 || from >= size {
            vec![]
        } else {
            proof(subproof(from, &self.leaves(size), true))
        }
    }

    /// A signed note over the first `size` events.
    pub(crate) fn note(&self, origin: &str, size: usize, key: &SigningKey) -> String {
        note(origin, size, &root(&self.leaves(size)), key)
    }
}

/// C2SP signed-note with one Ed25519 signature by the key of the same name.
pub(crate) fn note(origin: &str, size: usize, root: &Hash, key: &SigningKey) -> String {
    let text = format!("{origin}\n{size}\n{}\n", STANDARD.encode(root));
    let id = hash(&[
        origin.as_bytes(),
        b"\n",
        &[1],
        key.verifying_key().as_bytes(),
    ]);
    let signature = [&id[..4], &key.sign(text.as_bytes()).to_bytes()].concat();
    format!("{text}\n\u{2014} {origin} {}\n", STANDARD.encode(signature))
}
