//! Records what became of an order: acceptance, refusal and result, each one message of the connector.

use countersign_events::action::{Accepted, Failed, Refused, Succeeded, Undone};
use countersign_events::site::DocumentPinned;
use countersign_evidence::{
    ConnectorMessage, Envelope, Outcome, OutcomeResult, PinnedDocument, VerifiedMessage,
};
use countersign_ids::SiteId;

use super::Facts;
use super::observe::accept;
use crate::action::Action;
use crate::decision::{Decision, Draft, Guard};
use crate::kinds::Kind;
use crate::rejection::Rejection;
use crate::state::State;
use crate::tenant::Tenant;

/// Records what became of an order.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordOutcome {
    /// The connector's message, verified by the key of the site's connector.
    pub message: VerifiedMessage,
    /// The same, as it is stored.
    pub envelope: Envelope,
}

impl RecordOutcome {
    pub(super) fn decide(&self, tenant: &Tenant, _: &Facts) -> Result<Decision, Rejection> {
        let message = self.message.message();
        let site = accept(tenant, message)?;
        let misdirected = || Rejection::MessageMisdirected {
            connector: message.head().connector.clone(),
        };
        let ConnectorMessage::Outcome(outcome) = message else {
            return Err(misdirected());
        };
        let action = of(tenant, &site.id, outcome).ok_or_else(misdirected)?;
        let to = match outcome.result {
            OutcomeResult::Accepted => State::Accepted,
            OutcomeResult::Refused => State::Refused,
            OutcomeResult::Succeeded => State::Succeeded,
            OutcomeResult::Failed => State::Failed,
            OutcomeResult::Undone => State::Undone,
        };
        if !action.state().leads_to(to) {
            return Err(Rejection::WrongState {
                action: action.id().clone(),
                state: action.state(),
            });
        }
        let pinned = if to == State::Succeeded {
            new_document(action)?
        } else {
            None
        };
        let drafts = pinned
            .into_iter()
            .chain([self.draft(action, outcome.result)])
            .map(|draft| draft.at(&site.id));
        Ok(Decision::of(drafts).unless([Guard::site(&site.id)]))
    }

    fn draft(&self, action: &Action, result: OutcomeResult) -> Draft {
        let (id, envelope) = (action.id().clone(), self.envelope.clone());
        match result {
            OutcomeResult::Accepted => Draft::new(
                Accepted {
                    action: id,
                    envelope,
                },
                action.id(),
            ),
            OutcomeResult::Refused => Draft::new(
                Refused {
                    action: id,
                    envelope,
                },
                action.id(),
            ),
            OutcomeResult::Succeeded => Draft::new(
                Succeeded {
                    action: id,
                    envelope,
                },
                action.id(),
            ),
            OutcomeResult::Failed => Draft::new(
                Failed {
                    action: id,
                    envelope,
                },
                action.id(),
            ),
            OutcomeResult::Undone => Draft::new(
                Undone {
                    action: id,
                    envelope,
                },
                action.id(),
            ),
        }
    }
}

/// The action of a site whose order an outcome names.
fn of<'a>(tenant: &'a Tenant, site: &SiteId, outcome: &Outcome) -> Option<&'a Action> {
    let named = |action: &&Action| {
        action
            .order
            .is_some_and(|order| order.digest == outcome.order_digest)
    };
    tenant
        .actions
        .values()
        .filter(|action| action.site() == site)
        .find(named)
}

/// The document that a site pins after its replacement succeeded; it stands whole in the plan.
fn new_document(action: &Action) -> Result<Option<Draft>, Rejection> {
    let object = &action.proposal.object;
    let Ok(Kind::ReplaceDocument { document }) = Kind::parse(&object.kind, &object.parameters)
    else {
        return Ok(None);
    };
    let refused = || Rejection::DocumentRefused {
        site: action.site().clone(),
    };
    let after = action
        .proposal
        .plan
        .0
        .get("after")
        .cloned()
        .ok_or_else(refused)?;
    let next: PinnedDocument = serde_json::from_value(after).map_err(|_| refused())?;
    if next.digest() != Ok(document) {
        return Err(refused());
    }
    Ok(Some(Draft::new(
        DocumentPinned { document: next },
        action.site(),
    )))
}
