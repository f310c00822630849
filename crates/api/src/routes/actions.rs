//! Actions: proposals, previews, votes, and taking back. What they mean is the domain's.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use countersign_evidence::{ActionKind, JsonObject, SignedStatement};
use countersign_ids::{ActionId, Salt, Sequence, SiteId, TenantId, Time};
use countersign_service::{
    ActionDetail, Ballot, Need, Proposal, Request, SaltedReason, TenantAccess,
};
use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

use super::receipts::{Done, ReceiptBody};
use super::{Items, OfTenant};
use crate::app::App;
use crate::edge::{Caller, Segments, Write};
use crate::shown::{ActionBody, ActionLine, PreviewBody};
use crate::{codes, problem::Problem, schema};

/// A change to propose.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ActionNew {
    /// Its name; one is made if there is none.
    #[serde(default)]
    #[schema(value_type = Option<schema::ActionId>)]
    action: Option<ActionId>,
    /// The site to change.
    #[schema(value_type = schema::SiteId)]
    site: SiteId,
    /// What kind of change: `release.publish`, `release.rollback` or `document.replace`.
    #[schema(value_type = String)]
    kind: ActionKind,
    /// The parameters of the kind: {release} or {document}.
    #[schema(value_type = Object)]
    parameters: JsonObject,
    /// One line for people; one is made if there is none.
    #[serde(default)]
    title: Option<String>,
    /// Why; kept sealed, and erasable.
    #[serde(default)]
    reason: Option<String>,
    /// Nothing is authorised for it after this; a day from now if absent.
    #[serde(default)]
    #[schema(value_type = Option<schema::Time>)]
    expires: Option<Time>,
}

impl From<ActionNew> for Proposal {
    fn from(new: ActionNew) -> Self {
        let ActionNew {
            action,
            site,
            kind,
            parameters,
            title,
            reason,
            expires,
        } = new;
        Self {
            action,
            site,
            kind,
            parameters,
            title,
            reason,
            expires,
        }
    }
}

/// An action that was proposed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ActionProposed {
    /// Its name.
    #[schema(value_type = schema::ActionId)]
    action: ActionId,
    /// Where it stands in the ledger.
    receipt: ReceiptBody,
}

/// Proposes an action.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/actions", tag = "actions", params(("tenant" = schema::TenantId, Path)),
    request_body = ActionNew, responses((status = 201, description = "Proposed; it is assessed next", body = ActionProposed)))]
pub(crate) async fn propose(
    State(app): State<App>,
    caller: Caller,
    Segments(OfTenant { tenant }): Segments<OfTenant>,
    write: Write<ActionNew>,
) -> Result<(StatusCode, Json<ActionProposed>), Problem> {
    let access = caller.tenant(&tenant, Need::Propose)?;
    let proposed = app
        .service
        .propose(&access, &write.request, write.body.into())
        .await?;
    Ok((
        StatusCode::CREATED,
        Json(ActionProposed {
            action: proposed.action,
            receipt: proposed.receipt.into(),
        }),
    ))
}

/// Says what would happen to a proposal: whether it needs approval, and whose. Nothing of it is kept.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/actions:preview", tag = "actions", params(("tenant" = schema::TenantId, Path)),
    request_body = ActionNew, responses((status = 200, description = "What would happen", body = PreviewBody)))]
pub(crate) async fn preview(
    State(app): State<App>,
    caller: Caller,
    Segments(OfTenant { tenant }): Segments<OfTenant>,
    write: Write<ActionNew>,
) -> Result<Json<PreviewBody>, Problem> {
    let access = caller.tenant(&tenant, Need::Propose)?;
    Ok(Json(
        app.service
            .preview(&access, write.body.into())
            .await?
            .into(),
    ))
}

/// Lists the actions of a tenant, the newest first.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/actions", tag = "actions", params(("tenant" = schema::TenantId, Path)),
    responses((status = 200, description = "All actions", body = Items<ActionLine>)))]
pub(crate) async fn list_actions(
    State(app): State<App>,
    caller: Caller,
    Segments(OfTenant { tenant }): Segments<OfTenant>,
) -> Result<Json<Items<ActionLine>>, Problem> {
    let mut actions = app.service.actions(&caller.tenant(&tenant, Need::Read)?)?;
    actions.sort_by_key(|info| std::cmp::Reverse(info.action.proposal.at));
    Ok(Json(Items::all(
        actions.iter().map(ActionLine::from).collect(),
    )))
}

#[derive(Debug, Deserialize)]
pub(crate) struct OfAction {
    tenant: TenantId,
    action: ActionId,
}

/// The version of an action: the sequence of the last event that tells of it.
fn tag(detail: &ActionDetail) -> String {
    let last = detail
        .history
        .last()
        .map_or(Sequence::ZERO, |line| line.sequence);
    format!("\"{last}\"")
}

fn names(value: Option<&HeaderValue>, tag: &str) -> Option<bool> {
    let text = value?.to_str().unwrap_or_default();
    Some(
        text.split(',')
            .map(str::trim)
            .any(|named| named == "*" || named == tag),
    )
}

