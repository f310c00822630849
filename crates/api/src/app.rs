//! What every handler has at hand, and the bounds within which it works.

use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign_service::Service;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::held::Held;
use crate::limits::{Limits, Rates};

/// Bounds of the HTTP layer; the sizes of bodies are in `ids::limits`.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Connections at one time; more wait to be accepted.
    pub connections: usize,
    /// Event streams at one time; more are refused.
    pub streams: usize,
    /// What one token may ask in a time; more is refused.
    pub token: Rates,
    /// What all tokens of one tenant may ask in a time.
    pub tenant: Rates,
    /// Memory of large answers that are made and not taken yet; more are refused.
    pub answer_bytes: u64,
    /// How long a connection may take, from its beginning or from the answer before, until the next request has all of its
    /// headers; longer than clients keep a connection without asking anything.
    pub headers: Duration,
    /// How long a body may take to arrive.
    pub body: Duration,
    /// How long a command or read may take, beside polls, blobs and streams.
    pub request: Duration,
    /// How long a reader may take nothing before it is cut.
    pub stalled: Duration,
    /// How long a connection may be silent in both directions before it is closed; longer than a held poll.
    pub idle: Duration,
    /// Between two signs of life on an event stream; the token is looked at again then.
    pub keep_alive: Duration,
    /// How long requests that are under way may take when the server stops.
    pub drain: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections: 4096,
            streams: 512,
            token: Rates::of_token(),
            tenant: Rates::of_tenant(),
            answer_bytes: 256 * 1024 * 1024,
            headers: Duration::from_secs(100),
            body: Duration::from_secs(30),
            request: Duration::from_secs(30),
            stalled: Duration::from_secs(20),
            idle: Duration::from_secs(75),
            keep_alive: Duration::from_secs(15),
            drain: Duration::from_secs(10),
        }
    }
}

/// The state of all handlers.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) service: Service,
    pub(crate) bounds: Arc<Bounds>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) held: Arc<Held>,
    /// Blobs that are read at one time.
    pub(crate) reading: Arc<Semaphore>,
    /// The moment from which the limits count.
    pub(crate) began: Instant,
    pub(crate) streams: Arc<Semaphore>,
    pub(crate) metrics: PrometheusHandle,
    /// Cancelled when the server stops: what waits ends then.
    pub(crate) stop: CancellationToken,
}
