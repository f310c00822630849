//! Connector messages: paired, observed, outcome, heartbeat and poll, as strict canonical payloads of DSSE envelopes.
//!
//! The connector signs each with its own key. `chain` is the chain that the message is appended to: `<tenant>.beats`
//! for a heartbeat, the tenant's for every other. docs/format.md, "Connector messages".

use countersign_ids::{ChainId, Code, ConnectorId, Digest, LedgerId, Nonce, SiteId, Time};
use ed25519_dalek::SigningKey;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::action::{Grade, RollbackPlan};
use crate::codes;
use crate::dsse::{DsseError, Envelope, PayloadType};
use crate::wire::{self, JsonObject, OrDash, PublicKey, V1, WireError};

/// Most observations of one outcome.
pub const OBSERVATIONS_MAX: usize = 1024;
/// Longest `code`, boot id or text of an observation.
pub const TEXT_BYTES_MAX: usize = 512;

/// Which counter a message counts on.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Stream {
    /// Heartbeats.
    Beat,
    /// Everything else that is appended.
    Action,
}

impl Stream {
    /// The name on the wire and in the command id.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Beat => "beat",
            Self::Action => "action",
        }
    }
}

/// What a connector may still do: the containment ladder, and the local stop.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Every order that passes its checks.
    Normal,
    /// Only orders with at least one approval, whatever the floor.
    AskForAll,
    /// No order for now.
    Hold,
    /// Orders of kind `release.rollback` only.
    RollbackOnly,
    /// No order, and as quiet as can be.
    Dark,
    /// It saw two histories of the chain: no order until it is paired again.
    Quiet,
    /// Stopped at the site.
    Stopped,
}

/// Size and root of the last checkpoint of the tenant's chain that the connector accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TreeHead {
    /// The number of events; 0 before the first checkpoint.
    pub size: u64,
    /// The root; that of the empty tree before the first checkpoint.
    pub root: Digest,
}

/// The members that every message of a connector carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Head {
    /// The version of this format.
    pub v: V1,
    /// The ledger.
    pub ledger: LedgerId,
    /// The chain that the message is appended to; of a poll the tenant's.
    pub chain: ChainId,
    /// The site.
    pub site: SiteId,
    /// The connector.
    pub connector: ConnectorId,
    /// The generation of its pairing.
    pub generation: u64,
    /// SHA-256 of the pinned document in force at the site.
    pub document_digest: Digest,
    /// The last checkpoint that it accepted.
    pub checkpoint: TreeHead,
    /// The version of the last key statement that it follows.
    pub keys_version: u64,
}

/// The connector pairs: it proves its new key, and repeats the digest of the code that it was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Paired {
    /// The members of every message; the generation is one above the last.
    #[serde(flatten)]
    pub head: Head,
    /// `action`.
    pub stream: Stream,
    /// 0: the first message of its generation.
    pub counter: u64,
    /// The new raw public key, which also signs this message.
    pub key: PublicKey,
    /// SHA-256 of the 16 secret bytes of the pairing code.
    pub code_digest: Digest,
}

/// What a connector saw at its static site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SiteState {
    /// The release served now, `-` where there is none.
    pub current: OrDash<Digest>,
    /// The releases that the connector holds.
    pub releases: Vec<Digest>,
    /// What a rollback would restore, as proved just now.
    pub rollback: RollbackPlan,
    /// When it looked, by its own clock.
    pub checked_at: Time,
}

/// The connector reports the state of its site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Observed {
    /// The members of every message.
    #[serde(flatten)]
    pub head: Head,
    /// `action`.
    pub stream: Stream,
    /// Dense from 0 per generation and stream.
    pub counter: u64,
    /// The state.
    pub observed: SiteState,
}

/// What became of an order.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum OutcomeResult {
    /// Every check passed and it begins: not yet success.
    Accepted,
    /// A check did not pass; nothing was done.
    Refused,
    /// Done, and observed to be so.
    Succeeded,
    /// Not done, or done and not taken back.
    Failed,
    /// Done, found wrong, and taken back.
    Undone,
}

impl OutcomeResult {
    /// Whether it is an end, with state before and after and observations.
    pub const fn is_result(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Undone)
    }
}

/// One thing that the connector looked at after the change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Observation {
    /// What it looked at: `live /about/`.
    pub what: String,
    /// Whether it was as it should be.
    pub ok: bool,
    /// What it saw.
    pub detail: String,
}

/// The connector says what became of an order: acceptance, refusal and result are one message each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Outcome {
    /// The members of every message.
    #[serde(flatten)]
    pub head: Head,
    /// `action`.
    pub stream: Stream,
    /// Dense from 0 per generation and stream.
    pub counter: u64,
    /// SHA-256 of the order's payload.
    pub order_digest: Digest,
    /// What became of it.
    pub result: OutcomeResult,
    /// Why, as a stable code; `-` for `accepted` and `succeeded`.
    pub code: OrDash<String>,
    /// On results: the state before, in the form of the precondition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<JsonObject>,
    /// On results: the state after, in the form of the precondition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<JsonObject>,
    /// On results: what was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observations: Option<Vec<Observation>>,
    /// On results: how long it took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
}

