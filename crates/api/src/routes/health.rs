//! Whether the server lives, whether it takes commands, and its figures.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::edge::Caller;
use crate::problem::Problem;
use crate::watch;

/// Whether commands are taken.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReadyBody {
    /// Whether commands are taken.
    ready: bool,
    /// What is wrong; a server that is ready may have some.
    problems: Vec<ReadyProblem>,
}

/// One thing that is wrong.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReadyProblem {
    /// Its stable code.
    code: &'static str,
    /// What it is about.
    detail: String,
}

/// Says that the process answers.
#[utoipa::path(get, path = "/livez", tag = "health", security(()), responses((status = 200, description = "It lives", body = String, content_type = "text/plain")))]
pub(crate) async fn livez() -> &'static str {
    "live\n"
}

/// Says whether commands are taken, and what is wrong.
#[utoipa::path(get, path = "/readyz", tag = "health", security(()),
    responses((status = 200, description = "Commands are taken", body = ReadyBody), (status = 503, description = "Commands are refused", body = ReadyBody)))]
pub(crate) async fn readyz(State(app): State<App>) -> Response {
    let readiness = app.service.readiness();
    let problems = readiness
        .problems
        .into_iter()
        .map(|(code, detail)| ReadyProblem {
            code: code.id,
            detail,
        })
        .collect();
    let status = if readiness.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let body = ReadyBody {
        ready: readiness.ready,
        problems,
    };
    (status, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

/// Gives the figures of the server, for any token of the platform.
#[utoipa::path(get, path = "/metrics", tag = "health", responses((status = 200, description = "Prometheus text", body = String, content_type = "text/plain")))]
pub(crate) async fn metrics(State(app): State<App>, caller: Caller) -> Result<Response, Problem> {
    drop(caller.platform()?);
    let service = app.service.clone();
    let figures = tokio::task::spawn_blocking(move || service.figures())
        .await
        .map_err(|error| Problem::internal(&error.to_string()))??;
    watch::show(figures);
    watch::hold(app.held.bytes());
    let text = app.metrics.render();
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response())
}
