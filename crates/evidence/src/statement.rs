//! Approval statements: what an approver signs, and how it is verified against a credential.
//!
//! Three ways of signing are typed; `ed25519` is built, `ssh` and `webauthn` are refused by their own code until they
//! are. Whether the person may approve, and how often, is the domain's. docs/format.md, "Statements".

use countersign_chain as chain;
use countersign_ids::{
    ActionId, ApproverId, ChainId, Code, CredentialId, Digest, LedgerId, Nonce, SiteId, Time,
    limits,
};
use ed25519_dalek::SigningKey;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::codes;
use crate::document::Credential;
use crate::wire::{self, Base64, OrDash, PublicKey, SignatureBytes, V1, WireError};

/// What an Ed25519 approver key signs before the statement's bytes: the context and one zero byte.
pub const APPROVAL_CONTEXT: &[u8] = b"countersign/approval/v1\0";
/// Largest statement.
pub const STATEMENT_BYTES_MAX: usize = 4096;

/// What the approver decided.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    /// Yes.
    Approve,
    /// No.
    Deny,
    /// The approver's earlier vote of this round does not stand any more.
    Withdraw,
}

/// How far the decision reaches.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// This action, beside the others who have to approve.
    Action,
    /// This action, in an emergency; it counts at the site only where its document says so, and lowers no floor.
    BreakGlass,
}

/// An approval statement: one person's decision on one action, one round, one view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// The version of this format.
    pub v: V1,
    /// The ledger.
    pub ledger: LedgerId,
    /// The tenant's chain.
    pub chain: ChainId,
    /// The site.
    pub site: SiteId,
    /// The action.
    pub action: ActionId,
    /// SHA-256 of the action object.
    pub action_digest: Digest,
    /// The decision.
    pub decision: Decision,
    /// How far it reaches.
    pub scope: Scope,
    /// The round of assessment that it votes in, from 1.
    pub round: u64,
    /// The person.
    pub approver: ApproverId,
    /// The key of the person that signs.
    pub credential: CredentialId,
    /// SHA-256 of 16 random bytes and the reason, `-` where none was given.
    pub reason_digest: OrDash<Digest>,
    /// SHA-256 of the policy set that asked for it.
    pub policy_digest: OrDash<Digest>,
    /// SHA-256 of the view document that was shown.
    pub view_digest: Digest,
    /// SHA-256 of the rollback plan that was shown, `-` where there is none.
    pub rollback_digest: OrDash<Digest>,
    /// It counts from here.
    pub not_before: Time,
    /// It counts up to here; at most 24 hours later.
    pub not_after: Time,
    /// 32 hexadecimal digits made by the signer.
    pub nonce: Nonce,
}

/// How a statement or an enrolment is signed.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Alg {
    /// A plain Ed25519 key.
    Ed25519,
    /// An Ed25519 key in an SSH agent, as SSHSIG.
    Ssh,
    /// A passkey.
    Webauthn,
}

impl Alg {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
            Self::Ssh => "ssh",
            Self::Webauthn => "webauthn",
        }
    }
}

/// A statement and its signature, as stored and sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignedStatement {
    /// How it is signed.
    pub alg: Alg,
    /// The statement's RFC 8785 bytes, as a string.
    pub statement: String,
    /// The signature.
    pub signature: Base64,
    /// Of a passkey: the authenticator data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authenticator_data: Option<Base64>,
    /// Of a passkey: the client data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_data: Option<Base64>,
}

/// Why a signed statement is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// Not a statement.
    #[error("not an approval statement: {0}")]
    Malformed(#[from] WireError),
    /// Larger than a statement can be.
    #[error("the statement has {0} bytes, more than {STATEMENT_BYTES_MAX}")]
    TooLarge(usize),
    /// Rounds count from 1.
    #[error("the statement names round 0; rounds count from 1")]
    RoundZero,
    /// The window is empty or longer than a day.
    #[error("the statement counts from `{from}` to `{until}`; it must be at most 24 hours")]
    Window {
        /// `not_before`.
        from: Time,
        /// `not_after`.
        until: Time,
    },
    /// Signed in a way that is not built yet.
    #[error("statements signed by `{0}` are not supported yet")]
    UnsupportedAlg(&'static str),
    /// The credential is another one, or of another person or algorithm.
    #[error(
        "the statement names approver `{approver}` and credential `{credential}`, which is not the enrolled one"
    )]
    OtherCredential {
        /// The approver named.
        approver: ApproverId,
        /// The credential named.
        credential: CredentialId,
    },
    /// The enrolled key is no Ed25519 key.
    #[error("the enrolled key of credential `{0}` is no Ed25519 key")]
    Key(CredentialId),
    /// The signature is not the credential's over these bytes.
    #[error("the signature is not credential `{0}`'s over this statement")]
    Signature(CredentialId),
}

impl StatementError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::Malformed(_) | Self::TooLarge(_) | Self::RoundZero => codes::STATEMENT_MALFORMED,
            Self::Window { .. } => codes::STATEMENT_WINDOW,
            Self::UnsupportedAlg(_) => codes::ALG_UNSUPPORTED,
            Self::OtherCredential { .. } | Self::Key(_) => codes::STATEMENT_CREDENTIAL,
            Self::Signature(_) => codes::STATEMENT_SIGNATURE,
        }
    }
}

