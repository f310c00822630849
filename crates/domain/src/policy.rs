//! What policy is asked, and what it answered: plain facts between the domain and the policy engine.
//!
//! The domain computes the question from the chain alone; the engine stands in `countersign-policy` and reads nothing else,
//! so an auditor who folds the same chain asks the same question. docs/format.md, "Policy evidence".

use std::collections::BTreeSet;

use countersign_events::Evaluation;
use countersign_ids::{ActionId, Actor, ApproverId, Digest, SiteId, TenantId};

use crate::words::{Containment, Environment, Grade, Reversibility, Risk, Verdict};

/// Everything that policy may read about one action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyInput {
    /// The tenant.
    pub tenant: TenantId,
    /// The site that the action changes.
    pub site: SiteId,
    /// What the site is for.
    pub environment: Environment,
    /// The action.
    pub action: ActionId,
    /// Its kind, as text: a policy set must answer for kinds that it does not know.
    pub kind: String,
    /// How bad it is if it goes wrong.
    pub risk: Risk,
    /// Whether its kind can be taken back.
    pub reversibility: Reversibility,
    /// How many things it touches, in the unit of its kind (pages of a static site).
    pub blast_radius: u64,
    /// How far the way back was tested.
    pub readiness: Grade,
    /// Whether a declared freeze covers the site now.
    pub freeze_active: bool,
    /// How quiet the tenant was made.
    pub containment: Containment,
    /// Who proposed it.
    pub proposer: Actor,
    /// The person for whom an agent acts.
    pub proposer_owner: Option<ApproverId>,
    /// The round of assessment that this question opens or belongs to, from 1.
    pub round: u64,
    /// How many approvals the document pinned at the site asks for, for this kind.
    pub floor: u64,
    /// Distinct people whose vote stands and counts in this round.
    pub tally: BTreeSet<ApproverId>,
    /// The entity snapshot: everybody enrolled, and whether they may give this approval.
    pub approvers: Vec<ApproverEntity>,
}

impl PolicyInput {
    /// Everybody who could approve: what a saturated tally holds.
    #[must_use]
    pub fn eligible(&self) -> BTreeSet<ApproverId> {
        self.approvers
            .iter()
            .filter(|approver| approver.excluded.is_none())
            .map(|approver| approver.id.clone())
            .collect()
    }
}

/// One person of the entity snapshot, in order of id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApproverEntity {
    /// The person.
    pub id: ApproverId,
    /// Why they cannot give this approval; none if they can.
    pub excluded: Option<Exclusion>,
}

/// Why a person cannot approve an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exclusion {
    /// They proposed it.
    Proposer,
    /// The agent that proposed it acts for them.
    Owner,
    /// The site's own document does not name a key of theirs.
    NotAtSite,
}

impl Exclusion {
    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Proposer => "proposer",
            Self::Owner => "owner",
            Self::NotAtSite => "not-at-site",
        }
    }
}

/// What policy answered, with all that somebody needs to ask it again.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyOutcome {
    /// The question.
    pub question: PolicyInput,
    /// From two evaluations: with nobody's vote, and with everybody's.
    pub verdict: Verdict,
    /// The smallest tally with which policy permits; 0 where it allows. Meaningless where it denies.
    pub needed: u64,
    /// Whether policy permits with the tally of the input.
    pub permitted: bool,
    /// Why: one line per policy that determined the verdict.
    pub reasons: Vec<String>,
    /// The evaluations with their full requests.
    pub evaluations: Vec<Evaluation>,
    /// SHA-256 of the policy set.
    pub policy_digest: Digest,
    /// The version of the engine that evaluated.
    pub cedar_version: String,
    /// SHA-256 of the entity snapshot.
    pub entities_digest: Digest,
    /// Evidence blobs of the evaluation: policy set and entity snapshot.
    pub blobs: Vec<Digest>,
}
