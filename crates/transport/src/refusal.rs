//! Refusals of the control plane, read from problem+json: the few that a connector acts on, and the rest by code.

use std::fmt;

use countersign_ids::Time;
use serde::{Deserialize, Serialize};

use crate::codes;

/// The members of an RFC 9457 problem that a connector reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The stable code.
    pub code: String,
    /// One line for people.
    #[serde(default)]
    pub title: String,
    /// What exactly.
    #[serde(default)]
    pub detail: String,
    /// The server's clock, where the refusal is about clocks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_time: Option<Time>,
}

/// Why the control plane took a message not.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The connector's clock is too far off.
    ClockSkew {
        /// What the server's clock said, if it said so.
        server_time: Option<Time>,
    },
    /// The key is not the connector's current one: it was paired again, or never.
    UnknownKey,
    /// The counter is not the next one.
    Replayed,
    /// Containment forbids it.
    Contained,
    /// Anything else, by its code.
    Other {
        /// The HTTP status.
        status: u16,
        /// What the server said.
        problem: Problem,
    },
}

impl Refusal {
    /// Reads an answer that is no success.
    #[must_use]
    pub fn read(status: u16, body: &[u8]) -> Self {
        let problem: Problem = serde_json::from_slice(body).unwrap_or_else(|_| Problem {
            code: format!("http-{status}"),
            title: "the answer is no problem document".to_owned(),
            detail: String::new(),
            server_time: None,
        });
        match problem.code.as_str() {
            code if code == codes::CLOCK_SKEW.id => Self::ClockSkew {
                server_time: problem.server_time,
            },
            code if code == codes::UNKNOWN_KEY.id => Self::UnknownKey,
            code if code == codes::MESSAGE_REPLAYED.id => Self::Replayed,
            code if code == codes::CONTAINED.id => Self::Contained,
            _ => Self::Other { status, problem },
        }
    }

    /// The code as the server gave it.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::ClockSkew { .. } => codes::CLOCK_SKEW.id,
            Self::UnknownKey => codes::UNKNOWN_KEY.id,
            Self::Replayed => codes::MESSAGE_REPLAYED.id,
            Self::Contained => codes::CONTAINED.id,
            Self::Other { problem, .. } => &problem.code,
        }
    }

    /// Whether the same message may be taken later: the server is busy or failing, not refusing.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::ClockSkew { .. } | Self::Contained => true,
            Self::UnknownKey | Self::Replayed => false,
            Self::Other { status, .. } => *status >= 500 || *status == 429 || *status == 408,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClockSkew {
                server_time: Some(time),
            } => write!(f, "the clock here is too far off; the server's says {time}"),
            Self::ClockSkew { server_time: None } => f.write_str("the clock here is too far off"),
            Self::UnknownKey => f.write_str("the key is not this connector's current one"),
            Self::Replayed => f.write_str("the counter is not the next one"),
            Self::Contained => f.write_str("containment forbids it"),
            Self::Other { status, problem } => write!(
                f,
                "`{}` ({status}): {} {}",
                problem.code, problem.title, problem.detail
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_read_by_code() {
        let time = "2026-11-22T04:00:00.000Z".parse().unwrap();
        let body = br#"{"code":"clock-skew","title":"x","status":400,"server_time":"2026-11-22T04:00:00.000Z","type":"/errors/clock-skew"}"#;
        assert_eq!(
            Refusal::read(400, body),
            Refusal::ClockSkew {
                server_time: Some(time)
            }
        );
        assert_eq!(
            Refusal::read(401, br#"{"code":"unknown-key"}"#),
            Refusal::UnknownKey
        );
        assert_eq!(
            Refusal::read(409, br#"{"code":"message-replayed"}"#),
            Refusal::Replayed
        );
        assert_eq!(
            Refusal::read(403, br#"{"code":"contained"}"#),
            Refusal::Contained
        );
        assert_eq!(
            Refusal::read(404, br#"{"code":"not-found"}"#).code(),
            "not-found"
        );
        let failing = Refusal::read(502, b"<html>bad gateway</html>");
        assert_eq!(failing.code(), "http-502");
        assert!(failing.is_transient());
        assert!(!Refusal::read(400, b"{}").is_transient());
    }
}
