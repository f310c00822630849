//! Actions as callers see them: in lists, whole, and before they are proposed.

use countersign_domain::{Action, Exclusion, Rejection};
use countersign_events::words::{Risk, Verdict};
use countersign_evidence::{ActionObject, JsonObject};
use countersign_ids::{
    ActionId, ApproverId, ChainId, Digest, EventType, LedgerId, Sequence, SiteId, Time,
};
use countersign_service::{ActionDetail, ActionInfo, HistoryLine, Preview};
use serde::Serialize;
use utoipa::ToSchema;

use crate::routes::ActorBody;
use crate::schema;

/// One line about an action.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ActionLine {
    /// Its name.
    #[schema(value_type = schema::ActionId)]
    action: ActionId,
    /// The site that it changes.
    #[schema(value_type = schema::SiteId)]
    site: SiteId,
    /// What kind of change.
    kind: String,
    /// One line for people.
    title: String,
    /// Where it is in its life.
    state: &'static str,
    /// When it came there.
    #[schema(value_type = schema::Time)]
    since: Time,
    /// How bad it is if it goes wrong.
    #[schema(value_type = schema::Risk)]
    risk: Risk,
    /// How many people have to approve; absent before it was assessed.
    needed: Option<u64>,
    /// How many have approved in this round.
    approved: usize,
    /// Nothing is authorised for it after this.
    #[schema(value_type = schema::Time)]
    expires: Time,
    /// Who proposed it.
    proposer: ActorBody,
    /// When it was proposed.
    #[schema(value_type = schema::Time)]
    proposed_at: Time,
    /// What stands between it and its order; absent where nothing does, or where it is past it.
    #[serde(skip_serializing_if = "Option::is_none")]
    waits_for: Option<WaitsFor>,
}

/// What stands between an action and its order.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WaitsFor {
    /// The code of the refusal that an order would meet now; it has a page.
    code: &'static str,
    /// The same in words.
    detail: String,
    /// Whether waiting does not help by itself: propose the change again, against the site as it is now.
    propose_again: bool,
}

impl From<&Rejection> for WaitsFor {
    fn from(obstacle: &Rejection) -> Self {
        Self {
            code: obstacle.code().id,
            detail: obstacle.to_string(),
            propose_again: obstacle.asks_for_new_proposal(),
        }
    }
}

impl From<&ActionInfo> for ActionLine {
    fn from(info: &ActionInfo) -> Self {
        Self::new(&info.action, info.waits_for.as_ref())
    }
}

impl ActionLine {
    fn new(action: &Action, waits_for: Option<&Rejection>) -> Self {
        let proposal = &action.proposal;
        Self {
            action: proposal.id.clone(),
            site: proposal.object.site.clone(),
            kind: proposal.object.kind.to_string(),
            title: proposal.title.clone(),
            state: action.state().as_str(),
            since: action.since,
            risk: proposal.risk,
            needed: action
                .assessment
                .as_ref()
                .map(|assessment| assessment.required),
            approved: action.votes.len(),
            expires: action.expires(),
            proposer: (&proposal.proposer).into(),
            proposed_at: proposal.at,
            waits_for: waits_for.map(WaitsFor::from),
        }
    }
}

/// An action, with everything that an approver needs to sign about it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ActionBody {
    /// The line about it.
    #[serde(flatten)]
    line: ActionLine,
    /// The ledger, for the statement.
    #[schema(value_type = schema::LedgerId)]
    ledger: LedgerId,
    /// The chain, for the statement.
    #[schema(value_type = schema::ChainId)]
    chain: ChainId,
    /// The round of assessment; 0 before the first.
    round: u64,
    /// What policy said.
    #[schema(value_type = Option<schema::Verdict>)]
    verdict: Option<Verdict>,
    /// The reasons of the verdict.
    reasons: Vec<String>,
    /// What would be executed.
    #[schema(value_type = Object)]
    action_object: ActionObject,
    /// SHA-256 of the action object.
    #[schema(value_type = schema::Digest)]
    action_digest: Digest,
    /// What would change.
    #[schema(value_type = Object)]
    plan: JsonObject,
    /// How many things it touches.
    blast_radius: u64,
    /// The view document, a blob.
    #[schema(value_type = Option<schema::Digest>)]
    view_digest: Option<Digest>,
    /// The policies that were asked, a blob.
    #[schema(value_type = Option<schema::Digest>)]
    policy_digest: Option<Digest>,
    /// The way back that approvers are shown.
    #[schema(value_type = Option<schema::Digest>)]
    rollback_digest: Option<Digest>,
    /// The document that the site pins.
    #[schema(value_type = Option<schema::Digest>)]
    document_digest: Option<Digest>,
    /// The person for whom the proposing agent acts.
    #[schema(value_type = Option<schema::ApproverId>)]
    owner: Option<ApproverId>,
    /// Who approved in this round.
    #[schema(value_type = Vec<schema::ApproverId>)]
    approvals: Vec<ApproverId>,
    /// Who could approve, and who could not and why.
    approvers: Vec<ApproverLine>,
    /// The order, once minted.
    order: Option<OrderBody>,
    /// The code of the connector's last outcome.
    outcome_code: Option<String>,
    /// What the chain says of it, oldest first.
    history: Vec<HistoryBody>,
}

