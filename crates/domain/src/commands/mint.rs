//! Authorises: policy once more, the votes consumed, the signed order held, all in one append.
//!
//! [`compose`] is the only order that the chain gives; the shell signs it and the decision checks that it signed exactly that.

use countersign_events::action::Authorized;
use countersign_evidence::wire::V1;
use countersign_evidence::{Envelope, OrDash, Order};
use countersign_ids::{ActionId, Nonce, Sequence, Time, limits};

use super::Facts;
use super::assess::question_guards;
use crate::action::{Action, Assessment};
use crate::decision::{Decision, Draft, Guard, Stamp};
use crate::policy::PolicyOutcome;
use crate::rejection::Rejection;
use crate::site::Site;
use crate::state::State;
use crate::tenant::Tenant;
use crate::words::Verdict;

/// Authorises.
#[derive(Debug, Clone, PartialEq)]
pub struct Mint {
    /// The action.
    pub action: ActionId,
    /// The order, signed by the order key.
    pub envelope: Envelope,
    /// The answer to the question that [`Tenant::question_at_mint`] gives.
    pub outcome: PolicyOutcome,
}

/// The order that the chain gives for an action now.
///
/// # Errors
/// Why nothing can be authorised.
pub fn compose(
    tenant: &Tenant,
    id: &ActionId,
    nonce: Nonce,
    now: Time,
) -> Result<Order, Rejection> {
    let (_, ledger) = tenant.created()?;
    let action = tenant.action(id)?;
    let (site, _) = ready(tenant, action, now)?;
    let connector = site
        .connector
        .as_ref()
        .ok_or_else(|| Rejection::ConnectorUnpaired {
            site: site.id.clone(),
        })?;
    let document = site
        .document
        .as_ref()
        .ok_or_else(|| Rejection::DocumentRefused {
            site: site.id.clone(),
        })?;
    if tenant.nonces.contains(&nonce) {
        return Err(Rejection::NonceReused { nonce });
    }
    let votes = tenant.tally(action, now);
    let latest = votes.values().map(|vote| vote.statement.not_after).min();
    let limit = now
        .plus_millis(limits::ORDER_LIFETIME_MILLIS)
        .min(action.expires());
    Ok(Order {
        v: V1,
        ledger: *ledger,
        chain: tenant.chain.clone(),
        site: site.id.clone(),
        connector: connector.id.clone(),
        generation: connector.generation,
        action: id.clone(),
        action_object: action.proposal.object.clone(),
        statements: votes.values().map(|vote| vote.signed.clone()).collect(),
        rollback_digest: action.proposal.object.rollback_digest,
        document_digest: document.digest,
        not_before: now,
        expires: latest.map_or(limit, |latest| latest.min(limit)),
        nonce,
        sequence: Sequence::new(site.orders).next(),
    })
}

/// What stands between an action that is open and its order; none where nothing does, or where the action is past it.
///
/// Votes stand last: what no vote can help is told before anybody is asked for one.
#[must_use]
pub fn obstacle(tenant: &Tenant, action: &Action, now: Time) -> Option<Rejection> {
    if !action.state().is_open() {
        return None;
    }
    let site = tenant.site(action.site()).ok()?;
    let Some(observed) = &site.observed else {
        return Some(Rejection::SiteUnobserved {
            site: site.id.clone(),
        });
    };
    if action.state() == State::Proposed {
        return None;
    }
    let obstacle = ready(tenant, action, now).err()?;
    let promised = action.proposal.object.rollback_digest.0;
    if matches!(obstacle, Rejection::ReadinessChanged { .. })
        && promised == Some(observed.rollback_digest)
    {
        // The way back is the promised one again: the next round, which is due, finds it so.
        return Some(Rejection::AssessmentStale {
            action: action.id().clone(),
        });
    }
    Some(obstacle)
}

