//! Key statements: which keys the ledger signs with, added, rotated and ended by signed statements.
//!
//! This module is one statement and who has to sign it; [`crate::ring`] folds statements into who holds when.
//! docs/format.md, "Keys".

use std::collections::BTreeSet;

use countersign_ids::{Code, Digest, LedgerId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::codes;
use crate::dsse::DsseError;
use crate::wire::{OrDash, PublicKey, V1, WireError};

/// What a key may sign.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The ledger's root: signs key statements, stays offline, never changes.
    Genesis,
    /// Signs checkpoints, and the statements that add or rotate it, nothing else.
    Checkpoint,
    /// Signs orders to connectors.
    Order,
    /// Cosigns checkpoints from outside; never signs a key statement.
    Witness,
}

/// Why a key ended.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum EndReason {
    /// Replaced in good order by a key of the same role.
    Rotated,
    /// Somebody else has or may have it.
    Stolen,
}

/// A key that a statement adds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddedKey {
    /// What it may sign.
    pub role: Role,
    /// Its name: of a checkpoint or witness key the key name of its notes.
    pub name: String,
    /// The raw Ed25519 public key.
    pub key: PublicKey,
}

/// A key that a statement ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EndedKey {
    /// The role under which it was added.
    pub role: Role,
    /// The raw Ed25519 public key.
    pub key: PublicKey,
    /// Why it ends.
    pub reason: EndReason,
}

/// The payload of a key statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyStatement {
    /// The version of this format.
    pub v: V1,
    /// The ledger whose keys these are.
    pub ledger: LedgerId,
    /// Dense from 1.
    pub version: u64,
    /// SHA-256 of the payload before, `-` in version 1.
    pub previous: OrDash<Digest>,
    /// The origin of the ledger's checkpoints; in version 1 alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// Keys added.
    pub add: Vec<AddedKey>,
    /// Keys ended.
    pub end: Vec<EndedKey>,
    /// How many witnesses make an anchor from here on; absent where it does not change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quorum: Option<u64>,
}

/// Why a key statement does not stand.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The envelope, or a signature that is required.
    #[error("key statement: {0}")]
    Envelope(#[from] DsseError),
    /// The payload is no key statement.
    #[error("key statement: {0}")]
    Payload(#[from] WireError),
    /// Of another ledger.
    #[error("the key statement is of ledger `{0}`")]
    OtherLedger(LedgerId),
    /// Versions are dense.
    #[error("key statement version `{found}` where `{wanted}` comes next")]
    Version {
        /// The version that comes next.
        wanted: u64,
        /// The version found.
        found: u64,
    },
    /// It does not name the statement before.
    #[error("key statement `{0}` does not name the digest of the one before")]
    Previous(u64),
    /// The first statement adds the genesis key, whose digest is the ledger's id, and carries the origin.
    #[error(
        "the first key statement must add exactly the genesis key of the ledger, end none and carry an origin"
    )]
    NotAGenesis,
    /// `origin` stands in version 1 only, and the genesis key never changes.
    #[error("key statement `{0}` touches the genesis key or the origin, which never change")]
    GenesisChanged(u64),
    /// A statement that says `stolen` adds nothing and leaves the quorum.
    #[error("key statement `{0}` ends a stolen key and adds something")]
    StolenAdds(u64),
    /// A rotation ends and adds keys of the same roles.
    #[error("key statement `{0}` is no rotation: the roles ended and added differ")]
    RolesDiffer(u64),
    /// A key of that value was named before, or twice.
    #[error("key `{0}` was added before")]
    KeyReused(Digest),
    /// A key is ended that does not hold.
    #[error("key `{0}` does not hold, so it cannot end")]
    NotHolding(Digest),
    /// It changes nothing.
    #[error("key statement `{0}` changes nothing")]
    Empty(u64),
    /// A name or an origin outside of the grammar of note key names.
    #[error("`{0}` is no key name: it is 1 to 255 bytes of printable ASCII without a space or `+`")]
    Name(String),
}

impl KeyError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        codes::KEY_STATEMENT_REFUSED
    }
}

impl KeyStatement {
    /// The genesis key that the first statement adds.
    pub fn genesis(&self) -> Option<PublicKey> {
        let mut keys = self.add.iter().filter(|added| added.role == Role::Genesis);
        let first = keys.next()?;
        keys.next().is_none().then_some(first.key)
    }

    /// Whether a key ends because it was stolen.
    pub fn has_stolen(&self) -> bool {
        self.end
            .iter()
            .any(|ended| ended.reason == EndReason::Stolen)
    }

    /// Checks what the statement says of itself, and names the keys that have to sign it, each once.
    ///
    /// `genesis` is the ledger's genesis key. That ended keys hold and added ones are new is the ring's to check.
    pub fn required_signers(&self, genesis: &PublicKey) -> Result<Vec<PublicKey>, KeyError> {
        self.check_names()?;
        let signing = |added: &&AddedKey| added.role != Role::Witness;
        if self.version == 1 {
            let is_genesis =
                self.genesis() == Some(*genesis) && self.end.is_empty() && self.origin.is_some();
            if !is_genesis || self.previous.get().is_some() {
                return Err(KeyError::NotAGenesis);
            }
            return Ok(once(self.add.iter().filter(signing).map(|added| added.key)));
        }
        let touches_genesis = self.add.iter().any(|added| added.role == Role::Genesis)
            || self.end.iter().any(|ended| ended.role == Role::Genesis);
        if touches_genesis || self.origin.is_some() {
            return Err(KeyError::GenesisChanged(self.version));
        }
        if self.add.is_empty() && self.end.is_empty() && self.quorum.is_none() {
            return Err(KeyError::Empty(self.version));
        }
        if self.has_stolen() {
            let adds = !self.add.is_empty() || self.quorum.is_some();
            return if adds {
                Err(KeyError::StolenAdds(self.version))
            } else {
                Ok(vec![*genesis])
            };
        }
        let added: Vec<&AddedKey> = self.add.iter().filter(signing).collect();
        let ended: Vec<&EndedKey> = self
            .end
            .iter()
            .filter(|ended| ended.role != Role::Witness)
            .collect();
        let touches_witness =
            added.len() < self.add.len() || ended.len() < self.end.len() || self.quorum.is_some();
        if !ended.is_empty()
            && roles(added.iter().map(|key| key.role)) != roles(ended.iter().map(|key| key.role))
        {
            return Err(KeyError::RolesDiffer(self.version));
        }
        let by_genesis = touches_witness || ended.is_empty();
        let signers = by_genesis.then_some(*genesis).into_iter();
        Ok(once(
            signers
                .chain(ended.iter().map(|key| key.key))
                .chain(added.iter().map(|key| key.key)),
        ))
    }

    fn check_names(&self) -> Result<(), KeyError> {
        let names = self.add.iter().map(|added| &added.name).chain(&self.origin);
        for name in names {
            let fits = (1..=255).contains(&name.len());
            if !fits
                || name
                    .bytes()
                    .any(|byte| !byte.is_ascii_graphic() || byte == b'+')
            {
                return Err(KeyError::Name(name.clone()));
            }
        }
        Ok(())
    }
}

fn roles(roles: impl Iterator<Item = Role>) -> Vec<Role> {
    let mut roles: Vec<Role> = roles.collect();
    roles.sort_unstable();
    roles
}

fn once(keys: impl Iterator<Item = PublicKey>) -> Vec<PublicKey> {
    let mut seen = BTreeSet::new();
    keys.filter(|key| seen.insert(*key)).collect()
}
