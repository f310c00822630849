//! Answering the connections of a listener: each by HTTP/1, and the headers of each request in a time of their own.
//!
//! A peer that sends its headers one byte at a time is not silent, so the listener's bounds alone would wait for ever.

use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::serve::Listener as _;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::Bounded;

/// Answers every connection for as long as it is polled; all of them end with it. Once `stop` is cancelled none is accepted
/// any more, and those that are there end with what they are answering.
///
/// A connection is closed if the next request does not have all of its headers within `headers` of its beginning, or of the
/// answer before.
pub async fn answer(
    mut listener: Bounded,
    router: Router,
    headers: Duration,
    stop: CancellationToken,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(headers);
    let service = TowerToHyperService::new(router);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            (stream, _) = listener.accept() => {
                let connection = http.serve_connection(TokioIo::new(stream), service.clone());
                let stop = stop.clone();
                // How a connection ends is its peer's business.
                connections.spawn(async move {
                    let mut connection = pin!(connection);
                    tokio::select! {
                        _ = connection.as_mut() => return,
                        () = stop.cancelled() => {}
                    }
                    connection.as_mut().graceful_shutdown();
                    drop(connection.await);
                });
            }
            Some(_) = connections.join_next() => {}
            () = stop.cancelled() => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}
