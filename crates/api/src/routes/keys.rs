//! The plane's own keys: which there are, and rotating one. Private keys never leave the server's key directory.

use axum::{Json, extract::State, http::StatusCode};
use countersign_evidence::PublicKey;
use countersign_evidence::keys::{EndReason, Role};
use countersign_service::KeyUse;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::receipts::Done;
use crate::app::App;
use crate::edge::{Caller, Write};
use crate::problem::Problem;

/// The ledger's keys, as its key statements tell them.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeysBody {
    /// The version of the last key statement.
    version: u64,
    /// All keys in order of addition, ended ones included.
    items: Vec<KeyBody>,
}

/// One key.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeyBody {
    /// What it may sign: `genesis`, `checkpoint`, `order` or `witness`.
    #[schema(value_type = String)]
    role: Role,
    /// Its name.
    name: String,
    /// The raw public key, base64.
    #[schema(value_type = String)]
    key: PublicKey,
    /// The version of the statement that added it.
    added: u64,
    /// How it ended; absent while it holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<KeyEnd>,
}

/// How a key ended.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeyEnd {
    /// The version of the statement that ended it.
    version: u64,
    /// `rotated` or `stolen`.
    #[schema(value_type = String)]
    reason: EndReason,
}

/// Lists the keys of the ledger: what a verifier of its checkpoints and orders follows.
#[utoipa::path(get, path = "/v1/keys", tag = "keys", responses((status = 200, description = "The keys", body = KeysBody)))]
pub(crate) async fn list_keys(
    State(app): State<App>,
    _caller: Caller,
) -> Result<Json<KeysBody>, Problem> {
    let ring = app.service.keys()?;
    let items = ring.keys().iter().map(|held| KeyBody {
        role: held.role,
        name: held.name.clone(),
        key: held.key,
        added: held.added,
        ended: held
            .ended
            .map(|(version, reason)| KeyEnd { version, reason }),
    });
    Ok(Json(KeysBody {
        version: ring.version(),
        items: items.collect(),
    }))
}

/// A key of the server.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum KeyName {
    /// The key that signs checkpoints.
    Checkpoint,
    /// The key that signs orders.
    Order,
}

/// Which key to rotate.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rotation {
    /// What it signs.
    r#use: KeyName,
}

/// Rotates a key of the server: a new one is made and signs from here on, the old one ends.
#[utoipa::path(post, path = "/v1/keys", tag = "keys", request_body = Rotation,
    responses((status = 201, description = "Rotated", body = Done)))]
pub(crate) async fn rotate_key(
    State(app): State<App>,
    caller: Caller,
    write: Write<Rotation>,
) -> Result<(StatusCode, Json<Done>), Problem> {
    let access = caller.platform()?;
    let usage = match write.body.r#use {
        KeyName::Checkpoint => KeyUse::Checkpoint,
        KeyName::Order => KeyUse::Order,
    };
    let receipt = app
        .service
        .rotate_key(&access, &write.request, usage)
        .await?;
    Ok((StatusCode::CREATED, Json(receipt.into())))
}
