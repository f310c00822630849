//! Policy evaluations as events keep them: the full request and the answer, so anybody can ask again years later.
//!
//! With the policy set and the entity snapshot, both evidence blobs of the event, one is whole. docs/format.md, "Policy
//! evidence".

use countersign_evidence::JsonObject;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// On whose approvals an evaluation was made.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Tally {
    /// Nobody's.
    Empty,
    /// The smallest number of people that is enough, taken in the order of their names.
    Sufficient,
    /// Everybody's who may approve.
    Saturated,
    /// Those that stood when it was evaluated.
    Votes,
}

/// What the policy engine answered.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Ruling {
    /// Permitted, and forbidden by nothing.
    Permit,
    /// Forbidden, or permitted by nothing, or not evaluated without an error.
    Deny,
}

/// The name of an entity, as Cedar writes it in JSON.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EntityName {
    /// The type, with its namespace.
    #[serde(rename = "type")]
    pub kind: String,
    /// The id.
    pub id: String,
}

/// A request to the policy engine and the answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Evaluation {
    /// On whose approvals.
    pub tally: Tally,
    /// Who proposed the change.
    pub principal: EntityName,
    /// What is asked for: `dispatch`.
    pub action: EntityName,
    /// The change.
    pub resource: EntityName,
    /// Everything else, in Cedar's JSON form.
    pub context: JsonObject,
    /// The answer.
    pub ruling: Ruling,
    /// The policies that decided, by name, sorted. None at all: nothing permits it.
    pub policies: Vec<String>,
    /// Policies that could not be evaluated; any at all is a denial.
    pub errors: Vec<String>,
}
