//! Server-sent events of a tenant's chain: the id is the sequence, so a reader resumes behind the last one that it has.
//!
//! Everything is read from the ledger, old events and new ones alike, so each comes exactly once, also across a server that
//! was killed. Little is buffered: a reader that takes nothing is cut and resumes later. The token is looked at again while
//! the stream is open.

use std::convert::Infallible;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use countersign_ids::{Sequence, TenantId};
use countersign_service::{Need, TenantAccess};
use countersign_store::Entry;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use utoipa::IntoParams;

use super::events::{EventBody, behind};
use super::{OfTenant, receipts};
use crate::app::App;
use crate::edge::{Asked, Caller, Segments, bearer};
use crate::{codes, problem::Problem, schema};

/// Events between the ledger and one reader.
const BUFFERED_EVENTS_MAX: usize = 32;

/// Where to begin.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct From {
    /// Begin behind this sequence, where there is no Last-Event-ID.
    #[param(pattern = "^[0-9]{1,20}$")]
    after: Option<String>,
}

/// Follows the tenant's chain as server-sent events.
///
/// Each event has its sequence as `id` and the same JSON as in a list as `data`. `Last-Event-ID` resumes behind that event.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/events/stream", tag = "events",
    params(("tenant" = schema::TenantId, Path), From, ("last-event-id" = Option<String>, Header, pattern = "^[0-9]{1,20}$")),
    responses((status = 200, description = "The events, without end", content_type = "text/event-stream", body = String)))]
pub(crate) async fn stream_events(
    State(app): State<App>,
    caller: Caller,
    Segments(OfTenant { tenant }): Segments<OfTenant>,
    Asked(asked): Asked<From>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let access = caller.tenant(&tenant, Need::Read)?;
    let from = match headers.get("last-event-id") {
        None => behind(asked.after.as_deref())?,
        Some(value) => value
            .to_str()
            .ok()
            .and_then(receipts::sequence)
            .map(Sequence::next)
            .ok_or_else(|| {
                Problem::new(
                    StatusCode::BAD_REQUEST,
                    codes::CURSOR_MALFORMED,
                    "the Last-Event-ID is no sequence",
                )
            })?,
    };
    let size = app.service.size(&access)?;
    if from.get() > size {
        // The reader has seen what this ledger does not hold: silence would hide that.
        let detail = format!("the chain has {size} events, so there is none before {from}");
        return Err(Problem::new(
            StatusCode::CONFLICT,
            codes::CURSOR_AHEAD,
            detail,
        ));
    }
    let Ok(permit) = app.streams.clone().try_acquire_owned() else {
        return Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            codes::TOO_MANY_STREAMS,
            "try again later",
        ));
    };
    let (events, receiver) = mpsc::channel(BUFFERED_EVENTS_MAX);
    let token = bearer(&headers)?.to_owned();
    let keep_alive = KeepAlive::new().interval(app.bounds.keep_alive);
    tokio::spawn(feed(
        Reader {
            app,
            tenant,
            token,
            events,
        },
        access,
        from,
        permit,
    ));
    let stream = Sse::new(ReceiverStream::new(receiver)).keep_alive(keep_alive);
    Ok((
        [
            (header::CACHE_CONTROL, "no-store"),
            (header::HeaderName::from_static("x-accel-buffering"), "no"),
        ],
        stream,
    )
        .into_response())
}

/// One reader of the stream.
struct Reader {
    app: App,
    tenant: TenantId,
    token: String,
    events: mpsc::Sender<Result<Event, Infallible>>,
}

impl Reader {
    /// Whether the token still opens this tenant.
    fn admitted(&self) -> bool {
        let access = self.app.service.authenticate(&self.token);
        access.is_ok_and(|access| access.tenant(&self.tenant, Need::Read).is_ok())
    }

    /// Sends events; whether the reader takes them.
    async fn send(&self, entries: &[Entry]) -> bool {
        for entry in entries {
            let Ok(event) = Event::default()
                .id(entry.sequence().to_string())
                .json_data(EventBody::from(entry))
            else {
                return false;
            };
            let sent = tokio::time::timeout(self.app.bounds.stalled, self.events.send(Ok(event)));
            match sent.await {
                Ok(Ok(())) => {}
                // It left.
                Ok(Err(_)) => return false,
                Err(_) => {
                    metrics::counter!("countersign_streams_cut_total").increment(1);
                    return false;
                }
            }
        }
        true
    }
}

/// Feeds a reader until it leaves, stalls, loses its token, or the server stops.
async fn feed(reader: Reader, access: TenantAccess, from: Sequence, permit: OwnedSemaphorePermit) {
    let mut follow = reader.app.service.follow(&access, from);
    let mut looked = tokio::time::interval(reader.app.bounds.keep_alive);
    loop {
        let entries = tokio::select! {
            next = follow.next() => match next {
                Ok(Some(entries)) => entries,
                Ok(None) => break,
                Err(error) => {
                    tracing::warn!(code = error.code().id, %error, "an event stream ended");
                    break;
                }
            },
            _ = looked.tick() => Vec::new(),
            () = reader.events.closed() => break,
            () = reader.app.stop.cancelled() => break,
        };
        if !reader.admitted() || !reader.send(&entries).await {
            break;
        }
    }
    drop(permit);
}