/// Readiness of the rollback, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Readiness {
    /// The grade.
    pub grade: Grade,
    /// SHA-256 of the rollback plan.
    pub rollback_digest: OrDash<Digest>,
}

/// A sign of life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Heartbeat {
    /// The members of every message; `chain` is `<tenant>.beats`.
    #[serde(flatten)]
    pub head: Head,
    /// `beat`.
    pub stream: Stream,
    /// Dense from 0 per generation and stream.
    pub counter: u64,
    /// Which run of the machine: 32 hexadecimal digits.
    pub boot: Nonce,
    /// Which run of the connector: 32 hexadecimal digits.
    pub instance: Nonce,
    /// SHA-256 of the payload of the heartbeat before, `-` for counter 0.
    pub previous: OrDash<Digest>,
    /// SHA-256 of the canonical list of releases that it holds.
    pub inventory: Digest,
    /// Readiness of the rollback, in short.
    pub readiness: Readiness,
    /// What it may still do.
    pub mode: Mode,
}

/// The connector asks for orders. A poll is signed like a message, counts on no stream and is never appended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Poll {
    /// The members of every message.
    #[serde(flatten)]
    pub head: Head,
}

/// Any message of a connector.
#[derive(Debug, Clone, PartialEq)]
pub enum ConnectorMessage {
    /// It pairs.
    Paired(Paired),
    /// It reports its site.
    Observed(Observed),
    /// It says what became of an order.
    Outcome(Outcome),
    /// It lives.
    Heartbeat(Heartbeat),
    /// It asks for orders.
    Poll(Poll),
}

/// Why a connector's message is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// The envelope does not verify.
    #[error(transparent)]
    Envelope(#[from] DsseError),
    /// The payload is no message of this payload type.
    #[error("not a connector's message: {0}")]
    Payload(#[from] WireError),
    /// An envelope of something that connectors do not sign.
    #[error("connectors do not sign `{0}`")]
    WrongType(&'static str),
    /// The stream, or the chain, is not the one of this kind of message.
    #[error(
        "a message of this kind counts on stream `{stream}` and names the chain of that stream"
    )]
    Stream {
        /// The stream of this kind.
        stream: &'static str,
    },
    /// A member that must stand does not, or one that must not does.
    #[error("the message contradicts itself: {0}")]
    Inconsistent(&'static str),
}

impl MessageError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::Envelope(_) => codes::MESSAGE_SIGNATURE,
            Self::Payload(_) | Self::WrongType(_) | Self::Stream { .. } | Self::Inconsistent(_) => {
                codes::MESSAGE_MALFORMED
            }
        }
    }
}

impl ConnectorMessage {
    /// Reads a payload, unverified.
    pub fn parse(payload_type: PayloadType, payload: &[u8]) -> Result<Self, MessageError> {
        let message = match payload_type {
            PayloadType::Outcome => Self::Outcome(wire::parse(payload)?),
            PayloadType::Heartbeat => Self::Heartbeat(wire::parse(payload)?),
            PayloadType::Message => Self::parse_other(payload)?,
            PayloadType::Keys | PayloadType::Order => {
                return Err(MessageError::WrongType(payload_type.as_str()));
            }
        };
        message.check()?;
        Ok(message)
    }

    fn parse_other(payload: &[u8]) -> Result<Self, MessageError> {
        let members: JsonObject = wire::parse(payload)?;
        if members.0.contains_key("key") {
            Ok(Self::Paired(wire::parse(payload)?))
        } else if members.0.contains_key("observed") {
            Ok(Self::Observed(wire::parse(payload)?))
        } else {
            Ok(Self::Poll(wire::parse(payload)?))
        }
    }

    /// The members that every message carries.
    pub const fn head(&self) -> &Head {
        match self {
            Self::Paired(message) => &message.head,
            Self::Observed(message) => &message.head,
            Self::Outcome(message) => &message.head,
            Self::Heartbeat(message) => &message.head,
            Self::Poll(message) => &message.head,
        }
    }

    /// Stream and counter; a poll has none.
    pub const fn counter(&self) -> Option<(Stream, u64)> {
        match self {
            Self::Paired(message) => Some((message.stream, message.counter)),
            Self::Observed(message) => Some((message.stream, message.counter)),
            Self::Outcome(message) => Some((message.stream, message.counter)),
            Self::Heartbeat(message) => Some((message.stream, message.counter)),
            Self::Poll(_) => None,
        }
    }