impl Statement {
    /// Reads a statement and checks what it says of itself.
    pub fn parse(bytes: &[u8]) -> Result<Self, StatementError> {
        if bytes.len() > STATEMENT_BYTES_MAX {
            return Err(StatementError::TooLarge(bytes.len()));
        }
        let statement: Self = wire::parse(bytes)?;
        statement.check()?;
        Ok(statement)
    }

    fn check(&self) -> Result<(), StatementError> {
        if self.round == 0 {
            return Err(StatementError::RoundZero);
        }
        let within = self.not_before <= self.not_after
            && self.not_after.millis_since(self.not_before)
                <= limits::STATEMENT_LIFETIME_MILLIS_MAX;
        if within {
            Ok(())
        } else {
            Err(StatementError::Window {
                from: self.not_before,
                until: self.not_after,
            })
        }
    }

    /// The RFC 8785 bytes that are signed.
    pub fn to_bytes(&self) -> Result<Vec<u8>, StatementError> {
        self.check()?;
        Ok(wire::canonical(self)?)
    }

    /// Signs with a plain Ed25519 key.
    pub fn sign(&self, key: &SigningKey) -> Result<SignedStatement, StatementError> {
        let bytes = self.to_bytes()?;
        let signature = SignatureBytes::sign(key, &signed_message(APPROVAL_CONTEXT, &bytes));
        let statement =
            String::from_utf8(bytes).map_err(|error| WireError::Json(error.to_string()))?;
        Ok(SignedStatement {
            alg: Alg::Ed25519,
            statement,
            signature: Base64(signature.as_bytes().to_vec()),
            authenticator_data: None,
            client_data: None,
        })
    }

    /// Whether `time` is within `not_before` and `not_after`, both included.
    pub fn counts_at(&self, time: Time) -> bool {
        self.not_before <= time && time <= self.not_after
    }
}

/// The context, then the bytes: what an Ed25519 key signs, and what a passkey's challenge is the SHA-256 of.
pub(crate) fn signed_message(context: &[u8], bytes: &[u8]) -> Vec<u8> {
    [context, bytes].concat()
}

/// Verifies `signature` over the context and bytes by the enrolled key, which must be an Ed25519 key of 32 bytes.
pub(crate) fn verify_ed25519(
    credential: &Credential,
    context: &[u8],
    bytes: &[u8],
    signature: &Base64,
) -> Option<bool> {
    let key = PublicKey::from_bytes(credential.key.0.as_slice().try_into().ok()?);
    let Ok(signature) = <[u8; 64]>::try_from(signature.0.as_slice()) else {
        return Some(false);
    };
    Some(key.verifies(
        &signed_message(context, bytes),
        &SignatureBytes::from_bytes(signature),
    ))
}

impl SignedStatement {
    /// The statement's digest: SHA-256 of its bytes. A statement stands in at most one order of the ledger.
    pub fn digest(&self) -> Digest {
        chain::sha256(self.statement.as_bytes())
    }

    /// The statement, with its signature unverified: for finding the credential that has to verify it.
    pub fn unverified(&self) -> Result<Statement, StatementError> {
        Statement::parse(self.statement.as_bytes())
    }

    /// Verifies the statement against the credential that it names.
    pub fn verify(&self, credential: &Credential) -> Result<VerifiedStatement, StatementError> {
        let statement = self.unverified()?;
        let same = statement.approver == credential.approver
            && statement.credential == credential.credential
            && self.alg == credential.alg;
        if !same {
            let (approver, credential) = (statement.approver, statement.credential);
            return Err(StatementError::OtherCredential {
                approver,
                credential,
            });
        }
        if self.alg != Alg::Ed25519 {
            return Err(StatementError::UnsupportedAlg(self.alg.as_str()));
        }
        if self.authenticator_data.is_some() || self.client_data.is_some() {
            return Err(WireError::Shape(
                "only a passkey has authenticator and client data".to_owned(),
            )
            .into());
        }
        match verify_ed25519(
            credential,
            APPROVAL_CONTEXT,
            self.statement.as_bytes(),
            &self.signature,
        ) {
            Some(true) => Ok(VerifiedStatement {
                statement,
                digest: self.digest(),
            }),
            Some(false) => Err(StatementError::Signature(statement.credential)),
            None => Err(StatementError::Key(statement.credential)),
        }
    }
}

/// A statement whose signature is the named credential's. Only [`SignedStatement::verify`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedStatement {
    statement: Statement,
    digest: Digest,
}

impl VerifiedStatement {
    /// The statement.
    pub const fn statement(&self) -> &Statement {
        &self.statement
    }

    /// SHA-256 of its bytes.
    pub const fn digest(&self) -> &Digest {
        &self.digest
    }
}

/// SHA-256 over 16 random bytes and the reason: lets a signed statement commit to words that can be erased.
pub fn reason_digest(salt: &[u8; 16], reason: &str) -> Digest {
    chain::sha256(&[salt.as_slice(), reason.as_bytes()].concat())
}
