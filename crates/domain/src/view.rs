//! The view document: every fact that an approver is shown, and nothing that they are not. Console and CLI render it as it is.
//!
//! Built from the chain and the policy outcome alone, so an auditor who folds the chain builds the same bytes.

use countersign_evidence::action::ViewError;
use countersign_evidence::{JsonObject, ViewDocument};
use serde_json::{Value, json};

use crate::action::Action;
use crate::kinds::Kind;
use crate::policy::PolicyOutcome;
use crate::site::{Observed, Site};
use crate::tenant::Tenant;
use crate::words::{Verdict, grade_word, reversibility_word};

pub(crate) fn build(
    tenant: &Tenant,
    action: &Action,
    site: &Site,
    observed: &Observed,
    outcome: &PolicyOutcome,
) -> Result<ViewDocument, ViewError> {
    let proposal = &action.proposal;
    let required = outcome.needed.max(tenant.floor(action));
    let release = |digest: Option<&countersign_ids::Digest>| match digest {
        Some(digest) => json!({ "release": digest, "label": site.label(digest) }),
        None => Value::String("-".to_owned()),
    };
    let policy = json!({
        "verdict": outcome.verdict,
        "approvals_needed": required,
        "floor": tenant.floor(action),
        "freeze_active": outcome.question.freeze_active,
        "reasons": outcome.reasons,
        "policy_digest": outcome.policy_digest,
    });
    let rollback = json!({
        "readiness": grade_word(observed.rollback.grade),
        "restores": release(observed.rollback.restore.get()),
        "lost": observed.rollback.lost,
        "digest": observed.rollback_digest,
        "checked_at": observed.checked_at,
    });
    let members = json!({
        "v": 1,
        "sentence": sentence(action, site, observed, outcome.verdict, required),
        "title": proposal.title,
        "ledger": tenant.ledger(),
        "tenant": tenant.id(),
        "site": { "id": site.id, "name": site.name, "environment": site.environment },
        "now_live": release(observed.current.as_ref()),
        "plan": proposal.plan,
        "risk": proposal.risk,
        "reversibility": reversibility_word(proposal.object.reversibility),
        "blast_radius": proposal.blast_radius,
        "as_planned": tenant.is_as_planned(action),
        "rollback": rollback,
        "policy": policy,
        "round": outcome.question.round,
        "action_id": proposal.id,
        "proposed_at": proposal.at,
        "proposer": { "kind": proposal.proposer.kind, "id": proposal.proposer.id },
        "proposer_owner": proposal.owner.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
        "reason_digest": proposal.reason_digest.map_or_else(|| "-".to_owned(), |digest| digest.to_string()),
        "expires": proposal.object.expires,
    });
    let members = match members {
        Value::Object(members) => JsonObject(members.into_iter().collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            JsonObject::default()
        }
    };
    ViewDocument::build(&proposal.object, members)
}

/// What a person reads first.
fn sentence(
    action: &Action,
    site: &Site,
    observed: &Observed,
    verdict: Verdict,
    required: u64,
) -> String {
    let object = &action.proposal.object;
    let what = match Kind::parse(&object.kind, &object.parameters) {
        Ok(Kind::Publish { release }) => format!("Publish release `{}`", site.label(&release)),
        Ok(Kind::Rollback { release }) => format!("Return to release `{}`", site.label(&release)),
        Ok(Kind::ReplaceDocument { .. }) => "Replace the pinned document".to_owned(),
        Err(_) => format!("Do `{}`", object.kind),
    };
    let needs = match verdict {
        Verdict::Allow if required == 0 => "Policy allows it without approval".to_owned(),
        Verdict::Allow | Verdict::NeedsApproval => {
            format!(
                "It needs {}",
                crate::plan::count(usize::try_from(required).unwrap_or(usize::MAX), "approval")
            )
        }
        Verdict::Deny => "Policy denies it".to_owned(),
    };
    format!(
        "{what} on {} ({}). {}; the way back is {}. {needs}; it expires at {}.",
        site.name,
        site.environment.as_str(),
        reversibility_word(object.reversibility),
        grade_word(observed.rollback.grade),
        object.expires,
    )
}
