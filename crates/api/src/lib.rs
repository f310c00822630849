//! The control plane over HTTP: `/v1`, server-sent events, health and figures.
//!
//! Requests become values at the edge and answers come from the service; nothing is decided here. One module per resource
//! in `routes`; the OpenAPI description is made from the handlers. A token guards every route but `/livez` and `/readyz`;
//! the connectors' routes are guarded by pairing codes and by the signatures of the messages themselves.

mod app;
mod codes;
mod edge;
mod held;
mod limits;
mod openapi;
mod pages;
mod problem;
mod routes;
mod schema;
mod shown;
mod watch;

use std::sync::Arc;
use std::time::Instant;

use axum::http::{StatusCode, Uri};
use axum::{Router, middleware};
use countersign_service::Service;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use utoipa::OpenApi as _;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use app::Bounds;
pub use codes::CODES;
pub use limits::{Rate, Rates};
pub use pages::error_page;

use app::App;
use problem::Problem;
use routes::{
    actions, approvers, blobs, connector, events, freezes, health, keys, ledger, projections,
    proposals, receipts, retention, sites, stream, tenants, tokens, views,
};

/// The routes as handlers and as OpenAPI describes them.
fn described() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(openapi::Base::openapi())
        .routes(routes!(ledger::get_ledger))
        .routes(routes!(tenants::create_tenant, tenants::list_tenants))
        .routes(routes!(tenants::get_tenant))
        .routes(routes!(sites::register_site, sites::list_sites))
        .routes(routes!(sites::get_site))
        .routes(routes!(sites::invite))
        .routes(routes!(sites::add_release, sites::list_releases))
        .routes(routes!(actions::propose, actions::list_actions))
        .routes(routes!(proposals::propose_all))
        .routes(routes!(actions::preview))
        .routes(routes!(actions::get_action))
        .routes(routes!(actions::vote))
        .routes(routes!(actions::withdraw))
        .routes(routes!(actions::revoke))
        .routes(routes!(events::list_events))
        .routes(routes!(stream::stream_events))
        .routes(routes!(receipts::get_receipt))
        .routes(routes!(blobs::put_blob, blobs::get_blob))
        .routes(routes!(views::queue))
        .routes(routes!(views::timeline))
        .routes(routes!(views::counts))
        .routes(routes!(approvers::enrol))
        .routes(routes!(approvers::remove_approver))
        .routes(routes!(tokens::issue_token))
        .routes(routes!(tokens::revoke_token))
        .routes(routes!(keys::rotate_key, keys::list_keys))
        .routes(routes!(
            projections::rebuild_projection,
            projections::list_projections
        ))
        .routes(routes!(projections::get_cost))
        .routes(routes!(freezes::declare_freeze))
        .routes(routes!(freezes::lift_freeze))
        .routes(routes!(retention::remark))
        .routes(routes!(retention::get_retention, retention::set_retention))
        .routes(routes!(retention::keep_beats))
        .routes(routes!(retention::erase))
        .routes(routes!(connector::pairing))
        .routes(routes!(connector::pair))
        .routes(routes!(connector::beat))
        .routes(routes!(connector::poll))
        .routes(routes!(connector::message))
        .routes(routes!(connector::blob))
        .routes(routes!(health::livez))
        .routes(routes!(health::readyz))
        .routes(routes!(health::metrics))
        .routes(routes!(pages::get_page))
}

/// The OpenAPI 3.1 description, as schemas/openapi.json holds it.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn openapi_json() -> Result<String, serde_json::Error> {
    let mut api = described().into_openapi();
    openapi::complete(&mut api);
    // By way of a sorted map, so that the text does not depend on how a build orders JSON objects.
    let mut text = serde_json::to_string_pretty(&sorted(serde_json::to_value(&api)?))?;
    text.push('\n');
    Ok(text)
}

fn sorted(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Object(members) => {
            let members: std::collections::BTreeMap<_, _> = members
                .into_iter()
                .map(|(name, value)| (name, sorted(value)))
                .collect();
            Value::Object(members.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

/// Each is read whole, because it is verified before any of it is handed out.
const READING_BLOBS_MAX: usize = 4;

/// Everything that the server answers; what waits ends when `stop` is cancelled.
pub fn router(service: Service, bounds: Bounds, stop: CancellationToken) -> Router {
    let streams = Arc::new(Semaphore::new(bounds.streams));
    // The recorder before the first counter.
    let recorder = watch::recorder();
    let limits = Arc::new(limits::Limits::new(bounds.token, bounds.tenant));
    for name in [
        "countersign_streams_cut_total",
        "countersign_connections_cut_total",
        "countersign_answers_refused_total",
    ] {
        // A counter is shown from its first increment on.
        metrics::counter!(name).increment(0);
    }
    let app = App {
        service,
        limits,
        held: Arc::new(held::Held::new(bounds.answer_bytes)),
        reading: Arc::new(Semaphore::new(READING_BLOBS_MAX)),
        began: Instant::now(),
        bounds: Arc::new(bounds),
        streams,
        metrics: recorder,
        stop,
    };
    described()
        .split_for_parts()
        .0
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(middleware::from_fn_with_state(app.clone(), held::bounded))
        .layer(middleware::from_fn_with_state(app.clone(), watch::bounded))
        .with_state(app)
}

async fn no_route(uri: Uri) -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        codes::NO_ROUTE,
        format!("nothing is at `{}`", uri.path().escape_debug()),
    )
}

async fn no_method() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        codes::METHOD,
        "see the OpenAPI description for the methods of this route",
    )
}

/// Serves until `stop` is cancelled; requests that are under way are answered, polls and streams end at once.
pub async fn serve(
    listener: TcpListener,
    service: Service,
    bounds: Bounds,
    stop: CancellationToken,
) {
    // A stream's signs of life must come before its connection counts as silent.
    let idle = bounds.idle.max(bounds.keep_alive.saturating_mul(2));
    let bounded =
        countersign_transport::Bounded::new(listener, bounds.connections, bounds.stalled, idle)
            .telling(|| metrics::counter!("countersign_connections_cut_total").increment(1));
    let (drain, headers) = (bounds.drain, bounds.headers);
    let router = router(service, bounds, stop.clone());
    let serving = countersign_transport::answer(bounded, router, headers, stop.clone());
    tokio::select! {
        () = serving => {}
        () = async { stop.cancelled().await; tokio::time::sleep(drain).await } => {}
    }
}
