//! Takes a proposal back before anything was authorised: by its proposer, or by somebody in charge.

use countersign_events::action::{Revoked, Withdrawn};
use countersign_ids::ActionId;

use super::Facts;
use crate::action::Action;
use crate::decision::{Decision, Draft, Guard};
use crate::rejection::Rejection;
use crate::tenant::Tenant;
use crate::text::{self, Reason, Sealed};

/// Takes the sender's own proposal back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withdraw {
    /// The action.
    pub action: ActionId,
    /// Why.
    pub reason: Option<Reason>,
}

/// Takes somebody's proposal back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoke {
    /// The action.
    pub action: ActionId,
    /// Why.
    pub reason: Option<Reason>,
}

impl Withdraw {
    pub(super) fn decide(&self, tenant: &Tenant, facts: &Facts) -> Result<Decision, Rejection> {
        let action = open(tenant, &self.action)?;
        if action.proposal.proposer != facts.actor {
            return Err(Rejection::NotProposer {
                action: self.action.clone(),
            });
        }
        let (reason_digest, sealed) =
            text::given(tenant, self.reason.as_ref(), &self.action, action.site())?;
        let draft = Draft::new(
            Withdrawn {
                action: self.action.clone(),
                reason_digest,
            },
            &self.action,
        );
        Ok(taken_back(draft.at(action.site()), sealed, &self.action))
    }
}

impl Revoke {
    pub(super) fn decide(&self, tenant: &Tenant, _: &Facts) -> Result<Decision, Rejection> {
        let action = open(tenant, &self.action)?;
        let (reason_digest, sealed) =
            text::given(tenant, self.reason.as_ref(), &self.action, action.site())?;
        let draft = Draft::new(
            Revoked {
                action: self.action.clone(),
                reason_digest,
            },
            &self.action,
        );
        Ok(taken_back(draft.at(action.site()), sealed, &self.action))
    }
}

fn open<'a>(tenant: &'a Tenant, id: &ActionId) -> Result<&'a Action, Rejection> {
    let action = tenant.action(id)?;
    if action.state().is_open() {
        Ok(action)
    } else {
        Err(Rejection::WrongState {
            action: id.clone(),
            state: action.state(),
        })
    }
}

fn taken_back(draft: Draft, sealed: Sealed, action: &ActionId) -> Decision {
    sealed.behind(draft).unless([Guard::about(action)])
}
