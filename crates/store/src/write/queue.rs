//! The bounded queue in which callers meet: full means refused at once, never a wait; and it is fair.
//!
//! What waits stands in one lane per chain, and lanes take turns, so a chain with a thousand commands waiting holds another
//! up by one of them, not by all. A lane that sent something large sits out turns for it. No lane may fill more than its
//! share of the bounds: what a noisy tenant fills is its own, and only it is refused then.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, PoisonError};

use countersign_ids::ChainId;

/// What a lane may take in one turn without owing anything.
const TURN_BYTES: usize = 64 * 1024;
/// A lane may hold one part in so many of the bounds.
const SHARE: usize = 4;

/// Something that counts against the bound, and in whose lane it waits.
pub(crate) trait Queued {
    fn bytes(&self) -> usize;
    fn lane(&self) -> &ChainId;
}

/// A queue of many senders and one receiver.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    filled: Condvar,
    bounds: Bounds,
}

/// What may wait, and how much is handed out at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) items: usize,
    pub(crate) bytes: usize,
    /// What is handed out ends with the item that passes this.
    pub(crate) batch_bytes: usize,
}

#[derive(Debug)]
struct State<T> {
    // INVARIANT: `turns` names each lane once, and no lane is empty.
    lanes: BTreeMap<ChainId, Lane<T>>,
    turns: VecDeque<ChainId>,
    items: usize,
    bytes: usize,
    waiting: bool,
    closed: bool,
}

#[derive(Debug)]
struct Lane<T> {
    items: VecDeque<T>,
    bytes: usize,
    /// What it took beyond its turns.
    debt: usize,
}

/// Why an item was not taken; it is given back.
#[derive(Debug)]
pub(crate) enum Refused<T> {
    Full(T),
    Closed(T),
}

impl<T: Queued> Queue<T> {
    pub(crate) fn new(bounds: Bounds) -> Self {
        let state = State {
            lanes: BTreeMap::new(),
            turns: VecDeque::new(),
            items: 0,
            bytes: 0,
            waiting: false,
            closed: false,
        };
        Self {
            state: Mutex::new(state),
            filled: Condvar::new(),
            bounds,
        }
    }

