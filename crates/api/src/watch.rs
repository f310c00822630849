//! Every request in time, counted and logged under an id of its own, which its answer names; no header and no body is logged.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use countersign_service::{FIGURES, Figure};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing::Instrument as _;

use crate::app::App;
use crate::{codes, problem::Problem};

/// Buckets of durations, in seconds; a histogram without them would keep every sample.
const SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// What is refused and cut under load.
const COUNTERS: &[(&str, &str)] = &[
    (
        "countersign_appends_refused_total",
        "Appends that were refused, by what was at its bound: the share of a chain, the queue, or the lag of the log",
    ),
    (
        "countersign_requests_limited_total",
        "Requests beyond the rate of their token or tenant, by what they asked",
    ),
    (
        "countersign_streams_cut_total",
        "Event streams that were ended because their reader took nothing",
    ),
    (
        "countersign_connections_cut_total",
        "Connections that were cut because the other end took nothing",
    ),
    (
        "countersign_answers_refused_total",
        "Answers that were refused because too many wait for their readers",
    ),
];

/// The recorder of this process; the first server installs it.
pub(crate) fn recorder() -> PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    RECORDER
        .get_or_init(|| {
            let builder = PrometheusBuilder::new();
            let builder = builder
                .set_buckets(SECONDS)
                .unwrap_or_else(|_| PrometheusBuilder::new());
            let recorder = builder.build_recorder();
            let handle = recorder.handle();
            if metrics::set_global_recorder(recorder).is_err() {
                tracing::warn!("another recorder of metrics is installed; /metrics stays empty");
            }
            for (name, about) in FIGURES {
                metrics::describe_gauge!(*name, *about);
            }
            for (name, about) in COUNTERS {
                metrics::describe_counter!(*name, *about);
            }
            metrics::describe_gauge!(
                "countersign_answers_held_bytes",
                "Bytes of large answers that wait for their readers"
            );
            handle
        })
        .clone()
}

/// Puts the figures of the moment where they are rendered.
pub(crate) fn show(figures: Vec<Figure>) {
    for Figure {
        name,
        labels,
        value,
    } in figures
    {
        let labels: Vec<metrics::Label> = labels
            .into_iter()
            .map(|(name, value)| metrics::Label::new(name, value))
            .collect();
        metrics::gauge!(name, labels).set(value);
    }
}

/// Puts what answers hold where it is rendered.
#[expect(
    clippy::cast_precision_loss,
    reason = "a figure beyond 2^53 may be off by one"
)]
pub(crate) fn hold(bytes: u64) {
    metrics::gauge!("countersign_answers_held_bytes").set(bytes as f64);
}

/// Routes that may take longer than a command: what they wait for has bounds of its own.
fn waits(path: &str) -> bool {
    path.ends_with("/events/stream")
        || path.ends_with("/connector/poll")
        || path.contains("/blobs/")
}

/// A method as a label: callers choose methods freely, and every label is kept for ever.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// The header that names a request in its answer, as the log does.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A name for a request: which run of the server, and which request in it. It is no secret and grants nothing.
fn request_id() -> String {
    static RUN: OnceLock<u64> = OnceLock::new();
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let run = RUN.get_or_init(|| RandomState::new().hash_one(std::process::id()));
    format!("{run:016x}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Answers in time, with the headers that every answer has.
pub(crate) async fn bounded(State(app): State<App>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let method = request.method().clone();
    let path = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "other".to_owned(), |path| path.as_str().to_owned());
    let limit = if waits(&path) {
        Duration::MAX
    } else {
        app.bounds.request.saturating_add(app.bounds.body)
    };
    let id = request_id();
    let span = tracing::info_span!("request", request = id, %method, path);
    let answer = next.run(request).instrument(span.clone());
    let mut response = match tokio::time::timeout(limit, answer).await {
        Ok(response) => response,
        Err(_) => {
            let detail =
                "the command may still be done: send it again with the same Idempotency-Key";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, codes::TOO_SLOW, detail).into_response()
        }
    };
    let headers = response.headers_mut();
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, id);
    }
    let (failed, status) = (
        response.status().is_server_error(),
        response.status().as_u16().to_string(),
    );
    let took = began.elapsed();
    span.in_scope(|| {
        if failed {
            tracing::warn!(status, ?took, "answered");
        } else {
            tracing::debug!(status, ?took, "answered");
        }
    });
    let labels = [
        ("method", known(&method).to_owned()),
        ("route", path),
        ("status", status),
    ];
    metrics::counter!("countersign_http_requests_total", &labels).increment(1);
    metrics::histogram!("countersign_http_request_seconds", &labels).record(took.as_secs_f64());
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_method_is_no_label() {
        assert_eq!(known(&Method::PUT), "PUT");
        for made_up in ["X1", "get", "TRACE"] {
            let method = Method::from_bytes(made_up.as_bytes()).unwrap();
            assert_eq!(known(&method), "other", "{made_up}");
        }
    }
}
