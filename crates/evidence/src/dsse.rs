//! DSSE envelopes (v1): the pre-authentication encoding, strict JSON, one signature per required key.
//!
//! The payload types are a closed set. A `keyid` is a hint that no verdict reads. docs/format.md, "Envelopes".

use countersign_chain as chain;
use countersign_ids::Digest;
use ed25519_dalek::SigningKey;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::wire::{self, Base64, PublicKey, SignatureBytes, WireError};

/// Largest payload that an envelope may carry; B is at most 256 KiB and holds it as base64.
pub const PAYLOAD_BYTES_MAX: usize = 160 * 1024;
/// Most signatures on one envelope: a key statement signs with genesis, ended and added keys.
pub const SIGNATURES_MAX: usize = 32;

/// What the payload of an envelope is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum PayloadType {
    /// A key statement of the ledger.
    #[serde(rename = "application/vnd.countersign.keys.v1+json")]
    Keys,
    /// An order to one connector.
    #[serde(rename = "application/vnd.countersign.order.v1+json")]
    Order,
    /// What a connector says became of an order.
    #[serde(rename = "application/vnd.countersign.outcome.v1+json")]
    Outcome,
    /// A connector's sign of life.
    #[serde(rename = "application/vnd.countersign.heartbeat.v1+json")]
    Heartbeat,
    /// Any other message of a connector: paired, observed, poll.
    #[serde(rename = "application/vnd.countersign.message.v1+json")]
    Message,
}

impl PayloadType {
    /// The payload type as it stands in the envelope and under the signature.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Keys => "application/vnd.countersign.keys.v1+json",
            Self::Order => "application/vnd.countersign.order.v1+json",
            Self::Outcome => "application/vnd.countersign.outcome.v1+json",
            Self::Heartbeat => "application/vnd.countersign.heartbeat.v1+json",
            Self::Message => "application/vnd.countersign.message.v1+json",
        }
    }
}

/// One signature of an envelope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnvelopeSignature {
    /// `sha256:` of the raw public key: a hint where to look, never a reason to trust.
    pub keyid: Digest,
    /// The Ed25519 signature over the pre-authentication encoding.
    pub sig: SignatureBytes,
}

/// A DSSE envelope: payload type, payload bytes, signatures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    /// The signed bytes, base64.
    pub payload: Base64,
    /// What the payload is; it is signed too.
    #[serde(rename = "payloadType")]
    pub payload_type: PayloadType,
    /// One signature per key that has to sign.
    pub signatures: Vec<EnvelopeSignature>,
}

/// Why an envelope does not verify.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DsseError {
    /// Not an envelope.
    #[error("not a signed envelope: {0}")]
    Malformed(#[from] WireError),
    /// An envelope of something else.
    #[error("the envelope holds `{found}`, not `{wanted}`")]
    WrongType {
        /// The payload type wanted here.
        wanted: &'static str,
        /// The payload type found.
        found: &'static str,
    },
    /// The payload is larger than anything this format signs.
    #[error("the payload has {0} bytes, more than {PAYLOAD_BYTES_MAX}")]
    TooLarge(usize),
    /// More or fewer signatures than required keys.
    #[error("{found} signatures where {wanted} are required")]
    SignatureCount {
        /// Number of keys that have to sign.
        wanted: usize,
        /// Number of signatures found.
        found: usize,
    },
    /// A required key did not sign, or its signature is wrong.
    #[error("no valid signature by key `{0}`")]
    NotSigned(Digest),
}

/// The pre-authentication encoding of DSSE v1: what is signed.
pub fn pae(payload_type: PayloadType, payload: &[u8]) -> Vec<u8> {
    let name = payload_type.as_str();
    let mut out = format!("DSSEv1 {} {} {} ", name.len(), name, payload.len()).into_bytes();
    out.extend_from_slice(payload);
    out
}

impl Envelope {
    /// Signs `payload` with each key, in the order given.
    pub fn sign<'k>(
        payload_type: PayloadType,
        payload: Vec<u8>,
        keys: impl IntoIterator<Item = &'k SigningKey>,
    ) -> Self {
        let message = pae(payload_type, &payload);
        let signatures = keys
            .into_iter()
            .map(|key| EnvelopeSignature {
                keyid: PublicKey::from(key).digest(),
                sig: SignatureBytes::sign(key, &message),
            })
            .collect();
        Self {
            payload: Base64(payload),
            payload_type,
            signatures,
        }
    }

    /// Reads an envelope that stands alone: its bytes are RFC 8785, its members exactly these.
    pub fn parse(bytes: &[u8]) -> Result<Self, DsseError> {
        Ok(wire::parse(bytes)?)
    }

    /// The RFC 8785 bytes of the envelope.
    pub fn to_bytes(&self) -> Result<Vec<u8>, DsseError> {
        Ok(wire::canonical(self)?)
    }

    /// The SHA-256 of the payload: how everything refers to what was signed, never to the envelope.
    pub fn payload_digest(&self) -> Digest {
        chain::sha256(&self.payload.0)
    }

    /// The payload, with nothing verified: for finding out which keys have to verify it, and for showing.
    pub fn unverified_payload(&self) -> &[u8] {
        &self.payload.0
    }

    /// Checks type and signatures: exactly one valid signature by each of `keys`, and no other; gives the payload.
    pub fn verify(&self, wanted: PayloadType, keys: &[PublicKey]) -> Result<&[u8], DsseError> {
        if self.payload_type != wanted {
            return Err(DsseError::WrongType {
                wanted: wanted.as_str(),
                found: self.payload_type.as_str(),
            });
        }
        if self.payload.0.len() > PAYLOAD_BYTES_MAX {
            return Err(DsseError::TooLarge(self.payload.0.len()));
        }
        if self.signatures.len() != keys.len() || keys.is_empty() || keys.len() > SIGNATURES_MAX {
            return Err(DsseError::SignatureCount {
                wanted: keys.len(),
                found: self.signatures.len(),
            });
        }
        let message = pae(self.payload_type, &self.payload.0);
        let mut left: Vec<&EnvelopeSignature> = self.signatures.iter().collect();
        for key in keys {
            let Some(at) = left
                .iter()
                .position(|signature| key.verifies(&message, &signature.sig))
            else {
                return Err(DsseError::NotSigned(key.digest()));
            };
            left.remove(at);
        }
        Ok(&self.payload.0)
    }
}
