//! Bearer tokens. The secret is in the first answer and nowhere else; the ledger holds its digest.

use axum::{Json, extract::State, http::StatusCode};
use countersign_events::words::TokenRole;
use countersign_ids::{Actor, ApproverId, TenantId, TokenId};
use countersign_service::NewToken;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ActorBody;
use super::receipts::{Done, ReceiptBody};
use crate::app::App;
use crate::edge::{Bare, Caller, Segments, Write};
use crate::{problem::Problem, schema};

/// A token to issue.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenNew {
    /// Its name; one is made if there is none.
    #[serde(default)]
    #[schema(value_type = Option<schema::TokenId>)]
    id: Option<TokenId>,
    /// The tenant that it is bound to; none is the platform, for `admin` only.
    #[serde(default)]
    #[schema(value_type = Option<schema::TenantId>)]
    tenant: Option<TenantId>,
    /// What it may do.
    #[schema(value_type = schema::TokenRole)]
    role: TokenRole,
    /// Who uses it.
    actor: ActorBody,
    /// The person for whom an agent acts; that person never approves what the agent proposes.
    #[serde(default)]
    #[schema(value_type = Option<schema::ApproverId>)]
    owner: Option<ApproverId>,
}

/// A token that was issued.
#[derive(Serialize, ToSchema)]
pub(crate) struct TokenIssued {
    /// Its name.
    #[schema(value_type = schema::TokenId)]
    id: TokenId,
    /// The token itself; absent when the request is a repeated one, since it is stored nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    /// Where it stands in the ledger.
    receipt: ReceiptBody,
}

/// Issues a token.
#[utoipa::path(post, path = "/v1/tokens", tag = "tokens", request_body = TokenNew,
    responses((status = 201, description = "Issued", body = TokenIssued)))]
pub(crate) async fn issue_token(
    State(app): State<App>,
    caller: Caller,
    write: Write<TokenNew>,
) -> Result<(StatusCode, Json<TokenIssued>), Problem> {
    let access = caller.platform()?;
    let TokenNew {
        id,
        tenant,
        role,
        actor,
        owner,
    } = write.body;
    let new = NewToken {
        id,
        tenant,
        role,
        actor: Actor {
            kind: actor.kind,
            id: actor.id,
        },
        owner,
    };
    let issued = app
        .service
        .issue_token(&access, &write.request, new)
        .await?;
    let token = issued.token.map(|token| token.reveal().as_str().to_owned());
    Ok((
        StatusCode::CREATED,
        Json(TokenIssued {
            id: issued.id,
            token,
            receipt: issued.receipt.into(),
        }),
    ))
}

#[derive(Debug, Deserialize)]
pub(crate) struct OfToken {
    token: TokenId,
}

/// Revokes a token.
#[utoipa::path(delete, path = "/v1/tokens/{token}", tag = "tokens", params(("token" = schema::TokenId, Path)),
    responses((status = 200, description = "Revoked", body = Done)))]
pub(crate) async fn revoke_token(
    State(app): State<App>,
    caller: Caller,
    Segments(OfToken { token }): Segments<OfToken>,
    Bare(request): Bare,
) -> Result<Json<Done>, Problem> {
    let access = caller.platform()?;
    Ok(Json(
        app.service
            .revoke_token(&access, &request, token)
            .await?
            .into(),
    ))
}
