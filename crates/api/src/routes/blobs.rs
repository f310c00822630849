//! Blobs: files named by their digest, scoped to a tenant.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use countersign_ids::{Digest, TenantId};
use countersign_service::Need;
use serde::Deserialize;

use crate::app::App;
use crate::edge::{Bytes, Caller, Segments, Storing};
use crate::{problem::Problem, schema};

#[derive(Debug, Deserialize)]
pub(crate) struct OfBlob {
    tenant: TenantId,
    digest: Digest,
}

/// Stores a blob under its digest. Storing it again changes nothing.
#[utoipa::path(put, path = "/v1/tenants/{tenant}/blobs/{digest}", tag = "blobs",
    params(("tenant" = schema::TenantId, Path), ("digest" = schema::Digest, Path)),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 204, description = "Stored and durable")))]
pub(crate) async fn put_blob(
    State(app): State<App>,
    Storing(access): Storing,
    Segments(OfBlob { digest, .. }): Segments<OfBlob>,
    Bytes(bytes): Bytes,
) -> Result<StatusCode, Problem> {
    app.service.put_blob(&access, digest, bytes).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Fetches a blob.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/blobs/{digest}", tag = "blobs",
    params(("tenant" = schema::TenantId, Path), ("digest" = schema::Digest, Path)),
    responses((status = 200, description = "Its bytes", content_type = "application/octet-stream", body = Vec<u8>, headers(("etag" = String)))))]
pub(crate) async fn get_blob(
    State(app): State<App>,
    caller: Caller,
    Segments(OfBlob { tenant, digest }): Segments<OfBlob>,
) -> Result<Response, Problem> {
    let access = caller.tenant(&tenant, Need::Read)?;
    let _reading = app.reading.acquire().await;
    Ok(answer(&digest, app.service.blob(&access, digest).await?))
}

/// The bytes of a blob. They come from tenants, so no browser may take them for a page of ours.
pub(crate) fn answer(digest: &Digest, bytes: Vec<u8>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::ETAG, format!("\"{digest}\"")),
        (
            header::CACHE_CONTROL,
            "private, immutable, max-age=31536000".to_owned(),
        ),
        (header::CONTENT_DISPOSITION, "attachment".to_owned()),
    ];
    (headers, bytes).into_response()
}
