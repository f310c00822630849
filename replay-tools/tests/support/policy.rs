//! Policy decisions for the histories.

use std::collections::BTreeSet;

use countersign_events::Evaluation;
use countersign_events::words::Verdict;
use countersign_ids::{ApproverId, Digest};

use super::World;

/// What the events of a decision need.
pub(crate) struct Decision {
    pub verdict: Verdict,
    pub needed: u64,
    pub evaluations: Vec<Evaluation>,
    pub policy_digest: Digest,
    pub entities_digest: Digest,
    pub cedar_version: String,
    pub reasons: Vec<String>,
}

/// Decides about one action, with the votes that stand.
pub(crate) fn decide(world: &World, _action: &str, _votes: &BTreeSet<ApproverId>) -> Decision {
    let policy_digest = world.blob(super::TENANT, b"policies");
    let entities_digest = world.blob(super::TENANT, b"entities");
    Decision {
        verdict: Verdict::NeedsApproval,
        needed: 1,
        evaluations: Vec::new(),
        policy_digest,
        entities_digest,
        cedar_version: "4.14.1".to_owned(),
        reasons: Vec::new(),
    }
}
