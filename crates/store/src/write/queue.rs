//! The bounded queue in which callers meet: full means refused at once, never a wait; and it is fair.
//!
//! What fits into one group is handed out as it came: it shares an fdatasync, so nobody gains by another order, and nobody
//! pays for one. Only where more waits do items go into lanes, and lanes take turns. No lane may fill more than its share of
//! the bounds, and callers not all of them: what a noisy tenant fills is its own, and only it is refused then.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::lanes::{Asker, Lanes, Load, Queued};
use crate::error::Overload;

/// A lane may hold one part in so many of the bounds.
const SHARE: usize = 4;
/// Callers leave one part in so many of the bounds to connectors and to the plane itself.
const KEPT: usize = 8;
/// A turn is one part in so many of a group.
const TURNS: usize = 64;

/// What may wait, and how much is handed out at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) items: usize,
    pub(crate) bytes: usize,
    /// About as many bytes of journal as are handed out at once.
    pub(crate) group: usize,
}

/// A queue of many senders and one receiver.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    filled: Condvar,
    bounds: Bounds,
}

#[derive(Debug)]
struct State<T> {
    /// What came after everything that stands in lanes.
    arrived: VecDeque<T>,
    lanes: Lanes<T>,
    /// All of it.
    load: Load,
    refused: Refusals,
    waiting: bool,
    closed: bool,
}

/// How often the queue refused something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Refusals {
    pub(crate) share: u64,
    pub(crate) queue: u64,
}

/// Why an item was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Full(Overload),
    Closed,
}

impl<T: Queued> Queue<T> {
    pub(crate) fn new(mut bounds: Bounds) -> Self {
        // Nothing would ever be handed out at once in groups of nothing.
        bounds.group = bounds.group.max(1);
        let state = State {
            arrived: VecDeque::new(),
            lanes: Lanes::new(bounds.group / TURNS),
            load: Load::default(),
            refused: Refusals::default(),
            waiting: false,
            closed: false,
        };
        Self {
            state: Mutex::new(state),
            filled: Condvar::new(),
            bounds,
        }
    }

    pub(crate) fn send(&self, item: T) -> Result<(), Refused> {
        let mut state = self.state();
        if state.closed {
            return Err(Refused::Closed);
        }
        if let Err(full) = state.room(&item, &self.bounds) {
            state.refused.count(full);
            return Err(Refused::Full(full));
        }
        state.load = state.load.plus(Load::of(&item));
        state.arrived.push_back(item);
        let wake = std::mem::take(&mut state.waiting);
        drop(state);
        if wake {
            self.filled.notify_one();
        }
        Ok(())
    }

