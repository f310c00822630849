//! Family `approver`: people who may approve, and their keys.

use countersign_evidence::document::Credential;
use countersign_evidence::statement::Alg;
use countersign_evidence::wire::Base64;
use countersign_ids::{ApproverId, CredentialId};

use crate::declare::events;

events! {
    /// People who may approve, and their keys.
    Approver = "approver" Evidence;

    /// A person's key was enrolled: it proved that it is held, for this ledger and this person.
    Enrolled = "enrolled" v 1 on Platform about "the approver" {
        /// The person, by a pseudonymous id.
        pub approver: ApproverId,
        /// The name of the key.
        pub credential: CredentialId,
        /// How it signs.
        pub alg: Alg,
        /// The raw 32 bytes for `ed25519` and `ssh`, the COSE_Key for `webauthn`; base64.
        pub key: Base64,
        /// The key's signature over its own enrolment; base64.
        pub proof: Base64,
        /// Of a passkey: the origin at which it was enrolled.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub origin: Option<String>,
        /// Of a passkey: its relying party.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub rp_id: Option<String>,
    }

    /// A person's key does not count any more; statements authorised after it are refused.
    Removed = "removed" v 1 on Platform about "the approver" {
        /// The person.
        pub approver: ApproverId,
        /// The name of the key.
        pub credential: CredentialId,
    }
}

impl Enrolled {
    /// The enrolment of this credential, proved by `proof`.
    pub fn new(credential: Credential, proof: Base64) -> Self {
        let Credential {
            approver,
            credential,
            alg,
            key,
            origin,
            rp_id,
        } = credential;
        Self {
            approver,
            credential,
            alg,
            key,
            proof,
            origin,
            rp_id,
        }
    }

    /// The credential as documents pin it and statements are verified against it.
    pub fn credential(&self) -> Credential {
        Credential {
            approver: self.approver.clone(),
            credential: self.credential.clone(),
            alg: self.alg,
            key: self.key.clone(),
            origin: self.origin.clone(),
            rp_id: self.rp_id.clone(),
        }
    }
}
