//! The bounded queue in which callers meet: full means refused at once, never a wait.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};

/// Something that counts against the bound.
pub(crate) trait Sized {
    fn bytes(&self) -> usize;
}

/// A queue of many senders and one receiver.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    filled: Condvar,
    items_max: usize,
    bytes_max: usize,
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<T>,
    bytes: usize,
    waiting: bool,
    closed: bool,
}

/// Why an item was not taken; it is given back.
#[derive(Debug)]
pub(crate) enum Refused<T> {
    Full(T),
    Closed(T),
}

impl<T: Sized> Queue<T> {
    pub(crate) fn new(items_max: usize, bytes_max: usize) -> Self {
        let state = State {
            items: VecDeque::new(),
            bytes: 0,
            waiting: false,
            closed: false,
        };
        Self {
            state: Mutex::new(state),
            filled: Condvar::new(),
            items_max,
            bytes_max,
        }
    }

    pub(crate) fn send(&self, item: T) -> Result<(), Refused<T>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.closed {
            return Err(Refused::Closed(item));
        }
        let bytes = state.bytes.saturating_add(item.bytes());
        // One item may be larger than the bound; it then goes alone.
        if state.items.len() >= self.items_max
            || (bytes > self.bytes_max && !state.items.is_empty())
        {
            return Err(Refused::Full(item));
        }
        state.bytes = bytes;
        state.items.push_back(item);
        let wake = std::mem::take(&mut state.waiting);
        drop(state);
        if wake {
            self.filled.notify_one();
        }
        Ok(())
    }

    /// Everything that waits, oldest first; sleeps while nothing does. `None` once closed and empty.
    pub(crate) fn receive(&self, into: &mut VecDeque<T>) -> Option<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while state.items.is_empty() {
            if state.closed {
                return None;
            }
            state.waiting = true;
            state = self
                .filled
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.bytes = 0;
        std::mem::swap(&mut state.items, into);
        Some(())
    }

    /// Takes what waits without sleeping; whether anything did. `into` must be empty.
    pub(crate) fn receive_more(&self, into: &mut VecDeque<T>) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.bytes = 0;
        std::mem::swap(&mut state.items, into);
        !into.is_empty()
    }

    /// Whether it is open and nothing waits.
    pub(crate) fn is_idle(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        !state.closed && state.items.is_empty()
    }

    /// Refuses everything from now on; what waits is still handed out.
    pub(crate) fn close(&self) {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .closed = true;
        self.filled.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Sized for usize {
        fn bytes(&self) -> usize {
            *self
        }
    }

    #[test]
    fn it_is_bounded_by_items_and_by_bytes_and_hands_out_in_order() {
        let queue = Queue::new(3, 10);
        assert!(queue.send(4).is_ok() && queue.send(5).is_ok());
        assert!(matches!(queue.send(2), Err(Refused::Full(2))));
        assert!(queue.send(1).is_ok());
        assert!(matches!(queue.send(0), Err(Refused::Full(0))));
        let mut taken = VecDeque::new();
        queue.receive(&mut taken).unwrap();
        assert_eq!(taken, [4, 5, 1]);
        taken.clear();
        assert!(queue.send(99).is_ok(), "one large item goes alone");
        queue.close();
        assert!(matches!(queue.send(1), Err(Refused::Closed(1))));
        assert!(queue.receive(&mut taken).is_some());
        taken.clear();
        assert!(queue.receive(&mut taken).is_none());
    }
}
