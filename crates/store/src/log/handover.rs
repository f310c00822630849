//! From the writer to the log: durable frames, in order, never more than the lag that appends allow.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::journal::segment::Placed;
use crate::view::Chain;
use crate::{Checkpoint, Entry};

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
            What::Other => {}
        }
    }
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
}

/// How the log's thread ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Take in everything that was given and make it durable.
    Finish,
    /// Stop at once, as in a crash.
    Abandon,
}

/// What a wait for work ended with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    Work,
    Nothing,
    End(Ending),
}

impl Handover {
    pub(crate) fn give(&self, written: &mut Vec<Written>) {
        if written.is_empty() {
            return;
        }
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .written
            .extend(written.drain(..));
        self.given.notify_one();
    }

    pub(crate) fn end(&self, ending: Ending) {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .end = Some(ending);
        self.given.notify_one();
    }

    /// Waits for work, at most `patience`; takes all there is.
    pub(crate) fn take(&self, into: &mut VecDeque<Written>, patience: Option<Duration>) -> Woken {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if state.end == Some(Ending::Abandon) {
                return Woken::End(Ending::Abandon);
            }
            if !state.written.is_empty() {
                std::mem::swap(&mut state.written, into);
                return Woken::Work;
            }
            if let Some(ending) = state.end {
                return Woken::End(ending);
            }
            let Some(patience) = patience else {
                state = self
                    .given
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let (woken, timeout) = self
                .given
                .wait_timeout(state, patience)
                .unwrap_or_else(PoisonError::into_inner);
            state = woken;
            if timeout.timed_out() && state.written.is_empty() && state.end.is_none() {
                return Woken::Nothing;
            }
        }
    }
}
