//! The closed registry of kinds: what parameters each takes, how bad it is, how it is taken back.
//!
//! A kind that is not here cannot be proposed; one that policy does not know is denied there.

use countersign_evidence::{ActionKind, JsonObject};
use countersign_ids::Digest;

use crate::plan::Plan;
use crate::words::{Reversibility, Risk};

/// A kind of action with its parameters, parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Serve a release that was added to the site.
    Publish {
        /// The release.
        release: Digest,
    },
    /// Return to a release that the site still holds.
    Rollback {
        /// The release.
        release: Digest,
    },
    /// Replace the document that the site pins.
    ReplaceDocument {
        /// The new document.
        document: Digest,
    },
}

/// Why a kind and its parameters are not one of the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoKind {
    /// There is no such kind.
    Unknown,
    /// The parameters are others than the kind's.
    Parameters,
}

impl Kind {
    /// The names of all kinds.
    pub const NAMES: &[&str] = &["release.publish", "release.rollback", "document.replace"];

    /// Reads a kind and exactly its parameters.
    pub fn parse(kind: &ActionKind, parameters: &JsonObject) -> Result<Self, NoKind> {
        let only = |member: &str| -> Result<Digest, NoKind> {
            let digest = parameters
                .text(member)
                .and_then(|text| text.parse().ok())
                .ok_or(NoKind::Parameters)?;
            if parameters.0.len() == 1 {
                Ok(digest)
            } else {
                Err(NoKind::Parameters)
            }
        };
        match kind.as_str() {
            "release.publish" => Ok(Self::Publish {
                release: only("release")?,
            }),
            "release.rollback" => Ok(Self::Rollback {
                release: only("release")?,
            }),
            "document.replace" => Ok(Self::ReplaceDocument {
                document: only("document")?,
            }),
            _ => Err(NoKind::Unknown),
        }
    }

    /// How bad it is if it goes wrong. Publishing something that takes pages away is worse than publishing.
    #[must_use]
    pub const fn risk(self, plan: &Plan) -> Risk {
        match self {
            Self::Publish { .. } if plan.pages_removed > 0 => Risk::High,
            Self::Publish { .. } => Risk::Medium,
            Self::Rollback { .. } => Risk::Low,
            Self::ReplaceDocument { .. } => Risk::Critical,
        }
    }

    /// How it is taken back. A document is replaced again only by those whom the new one names.
    #[must_use]
    pub const fn reversibility(self) -> Reversibility {
        match self {
            Self::Publish { .. } | Self::Rollback { .. } => Reversibility::Reversible,
            Self::ReplaceDocument { .. } => Reversibility::Partial,
        }
    }

    /// The release that it serves, if it serves one.
    #[must_use]
    pub const fn release(self) -> Option<Digest> {
        match self {
            Self::Publish { release } | Self::Rollback { release } => Some(release),
            Self::ReplaceDocument { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_takes_exactly_its_parameters() {
        let digest = Digest::from_bytes([7; 32]).to_string();
        let one = |member: &str| JsonObject::of_strings([(member, digest.as_str())]);
        let two = JsonObject::of_strings([("release", digest.as_str()), ("force", "yes")]);
        for (kind, parameters, expected) in [
            (
                "release.publish",
                one("release"),
                Ok(Kind::Publish {
                    release: Digest::from_bytes([7; 32]),
                }),
            ),
            (
                "release.rollback",
                one("release"),
                Ok(Kind::Rollback {
                    release: Digest::from_bytes([7; 32]),
                }),
            ),
            (
                "document.replace",
                one("document"),
                Ok(Kind::ReplaceDocument {
                    document: Digest::from_bytes([7; 32]),
                }),
            ),
            ("release.publish", one("document"), Err(NoKind::Parameters)),
            ("release.publish", two, Err(NoKind::Parameters)),
            (
                "release.publish",
                JsonObject::of_strings([("release", "2")]),
                Err(NoKind::Parameters),
            ),
            (
                "release.publish",
                JsonObject::default(),
                Err(NoKind::Parameters),
            ),
            ("release.unpublish", one("release"), Err(NoKind::Unknown)),
        ] {
            assert_eq!(
                Kind::parse(&kind.parse().unwrap(), &parameters),
                expected,
                "{kind} {parameters:?}"
            );
        }
    }

    #[test]
    fn every_named_kind_is_known() {
        for name in Kind::NAMES {
            assert_eq!(
                Kind::parse(&name.parse().unwrap(), &JsonObject::default()),
                Err(NoKind::Parameters),
                "{name}"
            );
        }
    }
}
