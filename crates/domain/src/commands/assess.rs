//! Records what policy said of an action, and what approvers are shown: each assessment is a round of its own.

use countersign_events::Payload;
use countersign_events::action::Assessed;
use countersign_events::{freeze, platform::Noted};
use countersign_evidence::OrDash;
use countersign_ids::{ActionId, SiteId};

use super::Facts;
use crate::decision::{Blob, Decision, Draft, Guard};
use crate::policy::PolicyOutcome;
use crate::rejection::Rejection;
use crate::tenant::Tenant;
use crate::view;

/// Records what policy said.
#[derive(Debug, Clone, PartialEq)]
pub struct Assess {
    /// The action.
    pub action: ActionId,
    /// The answer to the question that [`Tenant::question`] gives.
    pub outcome: PolicyOutcome,
}

impl Assess {
    pub(super) fn decide(&self, tenant: &Tenant, facts: &Facts) -> Result<Decision, Rejection> {
        let action = tenant.action(&self.action)?;
        if !action.state().is_open() {
            return Err(Rejection::WrongState {
                action: self.action.clone(),
                state: action.state(),
            });
        }
        if facts.now > action.expires() {
            return Err(Rejection::ActionExpired {
                action: self.action.clone(),
                expires: action.expires(),
            });
        }
        let site = tenant.site(action.site())?;
        let observed = site
            .observed
            .as_ref()
            .ok_or_else(|| Rejection::SiteUnobserved {
                site: site.id.clone(),
            })?;
        let question = tenant.question(&self.action, facts.now)?;
        if question.round != self.outcome.question.round {
            return Err(Rejection::RoundMismatch {
                wanted: question.round,
                found: self.outcome.question.round,
            });
        }
        if question != self.outcome.question {
            return Err(Rejection::AssessmentStale {
                action: self.action.clone(),
            });
        }
        let view = view::build(tenant, action, site, observed, &self.outcome).map_err(|_| {
            Rejection::AssessmentStale {
                action: self.action.clone(),
            }
        })?;
        let mut blobs = self.outcome.blobs.clone();
        blobs.push(view.digest());
        let assessed = Assessed {
            action: self.action.clone(),
            round: question.round,
            verdict: self.outcome.verdict,
            needed: self.outcome.needed,
            evaluations: self.outcome.evaluations.clone(),
            policy_digest: self.outcome.policy_digest,
            cedar_version: self.outcome.cedar_version.clone(),
            entities_digest: self.outcome.entities_digest,
            view_digest: view.digest(),
            rollback_digest: OrDash(Some(observed.rollback_digest)),
            reasons: self.outcome.reasons.clone(),
            blobs,
        };
        let mut decision = Decision::of([Draft::new(assessed, &self.action).at(&site.id)])
            .unless(question_guards(&self.action, &site.id));
        decision.blobs.push(Blob {
            digest: view.digest(),
            bytes: view.bytes().to_vec(),
        });
        Ok(decision)
    }
}

/// What must not have happened since a question to policy was asked: whatever its answer could depend on.
pub(super) fn question_guards(action: &ActionId, site: &SiteId) -> [Guard; 3] {
    let anywhere = [Noted::SPEC, freeze::Declared::SPEC, freeze::Lifted::SPEC];
    [
        Guard::about(action),
        site_guard(site),
        Guard {
            types: anywhere.map(|spec| spec.event_type.clone()).to_vec(),
            ..Guard::default()
        },
    ]
}

/// Facts of a site that a question depends on; other actions at the site are not among them.
fn site_guard(site: &SiteId) -> Guard {
    let types = [
        countersign_events::site::Observed::SPEC,
        countersign_events::site::DocumentPinned::SPEC,
        countersign_events::connector::Paired::SPEC,
    ];
    Guard {
        types: types.map(|spec| spec.event_type.clone()).to_vec(),
        ..Guard::site(site)
    }
}
