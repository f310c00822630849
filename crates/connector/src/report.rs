//! What waits to be said on stream `action`: an observation, or what became of an order.

use countersign_evidence::{
    ConnectorMessage, Envelope, JsonObject, OrDash, OutcomeResult, PayloadType,
    message::{Observation, SiteState},
};
use countersign_ids::Digest;
use serde::{Deserialize, Serialize};

/// What waits to be said on stream `action`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "report", deny_unknown_fields)]
pub(crate) enum Report {
    Observed {
        document: Digest,
        observed: SiteState,
    },
    Outcome {
        document: Digest,
        order_digest: Digest,
        result: OutcomeResult,
        code: OrDash<String>,
        ended: Option<Ended>,
    },
}

/// What a result says on top.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ended {
    pub(crate) before: JsonObject,
    pub(crate) after: JsonObject,
    pub(crate) observations: Vec<Observation>,
    pub(crate) duration_ms: u64,
}

impl Report {
    /// The outcome in a message of our own; none if the message is about something else.
    pub(crate) fn of_outcome(envelope: &Envelope) -> Option<Self> {
        if envelope.payload_type != PayloadType::Outcome {
            return None;
        }
        let message =
            ConnectorMessage::parse(envelope.payload_type, envelope.unverified_payload()).ok()?;
        let ConnectorMessage::Outcome(outcome) = message else {
            return None;
        };
        let ended = match (
            outcome.before,
            outcome.after,
            outcome.observations,
            outcome.duration_ms,
        ) {
            (Some(before), Some(after), Some(observations), Some(duration_ms)) => Some(Ended {
                before,
                after,
                observations,
                duration_ms,
            }),
            _ => None,
        };
        Some(Self::Outcome {
            document: outcome.head.document_digest,
            order_digest: outcome.order_digest,
            result: outcome.result,
            code: outcome.code,
            ended,
        })
    }

    /// The same outcome, to be said by a connector that has pinned another document since; an observation is made anew.
    pub(crate) fn carried(self, pinned: Digest) -> Option<Self> {
        match self {
            Self::Observed { .. } => None,
            Self::Outcome {
                document: _,
                order_digest,
                result,
                code,
                ended,
            } => Some(Self::Outcome {
                document: pinned,
                order_digest,
                result,
                code,
                ended,
            }),
        }
    }
}

/// The word of a result, as it stands in messages.
pub(crate) const fn word(result: OutcomeResult) -> &'static str {
    match result {
        OutcomeResult::Accepted => "accepted",
        OutcomeResult::Refused => "refused",
        OutcomeResult::Succeeded => "succeeded",
        OutcomeResult::Failed => "failed",
        OutcomeResult::Undone => "undone",
    }
}
