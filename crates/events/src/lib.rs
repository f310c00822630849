//! Every domain event, declared once: struct, decoding, registry, JSON Schema and documentation come from one place.
//!
//! One module per family, one exhaustive enum per family, and [`Event`] over all of them: a new event does not compile in
//! a fold until somebody says what it means there. What events do to state is `domain`; their headers are `chain`.
//! A released version never changes: see [`generate::check_released`]. docs/events.md lists them all.

mod declare;

pub mod action;
pub mod approver;
pub mod beat;
pub mod chain;
pub mod clock;
pub mod connector;
pub mod deploy;
pub mod evaluation;
pub mod freeze;
pub mod generate;
pub mod heads;
pub mod keys;
pub mod platform;
pub mod reason;
pub mod remark;
pub mod retention;
pub mod samples;
pub mod site;
pub mod tenant;
pub mod token;
pub mod words;

use countersign_ids::{EventType, limits};

pub use declare::{Chains, Payload, Spec};
pub use evaluation::{EntityName, Evaluation, Ruling, Tally};

use declare::families;

families! {
    /// The ledger's own keys.
    keys Keys,
    /// The chains themselves.
    chain Chain,
    /// Sizes and roots of all chains, recorded together.
    heads Heads,
    /// People who may approve, and their keys.
    approver Approver,
    /// Bearer tokens.
    token Token,
    /// The server's clock.
    clock Clock,
    /// Tenants.
    tenant Tenant,
    /// Platform facts restated in a tenant's chain.
    platform Platform,
    /// Sites and what is pinned and seen at them.
    site Site,
    /// Pairing of connectors.
    connector Connector,
    /// What can be deployed.
    deploy Deploy,
    /// Windows in which nothing is changed.
    freeze Freeze,
    /// Actions, from proposal to outcome.
    action Action,
    /// Reasons that people gave: personal.
    reason Reason,
    /// Remarks of operators: operational.
    remark Remark,
    /// How long bodies are kept, and what was removed.
    retention Retention,
    /// Heartbeats.
    beat Beat,
}

/// Why a body is not the event that its type says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A type, or a version of it, that this build does not know.
    #[error("event type `{0}` is not known to this build")]
    Unknown(EventType),
    /// A known type with a body that is not of its schema.
    #[error("the body is no `{event_type}`: {reason}")]
    Malformed {
        /// The type.
        event_type: EventType,
        /// What is wrong.
        reason: String,
    },
}

/// Every declaration, by family.
pub fn all() -> impl Iterator<Item = &'static Spec> {
    FAMILIES.iter().flat_map(|family| family.iter().copied())
}

/// The declaration of a type, if this build knows it.
pub fn spec(event_type: &EventType) -> Option<&'static Spec> {
    all().find(|spec| spec.event_type == *event_type)
}

impl Event {
    /// Reads a body: strict I-JSON, at most 256 KiB, exactly the members of its type. A sealed body is opened before this.
    pub fn decode(event_type: &EventType, body: &[u8]) -> Result<Self, DecodeError> {
        let malformed = |reason: String| DecodeError::Malformed {
            event_type: event_type.clone(),
            reason,
        };
        if body.len() > limits::BODY_BYTES_MAX {
            return Err(malformed(format!(
                "{} bytes, more than {}",
                body.len(),
                limits::BODY_BYTES_MAX
            )));
        }
        if spec(event_type).is_none() {
            return Err(DecodeError::Unknown(event_type.clone()));
        }
        countersign_chain::json::check(body).map_err(|error| malformed(error.to_string()))?;
        Self::read(event_type, body)
            .ok_or_else(|| DecodeError::Unknown(event_type.clone()))?
            .map_err(|error| malformed(error.to_string()))
    }

    /// Writes the body B: canonical JSON.
    pub fn encode(&self) -> Result<Vec<u8>, countersign_evidence::wire::WireError> {
        countersign_evidence::wire::canonical(self)
    }

    /// The type.
    pub fn event_type(&self) -> EventType {
        self.spec().event_type.clone()
    }

    /// The class of its family.
    pub const fn retention(&self) -> countersign_ids::Retention {
        self.spec().retention
    }
}