    /// The payload type under which it is signed.
    pub const fn payload_type(&self) -> PayloadType {
        match self {
            Self::Outcome(_) => PayloadType::Outcome,
            Self::Heartbeat(_) => PayloadType::Heartbeat,
            Self::Paired(_) | Self::Observed(_) | Self::Poll(_) => PayloadType::Message,
        }
    }

    /// The RFC 8785 bytes of the payload, checked as a reader will.
    pub fn to_payload(&self) -> Result<Vec<u8>, MessageError> {
        self.check()?;
        Ok(match self {
            Self::Paired(message) => wire::canonical(message)?,
            Self::Observed(message) => wire::canonical(message)?,
            Self::Outcome(message) => wire::canonical(message)?,
            Self::Heartbeat(message) => wire::canonical(message)?,
            Self::Poll(message) => wire::canonical(message)?,
        })
    }

    /// Signs it with the connector's key.
    pub fn sign(&self, key: &SigningKey) -> Result<Envelope, MessageError> {
        Ok(Envelope::sign(
            self.payload_type(),
            self.to_payload()?,
            [key],
        ))
    }

    fn check(&self) -> Result<(), MessageError> {
        let wanted = if matches!(self, Self::Heartbeat(_)) {
            Stream::Beat
        } else {
            Stream::Action
        };
        let chain = &self.head().chain;
        let fits = !chain.is_platform() && chain.is_beats() == (wanted == Stream::Beat);
        if !fits || self.counter().is_some_and(|(stream, _)| stream != wanted) {
            return Err(MessageError::Stream {
                stream: wanted.as_str(),
            });
        }
        match self {
            Self::Paired(paired) if paired.counter != 0 => Err(MessageError::Inconsistent(
                "pairing is the first message of its generation",
            )),
            Self::Heartbeat(beat) if (beat.counter == 0) != beat.previous.get().is_none() => Err(
                MessageError::Inconsistent("`previous` is `-` for counter 0 and only there"),
            ),
            Self::Outcome(outcome) => outcome.check(),
            Self::Paired(_) | Self::Heartbeat(_) | Self::Observed(_) | Self::Poll(_) => Ok(()),
        }
    }
}

impl Outcome {
    fn check(&self) -> Result<(), MessageError> {
        let present = [
            self.before.is_some(),
            self.after.is_some(),
            self.observations.is_some(),
            self.duration_ms.is_some(),
        ];
        if present.iter().any(|is| *is != self.result.is_result()) {
            return Err(MessageError::Inconsistent(
                "`before`, `after`, `observations` and `duration_ms` stand on results only",
            ));
        }
        let good = matches!(
            self.result,
            OutcomeResult::Accepted | OutcomeResult::Succeeded
        );
        if good != self.code.get().is_none() {
            return Err(MessageError::Inconsistent(
                "`code` is `-` for `accepted` and `succeeded`, and only there",
            ));
        }
        let short = |text: &str| !text.is_empty() && text.len() <= TEXT_BYTES_MAX;
        let observations = self.observations.as_deref().unwrap_or_default();
        let fits = observations.len() <= OBSERVATIONS_MAX
            && self.code.get().is_none_or(|code| short(code))
            && observations
                .iter()
                .all(|one| short(&one.what) && one.detail.len() <= TEXT_BYTES_MAX);
        if fits {
            Ok(())
        } else {
            Err(MessageError::Inconsistent(
                "a text or the list of observations is too long, or empty",
            ))
        }
    }
}

/// A message whose envelope carries exactly one valid signature, by the key given.
#[derive(Debug, Clone, PartialEq)]
pub struct VerifiedMessage {
    message: ConnectorMessage,
    digest: Digest,
}

impl VerifiedMessage {
    /// Verifies a message against the connector's key. A pairing must be of that key too.
    pub fn verify(envelope: &Envelope, key: &PublicKey) -> Result<Self, MessageError> {
        let payload = envelope.verify(envelope.payload_type, std::slice::from_ref(key))?;
        let message = ConnectorMessage::parse(envelope.payload_type, payload)?;
        match &message {
            ConnectorMessage::Paired(paired) if paired.key != *key => Err(
                MessageError::Inconsistent("a pairing is signed by the key that it names"),
            ),
            _ => Ok(Self {
                message,
                digest: envelope.payload_digest(),
            }),
        }
    }

    /// Verifies a pairing by the key that it brings: possession, and no more.
    pub fn verify_pairing(envelope: &Envelope) -> Result<Self, MessageError> {
        match ConnectorMessage::parse(envelope.payload_type, envelope.unverified_payload())? {
            ConnectorMessage::Paired(paired) => Self::verify(envelope, &paired.key),
            _ => Err(MessageError::Inconsistent("a pairing is wanted here")),
        }
    }

    /// The message.
    pub const fn message(&self) -> &ConnectorMessage {
        &self.message
    }

    /// SHA-256 of the payload.
    pub const fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The message, taken out.
    pub fn into_message(self) -> ConnectorMessage {
        self.message
    }
}
