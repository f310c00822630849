//! What the caller knows from elsewhere. Without the genesis key pinned, a ledger forged whole is consistent with itself.

use std::collections::BTreeSet;

use countersign_evidence::PublicKey;
use countersign_ids::LedgerId;

use super::fault::{Checked, bad};
use crate::base64;

/// The genesis key or the ledger id, as given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GenesisPin {
    /// The raw key.
    Key(PublicKey),
    /// The ledger id, which is the SHA-256 of the key; or the key in hexadecimal, which looks the same.
    Hex(String),
}

/// Pins that are not what they should be.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// Neither a key nor a ledger id.
    #[error("`{0}` is neither a key (64 hex digits or base64 of 32 bytes) nor a ledger id")]
    Genesis(String),
    /// A line of a pin file that is no key.
    #[error("`{0}` is no key: 64 hex digits, base64 of 32 bytes, or a vkey")]
    Key(String),
}

/// Everything that is pinned.
#[derive(Debug, Clone, Default)]
pub struct Pins {
    /// `--genesis`
    pub genesis: Option<GenesisPin>,
    /// `--approvers`
    pub approvers: Option<BTreeSet<[u8; 32]>>,
    /// `--connectors`
    pub connectors: Option<BTreeSet<[u8; 32]>>,
    /// `--witnesses`
    pub witnesses: Option<BTreeSet<[u8; 32]>>,
    /// `--at-least`: a checkpoint as text.
    pub at_least: Option<String>,
}

impl GenesisPin {
    /// Reads a key or a ledger id.
    pub fn parse(text: &str) -> Result<Self, PinError> {
        let refused = || PinError::Genesis(text.to_owned());
        if text.parse::<LedgerId>().is_ok() {
            return Ok(Self::Hex(text.to_owned()));
        }
        base64::decode_hash(text)
            .map(|key| Self::Key(PublicKey::from_bytes(key)))
            .ok_or_else(refused)
    }

    /// Whether this ledger has this genesis key.
    pub fn fits(&self, ledger: &LedgerId, genesis: &PublicKey) -> bool {
        match self {
            Self::Key(key) => key == genesis,
            Self::Hex(hex) => *hex == ledger.to_string() || *hex == hex::encode(genesis.as_bytes()),
        }
    }
}

/// Reads a file of keys: one a line, in hexadecimal, base64 or as a vkey; `#` begins a comment.
pub fn parse_keys(text: &str) -> Result<BTreeSet<[u8; 32]>, PinError> {
    let lines = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim());
    lines
        .filter(|line| !line.is_empty())
        .map(parse_key)
        .collect()
}

fn parse_key(line: &str) -> Result<[u8; 32], PinError> {
    let refused = || PinError::Key(line.to_owned());
    let mut raw = [0; 32];
    if hex::decode_to_slice(line, &mut raw).is_ok() {
        return Ok(raw);
    }
    if let Some(key) = base64::decode_hash(line) {
        return Ok(key);
    }
    let (_, encoded) = line.rsplit_once('+').ok_or_else(refused)?;
    let typed = base64::decode(encoded).ok_or_else(refused)?;
    let (_, key) = typed.split_first().ok_or_else(refused)?;
    key.try_into().map_err(|_| refused())
}

impl Pins {
    /// An approver's key must be a pinned one, where approvers are pinned.
    pub(crate) fn approver(&self, key: &[u8]) -> Checked {
        check(
            self.approvers.as_ref(),
            key,
            "an approver's key is none of the pinned ones",
        )
    }

    /// A connector's key must be a pinned one, where connectors are pinned.
    pub(crate) fn connector(&self, key: &[u8]) -> Checked {
        check(
            self.connectors.as_ref(),
            key,
            "a connector's key is none of the pinned ones",
        )
    }

    /// A witness's key must be a pinned one, where witnesses are pinned.
    pub(crate) fn witness(&self, key: &[u8]) -> Checked {
        check(
            self.witnesses.as_ref(),
            key,
            "a witness's key is none of the pinned ones",
        )
    }
}

fn check(pinned: Option<&BTreeSet<[u8; 32]>>, key: &[u8], message: &str) -> Checked {
    match pinned {
        Some(keys) if !keys.iter().any(|pinned| pinned.as_slice() == key) => {
            Err(bad("pin", message))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_in_every_spelling() {
        let hex = "07".repeat(32);
        let base64 = base64::encode(&[7; 32]);
        let vkey = format!(
            "witness.example+01020304+{}",
            base64::encode(&[&[4][..], &[7; 32]].concat())
        );
        let keys = parse_keys(&format!(
            "# witnesses\n{hex}\n\n{base64} # the same\n{vkey}\n"
        ))
        .unwrap();
        assert_eq!(keys, BTreeSet::from([[7; 32]]));
        assert!(parse_keys("nonsense").is_err());
        let key = PublicKey::from_bytes([7; 32]);
        let ledger = countersign_chain::ledger_id(key.as_bytes());
        for text in [hex.as_str(), &base64, &ledger.to_string()] {
            assert!(
                GenesisPin::parse(text).unwrap().fits(&ledger, &key),
                "{text}"
            );
        }
        assert!(
            !GenesisPin::parse(&"08".repeat(32))
                .unwrap()
                .fits(&ledger, &key)
        );
        assert!(GenesisPin::parse("x").is_err());
    }
}
