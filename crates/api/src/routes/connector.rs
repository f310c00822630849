//! The connectors' routes. No token guards them: a pairing code or the signature of the message inside does.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use countersign_ids::{ConnectorId, Digest};
use countersign_service::Error;
use countersign_transport::{
    Accepted, BeatAnswer, CONNECTOR_HEADER, PROOF_HEADER, PairReceipt, PairRequest, PairingInfo,
    PairingRequest, Signed, decode_proof,
};
use serde::Deserialize;
use utoipa::ToSchema;

use super::blobs;
use crate::app::App;
use crate::edge::{Segments, Write};
use crate::held::Whose;
use crate::{problem::Problem, schema};

/// A pairing code.
#[derive(Debug, ToSchema)]
#[expect(
    dead_code,
    reason = "only its schema is used; the body is read as transport has it"
)]
pub(crate) struct PairingAsked {
    /// The code as the person typed it.
    code: String,
}

/// A pairing code, and the message `paired` by the new key.
#[derive(Debug, ToSchema)]
#[expect(
    dead_code,
    reason = "only its schema is used; the body is read as transport has it"
)]
pub(crate) struct Pairing {
    /// The code as the person typed it.
    code: String,
    /// The message.
    envelope: schema::Envelope,
}

/// One signed message.
#[derive(Debug, ToSchema)]
#[expect(
    dead_code,
    reason = "only its schema is used; the body is read as transport has it"
)]
pub(crate) struct Message {
    /// The message.
    envelope: schema::Envelope,
}

/// Says what a pairing code is for; the code stays usable.
#[utoipa::path(post, path = "/v1/connector/pairing", tag = "connector", security(()), request_body = PairingAsked,
    responses((status = 200, description = "What the connector must know to pair", body = Object)))]
pub(crate) async fn pairing(
    State(app): State<App>,
    write: Write<PairingRequest>,
) -> Result<Json<PairingInfo>, Problem> {
    Ok(Json(app.service.pairing(&write.body.code).await?))
}

/// Uses a pairing code up.
#[utoipa::path(post, path = "/v1/connector/pair", tag = "connector", security(()), request_body = Pairing,
    responses((status = 200, description = "Paired", body = Object)))]
pub(crate) async fn pair(
    State(app): State<App>,
    write: Write<PairRequest>,
) -> Result<Json<PairReceipt>, Problem> {
    Ok(Json(
        app.service
            .pair(&write.body.code, &write.body.envelope)
            .await?,
    ))
}

/// Takes a heartbeat.
#[utoipa::path(post, path = "/v1/connector/beats", tag = "connector", security(()), request_body = Message,
    responses((status = 200, description = "Accepted", body = Object)))]
pub(crate) async fn beat(
    State(app): State<App>,
    write: Write<Signed>,
) -> Result<Json<BeatAnswer>, Problem> {
    Ok(Json(app.service.beat(&write.body.envelope).await?))
}

/// Waits up to 30 seconds for an order.
#[utoipa::path(post, path = "/v1/connector/poll", tag = "connector", security(()), request_body = Message,
    responses((status = 200, description = "An order, with its proofs", body = Object), (status = 204, description = "None")))]
pub(crate) async fn poll(
    State(app): State<App>,
    write: Write<Signed>,
) -> Result<Response, Problem> {
    let order = tokio::select! {
        order = app.service.poll(&write.body.envelope) => order?,
        () = app.stop.cancelled() => None,
    };
    Ok(match order {
        Some(delivery) => Json(delivery).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    })
}

/// Takes an observation or an outcome.
#[utoipa::path(post, path = "/v1/connector/messages", tag = "connector", security(()), request_body = Message,
    responses((status = 200, description = "Accepted", body = Object)))]
pub(crate) async fn message(
    State(app): State<App>,
    write: Write<Signed>,
) -> Result<Json<Accepted>, Problem> {
    Ok(Json(app.service.message(&write.body.envelope).await?))
}

#[derive(Debug, Deserialize)]
pub(crate) struct OfConnectorBlob {
    digest: Digest,
}

/// Hands a blob to a connector, for a signed poll in the header `countersign-proof`.
#[utoipa::path(get, path = "/v1/connector/blobs/{digest}", tag = "connector", security(()),
    params(("digest" = schema::Digest, Path), ("countersign-connector" = schema::ConnectorId, Header), ("countersign-proof" = String, Header)),
    responses((status = 200, description = "Its bytes", content_type = "application/octet-stream", body = Vec<u8>)))]
pub(crate) async fn blob(
    State(app): State<App>,
    Extension(whose): Extension<Whose>,
    Segments(OfConnectorBlob { digest }): Segments<OfConnectorBlob>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let text = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    let connector: ConnectorId = text(CONNECTOR_HEADER)
        .parse()
        .map_err(|_| Error::UnknownKey)?;
    let proof = decode_proof(text(PROOF_HEADER)).ok_or(Error::UnknownKey)?;
    let _reading = app.reading.acquire().await;
    let bytes = app
        .service
        .connector_blob(&connector, &proof, digest)
        .await?;
    // No tenant has such a name.
    whose.is(format!("connector {connector}"));
    Ok(blobs::answer(&digest, bytes))
}
