//! A clock that holds the writer until a whole group of commands waits, so that groups are the same in every run.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};
use std::task::Poll;
use std::time::Duration;

use countersign_ids::Time;
use countersign_store::clock::Clock;
use countersign_store::{Append, Error, Ledger, Receipt};

type Answer = Result<Receipt, Error>;

/// Ticks a millisecond at every reading.
#[derive(Debug, Default)]
pub(super) struct Gate {
    ticks: AtomicU64,
    held: Mutex<bool>,
    released: Condvar,
}

impl Gate {
    fn hold(&self, held: bool) {
        *self.held.lock().unwrap() = held;
        self.released.notify_all();
    }

    fn tick(&self) -> u64 {
        self.ticks.fetch_add(1, Ordering::SeqCst)
    }

    /// Appends all of them in one group.
    pub(super) fn together(&self, ledger: &Ledger, commands: Vec<Append>) -> Vec<Answer> {
        // A runtime of one thread never writes on it, so each first poll leaves its command in the queue.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let mut waiting: Vec<Pin<Box<dyn Future<Output = Answer>>>> = Vec::new();
        for command in commands {
            waiting.push(Box::pin(ledger.append(command)));
        }
        let mut answers: Vec<_> = waiting.iter().map(|_| None).collect();
        self.hold(true);
        runtime.block_on(std::future::poll_fn(|context| {
            for (future, answer) in waiting.iter_mut().zip(&mut answers) {
                if answer.is_none()
                    && let Poll::Ready(told) = future.as_mut().poll(context)
                {
                    *answer = Some(told);
                }
            }
            self.hold(false);
            if answers.iter().all(Option::is_some) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        }));
        answers.into_iter().flatten().collect()
    }
}

impl Clock for Gate {
    fn now(&self) -> Time {
        Time::from_unix_millis(1_800_000_000_000 + self.tick())
    }

    /// Only the writer asks for it.
    fn steady(&self) -> Duration {
        let held = self.held.lock().unwrap();
        let patience = Duration::from_secs(60);
        drop(
            self.released
                .wait_timeout_while(held, patience, |held| *held),
        );
        Duration::from_millis(self.tick())
    }
}
