//! What a caller must know of the ledger to sign and to verify.

use axum::{Json, extract::State};
use countersign_ids::LedgerId;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::edge::Caller;
use crate::{problem::Problem, schema};

/// The ledger.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LedgerBody {
    /// Its id: SHA-256 of the genesis key.
    #[schema(value_type = schema::LedgerId)]
    ledger: LedgerId,
    /// The genesis key, base64.
    genesis_key: String,
    /// The origin of its checkpoints.
    origin: String,
}

/// Names the ledger and its genesis key.
#[utoipa::path(get, path = "/v1/ledger", tag = "ledger", responses((status = 200, description = "The ledger", body = LedgerBody)))]
pub(crate) async fn get_ledger(
    State(app): State<App>,
    _caller: Caller,
) -> Result<Json<LedgerBody>, Problem> {
    Ok(Json(LedgerBody {
        ledger: *app.service.ledger_id(),
        genesis_key: app.service.genesis_key().to_string(),
        origin: app.service.origin().to_owned(),
    }))
}
