//! Policy decisions for the histories, by the real engine with the policies that a new installation starts with.

use std::collections::BTreeSet;

use countersign_domain::words::{Containment, Environment, Grade, Reversibility, Risk};
use countersign_domain::{ApproverEntity, PolicyInput};
use countersign_events::Evaluation;
use countersign_events::words::Verdict;
use countersign_ids::{Actor, ApproverId, AuthType, Digest};
use countersign_policy::PolicySet;

use super::{TENANT, World, story::SITE};

/// What the events of a decision need.
pub(crate) struct Decision {
    pub(crate) verdict: Verdict,
    pub(crate) needed: u64,
    pub(crate) evaluations: Vec<Evaluation>,
    pub(crate) policy_digest: Digest,
    pub(crate) entities_digest: Digest,
    pub(crate) cedar_version: String,
    pub(crate) reasons: Vec<String>,
}

/// Decides about one action, with the votes that stand.
pub(crate) fn decide(world: &World, action: &str, votes: &BTreeSet<ApproverId>) -> Decision {
    let person = |id: &str| ApproverEntity {
        id: id.parse().unwrap(),
        excluded: None,
    };
    let input = PolicyInput {
        tenant: TENANT.parse().unwrap(),
        site: SITE.parse().unwrap(),
        environment: Environment::Production,
        action: action.parse().unwrap(),
        kind: "release.publish".to_owned(),
        risk: Risk::Medium,
        reversibility: Reversibility::Reversible,
        blast_radius: 3,
        readiness: Grade::Exact,
        freeze_active: false,
        containment: Containment::Normal,
        proposer: Actor {
            kind: AuthType::Agent,
            id: "agent-7".parse().unwrap(),
        },
        proposer_owner: Some("petra".parse().unwrap()),
        round: 1,
        floor: 1,
        tally: votes.clone(),
        approvers: vec![person("mira"), person("theo")],
    };
    let set = PolicySet::defaults().unwrap();
    let assessment = set.assess(&input).unwrap();
    let outcome = assessment.outcome;
    assert_eq!(world.blob(TENANT, set.blob()), outcome.policy_digest);
    assert_eq!(
        world.blob(TENANT, &assessment.entities),
        outcome.entities_digest
    );
    Decision {
        verdict: outcome.verdict,
        needed: outcome.needed,
        evaluations: outcome.evaluations,
        policy_digest: outcome.policy_digest,
        entities_digest: outcome.entities_digest,
        cedar_version: outcome.cedar_version,
        reasons: outcome.reasons,
    }
}
