//! Notes that a time passed: nobody acted, or nothing was heard of an order.

use countersign_events::action::{Expired, Unresolved};
use countersign_ids::{ActionId, Time};

use super::Facts;
use crate::action::Action;
use crate::decision::{Decision, Draft, Guard};
use crate::rejection::Rejection;
use crate::state::State;
use crate::tenant::Tenant;
use crate::words::ExpiredFrom;

/// How long after an order's end a delivered one is unresolved.
pub(crate) const SILENCE_MILLIS: u64 = 30 * 1000;
/// How long a connector may work on what it accepted before it is unresolved.
pub(crate) const WORK_MILLIS_MAX: u64 = 10 * 60 * 1000;

/// Notes that nobody acted in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expire {
    /// The action.
    pub action: ActionId,
}

/// Notes that nothing was heard of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarkUnresolved {
    /// The action.
    pub action: ActionId,
}

/// When an action expires where it is; none where it does not expire any more.
pub(crate) fn expires_at(action: &Action) -> Option<(ExpiredFrom, Time)> {
    match action.state() {
        State::Proposed => Some((ExpiredFrom::Proposed, action.expires())),
        State::Waiting => Some((ExpiredFrom::Waiting, action.expires())),
        State::Authorized => action
            .order
            .map(|order| (ExpiredFrom::Authorized, order.expires)),
        State::Withdrawn
        | State::Denied
        | State::Rejected
        | State::Expired
        | State::Revoked
        | State::Delivered
        | State::Accepted
        | State::Refused
        | State::Succeeded
        | State::Failed
        | State::Undone
        | State::Unresolved => None,
    }
}

/// When an order of which nothing was heard is unresolved.
pub(crate) fn unresolved_at(action: &Action) -> Option<Time> {
    let order = action.order?;
    match action.state() {
        State::Delivered => Some(order.expires.plus_millis(SILENCE_MILLIS)),
        State::Accepted => Some(action.since.plus_millis(WORK_MILLIS_MAX)),
        State::Proposed
        | State::Waiting
        | State::Authorized
        | State::Withdrawn
        | State::Denied
        | State::Rejected
        | State::Expired
        | State::Revoked
        | State::Refused
        | State::Succeeded
        | State::Failed
        | State::Undone
        | State::Unresolved => None,
    }
}

impl Expire {
    pub(super) fn decide(&self, tenant: &Tenant, facts: &Facts) -> Result<Decision, Rejection> {
        let action = tenant.action(&self.action)?;
        let wrong = || Rejection::WrongState {
            action: self.action.clone(),
            state: action.state(),
        };
        let (from, due) = expires_at(action).ok_or_else(wrong)?;
        if facts.now <= due {
            return Err(Rejection::NotDue {
                action: self.action.clone(),
                due,
            });
        }
        let draft = Draft::new(
            Expired {
                action: self.action.clone(),
                from,
            },
            &self.action,
        )
        .at(action.site());
        Ok(Decision::of([draft]).unless([Guard::about(&self.action)]))
    }
}

impl MarkUnresolved {
    pub(super) fn decide(&self, tenant: &Tenant, facts: &Facts) -> Result<Decision, Rejection> {
        let action = tenant.action(&self.action)?;
        let wrong = || Rejection::WrongState {
            action: self.action.clone(),
            state: action.state(),
        };
        let due = unresolved_at(action).ok_or_else(wrong)?;
        if facts.now <= due {
            return Err(Rejection::NotDue {
                action: self.action.clone(),
                due,
            });
        }
        let draft = Draft::new(
            Unresolved {
                action: self.action.clone(),
            },
            &self.action,
        )
        .at(action.site());
        Ok(Decision::of([draft]).unless([Guard::about(&self.action)]))
    }
}