/// Whether an action is where an order can be minted; its site and assessment.
fn ready<'a>(
    tenant: &'a Tenant,
    action: &'a Action,
    now: Time,
) -> Result<(&'a Site, &'a Assessment), Rejection> {
    let id = action.id();
    if action.state() != State::Waiting {
        return Err(Rejection::WrongState {
            action: id.clone(),
            state: action.state(),
        });
    }
    if now > action.expires() {
        return Err(Rejection::ActionExpired {
            action: id.clone(),
            expires: action.expires(),
        });
    }
    let site = tenant.site(action.site())?;
    let stale = || Rejection::AssessmentStale { action: id.clone() };
    let assessment = action.assessment.as_ref().ok_or_else(stale)?;
    if let Some(by) = &site.held_by {
        return Err(Rejection::SiteLocked {
            site: site.id.clone(),
            by: by.clone(),
        });
    }
    let observed = site
        .observed
        .as_ref()
        .ok_or_else(|| Rejection::SiteUnobserved {
            site: site.id.clone(),
        })?;
    if !tenant.is_as_planned(action) {
        return Err(Rejection::PreconditionChanged {
            site: site.id.clone(),
        });
    }
    let promised = action.proposal.object.rollback_digest.0;
    if promised != Some(observed.rollback_digest) || promised != assessment.rollback_digest {
        return Err(Rejection::ReadinessChanged {
            site: site.id.clone(),
        });
    }
    if assessment.document_digest != site.document.as_ref().map(|pinned| pinned.digest) {
        return Err(stale());
    }
    let have = u64::try_from(tenant.tally(action, now).len()).unwrap_or(u64::MAX);
    if have < assessment.required {
        return Err(Rejection::ApprovalsMissing {
            needed: assessment.required,
            have,
        });
    }
    Ok((site, assessment))
}

impl Mint {
    pub(super) fn decide(&self, tenant: &Tenant, facts: &Facts) -> Result<Decision, Rejection> {
        let action = tenant.action(&self.action)?;
        let (site, assessment) = ready(tenant, action, facts.now)?;
        let order = Order::parse(self.envelope.unverified_payload())
            .map_err(|_| Rejection::OrderMismatch { member: "payload" })?;
        if self.outcome.policy_digest != assessment.policy_digest {
            return Err(Rejection::PolicyChanged {
                action: self.action.clone(),
            });
        }
        if tenant.question_at_mint(&self.action, facts.now)? != self.outcome.question {
            return Err(Rejection::AssessmentStale {
                action: self.action.clone(),
            });
        }
        if !self.outcome.permitted || self.outcome.verdict == Verdict::Deny {
            return Err(Rejection::PolicyDenies {
                action: self.action.clone(),
            });
        }
        check(
            &order,
            &compose(tenant, &self.action, order.nonce, order.not_before)?,
        )?;
        let (from, until) = (order.not_before, order.expires);
        let authorized = Authorized {
            action: self.action.clone(),
            round: action.round,
            envelope: self.envelope.clone(),
            evaluations: self.outcome.evaluations.clone(),
            policy_digest: self.outcome.policy_digest,
            cedar_version: self.outcome.cedar_version.clone(),
            entities_digest: self.outcome.entities_digest,
            reasons: self.outcome.reasons.clone(),
            blobs: self.outcome.blobs.clone(),
        };
        let draft = Draft::new(authorized, &self.action)
            .at(&site.id)
            .valid(from, until)
            .stamped(Stamp::Fresh);
        // Any event at the site counts: the lock, the sequence of orders and the connector stand there.
        let guards = question_guards(&self.action, &site.id)
            .into_iter()
            .chain([Guard::site(&site.id)]);
        Ok(Decision::of([draft]).unless(guards))
    }
}

/// Names the first member in which a signed order is not the one that the chain gives.
fn check(signed: &Order, given: &Order) -> Result<(), Rejection> {
    for (member, same) in [
        ("ledger", signed.ledger == given.ledger),
        ("chain", signed.chain == given.chain),
        ("site", signed.site == given.site),
        ("connector", signed.connector == given.connector),
        ("generation", signed.generation == given.generation),
        ("action", signed.action == given.action),
        ("action_object", signed.action_object == given.action_object),
        ("statements", signed.statements == given.statements),
        (
            "rollback_digest",
            signed.rollback_digest == OrDash(given.rollback_digest.0),
        ),
        (
            "document_digest",
            signed.document_digest == given.document_digest,
        ),
        ("not_before", signed.not_before == given.not_before),
        ("expires", signed.expires == given.expires),
        ("nonce", signed.nonce == given.nonce),
        ("sequence", signed.sequence == given.sequence),
    ] {
        if !same {
            return Err(Rejection::OrderMismatch { member });
        }
    }
    Ok(())
}
