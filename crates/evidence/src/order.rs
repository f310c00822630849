//! Orders: the signed permission to execute one action at one site, once, within two minutes.
//!
//! docs/format.md, "Orders". The checks that a connector makes of one stand in [`crate::checks`].

use countersign_ids::{
    ActionId, ChainId, ConnectorId, Digest, LedgerId, Nonce, Sequence, SiteId, Time,
};
use ed25519_dalek::SigningKey;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::action::ActionObject;
use crate::dsse::{DsseError, Envelope, PayloadType};
use crate::statement::SignedStatement;
use crate::wire::{self, OrDash, PublicKey, V1, WireError};

/// The payload of an order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// The version of this format.
    pub v: V1,
    /// The ledger.
    pub ledger: LedgerId,
    /// The tenant's chain.
    pub chain: ChainId,
    /// The site.
    pub site: SiteId,
    /// The connector that may execute it.
    pub connector: ConnectorId,
    /// The generation of its pairing.
    pub generation: u64,
    /// The action.
    pub action: ActionId,
    /// The action object: what is executed.
    pub action_object: ActionObject,
    /// The approvals that it consumes.
    pub statements: Vec<SignedStatement>,
    /// SHA-256 of the rollback plan that was approved, `-` where there is none.
    pub rollback_digest: OrDash<Digest>,
    /// SHA-256 of the pinned document that it was made for.
    pub document_digest: Digest,
    /// It counts from here.
    pub not_before: Time,
    /// It counts up to here: 120 seconds later.
    pub expires: Time,
    /// 32 hexadecimal digits, never used twice.
    pub nonce: Nonce,
    /// 20 digits, per connector, greater than the last accepted.
    pub sequence: Sequence,
}

/// Why an envelope holds no valid order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// The envelope does not verify.
    #[error(transparent)]
    Envelope(#[from] DsseError),
    /// The payload is no order.
    #[error("not an order: {0}")]
    Payload(#[from] WireError),
}

impl Order {
    /// Reads the payload of an order, unverified.
    pub fn parse(payload: &[u8]) -> Result<Self, OrderError> {
        Ok(wire::parse(payload)?)
    }

    /// Signs the order with an order key of the ledger.
    pub fn sign(&self, key: &SigningKey) -> Result<Envelope, OrderError> {
        Ok(Envelope::sign(
            PayloadType::Order,
            wire::canonical(self)?,
            [key],
        ))
    }
}

/// An order whose envelope carries exactly one valid signature by the key given. Which key may sign is the caller's.
#[derive(Debug, Clone, PartialEq)]
pub struct VerifiedOrder {
    order: Order,
    digest: Digest,
}

impl VerifiedOrder {
    /// Verifies an envelope against one order key.
    pub fn verify(envelope: &Envelope, key: &PublicKey) -> Result<Self, OrderError> {
        let payload = envelope.verify(PayloadType::Order, std::slice::from_ref(key))?;
        Ok(Self {
            order: Order::parse(payload)?,
            digest: envelope.payload_digest(),
        })
    }

    /// The order.
    pub const fn order(&self) -> &Order {
        &self.order
    }

    /// `order_digest`: SHA-256 of the payload.
    pub const fn digest(&self) -> &Digest {
        &self.digest
    }
}
