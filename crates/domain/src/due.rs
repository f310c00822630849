//! What is to be done about each action as the chain stands: assess, mint, expire, call unresolved.
//!
//! Found in the state and not in the event that led to it, so nothing is forgotten when a process dies in between. Each
//! kind of work has a name of its own: with the last event of its action it makes the command, which is then done once.

use countersign_ids::{ActionId, Digest, Time};

use crate::action::Action;
use crate::commands::{Command, Expire, MarkUnresolved, expires_at, unresolved_at};
use crate::state::State;
use crate::tenant::Tenant;

/// One thing that is to be done.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "a handful is made, done and dropped"
)]
pub enum Due {
    /// Ask policy for the next round.
    Assess(ActionId),
    /// Mint the order.
    Mint(ActionId),
    /// A command that needs nothing from outside, and the name of this kind of work.
    Write(ActionId, &'static str, Command),
}

impl Due {
    /// The action.
    #[must_use]
    pub const fn action(&self) -> &ActionId {
        match self {
            Self::Assess(action) | Self::Mint(action) | Self::Write(action, _, _) => action,
        }
    }

    /// The name of this kind of work.
    #[must_use]
    pub const fn work(&self) -> &'static str {
        match self {
            Self::Assess(_) => "assess",
            Self::Mint(_) => "mint",
            Self::Write(_, work, _) => work,
        }
    }
}

/// Everything that is to be done in a tenant now, with this policy set in force.
#[must_use]
pub fn due(tenant: &Tenant, policy: &Digest, now: Time) -> Vec<Due> {
    tenant
        .unsettled()
        .filter_map(|action| of(tenant, action, policy, now))
        .collect()
}

fn of(tenant: &Tenant, action: &Action, policy: &Digest, now: Time) -> Option<Due> {
    let id = || action.id().clone();
    if expires_at(action).is_some_and(|(_, due)| now > due) {
        return Some(Due::Write(id(), "expire", Expire { action: id() }.into()));
    }
    if unresolved_at(action).is_some_and(|due| now > due) {
        return Some(Due::Write(
            id(),
            "unresolved",
            MarkUnresolved { action: id() }.into(),
        ));
    }
    let site = tenant.site(action.site()).ok()?;
    // Nothing is asked about a site of which nothing is known.
    let observed = site.observed.as_ref()?;
    match action.state() {
        State::Proposed => Some(Due::Assess(id())),
        State::Waiting => {
            let assessment = action.assessment.as_ref()?;
            let changed = assessment.policy_digest != *policy
                || assessment.rollback_digest != Some(observed.rollback_digest)
                || assessment.as_planned != tenant.is_as_planned(action)
                || assessment.document_digest != site.document.as_ref().map(|pinned| pinned.digest);
            if changed {
                return Some(Due::Assess(id()));
            }
            let votes = u64::try_from(tenant.tally(action, now).len()).unwrap_or(u64::MAX);
            let ready = site.held_by.is_none()
                && assessment.as_planned
                && action.proposal.object.rollback_digest.0 == assessment.rollback_digest
                && votes >= assessment.required;
            ready.then(|| Due::Mint(id()))
        }
        State::Withdrawn
        | State::Denied
        | State::Rejected
        | State::Expired
        | State::Revoked
        | State::Authorized
        | State::Delivered
        | State::Accepted
        | State::Refused
        | State::Succeeded
        | State::Failed
        | State::Undone
        | State::Unresolved => None,
    }
}
