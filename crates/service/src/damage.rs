//! Looking for damage before somebody needs what it is in.
//!
//! The store finds, heals and says what it found; this gives it a thread at the lowest priority, at the start and then again
//! and again.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval};

use crate::Error;
use crate::reactor::report;
use crate::service::Inner;

/// Reads everything again and again, until the service stops.
pub(crate) async fn look_for_damage(inner: Arc<Inner>) {
    let mut tick = interval(inner.config.sweep_age);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = inner.stop.cancelled() => return,
        }
        let swept = inner.sweep().await;
        if inner.stop.is_cancelled() {
            return;
        }
        if let Err(error) = swept {
            report(&error);
        }
    }
}

impl Inner {
    /// Reads everything once, on a thread of its own.
    async fn sweep(self: &Arc<Self>) -> Result<(), Error> {
        let (told, answer) = oneshot::channel();
        let inner = Arc::clone(self);
        // Whoever waits for the tasks waits for the thread too: it holds the ledger.
        let token = self.tasks.token();
        let sweep = move || {
            // On Linux this is the thread's own.
            if let Err(error) = rustix::process::nice(19) {
                tracing::debug!(%error, "looking for damage goes on at the usual priority");
            }
            let stops = || inner.stop.is_cancelled();
            let swept = inner.ledger.sweep_unless(&stops);
            drop(inner);
            drop(told.send(swept));
            drop(token);
        };
        std::thread::Builder::new()
            .name("countersign-sweep".to_owned())
            .spawn(sweep)
            .map_err(Error::internal)?;
        let swept = answer.await.map_err(Error::internal)??;
        tracing::info!(?swept, "everything was read, and what is damaged was named");
        Ok(())
    }
}
