//! Folds of key statements: which key holds under which role, by version and by position.
//!
//! [`KeyRing`] needs the statements only: a connector has no more. [`KeyHistory`] also knows where on the platform
//! chain each statement stands, and answers "A key holds" of docs/format.md, "Keys", for an event or a checkpoint.

use countersign_chain as chain;
use countersign_ids::{Digest, LedgerId, Sequence};

use crate::dsse::{Envelope, PayloadType};
use crate::keys::{EndReason, KeyError, KeyStatement, Role};
use crate::wire::{self, PublicKey};

/// One key as the statements know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldKey {
    /// What it may sign.
    pub role: Role,
    /// Its name.
    pub name: String,
    /// The raw public key.
    pub key: PublicKey,
    /// The version of the statement that added it.
    pub added: u64,
    /// The version of the statement that ended it, and why.
    pub ended: Option<(u64, EndReason)>,
}

/// The keys of one ledger after a dense run of verified key statements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRing {
    ledger: LedgerId,
    origin: String,
    genesis: PublicKey,
    version: u64,
    last: Digest,
    // INVARIANT: in order of addition; no public key stands here twice, under whatever role.
    keys: Vec<HeldKey>,
    quorums: Vec<(u64, u64)>,
}

impl KeyRing {
    /// Begins with the first statement of the ledger `ledger`.
    pub fn begin(ledger: &LedgerId, envelope: &Envelope) -> Result<Self, KeyError> {
        let statement: KeyStatement = wire::parse(envelope.unverified_payload())?;
        if statement.ledger != *ledger {
            return Err(KeyError::OtherLedger(statement.ledger));
        }
        if statement.version != 1 {
            return Err(KeyError::Version {
                wanted: 1,
                found: statement.version,
            });
        }
        let genesis = statement.genesis().ok_or(KeyError::NotAGenesis)?;
        if chain::ledger_id(genesis.as_bytes()) != *ledger {
            return Err(KeyError::NotAGenesis);
        }
        let origin = statement.origin.clone().ok_or(KeyError::NotAGenesis)?;
        let signers = statement.required_signers(&genesis)?;
        envelope.verify(PayloadType::Keys, &signers)?;
        let mut ring = Self {
            ledger: *ledger,
            origin,
            genesis,
            version: 0,
            last: envelope.payload_digest(),
            keys: Vec::new(),
            quorums: Vec::new(),
        };
        ring.apply(&statement, envelope.payload_digest())?;
        Ok(ring)
    }

    /// Follows one more statement; the ring is unchanged when it is refused.
    pub fn follow(&mut self, envelope: &Envelope) -> Result<KeyStatement, KeyError> {
        let statement: KeyStatement = wire::parse(envelope.unverified_payload())?;
        if statement.ledger != self.ledger {
            return Err(KeyError::OtherLedger(statement.ledger));
        }
        let wanted = self.version.saturating_add(1);
        if statement.version != wanted {
            return Err(KeyError::Version {
                wanted,
                found: statement.version,
            });
        }
        if statement.previous.get() != Some(&self.last) {
            return Err(KeyError::Previous(statement.version));
        }
        let signers = statement.required_signers(&self.genesis)?;
        envelope.verify(PayloadType::Keys, &signers)?;
        let mut next = self.clone();
        next.apply(&statement, envelope.payload_digest())?;
        *self = next;
        Ok(statement)
    }

    fn apply(&mut self, statement: &KeyStatement, digest: Digest) -> Result<(), KeyError> {
        for ended in &statement.end {
            let held = self.keys.iter_mut().find(|held| {
                held.role == ended.role && held.key == ended.key && held.ended.is_none()
            });
            let held = held.ok_or_else(|| KeyError::NotHolding(ended.key.digest()))?;
            held.ended = Some((statement.version, ended.reason));
        }
        for added in &statement.add {
            if self.keys.iter().any(|held| held.key == added.key) {
                return Err(KeyError::KeyReused(added.key.digest()));
            }
            self.keys.push(HeldKey {
                role: added.role,
                name: added.name.clone(),
                key: added.key,
                added: statement.version,
                ended: None,
            });
        }
        if let Some(quorum) = statement.quorum {
            self.quorums.push((statement.version, quorum));
        }
        self.version = statement.version;
        self.last = digest;
        Ok(())
    }

    /// The ledger.
    pub const fn ledger(&self) -> &LedgerId {
        &self.ledger
    }

    /// The origin of the ledger's checkpoints; a chain's origin is `<this>/<chain>`.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The genesis key.
    pub const fn genesis(&self) -> &PublicKey {
        &self.genesis
    }

    /// The version of the last statement.
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// SHA-256 of the payload of the last statement: what the next one names.
    pub const fn last(&self) -> &Digest {
        &self.last
    }

    /// All keys, in order of addition, ended ones included.
    pub fn keys(&self) -> &[HeldKey] {
        &self.keys
    }

    /// The keys of a role that have not ended.
    pub fn current(&self, role: Role) -> impl Iterator<Item = &HeldKey> {
        self.keys
            .iter()
            .filter(move |held| held.role == role && held.ended.is_none())
    }

