//! The queue beside a naive one: a list of everything that waits.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::lanes::tests::{Item, item};
use super::lanes::{Asker, Queued as _};
use super::queue::{Bounds, Queue, Refused};
use crate::error::Overload;

const BOUNDS: Bounds = Bounds {
    items: 24,
    bytes: 800,
    group: 640,
};
const TURN: usize = 10;
const WEIGHT_MAX: usize = 60;

type Lane = (Asker, String);

#[derive(Debug, Clone)]
enum Step {
    Send(Item),
    Take(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let send = (0..4_usize, any::<bool>(), 0..WEIGHT_MAX).prop_map(|(chain, plane, weight)| {
        let asker = if plane { Asker::Plane } else { Asker::Caller };
        let named = item(["a", "b", "c", "platform"][chain], weight, 0);
        Step::Send(Item { asker, ..named })
    });
    let take = prop_oneof![1..40_usize, 1..BOUNDS.bytes].prop_map(Step::Take);
    prop::collection::vec(prop_oneof![4 => send, 1 => take], 1..200)
}

fn lane(item: &Item) -> Lane {
    let (asker, chain) = item.lane();
    (asker, chain.to_string())
}

#[derive(Debug, Default)]
struct Model {
    waiting: Vec<Item>,
    /// Whether lanes were made since nothing waited.
    sorted: bool,
    /// What was handed out of each lane since the first of another one has been the first.
    passed: BTreeMap<(Lane, Lane), usize>,
    sent: usize,
}

impl Model {
    fn weight(&self) -> usize {
        self.waiting.iter().map(|item| item.weight).sum()
    }

    fn send(&mut self, item: &Item) -> Result<(), Refused> {
        let with = |waiting: Vec<&Item>| {
            let weight: usize = waiting.iter().map(|item| item.weight).sum();
            (waiting.len() + 1, weight + item.weight)
        };
        let kept = |bound: usize| {
            if item.asker == Asker::Plane {
                bound
            } else {
                bound - bound / 8
            }
        };
        let (items, bytes) = with(self.waiting.iter().collect());
        if items > 1 && (items > kept(BOUNDS.items) || bytes > kept(BOUNDS.bytes)) {
            return Err(Refused::Full(Overload::Queue));
        }
        self.sorted |= items > BOUNDS.items / 4 || bytes > BOUNDS.bytes / 4;
        let its = self
            .waiting
            .iter()
            .filter(|other| lane(other) == lane(item));
        let (items, bytes) = with(its.collect());
        if items > 1 && (items > BOUNDS.items / 4 || bytes > BOUNDS.bytes / 4) {
            return Err(Refused::Full(Overload::Share));
        }
        self.waiting.push(item.clone());
        Ok(())
    }

    fn take(&mut self, room: usize, taken: &[Item]) {
        if !self.sorted && self.weight() <= room {
            assert_eq!(taken, self.waiting, "what fits comes as it arrived");
        }
        self.sorted |= self.weight() > room;
        let weight: usize = taken.iter().map(|item| item.weight).sum();
        let last = taken.last().map_or(0, |item| item.weight);
        assert!(
            taken.len() == self.waiting.len() || weight >= room,
            "more would have fitted"
        );
        assert!(weight <= room || weight - last < room, "that was too much");
        for item in taken {
            let of = lane(item);
            let first = self.waiting.iter().position(|other| lane(other) == of);
            let first = self.waiting.remove(first.expect("it waits"));
            assert_eq!(&first, item, "a lane keeps its order");
            self.passed.retain(|(waits, _), _| *waits != of);
            for waits in self.waiting.iter().map(lane).filter(|waits| *waits != of) {
                self.passed.entry((waits, of.clone())).or_default();
            }
            for ((_, passed), weight) in &mut self.passed {
                if *passed == of && self.sorted {
                    *weight += item.weight;
                    assert!(
                        *weight <= 3 * TURN + 2 * WEIGHT_MAX,
                        "{item:?} is ahead of its turn"
                    );
                }
            }
        }
        if self.waiting.is_empty() {
            self.sorted = false;
            self.passed.clear();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn the_queue_does_what_a_list_does_and_is_fair(steps in steps()) {
        let queue = Queue::new(BOUNDS);
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Send(mut item) => {
                    item.number = model.sent;
                    model.sent += 1;
                    prop_assert_eq!(queue.send(item.clone()), model.send(&item));
                }
                Step::Take(room) => {
                    let mut taken = VecDeque::new();
                    queue.receive_more(&mut taken, room);
                    model.take(room, taken.make_contiguous());
                }
            }
        }
        while !model.waiting.is_empty() {
            let mut taken = VecDeque::new();
            queue.receive(&mut taken).unwrap();
            model.take(BOUNDS.group, taken.make_contiguous());
        }
        prop_assert!(queue.is_idle());
    }
}
