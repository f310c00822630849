//! How long to wait before the next attempt: twice as long each time, never much longer than half a minute.

use std::time::Duration;

use crate::files;

const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(30);

/// The waits of one loop.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(crate) const fn new() -> Self {
        Self { next: FIRST }
    }

    /// After a success the waits begin anew.
    pub(crate) const fn reset(&mut self) {
        self.next = FIRST;
    }

    /// Waits; up to a quarter longer than its turn, so that many connectors do not come back as one.
    pub(crate) async fn wait(&mut self) {
        let [random] = files::random::<1>().unwrap_or([0]);
        let wait = self.next + self.next.mul_f64(f64::from(random) / 1024.0);
        self.next = self.next.saturating_mul(2).min(LONGEST);
        tokio::time::sleep(wait).await;
    }
}
