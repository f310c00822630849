//! A tenant's events as they are kept: the exact bytes, so that a reader can verify them.

use axum::{Json, extract::State};
use countersign_chain::Body;
use countersign_ids::{EventHash, Salt, Sequence, limits};
use countersign_service::Need;
use countersign_store::Entry;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Items, OfTenant, receipts};
use crate::app::App;
use crate::edge::{Asked, Caller, Segments};
use crate::{problem::Problem, schema};

/// One event, byte for byte.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EventBody {
    /// Where it stands in its chain.
    #[schema(value_type = schema::Sequence)]
    sequence: Sequence,
    /// The hash of its header.
    #[schema(value_type = schema::EventHash)]
    hash: EventHash,
    /// The header E, byte for byte.
    header: String,
    /// The salt of the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schema::Salt>)]
    salt: Option<Salt>,
    /// The body B, byte for byte; a personal one is sealed.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    /// Why there is no body: `expired`, `erased` or `withheld`.
    #[serde(skip_serializing_if = "Option::is_none")]
    absent: Option<String>,
}

impl From<&Entry> for EventBody {
    fn from(entry: &Entry) -> Self {
        // Headers are ASCII and bodies UTF-8, or they would not have been verified.
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let record = entry.record();
        let (salt, body, absent) = match &record.body {
            Body::Present { salt, bytes } => (Some(*salt), Some(text(bytes)), None),
            Body::Absent(absence) => (None, None, Some(absence.to_string())),
        };
        Self {
            sequence: entry.sequence(),
            hash: entry.hash(),
            header: text(&record.header),
            salt,
            body,
            absent,
        }
    }
}

/// Which events.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Page {
    /// The events behind this sequence; from the first one if absent.
    #[param(pattern = "^[0-9]{1,20}$")]
    after: Option<String>,
    /// At most so many: 1 to 1000. A page ends earlier once it holds 4 MiB; `next` says where it goes on.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u16>,
}

/// The sequence behind a cursor.
pub(crate) fn behind(cursor: Option<&str>) -> Result<Sequence, Problem> {
    match cursor {
        None => Ok(Sequence::ZERO),
        Some(text) => receipts::sequence(text)
            .map(Sequence::next)
            .ok_or_else(|| Problem::path("the cursor is no sequence")),
    }
}

/// Reads events of the tenant's chain, in order.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/events", tag = "events", params(("tenant" = schema::TenantId, Path), Page),
    responses((status = 200, description = "The events, and the cursor of the next page", body = Items<EventBody>)))]
pub(crate) async fn list_events(
    State(app): State<App>,
    caller: Caller,
    Segments(OfTenant { tenant }): Segments<OfTenant>,
    Asked(page): Asked<Page>,
) -> Result<Json<Items<EventBody>>, Problem> {
    let access = caller.tenant(&tenant, Need::Read)?;
    let from = behind(page.after.as_deref())?;
    let limit = page.limit.map_or(limits::PAGE_EVENTS_MAX, usize::from);
    if !(1..=limits::PAGE_EVENTS_MAX).contains(&limit) {
        return Err(Problem::path("`limit` is 1 to 1000"));
    }
    let page = app.service.events(&access, from, limit)?;
    let last = page.events.last().map(Entry::sequence);
    let next = last
        .filter(|last| last.next().get() < page.size)
        .map(|last| last.to_string());
    Ok(Json(Items {
        items: page.events.iter().map(EventBody::from).collect(),
        next,
    }))
}
