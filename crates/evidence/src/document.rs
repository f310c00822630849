//! The pinned document: whose approvals a site believes, and how many at least, whatever the server says.
//!
//! docs/format.md, "Pinned document".

use std::collections::BTreeSet;

use countersign_ids::{ApproverId, ChainId, Code, CredentialId, Digest, LedgerId, SiteId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::action::ActionKind;
use crate::codes;
use crate::statement::Alg;
use crate::wire::{self, Base64, OrDash, PublicKey, V1, WireError};

/// The kind of action that replaces the pinned document.
pub const DOCUMENT_REPLACE: &str = "document.replace";
/// Most approvers of one document.
pub const APPROVERS_MAX: usize = 256;

/// One key of one approver, as enrolled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Credential {
    /// The person.
    pub approver: ApproverId,
    /// The key's name.
    pub credential: CredentialId,
    /// How it signs.
    pub alg: Alg,
    /// The raw 32 bytes for `ed25519` and `ssh`, the `COSE_Key` for `webauthn`.
    pub key: Base64,
    /// Of a passkey: the origin at which it was enrolled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// Of a passkey: its relying party.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rp_id: Option<String>,
}

/// One floor: actions of a kind need so many approvals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FloorRule {
    /// The kind of action, `*` for every kind.
    pub kind: KindOrAny,
    /// How many distinct people have to approve.
    pub approvals: u64,
}

/// A kind of action, or `*`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum KindOrAny {
    /// Every kind: `*`.
    Any,
    /// One kind.
    Kind(ActionKind),
}

impl std::fmt::Display for KindOrAny {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Kind(kind) => kind.fmt(f),
        }
    }
}

impl Serialize for KindOrAny {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KindOrAny {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "*" {
            return Ok(Self::Any);
        }
        text.parse()
            .map(Self::Kind)
            .map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for KindOrAny {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "KindOrAny".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let kind = generator.subschema_for::<ActionKind>();
        schemars::json_schema!({ "anyOf": [{ "const": "*" }, kind] })
    }
}

/// The pinned document of a site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PinnedDocument {
    /// The version of this format.
    pub v: V1,
    /// The ledger.
    pub ledger: LedgerId,
    /// The tenant's chain.
    pub chain: ChainId,
    /// The site.
    pub site: SiteId,
    /// The document's own version, dense from 1.
    pub version: u64,
    /// SHA-256 of the document before, `-` for the first.
    pub previous: OrDash<Digest>,
    /// Whose approvals count, by key.
    pub approvers: Vec<Credential>,
    /// How many approvals a kind needs at least; of two that fit, the larger counts.
    pub floor: Vec<FloorRule>,
    /// Whether a statement of scope break-glass counts here.
    pub break_glass: bool,
    /// How many of these approvers replace this document.
    pub quorum: u64,
    /// The ledger's genesis key.
    pub genesis: PublicKey,
}

/// Why a pinned document is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// Not a pinned document.
    #[error("not a pinned document: {0}")]
    Malformed(#[from] WireError),
    /// A credential stands twice, or one key under two people.
    #[error("the pinned document names credential `{0}`, or its key, twice")]
    Repeated(CredentialId),
    /// More approvers than a document may name.
    #[error("the pinned document names {0} approvers, more than {APPROVERS_MAX}")]
    TooMany(usize),
    /// Version 0, or a first version with a previous one, or a later one without.
    #[error("version `{0}` of the pinned document and `previous` do not fit")]
    Version(u64),
    /// With a quorum of 0 anybody could replace it.
    #[error("the pinned document's quorum is 0, so anybody could replace it")]
    QuorumZero,
    /// The genesis key is not the ledger's.
    #[error("the pinned document's genesis key does not hash to its ledger id")]
    Genesis,
    /// It does not follow the document before: version, digest, ledger, chain, site or genesis differ.
    #[error("the pinned document does not follow the one before it")]
    DoesNotFollow,
}

impl DocumentError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        codes::DOCUMENT_INVALID
    }
}

impl PinnedDocument {
    /// Reads a document: canonical bytes and every rule it can be checked against alone.
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        let document: Self = wire::parse(bytes)?;
        document.check()?;
        Ok(document)
    }

    /// Checks every rule that needs the document alone.
    pub fn check(&self) -> Result<(), DocumentError> {
        if self.version == 0 || (self.version == 1) != self.previous.get().is_none() {
            return Err(DocumentError::Version(self.version));
        }
        if self.quorum == 0 {
            return Err(DocumentError::QuorumZero);
        }
        if self.approvers.len() > APPROVERS_MAX {
            return Err(DocumentError::TooMany(self.approvers.len()));
        }
        if countersign_chain::ledger_id(self.genesis.as_bytes()) != self.ledger {
            return Err(DocumentError::Genesis);
        }
        let (mut credentials, mut keys) = (BTreeSet::new(), BTreeSet::new());
        for entry in &self.approvers {
            // One key under two people would count twice towards a floor.
            if !credentials.insert(&entry.credential) || !keys.insert(&entry.key) {
                return Err(DocumentError::Repeated(entry.credential.clone()));
            }
        }
        Ok(())
    }

    /// Checks that this document is the next one after `before`.
    pub fn follows(&self, before: &Self) -> Result<(), DocumentError> {
        self.check()?;
        let same = self.ledger == before.ledger
            && self.chain == before.chain
            && self.site == before.site
            && self.genesis == before.genesis
            && Some(self.version) == before.version.checked_add(1)
            && self.previous.get() == Some(&before.digest()?);
        if same {
            Ok(())
        } else {
            Err(DocumentError::DoesNotFollow)
        }
    }

    /// The RFC 8785 bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>, DocumentError> {
        Ok(wire::canonical(self)?)
    }

    /// `document_digest`: SHA-256 of the RFC 8785 bytes.
    pub fn digest(&self) -> Result<Digest, DocumentError> {
        Ok(wire::canonical_digest(self)?)
    }

    /// The pinned key that a statement names.
    pub fn credential(
        &self,
        approver: &ApproverId,
        credential: &CredentialId,
    ) -> Option<&Credential> {
        self.approvers
            .iter()
            .find(|entry| entry.approver == *approver && entry.credential == *credential)
    }

    /// How many distinct people have to approve an action of this kind; one where the document has no floor for it.
    ///
    /// Replacing the document itself takes the quorum as well.
    pub fn approvals_for(&self, kind: &ActionKind) -> u64 {
        let fits = |rule: &&FloorRule| match &rule.kind {
            KindOrAny::Any => true,
            KindOrAny::Kind(of) => of == kind,
        };
        let floor = self
            .floor
            .iter()
            .filter(fits)
            .map(|rule| rule.approvals)
            .max()
            .unwrap_or(1);
        if kind.as_str() == DOCUMENT_REPLACE {
            floor.max(self.quorum)
        } else {
            floor
        }
    }
}
