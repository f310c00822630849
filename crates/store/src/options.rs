//! What can be set about a ledger; the defaults are right for everybody but tests.

use std::sync::Arc;

use countersign_projections::Projection;

use crate::clock::{Clock, SystemClock};
use crate::disk::Disk;

/// How to open a ledger.
#[derive(Debug, Clone)]
pub struct Options {
    /// The size that segments are allocated with.
    pub segment_bytes: u64,
    /// The most of the journal that the log may lack; past it, appends are refused until it has caught up. Chains that
    /// made the lag are refused at three quarters of it, connectors and the plane itself a quarter beyond it.
    pub lag_bytes_max: u64,
    /// A group of more bytes than this is written before anything else is taken in; larger ones than the default are slower.
    pub group_bytes: usize,
    /// Requests that may wait for the writer. Past it, past a quarter of it for one chain, and past seven eighths of it for
    /// all but connectors and the plane itself, appends are refused.
    pub queue_requests: usize,
    /// The memory that they may take, with the same parts.
    pub queue_bytes: usize,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// The read models that are kept.
    pub projections: Projections,
    /// Where everything but sled lies.
    pub disk: Disk,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 64 * 1024 * 1024,
            lag_bytes_max: 64 * 1024 * 1024,
            group_bytes: 1024 * 1024,
            queue_requests: 8192,
            queue_bytes: 64 * 1024 * 1024,
            clock: Arc::new(SystemClock::default()),
            projections: Projections::all(),
            disk: Disk::default(),
        }
    }
}

/// A set of read models.
#[derive(Clone)]
pub struct Projections(Arc<dyn Fn() -> Vec<Box<dyn Projection>> + Send + Sync>);

impl Projections {
    /// All that this program has.
    #[must_use]
    pub fn all() -> Self {
        Self(Arc::new(countersign_projections::all))
    }

    /// None.
    #[must_use]
    pub fn none() -> Self {
        Self(Arc::new(Vec::new))
    }

    /// Those that `make` makes.
    pub fn of(make: impl Fn() -> Vec<Box<dyn Projection>> + Send + Sync + 'static) -> Self {
        Self(Arc::new(make))
    }

    pub(crate) fn make(&self) -> Vec<Box<dyn Projection>> {
        (self.0)()
    }
}

impl std::fmt::Debug for Projections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.make().iter().map(|projection| projection.name()))
            .finish()
    }
}