    pub(crate) fn send(&self, item: T) -> Result<(), Refused<T>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.closed {
            return Err(Refused::Closed(item));
        }
        if !state.has_room(&item, &self.bounds) {
            return Err(Refused::Full(item));
        }
        state.push(item);
        let wake = std::mem::take(&mut state.waiting);
        drop(state);
        if wake {
            self.filled.notify_one();
        }
        Ok(())
    }

    /// The next of what waits, in turns; sleeps while nothing does. `None` once closed and empty.
    pub(crate) fn receive(&self, into: &mut VecDeque<T>) -> Option<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while state.items == 0 {
            if state.closed {
                return None;
            }
            state.waiting = true;
            state = self
                .filled
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.hand_out(into, self.bounds.batch_bytes);
        Some(())
    }

    /// Takes what waits without sleeping; whether anything did. `into` must be empty.
    pub(crate) fn receive_more(&self, into: &mut VecDeque<T>) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.hand_out(into, self.bounds.batch_bytes);
        !into.is_empty()
    }

    /// Whether it is open and nothing waits.
    pub(crate) fn is_idle(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        !state.closed && state.items == 0
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

impl<T: Queued> State<T> {
    /// Whether the queue and the item's own lane have room. One item may be larger than a bound; it then goes alone.
    fn has_room(&self, item: &T, bounds: &Bounds) -> bool {
        let fits = |items: usize, bytes: usize, part: usize| {
            items < (bounds.items / part).max(1)
                && (items == 0 || bytes.saturating_add(item.bytes()) <= bounds.bytes / part)
        };
        let lane = self.lanes.get(item.lane());
        let (items, bytes) = lane.map_or((0, 0), |lane| (lane.items.len(), lane.bytes));
        fits(self.items, self.bytes, 1) && fits(items, bytes, SHARE)
    }

    fn push(&mut self, item: T) {
        let bytes = item.bytes();
        self.items = self.items.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
        if let Some(lane) = self.lanes.get_mut(item.lane()) {
            lane.bytes = lane.bytes.saturating_add(bytes);
            lane.items.push_back(item);
            return;
        }
        let name = item.lane().clone();
        self.turns.push_back(name.clone());
        let lane = Lane {
            items: VecDeque::from([item]),
            bytes,
            debt: 0,
        };
        self.lanes.insert(name, lane);
    }

    /// Hands out items in turns, until there is none or they are large enough together.
    fn hand_out(&mut self, into: &mut VecDeque<T>, bytes_max: usize) {
        let mut taken = 0_usize;
        while taken < bytes_max {
            let Some(name) = self.turns.pop_front() else {
                return;
            };
            let Some(lane) = self.lanes.get_mut(&name) else {
                continue;
            };
            // A lane that is alone owes nobody anything.
            if lane.debt >= TURN_BYTES && !self.turns.is_empty() {
                lane.debt = lane.debt.saturating_sub(TURN_BYTES);
                self.turns.push_back(name);
                continue;
            }
            if let Some(item) = lane.items.pop_front() {
                let bytes = item.bytes();
                taken = taken.saturating_add(bytes);
                lane.debt = lane.debt.saturating_add(bytes).saturating_sub(TURN_BYTES);
                lane.bytes = lane.bytes.saturating_sub(bytes);
                self.items = self.items.saturating_sub(1);
                self.bytes = self.bytes.saturating_sub(bytes);
                into.push_back(item);
            }
            if lane.items.is_empty() {
                self.lanes.remove(&name);
            } else {
                self.turns.push_back(name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Some bytes in a lane.
    #[derive(Debug, Clone, PartialEq, Eq)]
    struct Item(ChainId, usize);

    impl Queued for Item {
        fn bytes(&self) -> usize {
            self.1
        }

        fn lane(&self) -> &ChainId {
            &self.0
        }
    }

    fn item(lane: &str, bytes: usize) -> Item {
        Item(lane.parse().unwrap(), bytes)
    }

    fn queue(items: usize, bytes: usize) -> Queue<Item> {
        Queue::new(Bounds {
            items,
            bytes,
            batch_bytes: usize::MAX,
        })
    }

    fn is_full(queue: &Queue<Item>, refused: Item) -> bool {
        matches!(queue.send(refused), Err(Refused::Full(_)))
    }

    fn taken(queue: &Queue<Item>) -> Vec<(String, usize)> {
        let mut taken = VecDeque::new();
        queue.receive_more(&mut taken);
        taken
            .into_iter()
            .map(|Item(lane, bytes)| (lane.to_string(), bytes))
            .collect()
    }

    #[test]
    fn it_is_bounded_by_items_and_by_bytes_and_a_lane_by_its_share() {
        let queue = queue(8, 80);
        assert!(queue.send(item("a", 4)).is_ok() && queue.send(item("a", 4)).is_ok());
        assert!(
            is_full(&queue, item("a", 1)),
            "a lane has its share of items"
        );
        assert!(queue.send(item("b", 15)).is_ok());
        assert!(
            is_full(&queue, item("b", 6)),
            "a lane has its share of bytes"
        );
        assert!(queue.send(item("c", 1)).is_ok() && queue.send(item("d", 20)).is_ok());
        assert!(
            is_full(&queue, item("e", 40)),
            "all lanes have a bound of bytes"
        );
        for lane in ["e", "f", "g"] {
            assert!(queue.send(item(lane, 1)).is_ok(), "{lane}");
        }
        assert!(
            is_full(&queue, item("h", 0)),
            "all lanes have a bound of items"
        );
        assert_eq!(taken(&queue).len(), 8);
        assert!(
            queue.send(item("a", 99)).is_ok(),
            "one large item goes alone"
        );
        queue.close();
        assert!(matches!(queue.send(item("a", 1)), Err(Refused::Closed(_))));
        let mut last = VecDeque::new();
        assert!(queue.receive(&mut last).is_some() && last.len() == 1);
        last.clear();
        assert!(queue.receive(&mut last).is_none());
    }

    #[test]
    fn lanes_take_turns_and_each_keeps_its_order() {
        let queue = queue(800, 80_000);
        for number in 1..=100 {
            queue.send(item("noisy", number)).unwrap();
        }
        queue.send(item("quiet", 1)).unwrap();
        queue.send(item("quiet", 2)).unwrap();
        let taken = taken(&queue);
        let order: Vec<usize> = taken
            .iter()
            .filter(|(lane, _)| lane == "noisy")
            .map(|(_, bytes)| *bytes)
            .collect();
        assert_eq!(order, (1..=100).collect::<Vec<_>>());
        let quiet = |wanted: usize| {
            taken
                .iter()
                .position(|one| *one == ("quiet".to_owned(), wanted))
        };
        assert_eq!((quiet(1), quiet(2)), (Some(1), Some(3)));
    }

    #[test]
    fn a_lane_sits_out_turns_for_what_is_large() {
        let queue = queue(800, 80 * TURN_BYTES);
        for _ in 0..2 {
            queue.send(item("large", 4 * TURN_BYTES)).unwrap();
        }
        for _ in 0..5 {
            queue.send(item("small", 1)).unwrap();
        }
        let lanes: String = taken(&queue)
            .iter()
            .filter_map(|(lane, _)| lane.chars().next())
            .collect();
        assert_eq!(lanes, "lssssls");
    }

    #[test]
    fn what_is_handed_out_at_once_is_bounded() {
        let queue = Queue::new(Bounds {
            items: 800,
            bytes: 80_000,
            batch_bytes: 30,
        });
        for _ in 0..10 {
            queue.send(item("a", 10)).unwrap();
        }
        queue.send(item("b", 10)).unwrap();
        assert_eq!(taken(&queue).len(), 3);
        assert_eq!(taken(&queue).len(), 3);
        assert!(!queue.is_idle());
    }
}
