//! From the writer to the log: durable frames, in order, never more than the lag that appends allow.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};
use std::time::Duration;

use crate::journal::pruning::Stump;
use crate::journal::segment::Placed;
use crate::prune::Pruning;
use crate::removal::Doomed;
use crate::view::Chain;
use crate::{Checkpoint, Entry, Error};

/// A durable frame.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) place: Placed,
    pub(crate) what: What,
}

/// What was in it.
#[derive(Debug)]
pub(crate) enum What {
    Events {
        chain: Arc<Chain>,
        entries: Vec<Entry>,
    },
    Checkpoint {
        chain: Arc<Chain>,
        checkpoint: Checkpoint,
    },
    /// Events that were pruned.
    Pruned { chain: Arc<Chain>, stump: Stump },
    /// Nothing that the log keeps.
    Other,
}

impl Written {
    /// Shows what was written to every reader.
    pub(crate) fn publish(&self) {
        match &self.what {
            What::Events { chain, entries } => entries
                .iter()
                .for_each(|entry| chain.publish(entry.clone())),
            What::Checkpoint { chain, checkpoint } => {
                chain.set_checkpoint(Some(checkpoint.clone()))
            }
            // What it leaves is shown where it is taken in.
            What::Pruned { .. } | What::Other => {}
        }
    }
}

/// What is to go from the log.
#[derive(Debug, Clone)]
pub(crate) enum Gone {
    Bodies(Arc<Doomed>),
    Events(Arc<Pruning>),
}

/// That the log's thread makes durable what it was given, and then removes from the log what is to go, if anything is.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) gone: Option<Gone>,
    pub(crate) reply: mpsc::Sender<Result<(), Error>>,
}

/// That a projection is made again; answered once that is durable.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) projection: String,
    pub(crate) reply: mpsc::Sender<Result<(), Error>>,
}

/// The queue between the two threads. Its bound is the lag, which `Ledger::append` keeps.
#[derive(Debug, Default)]
pub(crate) struct Handover {
    state: Mutex<State>,
    given: Condvar,
}

#[derive(Debug, Default)]
struct State {
    written: VecDeque<Written>,
    end: Option<Ending>,
    asked: Option<Asked>,
    orders: VecDeque<Order>,
    /// The log's thread sleeps until something is given.
    idle: bool,
    /// Somebody waits for what was given.
    urgent: bool,
}

/// Frames that are worth waking the log's thread for, and how long fewer may wait: each wake costs the writer a system call
/// and a core that its caller may need.
const WAKE_FRAMES: usize = 256;
const WAKE_AFTER: Duration = Duration::from_millis(5);

/// How the log's thread ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Take in everything that was given and make it durable.
    Finish,
    /// Stop at once, as in a crash.
    Abandon,
}

/// What a wait for work ended with.
#[derive(Debug)]
pub(crate) enum Woken {
    Work,
    /// Everything that was given before is taken in.
    Asked(Asked),
    Ordered(Order),
    Nothing,
    End(Ending),
}

impl Handover {
    pub(crate) fn give(&self, written: &mut Vec<Written>) {
        if written.is_empty() {
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.written.extend(written.drain(..));
        let wake =
            std::mem::take(&mut state.idle) || state.urgent || state.written.len() >= WAKE_FRAMES;
        drop(state);
        if wake {
            self.given.notify_one();
        }
    }

    /// Somebody waits for what was given: it is taken in at once.
    pub(crate) fn urge(&self) {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .urgent = true;
        self.given.notify_one();
    }

    /// Asks for something, once what was given is taken in. Another one that was asked for meanwhile is not answered.
    pub(crate) fn ask(&self, asked: Asked) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.asked = Some(asked);
        drop(state);
        self.given.notify_one();
    }

    /// Has a projection made again, whatever was given before.
    pub(crate) fn order(&self, order: Order) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.orders.push_back(order);
        drop(state);
        self.given.notify_one();
    }

    /// Waits so long; how it is to end, if it is.
    pub(crate) fn pause(&self, pause: Duration) -> Option<Ending> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let until = |state: &mut State| state.end.is_none();
        let (state, _) = self
            .given
            .wait_timeout_while(state, pause, until)
            .unwrap_or_else(PoisonError::into_inner);
        state.end
    }

    pub(crate) fn end(&self, ending: Ending) {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .end = Some(ending);
        self.given.notify_one();
    }

    /// Waits for work, at most `patience`; takes all there is. Without patience nothing is waited for.
    pub(crate) fn take(&self, into: &mut VecDeque<Written>, patience: Option<Duration>) -> Woken {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = patience != Some(Duration::ZERO);
        let mut lingered = false;
        loop {
            if state.end == Some(Ending::Abandon) {
                return Woken::End(Ending::Abandon);
            }
            if state.end.is_none()
                && let Some(order) = state.orders.pop_front()
            {
                return Woken::Ordered(order);
            }
            let ready = lingered
                || !waits
                || state.urgent
                || state.end.is_some()
                || state.asked.is_some()
                || state.written.len() >= WAKE_FRAMES;
            if !state.written.is_empty() && ready {
                state.urgent = false;
                std::mem::swap(&mut state.written, into);
                return Woken::Work;
            }
            if state.written.is_empty()
                && let Some(asked) = state.asked.take()
            {
                return Woken::Asked(asked);
            }
            if let Some(ending) = state.end {
                return Woken::End(ending);
            }
            state.urgent = false;
            if !waits {
                return Woken::Nothing;
            }
            let wait = if state.written.is_empty() {
                patience
            } else {
                Some(WAKE_AFTER)
            };
            state.idle = state.written.is_empty();
            lingered = !state.idle;
            let Some(wait) = wait else {
                state = self
                    .given
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let (woken, timeout) = self
                .given
                .wait_timeout(state, wait)
                .unwrap_or_else(PoisonError::into_inner);
            state = woken;
            if timeout.timed_out() && state.written.is_empty() && state.end.is_none() {
                return Woken::Nothing;
            }
        }
    }
}