    /// The witness quorum in force after the last statement; none where no statement set one.
    pub fn quorum(&self) -> Option<u64> {
        self.quorums.last().map(|(_, quorum)| *quorum)
    }

    /// The witness quorum in force after the statement `version`.
    pub fn quorum_at(&self, version: u64) -> Option<u64> {
        self.quorums
            .iter()
            .rev()
            .find(|(at, _)| *at <= version)
            .map(|(_, quorum)| *quorum)
    }
}

/// Why a key does not hold at a position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotHeld {
    /// No statement adds it under that role.
    #[error("no key statement adds this key under this role")]
    Unknown,
    /// The event or checkpoint stands before the key was added.
    #[error("the key was added at platform sequence {added}, after what this stands on")]
    NotYet {
        /// The sequence of the event that added it.
        added: Sequence,
    },
    /// The event or checkpoint stands beyond the end of the key.
    #[error("the key ended at size {end}, before this")]
    Ended {
        /// The size of the chain at which the key ended.
        end: u64,
    },
    /// The key ended, and where it ended for this chain is not known from the bytes at hand.
    #[error("the key ended, and no recorded head says where for this chain")]
    EndUnknown,
}

/// A ring, and the platform sequence of each of its statements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyHistory {
    ring: KeyRing,
    // INVARIANT: one sequence per statement, rising; statement `v` stands at index v - 1.
    positions: Vec<Sequence>,
}

impl KeyHistory {
    /// Begins with the first statement, which is the platform chain's event 0.
    pub fn begin(ledger: &LedgerId, envelope: &Envelope) -> Result<Self, KeyError> {
        Ok(Self {
            ring: KeyRing::begin(ledger, envelope)?,
            positions: vec![Sequence::ZERO],
        })
    }

    /// Follows the statement of the platform event `position`.
    pub fn follow(
        &mut self,
        position: Sequence,
        envelope: &Envelope,
    ) -> Result<KeyStatement, KeyError> {
        let statement = self.ring.follow(envelope)?;
        self.positions.push(position);
        Ok(statement)
    }

    /// The ring without positions.
    pub const fn ring(&self) -> &KeyRing {
        &self.ring
    }

    /// The platform sequence of the statement `version`.
    pub fn position(&self, version: u64) -> Option<Sequence> {
        let index = usize::try_from(version.checked_sub(1)?).ok()?;
        self.positions.get(index).copied()
    }

    /// The platform sequences of the statements that end a key: whoever verifies needs the next recorded head of each.
    pub fn ends(&self) -> impl Iterator<Item = Sequence> {
        self.ring
            .keys
            .iter()
            .filter_map(|held| held.ended.and_then(|(version, _)| self.position(version)))
    }

    /// Whether the order key `key` holds for an `action.authorized` at `sequence` whose `platformhead` is `head`.
    ///
    /// `end_size` gives the size of that chain in the first recorded head after the statement at a platform sequence.
    pub fn holds_for_order(
        &self,
        key: &PublicKey,
        head: Sequence,
        sequence: Sequence,
        end_size: impl Fn(Sequence) -> Option<u64>,
    ) -> Result<&HeldKey, NotHeld> {
        let held = self.find(Role::Order, key)?;
        let added = self.position(held.added).ok_or(NotHeld::Unknown)?;
        if head < added {
            return Err(NotHeld::NotYet { added });
        }
        match self.end(held, end_size)? {
            Some(end) if sequence.get() >= end => Err(NotHeld::Ended { end }),
            _ => Ok(held),
        }
    }

    /// Whether the key `key` of role checkpoint or witness holds for a note of size `size` on a tenant's chain.
    pub fn holds_for_size(
        &self,
        role: Role,
        key: &PublicKey,
        size: u64,
        end_size: impl Fn(Sequence) -> Option<u64>,
    ) -> Result<&HeldKey, NotHeld> {
        let held = self.find(role, key)?;
        match self.end(held, end_size)? {
            Some(end) if size > end => Err(NotHeld::Ended { end }),
            _ => Ok(held),
        }
    }

    /// Whether the key holds for a note of size `size` on the platform chain, where the size also covers its addition.
    pub fn holds_for_platform_size(
        &self,
        role: Role,
        key: &PublicKey,
        size: u64,
    ) -> Result<&HeldKey, NotHeld> {
        let held = self.holds_for_size(role, key, size, |statement| Some(statement.get()))?;
        let added = self.position(held.added).ok_or(NotHeld::Unknown)?;
        if size <= added.get() {
            Err(NotHeld::NotYet { added })
        } else {
            Ok(held)
        }
    }

    fn find(&self, role: Role, key: &PublicKey) -> Result<&HeldKey, NotHeld> {
        self.ring
            .keys
            .iter()
            .find(|held| held.role == role && held.key == *key)
            .ok_or(NotHeld::Unknown)
    }

    fn end(
        &self,
        held: &HeldKey,
        end_size: impl Fn(Sequence) -> Option<u64>,
    ) -> Result<Option<u64>, NotHeld> {
        let Some((version, _)) = held.ended else {
            return Ok(None);
        };
        let statement = self.position(version).ok_or(NotHeld::EndUnknown)?;
        end_size(statement).map(Some).ok_or(NotHeld::EndUnknown)
    }
}
