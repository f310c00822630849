//! Enrolment: an approver's key proves that it is held, and says for which ledger and person.
//!
//! docs/format.md, "Enrolment". Who may enrol whom is the domain's.

use countersign_ids::{ApproverId, Code, CredentialId, LedgerId};
use ed25519_dalek::SigningKey;
use serde::Serialize;

use crate::codes;
use crate::document::Credential;
use crate::statement::{Alg, signed_message, verify_ed25519};
use crate::wire::{self, Base64, PublicKey, SignatureBytes, WireError};

/// What an Ed25519 key signs before the enrolment's bytes: the context and one zero byte.
pub const ENROLMENT_CONTEXT: &[u8] = b"countersign/enrolment/v1\0";

#[derive(Serialize)]
struct Enrolment<'a> {
    ledger: &'a LedgerId,
    approver: &'a ApproverId,
    credential: &'a CredentialId,
    alg: Alg,
    key: &'a Base64,
}

/// Why an enrolment is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnrolmentError {
    /// The enrolment cannot be written canonically.
    #[error("not an enrolment: {0}")]
    Malformed(#[from] WireError),
    /// A kind of key that is not built yet.
    #[error("enrolling a key of kind `{0}` is not supported yet")]
    UnsupportedAlg(&'static str),
    /// `key` is not 32 raw bytes, or a member of a passkey stands beside it.
    #[error("the key of credential `{0}` is no raw Ed25519 key of 32 bytes")]
    Key(CredentialId),
    /// The proof is not this key's.
    #[error("the proof is not a signature by the key of credential `{0}` over this enrolment")]
    Proof(CredentialId),
}

impl EnrolmentError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::UnsupportedAlg(_) => codes::ALG_UNSUPPORTED,
            Self::Malformed(_) | Self::Key(_) | Self::Proof(_) => codes::ENROLMENT_PROOF,
        }
    }
}

/// The RFC 8785 bytes of {ledger, approver, credential, alg, key}.
pub fn enrolment_bytes(ledger: &LedgerId, credential: &Credential) -> Result<Vec<u8>, WireError> {
    wire::canonical(&Enrolment {
        ledger,
        approver: &credential.approver,
        credential: &credential.credential,
        alg: credential.alg,
        key: &credential.key,
    })
}

/// Makes the proof for a plain Ed25519 key, and the credential that it enrols.
pub fn enrol(
    ledger: &LedgerId,
    approver: ApproverId,
    credential: CredentialId,
    key: &SigningKey,
) -> Result<(Credential, Base64), WireError> {
    let raw = Base64(PublicKey::from(key).as_bytes().to_vec());
    let credential = Credential {
        approver,
        credential,
        alg: Alg::Ed25519,
        key: raw,
        origin: None,
        rp_id: None,
    };
    let bytes = enrolment_bytes(ledger, &credential)?;
    let proof = SignatureBytes::sign(key, &signed_message(ENROLMENT_CONTEXT, &bytes));
    Ok((credential, Base64(proof.as_bytes().to_vec())))
}

/// Checks that the credential's key signed its own enrolment in this ledger.
pub fn verify_enrolment(
    ledger: &LedgerId,
    credential: &Credential,
    proof: &Base64,
) -> Result<(), EnrolmentError> {
    if credential.alg != Alg::Ed25519 {
        return Err(EnrolmentError::UnsupportedAlg(credential.alg.as_str()));
    }
    if credential.origin.is_some() || credential.rp_id.is_some() {
        return Err(EnrolmentError::Key(credential.credential.clone()));
    }
    let bytes = enrolment_bytes(ledger, credential)?;
    match verify_ed25519(credential, ENROLMENT_CONTEXT, &bytes, proof) {
        Some(true) => Ok(()),
        Some(false) => Err(EnrolmentError::Proof(credential.credential.clone())),
        None => Err(EnrolmentError::Key(credential.credential.clone())),
    }
}