    /// What comes next, a group at most; sleeps while nothing waits. `None` once closed and empty. `into` must be empty.
    pub(crate) fn receive(&self, into: &mut VecDeque<T>) -> Option<()> {
        let mut state = self.state();
        while state.is_empty() {
            if state.closed {
                return None;
            }
            state.waiting = true;
            state = self
                .filled
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.hand_out(into, self.bounds.group);
        Some(())
    }

    /// Takes about `weight` of what waits without sleeping; whether anything did. `into` must be empty.
    pub(crate) fn receive_more(&self, into: &mut VecDeque<T>, weight: usize) -> bool {
        self.state().hand_out(into, weight);
        !into.is_empty()
    }

    /// Whether it is open and nothing waits.
    pub(crate) fn is_idle(&self) -> bool {
        let state = self.state();
        !state.closed && state.is_empty()
    }

    /// How often something was refused.
    pub(crate) fn refusals(&self) -> Refusals {
        self.state().refused
    }

    /// Refuses everything from now on; what waits is still handed out.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.filled.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Queued> State<T> {
    const fn is_empty(&self) -> bool {
        self.load.items == 0
    }

    /// Whether there is room for an item. One may be larger than a bound; it then goes alone.
    fn room(&mut self, item: &T, bounds: &Bounds) -> Result<(), Overload> {
        let all = self.load.plus(Load::of(item));
        let kept = |bound: usize| match item.lane().0 {
            Asker::Plane => bound,
            Asker::Caller => bound.saturating_sub(bound / KEPT),
        };
        if !self.is_empty() && (all.items > kept(bounds.items) || all.bytes > kept(bounds.bytes)) {
            return Err(Overload::Queue);
        }
        let is_over =
            |load: Load| load.items > bounds.items / SHARE || load.bytes > bounds.bytes / SHARE;
        // No lane is over its share while all of them together are not, which spares the common case its lane.
        if !is_over(all) {
            return Ok(());
        }
        self.sort();
        let lane = self.lanes.load(item);
        if lane.items > 0 && is_over(lane.plus(Load::of(item))) {
            return Err(Overload::Share);
        }
        Ok(())
    }

    /// Puts what arrived into its lanes.
    fn sort(&mut self) {
        for item in self.arrived.drain(..) {
            self.lanes.push(item);
        }
    }

    fn hand_out(&mut self, into: &mut VecDeque<T>, weight: usize) {
        if self.lanes.is_empty() && self.load.weight <= weight {
            std::mem::swap(&mut self.arrived, into);
            self.load = Load::default();
            return;
        }
        self.sort();
        self.load = self.load.minus(self.lanes.take(into, weight));
    }
}

impl Refusals {
    const fn count(&mut self, full: Overload) {
        match full {
            Overload::Share => self.share = self.share.saturating_add(1),
            Overload::Queue | Overload::Log => self.queue = self.queue.saturating_add(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::lanes::tests::{Item, item};
    use super::*;

    const FULL: Result<(), Refused> = Err(Refused::Full(Overload::Queue));
    const OVER_ITS_SHARE: Result<(), Refused> = Err(Refused::Full(Overload::Share));

    fn queue(items: usize, bytes: usize, group: usize) -> Queue<Item> {
        Queue::new(Bounds {
            items,
            bytes,
            group,
        })
    }

    fn taken(queue: &Queue<Item>) -> Vec<usize> {
        let mut into = VecDeque::new();
        assert_eq!(queue.receive(&mut into), Some(()));
        into.into_iter().map(|item| item.number).collect()
    }

    #[test]
    fn a_lane_is_bounded_by_its_share_and_all_of_them_together() {
        let queue = queue(16, 160, 1000);
        let plane = |chain, weight| Item {
            asker: Asker::Plane,
            ..item(chain, weight, 0)
        };
        for (sent, told) in [
            // Four of sixteen items, and 40 of 160 bytes.
            (item("a", 1, 0), Ok(())),
            (item("a", 1, 0), Ok(())),
            (item("a", 1, 0), Ok(())),
            (item("a", 1, 0), Ok(())),
            (item("a", 1, 0), OVER_ITS_SHARE),
            (item("b", 30, 0), Ok(())),
            (item("b", 11, 0), OVER_ITS_SHARE),
            (item("b", 10, 0), Ok(())),
            // One that is larger than a share goes in where its lane is empty.
            (item("c", 60, 0), Ok(())),
            (item("c", 0, 0), OVER_ITS_SHARE),
            // The lane of a tenant's connectors is another one.
            (plane("a", 1), Ok(())),
            // Callers leave an eighth: 14 items, 140 bytes.
            (item("d", 36, 0), FULL),
            (item("d", 31, 0), Ok(())),
            (item("e", 0, 0), Ok(())),
            (item("e", 0, 0), Ok(())),
            (item("f", 0, 0), Ok(())),
            (item("f", 0, 0), Ok(())),
            (item("g", 0, 0), Ok(())),
            (item("g", 0, 0), FULL),
            (plane("a", 1), Ok(())),
            (plane("a", 1), Ok(())),
            (plane("a", 1), FULL),
        ] {
            let what = format!("{sent:?}");
            assert_eq!(queue.send(sent), told, "{what}");
        }
        assert_eq!(queue.refusals(), Refusals { share: 3, queue: 3 });
        assert_eq!(taken(&queue).len(), 16);
        assert_eq!(
            queue.send(item("a", 999, 0)),
            Ok(()),
            "a large one goes alone"
        );
        queue.close();
        assert_eq!(queue.send(item("a", 1, 0)), Err(Refused::Closed));
        assert_eq!(taken(&queue).len(), 1);
        assert_eq!(queue.receive(&mut VecDeque::new()), None);
    }

    #[test]
    fn what_fits_into_a_group_comes_as_it_arrived_and_the_rest_in_turns() {
        let queue = queue(8000, 80_000, 640);
        let send = |chain, weight, number| queue.send(item(chain, weight, number)).unwrap();
        (0..9).for_each(|number| send("noisy", 10, number));
        send("quiet", 10, 9);
        assert_eq!(taken(&queue), (0..10).collect::<Vec<_>>());
        (0..1000).for_each(|number| send("noisy", 10, number));
        send("quiet", 10, 5000);
        let first = taken(&queue);
        assert_eq!(first.len(), 64, "a group");
        assert_eq!(first.get(1), Some(&5000), "behind one turn of the other");
        // It goes on behind what is there; what came later does not overtake it in its lane.
        send("quiet", 10, 5001);
        let second = taken(&queue);
        assert_eq!(second.get(1), Some(&5001));
        let noisy: Vec<_> = first
            .iter()
            .chain(&second)
            .filter(|number| **number < 5000)
            .collect();
        assert_eq!(
            noisy,
            (0..126).collect::<Vec<_>>().iter().collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_group_of_nothing_is_one_item() {
        let queue = queue(32, 320, 0);
        (0..3).for_each(|number| queue.send(item("a", 5, number)).unwrap());
        assert_eq!(taken(&queue), [0]);
        assert_eq!(taken(&queue), [1]);
        assert!(!queue.is_idle());
    }
}