/// A person who could approve, or could not.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ApproverLine {
    /// The person.
    #[schema(value_type = schema::ApproverId)]
    approver: ApproverId,
    /// Why they cannot approve this action: `proposer`, `owner` or `not-at-site`.
    #[serde(skip_serializing_if = "Option::is_none")]
    excluded: Option<&'static str>,
}

/// What an order is known by.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OrderBody {
    /// SHA-256 of its payload.
    #[schema(value_type = schema::Digest)]
    digest: Digest,
    /// Its sequence.
    #[schema(value_type = schema::Sequence)]
    sequence: Sequence,
    /// It does not count after this.
    #[schema(value_type = schema::Time)]
    expires: Time,
}

/// One event of an action.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HistoryBody {
    /// Where it stands.
    #[schema(value_type = schema::Sequence)]
    sequence: Sequence,
    /// What happened.
    #[schema(value_type = schema::EventType)]
    r#type: EventType,
    /// When.
    #[schema(value_type = schema::Time)]
    time: Time,
    /// By whom.
    actor: ActorBody,
}

fn approvers(approvers: Vec<(ApproverId, Option<Exclusion>)>) -> Vec<ApproverLine> {
    approvers
        .into_iter()
        .map(|(approver, excluded)| ApproverLine {
            approver,
            excluded: excluded.map(Exclusion::as_str),
        })
        .collect()
}

impl From<HistoryLine> for HistoryBody {
    fn from(line: HistoryLine) -> Self {
        Self {
            sequence: line.sequence,
            r#type: line.event_type,
            time: line.time,
            actor: line.actor.into(),
        }
    }
}

impl From<ActionDetail> for ActionBody {
    fn from(detail: ActionDetail) -> Self {
        let line = ActionLine::new(&detail.action, detail.waits_for.as_ref());
        let Action {
            proposal,
            round,
            assessment,
            votes,
            order,
            outcome_code,
            ..
        } = detail.action;
        let assessment = assessment.as_ref();
        Self {
            line,
            ledger: detail.ledger,
            chain: detail.chain,
            round,
            verdict: assessment.map(|assessment| assessment.verdict),
            reasons: detail.reasons,
            action_digest: proposal.digest,
            action_object: proposal.object,
            plan: proposal.plan,
            blast_radius: proposal.blast_radius,
            view_digest: assessment.map(|assessment| assessment.view_digest),
            policy_digest: assessment.map(|assessment| assessment.policy_digest),
            rollback_digest: assessment.and_then(|assessment| assessment.rollback_digest),
            document_digest: detail.document_digest,
            owner: proposal.owner,
            approvals: votes.into_keys().collect(),
            approvers: approvers(detail.approvers),
            order: order.map(|order| OrderBody {
                digest: order.digest,
                sequence: order.sequence,
                expires: order.expires,
            }),
            outcome_code,
            history: detail.history.into_iter().map(HistoryBody::from).collect(),
        }
    }
}

/// What would happen to a proposal.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PreviewBody {
    /// What would be executed.
    #[schema(value_type = Object)]
    action_object: ActionObject,
    /// One line for people.
    title: String,
    /// How bad it is if it goes wrong.
    #[schema(value_type = schema::Risk)]
    risk: Risk,
    /// How many things it touches.
    blast_radius: u64,
    /// What would change.
    #[schema(value_type = Object)]
    plan: JsonObject,
    /// What policy says.
    #[schema(value_type = schema::Verdict)]
    verdict: Verdict,
    /// How many people would have to approve.
    needed: u64,
    /// Who could, and who could not and why.
    approvers: Vec<ApproverLine>,
    /// The reasons of the verdict.
    reasons: Vec<String>,
    /// The policies that were asked.
    #[schema(value_type = schema::Digest)]
    policy_digest: Digest,
}

impl From<Preview> for PreviewBody {
    fn from(preview: Preview) -> Self {
        Self {
            action_object: preview.object,
            title: preview.title,
            risk: preview.risk,
            blast_radius: preview.blast_radius,
            plan: preview.plan,
            verdict: preview.verdict,
            needed: preview.needed,
            approvers: approvers(preview.approvers),
            reasons: preview.reasons,
            policy_digest: preview.policy_digest,
        }
    }
}
