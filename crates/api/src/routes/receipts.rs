//! Receipts: where a command stands in the ledger, and how durable it is by now.

use axum::{Json, extract::State};
use countersign_ids::{ChainId, CommandId, EventHash, EventId, Sequence, TenantId};
use countersign_service::Need;
use countersign_store::Receipt;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::App;
use crate::edge::{Caller, Segments};
use crate::{problem::Problem, schema};

/// What a caller gets for a command, and again for the same command ever after.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReceiptBody {
    /// The chain.
    #[schema(value_type = schema::ChainId)]
    chain: ChainId,
    /// The command.
    #[schema(value_type = schema::CommandId)]
    command: CommandId,
    /// The sequence of its first event.
    #[schema(value_type = schema::Sequence)]
    first: Sequence,
    /// The sequence of its last event.
    #[schema(value_type = schema::Sequence)]
    last: Sequence,
    /// Its events, in order.
    events: Vec<EventRef>,
    /// How durable they are: `local` or `recorded`. It may have risen since the first answer.
    level: &'static str,
    /// Whether the command had been accepted before, and nothing was written now.
    replayed: bool,
}

/// An event, by id and hash.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EventRef {
    /// Its id.
    #[schema(value_type = schema::EventId)]
    id: EventId,
    /// The hash of its header.
    #[schema(value_type = schema::EventHash)]
    hash: EventHash,
}

impl From<Receipt> for ReceiptBody {
    fn from(receipt: Receipt) -> Self {
        Self {
            chain: receipt.chain,
            command: receipt.command,
            first: receipt.first,
            last: receipt.last,
            events: receipt
                .events
                .into_iter()
                .map(|(id, hash)| EventRef { id, hash })
                .collect(),
            level: receipt.level.as_str(),
            replayed: receipt.replayed,
        }
    }
}

/// An answer of which only the receipt is of interest.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Done {
    /// Where it stands in the ledger.
    pub(crate) receipt: ReceiptBody,
}

impl From<Receipt> for Done {
    fn from(receipt: Receipt) -> Self {
        Self {
            receipt: receipt.into(),
        }
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct Place {
    tenant: TenantId,
    chain: ChainId,
    sequence: String,
}

/// A sequence as 20 digits or as a plain number.
pub(crate) fn sequence(text: &str) -> Option<Sequence> {
    text.parse().ok().or_else(|| {
        text.parse::<u64>()
            .ok()
            .filter(|number| number.to_string() == text)
            .map(Sequence::new)
    })
}

/// Fetches the receipt of the command that wrote an event.
///
/// Its level may have risen since it was first given.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/receipts/{chain}/{sequence}", tag = "events",
    params(("tenant" = schema::TenantId, Path), ("chain" = schema::ChainId, Path, description = "The tenant's own chain or its heartbeats"),
        ("sequence" = String, Path, description = "20 digits, or a plain number", pattern = "^[0-9]{1,20}$")),
    responses((status = 200, description = "The receipt", body = ReceiptBody)))]
pub(crate) async fn get_receipt(
    State(app): State<App>,
    caller: Caller,
    Segments(place): Segments<Place>,
) -> Result<Json<ReceiptBody>, Problem> {
    let access = caller.tenant(&place.tenant, Need::Read)?;
    let sequence =
        sequence(&place.sequence).ok_or_else(|| Problem::path("the sequence is no number"))?;
    Ok(Json(
        app.service.receipt(&access, &place.chain, sequence)?.into(),
    ))
}
