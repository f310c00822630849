//! A clock that holds the writer until all commands of a step wait, so that groups and turns are the same in every run.
//!
//! Whose turn it is depends on what waits when the writer looks. So the first command is sent alone, and the others only when
//! the writer stands here with it: they all wait when it looks again, whatever the threads of this machine do.

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
    held: Mutex<Held>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Held {
    /// Whether the writer is to wait.
    held: bool,
    /// Whether it does.
    stands: bool,
}

/// Longer than any machine is busy with something else.
const PATIENCE: Duration = Duration::from_secs(60);

impl Gate {
    fn hold(&self, held: bool) {
        self.held.lock().unwrap().held = held;
        self.changed.notify_all();
    }

    /// Waits until the writer stands at the gate.
    fn wait_for_the_writer(&self) {
        let held = self.held.lock().unwrap();
        let waited = self
            .changed
            .wait_timeout_while(held, PATIENCE, |held| !held.stands);
        assert!(!waited.unwrap().1.timed_out(), "the writer took nothing in");
    }

    fn tick(&self) -> u64 {
        self.ticks.fetch_add(1, Ordering::SeqCst)
    }

    /// Appends all of them at once.
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
        let mut held = false;
        self.hold(true);
        runtime.block_on(std::future::poll_fn(|context| {
            for (future, answer) in waiting.iter_mut().zip(&mut answers) {
                if answer.is_some() {
                    continue;
                }
                match future.as_mut().poll(context) {
                    Poll::Ready(told) => *answer = Some(told),
                    // A writer that stopped for good refuses before it looks at the clock.
                    Poll::Pending
                        if asks_for_the_time(ledger) && !std::mem::replace(&mut held, true) =>
                    {
                        self.wait_for_the_writer();
                    }
                    Poll::Pending => {}
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

/// Whether the writer looks at the clock before anything else: when it writes, and when it may try to write again.
fn asks_for_the_time(ledger: &Ledger) -> bool {
    let status = ledger.status();
    status.stopped.is_none() || status.resumes
}

impl Clock for Gate {
    fn now(&self) -> Time {
        Time::from_unix_millis(1_800_000_000_000 + self.tick())
    }

    /// Only the writer asks for it.
    fn steady(&self) -> Duration {
        let mut held = self.held.lock().unwrap();
        if held.held {
            held.stands = true;
            self.changed.notify_all();
            let waited = self
                .changed
                .wait_timeout_while(held, PATIENCE, |held| held.held);
            held = waited.unwrap().0;
            held.stands = false;
        }
        drop(held);
        Duration::from_millis(self.tick())
    }
}
