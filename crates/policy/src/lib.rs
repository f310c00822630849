//! What policy says about one proposed change, and why: Cedar behind plain facts.
//!
//! Pure: a question of the domain and policy files in, its answer out. It reads no clock and no file; who may propose, how
//! votes are counted and what follows from a verdict is `domain`. Policies talk about `schemas/policy/
//! countersign.cedarschema`; the policies that a new installation starts with are `schemas/policy/default/`.
//! Every evaluation is recorded with its full request, so that an auditor evaluates it again from the event and its blobs
//! (docs/format.md section 4, "Policy evidence").

mod assess;
mod error;
mod evaluation;
mod facts;
mod fitting;
mod set;
mod term;

pub use assess::Assessment;
pub use error::{CODES, Error, POLICY_INVALID};
pub use evaluation::{people, reevaluate, verdict_of};
pub use set::{DEFAULTS, PolicySet, SCHEMA};

/// The version of Cedar that evaluates here, as it is recorded beside every verdict.
#[must_use]
pub fn cedar_version() -> String {
    cedar_policy::get_sdk_version().to_string()
}