/// Refuses a command whose If-Match names another version of the action. The domain decides on the newest one all the same.
///
/// A command that was accepted before moved the version itself: sent again, it gets its first receipt.
fn matches(
    app: &App,
    access: &TenantAccess,
    action: &ActionId,
    headers: &HeaderMap,
    request: &Request,
) -> Result<(), Problem> {
    if !headers.contains_key(header::IF_MATCH) {
        return Ok(());
    }
    let tag = tag(&app.service.action(access, action)?);
    if names(headers.get(header::IF_MATCH), &tag) == Some(true)
        || app.service.is_accepted(access, request)?
    {
        return Ok(());
    }
    let detail = format!("the action is at version {tag}");
    Err(Problem::new(
        StatusCode::PRECONDITION_FAILED,
        codes::PRECONDITION,
        detail,
    ))
}

/// Shows everything that an approver needs to see one action and to sign about it.
///
/// The ETag changes with every event of the action; `If-None-Match` is answered with 304.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/actions/{action}", tag = "actions",
    params(("tenant" = schema::TenantId, Path), ("action" = schema::ActionId, Path), ("if-none-match" = Option<String>, Header)),
    responses((status = 200, description = "The action", body = ActionBody, headers(("etag" = String))), (status = 304, description = "Unchanged")))]
pub(crate) async fn get_action(
    State(app): State<App>,
    caller: Caller,
    Segments(OfAction { tenant, action }): Segments<OfAction>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let detail = app
        .service
        .action(&caller.tenant(&tenant, Need::Read)?, &action)?;
    let tag = tag(&detail);
    let etag = [(header::ETAG, tag.clone())];
    if names(headers.get(header::IF_NONE_MATCH), &tag) == Some(true) {
        return Ok((StatusCode::NOT_MODIFIED, etag).into_response());
    }
    Ok((etag, Json(ActionBody::from(detail))).into_response())
}

/// A vote: the signed statement, and the reason that it commits to.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct VoteNew {
    /// The statement as the approver signed it.
    #[schema(value_type = schema::SignedStatement)]
    signed: SignedStatement,
    /// The reason, where the statement commits to one.
    #[serde(default)]
    reason: Option<ReasonNew>,
}

/// A reason, and the salt without which nobody can guess it from its digest.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReasonNew {
    /// 16 random bytes in hexadecimal.
    #[schema(value_type = schema::Salt)]
    salt: Salt,
    /// The reason.
    reason: String,
}

/// Takes an approver's signed vote: for, against, or taking an earlier one back.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/actions/{action}/approvals", tag = "actions",
    params(("tenant" = schema::TenantId, Path), ("action" = schema::ActionId, Path), ("if-match" = Option<String>, Header)),
    request_body = VoteNew, responses((status = 201, description = "Recorded", body = Done)))]
pub(crate) async fn vote(
    State(app): State<App>,
    caller: Caller,
    Segments(OfAction { tenant, action }): Segments<OfAction>,
    headers: HeaderMap,
    write: Write<VoteNew>,
) -> Result<(StatusCode, Json<Done>), Problem> {
    let access = caller.tenant(&tenant, Need::Vote)?;
    matches(&app, &access, &action, &headers, &write.request)?;
    let reason = write.body.reason.map(|given| SaltedReason {
        salt: given.salt,
        reason: given.reason,
    });
    let ballot = Ballot {
        signed: write.body.signed,
        reason,
    };
    let receipt = app
        .service
        .vote(&access, &write.request, action, ballot)
        .await?;
    Ok((StatusCode::CREATED, Json(receipt.into())))
}

/// Why an action is taken back.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TakenBack {
    /// Why; kept sealed, and erasable.
    #[serde(default)]
    reason: Option<String>,
}

/// Takes a proposal back, as its proposer.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/actions/{action}/withdraw", tag = "actions",
    params(("tenant" = schema::TenantId, Path), ("action" = schema::ActionId, Path), ("if-match" = Option<String>, Header)),
    request_body = TakenBack, responses((status = 200, description = "Withdrawn", body = Done)))]
pub(crate) async fn withdraw(
    State(app): State<App>,
    caller: Caller,
    Segments(OfAction { tenant, action }): Segments<OfAction>,
    headers: HeaderMap,
    write: Write<TakenBack>,
) -> Result<Json<Done>, Problem> {
    let access = caller.tenant(&tenant, Need::Propose)?;
    matches(&app, &access, &action, &headers, &write.request)?;
    Ok(Json(
        app.service
            .withdraw(&access, &write.request, action, write.body.reason)
            .await?
            .into(),
    ))
}

/// Takes an action back, as somebody in charge.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/actions/{action}/revoke", tag = "actions",
    params(("tenant" = schema::TenantId, Path), ("action" = schema::ActionId, Path), ("if-match" = Option<String>, Header)),
    request_body = TakenBack, responses((status = 200, description = "Revoked", body = Done)))]
pub(crate) async fn revoke(
    State(app): State<App>,
    caller: Caller,
    Segments(OfAction { tenant, action }): Segments<OfAction>,
    headers: HeaderMap,
    write: Write<TakenBack>,
) -> Result<Json<Done>, Problem> {
    let access = caller.tenant(&tenant, Need::Operate)?;
    matches(&app, &access, &action, &headers, &write.request)?;
    Ok(Json(
        app.service
            .revoke(&access, &write.request, action, write.body.reason)
            .await?
            .into(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_compared_as_a_list() {
        for (value, expected) in [
            ("\"7\"", true),
            ("\"8\"", false),
            ("\"8\", \"7\"", true),
            ("*", true),
            ("7", false),
        ] {
            assert_eq!(
                names(Some(&HeaderValue::from_static(value)), "\"7\""),
                Some(expected),
                "{value}"
            );
        }
        assert_eq!(names(None, "\"7\""), None);
    }
}
