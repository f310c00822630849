//! Enrolment of approvers' keys. The private key never comes here; the proof shows that somebody holds it.

use axum::{Json, extract::State, http::StatusCode};
use countersign_evidence::Credential;
use countersign_evidence::statement::Alg;
use countersign_evidence::wire::Base64;
use countersign_ids::{ApproverId, CredentialId};
use countersign_service::Enrolment;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::receipts::{Done, ReceiptBody};
use crate::app::App;
use crate::edge::{Bare, Caller, Segments, Write};
use crate::{problem::Problem, schema};

/// A key to enrol.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EnrolmentNew {
    /// The person.
    #[schema(value_type = schema::ApproverId)]
    approver: ApproverId,
    /// The key's name.
    #[schema(value_type = schema::CredentialId)]
    credential: CredentialId,
    /// How it signs: `ed25519`.
    #[schema(value_type = String)]
    alg: Alg,
    /// The public key, base64.
    #[schema(value_type = String)]
    key: Base64,
    /// The key's signature over its own enrolment, base64.
    #[schema(value_type = String)]
    proof: Base64,
    /// Of a passkey: the origin at which it was enrolled.
    #[serde(default)]
    origin: Option<String>,
    /// Of a passkey: its relying party.
    #[serde(default)]
    rp_id: Option<String>,
}

/// A key that was enrolled.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Enrolled {
    /// The person.
    #[schema(value_type = schema::ApproverId)]
    approver: ApproverId,
    /// The key's name.
    #[schema(value_type = schema::CredentialId)]
    credential: CredentialId,
    /// Where it stands in the ledger.
    receipt: ReceiptBody,
}

/// Enrols a key of an approver.
#[utoipa::path(post, path = "/v1/approvers", tag = "approvers", request_body = EnrolmentNew,
    responses((status = 201, description = "Enrolled", body = Enrolled)))]
pub(crate) async fn enrol(
    State(app): State<App>,
    caller: Caller,
    write: Write<EnrolmentNew>,
) -> Result<(StatusCode, Json<Enrolled>), Problem> {
    let access = caller.platform()?;
    let EnrolmentNew {
        approver,
        credential,
        alg,
        key,
        proof,
        origin,
        rp_id,
    } = write.body;
    let named = Credential {
        approver: approver.clone(),
        credential: credential.clone(),
        alg,
        key,
        origin,
        rp_id,
    };
    let receipt = app
        .service
        .enrol(
            &access,
            &write.request,
            Enrolment {
                credential: named,
                proof,
            },
        )
        .await?;
    Ok((
        StatusCode::CREATED,
        Json(Enrolled {
            approver,
            credential,
            receipt: receipt.into(),
        }),
    ))
}

#[derive(Debug, Deserialize)]
pub(crate) struct OfCredential {
    approver: ApproverId,
    credential: CredentialId,
}

/// Removes a key of an approver: a statement authorised after this does not count.
#[utoipa::path(delete, path = "/v1/approvers/{approver}/{credential}", tag = "approvers",
    params(("approver" = schema::ApproverId, Path), ("credential" = schema::CredentialId, Path)),
    responses((status = 200, description = "Removed", body = Done)))]
pub(crate) async fn remove_approver(
    State(app): State<App>,
    caller: Caller,
    Segments(OfCredential {
        approver,
        credential,
    }): Segments<OfCredential>,
    Bare(request): Bare,
) -> Result<Json<Done>, Problem> {
    let access = caller.platform()?;
    Ok(Json(
        app.service
            .remove_approver(&access, &request, approver, credential)
            .await?
            .into(),
    ))
}
