//! The action object that an order permits, and the view document that an approver was shown.
//!
//! docs/format.md, "Actions and views". What the kinds mean is the domain's; here they are bytes and digests.

use std::fmt;
use std::str::FromStr;

use countersign_chain as chain;
use countersign_ids::{Digest, SiteId, Time};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::wire::{self, JsonObject, OrDash, V1, WireError};

/// Longest name of a kind of action.
pub const KIND_BYTES_MAX: usize = 63;

/// What kind of change an action is: `release.publish`. Which kinds there are is the domain's registry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActionKind(String);

impl ActionKind {
    /// The kind as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ActionKind {
    type Err = WireError;

    fn from_str(text: &str) -> Result<Self, WireError> {
        let label = |label: &str| {
            label.starts_with(|c: char| c.is_ascii_lowercase())
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        };
        if text.len() <= KIND_BYTES_MAX && text.split('.').all(label) {
            Ok(Self(text.to_owned()))
        } else {
            Err(WireError::Shape(format!(
                "`{text}` is no kind of action: lower-case labels joined by `.`"
            )))
        }
    }
}

impl fmt::Display for ActionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for ActionKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ActionKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

impl JsonSchema for ActionKind {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ActionKind".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "maxLength": KIND_BYTES_MAX, "pattern": r"^[a-z][a-z0-9-]*(?:\.[a-z][a-z0-9-]*)*$" })
    }
}

/// How the change can be taken back.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Reversibility {
    /// By its rollback plan, wholly.
    Reversible,
    /// By its rollback plan, with a loss that the plan names.
    Partial,
    /// Not at all.
    Irreversible,
}

/// The action object: everything that an approval and an order permit, and nothing else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ActionObject {
    /// The version of this format.
    pub v: V1,
    /// The site that it changes.
    pub site: SiteId,
    /// What kind of change.
    pub kind: ActionKind,
    /// The exact parameters of the kind.
    pub parameters: JsonObject,
    /// What must be true of the site when it is executed.
    pub precondition: JsonObject,
    /// SHA-256 of the canonical bytes of the plan: what would change.
    pub plan_digest: Digest,
    /// How it can be taken back.
    pub reversibility: Reversibility,
    /// SHA-256 of the canonical bytes of the rollback plan, `-` where there is none.
    pub rollback_digest: OrDash<Digest>,
    /// It is not executed after this.
    pub expires: Time,
}

impl ActionObject {
    /// `action_digest`: SHA-256 of its RFC 8785 bytes.
    pub fn digest(&self) -> Result<Digest, WireError> {
        wire::canonical_digest(self)
    }
}

/// A view document: every fact that an approver is shown. Its member `action` is the action object, the rest is free.
#[derive(Debug, Clone, PartialEq)]
pub struct ViewDocument {
    bytes: Vec<u8>,
    action: ActionObject,
    members: JsonObject,
}

/// Why a view document is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ViewError {
    /// Not canonical JSON, or its member `action` is no action object.
    #[error("not a view document: {0}")]
    Malformed(#[from] WireError),
    /// Its digest is not the one that was signed or recorded.
    #[error("the view document hashes to `{found}`, not to `{wanted}`")]
    Digest {
        /// The digest that was signed or recorded.
        wanted: Digest,
        /// The digest of these bytes.
        found: Digest,
    },
    /// Its action object is another one.
    #[error("the view document shows another action: it hashes to `{found}`, not to `{wanted}`")]
    Action {
        /// The action digest that was signed or recorded.
        wanted: Digest,
        /// The digest of the action object shown.
        found: Digest,
    },
}

impl ViewDocument {
    /// Reads a view document: canonical JSON with the member `action`.
    pub fn parse(bytes: &[u8]) -> Result<Self, ViewError> {
        let members: JsonObject = wire::parse(bytes)?;
        let action = members.0.get("action").cloned();
        let action =
            action.ok_or_else(|| WireError::Shape("the member `action` is missing".to_owned()))?;
        let action =
            serde_json::from_value(action).map_err(|error| WireError::Shape(error.to_string()))?;
        Ok(Self {
            bytes: bytes.to_vec(),
            action,
            members,
        })
    }

    /// Builds a view document from its action object and the other members.
    pub fn build(action: &ActionObject, mut others: JsonObject) -> Result<Self, ViewError> {
        let value =
            serde_json::to_value(action).map_err(|error| WireError::Shape(error.to_string()))?;
        others.0.insert("action".to_owned(), value);
        // What is written canonically reads as what was written, so it need not be read.
        Ok(Self {
            bytes: wire::canonical(&others)?,
            action: action.clone(),
            members: others,
        })
    }

    /// Reads a view document and checks that it is the one meant and shows the action meant.
    pub fn open(
        bytes: &[u8],
        view_digest: &Digest,
        action_digest: &Digest,
    ) -> Result<Self, ViewError> {
        let found = chain::sha256(bytes);
        if found != *view_digest {
            return Err(ViewError::Digest {
                wanted: *view_digest,
                found,
            });
        }
        let view = Self::parse(bytes)?;
        let found = view.action.digest()?;
        if found != *action_digest {
            return Err(ViewError::Action {
                wanted: *action_digest,
                found,
            });
        }
        Ok(view)
    }

    /// The RFC 8785 bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// `view_digest`: SHA-256 of the bytes.
    pub fn digest(&self) -> Digest {
        chain::sha256(&self.bytes)
    }

    /// The action object that it shows.
    pub const fn action(&self) -> &ActionObject {
        &self.action
    }

    /// All members, `action` included.
    pub const fn members(&self) -> &JsonObject {
        &self.members
    }
}

/// How well the state before can be brought back.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "SCREAMING-KEBAB-CASE")]
pub enum Grade {
    /// Wholly.
    Exact,
    /// With the loss that the plan names.
    Lossy,
    /// Not at all: there is nothing to go back to.
    None,
    /// There was something, and it has changed since it was proved.
    Stale,
}

/// A rollback plan of a static site: what the connector would restore, as it proved it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RollbackPlan {
    /// The version of this format.
    pub v: V1,
    /// The site.
    pub site: SiteId,
    /// What kind of connector restores: `static`.
    pub connector: String,
    /// The release that would be restored, `-` where there is none.
    pub restore: OrDash<Digest>,
    /// How well.
    pub grade: Grade,
    /// What would be lost, in words; empty unless the grade is `LOSSY` or `STALE`.
    pub lost: Vec<String>,
}

impl RollbackPlan {
    /// `rollback_digest`: SHA-256 of its RFC 8785 bytes.
    pub fn digest(&self) -> Result<Digest, WireError> {
        wire::canonical_digest(self)
    }
}
