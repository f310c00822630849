//! Turns: what waits stands in one lane per chain and asker, and lanes are served by deficit round robin.
//!
//! A turn is worth so many bytes of journal. A lane that took more, because one append may be larger, owes the rest and sits
//! out turns for it. So what waits at the head of a lane is held up by at most a turn and one append of every other lane,
//! however much waits there. Within a lane the order of arrival stays. Nothing here depends on time or on addresses: the
//! same calls hand out the same order.

use std::collections::{BTreeMap, VecDeque};

use countersign_ids::ChainId;

/// Who asks. What keeps the plane itself going stands in lanes of its own, so that no crowd of callers is in its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Asker {
    /// Connectors and the control plane itself.
    Plane,
    /// Everybody else.
    Caller,
}

/// Something that waits in a lane.
pub(crate) trait Queued {
    /// The most memory that it may take: what bounds are about.
    fn bytes(&self) -> usize;
    /// About as many bytes as it takes in the journal: what turns are about.
    fn weight(&self) -> usize;
    /// Whose lane it waits in.
    fn lane(&self) -> (Asker, &ChainId);
}

/// How much waits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) items: usize,
    pub(crate) bytes: usize,
    pub(crate) weight: usize,
}

impl Load {
    pub(crate) fn of(item: &impl Queued) -> Self {
        Self {
            items: 1,
            bytes: item.bytes(),
            weight: item.weight(),
        }
    }

    pub(crate) const fn plus(self, other: Self) -> Self {
        Self {
            items: self.items.saturating_add(other.items),
            bytes: self.bytes.saturating_add(other.bytes),
            weight: self.weight.saturating_add(other.weight),
        }
    }

    pub(crate) const fn minus(self, other: Self) -> Self {
        Self {
            items: self.items.saturating_sub(other.items),
            bytes: self.bytes.saturating_sub(other.bytes),
            weight: self.weight.saturating_sub(other.weight),
        }
    }
}

/// The lanes in which something waits, and those that owe.
#[derive(Debug)]
pub(crate) struct Lanes<T> {
    // INVARIANT: each lane is named once in `slots` and once in `turns`, and there is none where nothing waits at all.
    lanes: Vec<Lane<T>>,
    slots: [BTreeMap<ChainId, usize>; 2],
    free: Vec<usize>,
    turns: VecDeque<usize>,
    turn: i64,
    /// Items in all lanes.
    items: usize,
}

#[derive(Debug)]
struct Lane<T> {
    name: (Asker, ChainId),
    items: VecDeque<T>,
    load: Load,
    /// What it may still take in its turn, or owes.
    credit: i64,
}

impl<T: Queued> Lanes<T> {
    /// No lanes; one turn is worth so many bytes of journal.
    pub(crate) fn new(turn: usize) -> Self {
        Self {
            lanes: Vec::new(),
            slots: [BTreeMap::new(), BTreeMap::new()],
            free: Vec::new(),
            turns: VecDeque::new(),
            turn: signed(turn.max(1)),
            items: 0,
        }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.items == 0
    }

    /// How much waits in the lane of this item.
    pub(crate) fn load(&self, item: &T) -> Load {
        let (asker, chain) = item.lane();
        let slot = of(&self.slots, asker).get(chain);
        slot.and_then(|slot| self.lanes.get(*slot))
            .map_or_else(Load::default, |lane| lane.load)
    }

    /// Puts an item at the end of its lane; a new lane gets its turn after all others.
    pub(crate) fn push(&mut self, item: T) {
        let (asker, chain) = item.lane();
        let load = Load::of(&item);
        self.items = self.items.saturating_add(1);
        if let Some(lane) = of(&self.slots, asker)
            .get(chain)
            .and_then(|slot| self.lanes.get_mut(*slot))
        {
            lane.load = lane.load.plus(load);
            lane.items.push_back(item);
            return;
        }
        let name = (asker, chain.clone());
        let lane = Lane {
            name: name.clone(),
            items: VecDeque::from([item]),
            load,
            credit: 0,
        };
        let slot = self.free.pop().unwrap_or(self.lanes.len());
        match self.lanes.get_mut(slot) {
            Some(unused) => *unused = lane,
            None => self.lanes.push(lane),
        }
        of_mut(&mut self.slots, name.0).insert(name.1, slot);
        self.turns.push_back(slot);
    }

    /// Hands out items in turns until nothing waits or they weigh enough together; says how much it was.
    pub(crate) fn take(&mut self, into: &mut VecDeque<T>, weight: usize) -> Load {
        let mut taken = Load::default();
        while taken.weight < weight {
            let Some(slot) = self.next() else {
                break;
            };
            let Some(lane) = self.lanes.get_mut(slot) else {
                continue;
            };
            while lane.credit > 0
                && taken.weight < weight
                && let Some(item) = lane.items.pop_front()
            {
                let load = Load::of(&item);
                lane.credit = lane.credit.saturating_sub(signed(load.weight));
                lane.load = lane.load.minus(load);
                taken = taken.plus(load);
                into.push_back(item);
            }
            match (lane.items.is_empty(), lane.credit > 0) {
                (true, true) => self.drop_lane(slot),
                // Its turn goes on when more is taken.
                (false, true) => self.turns.push_front(slot),
                (_, false) => self.turns.push_back(slot),
            }
        }
        self.items = self.items.saturating_sub(taken.items);
        if self.is_empty() {
            // Nobody waits to whom anything would be owed.
            while let Some(slot) = self.turns.pop_front() {
                self.drop_lane(slot);
            }
        }
        taken
    }

    /// The lane whose turn it is; it may take something.
    fn next(&mut self) -> Option<usize> {
        let round = self.turns.len();
        for visited in 0..round.saturating_mul(2) {
            if visited == round {
                self.pass_rounds();
            }
            let slot = self.turns.pop_front()?;
            let lane = self.lanes.get_mut(slot)?;
            if lane.credit <= 0 {
                lane.credit = lane.credit.saturating_add(self.turn);
            }
            match (lane.items.is_empty(), lane.credit > 0) {
                (true, true) => self.drop_lane(slot),
                (false, true) => return Some(slot),
                (_, false) => self.turns.push_back(slot),
            }
        }
        None
    }

    /// Everybody who waits owes: the rounds until the first may take something again pass at once.
    fn pass_rounds(&mut self) {
        let owed = |slot: &usize| {
            let lane = self.lanes.get(*slot)?;
            (!lane.items.is_empty()).then(|| lane.credit.saturating_neg())
        };
        let least = self.turns.iter().filter_map(owed).min().unwrap_or_default();
        let passed = (least / self.turn).saturating_mul(self.turn);
        for slot in &self.turns {
            if let Some(lane) = self.lanes.get_mut(*slot) {
                lane.credit = lane.credit.saturating_add(passed);
            }
        }
    }

    fn drop_lane(&mut self, slot: usize) {
        if let Some(lane) = self.lanes.get_mut(slot) {
            of_mut(&mut self.slots, lane.name.0).remove(&lane.name.1);
            lane.items = VecDeque::new();
            self.free.push(slot);
        }
    }
}

const fn of(slots: &[BTreeMap<ChainId, usize>; 2], asker: Asker) -> &BTreeMap<ChainId, usize> {
    let [plane, callers] = slots;
    match asker {
        Asker::Plane => plane,
        Asker::Caller => callers,
    }
}

const fn of_mut(
    slots: &mut [BTreeMap<ChainId, usize>; 2],
    asker: Asker,
) -> &mut BTreeMap<ChainId, usize> {
    let [plane, callers] = slots;
    match asker {
        Asker::Plane => plane,
        Asker::Caller => callers,
    }
}

fn signed(weight: usize) -> i64 {
    i64::try_from(weight).unwrap_or(i64::MAX)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An item of so many bytes in a lane, told apart by a number.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct Item {
        pub(crate) asker: Asker,
        pub(crate) chain: ChainId,
        pub(crate) weight: usize,
        pub(crate) number: usize,
    }

    impl Queued for Item {
        fn bytes(&self) -> usize {
            self.weight
        }

        fn weight(&self) -> usize {
            self.weight
        }

        fn lane(&self) -> (Asker, &ChainId) {
            (self.asker, &self.chain)
        }
    }

    pub(crate) fn item(chain: &str, weight: usize, number: usize) -> Item {
        Item {
            asker: Asker::Caller,
            chain: chain.parse().unwrap(),
            weight,
            number,
        }
    }

    /// The order in which lanes of `waiting` are served, by the first letters of their chains.
    fn served(turn: usize, waiting: &[(&str, usize, usize)]) -> String {
        let mut lanes = Lanes::new(turn);
        for (chain, count, weight) in waiting {
            for number in 0..*count {
                lanes.push(item(chain, *weight, number));
            }
        }
        let mut into = VecDeque::new();
        lanes.take(&mut into, usize::MAX);
        assert!(lanes.is_empty());
        into.iter()
            .filter_map(|item| item.chain.to_string().chars().next())
            .collect()
    }

    #[test]
    fn lanes_are_served_in_turns() {
        for (turn, waiting, order) in [
            // One lane alone keeps its order and waits for nobody.
            (10, &[("a", 4, 25)][..], "aaaa"),
            // Turns of the same worth, whatever waits.
            (10, &[("noisy", 6, 5), ("quiet", 1, 5)], "nnqnnnn"),
            (10, &[("a", 3, 10), ("b", 3, 10), ("c", 1, 10)], "abcabab"),
            // Who takes much at once sits out turns for it.
            (10, &[("large", 2, 40), ("small", 5, 10)], "lssssls"),
            // Where everybody owes, nobody waits for rounds to pass.
            (1, &[("a", 2, 1_000_000_000), ("b", 2, 1_000_000)], "abba"),
            // What weighs nothing costs nothing.
            (10, &[("a", 3, 0), ("b", 1, 10)], "aaab"),
        ] {
            assert_eq!(served(turn, waiting), order, "{turn}: {waiting:?}");
        }
    }

    #[test]
    fn a_thousand_that_wait_hold_another_up_by_one_turn() {
        let mut lanes = Lanes::new(16);
        for number in 0..1000 {
            lanes.push(item("noisy", 4, number));
        }
        let mut into = VecDeque::new();
        lanes.take(&mut into, 10);
        lanes.push(item("quiet", 4, 0));
        lanes.take(&mut into, usize::MAX);
        let at = into
            .iter()
            .position(|item| item.chain == "quiet".parse().unwrap());
        // The turn that had begun, and not one more.
        assert_eq!(at, Some(4));
    }

    #[test]
    fn connectors_do_not_wait_behind_the_callers_of_their_tenant() {
        let mut lanes = Lanes::new(16);
        for number in 0..1000 {
            lanes.push(item("acme", 4, number));
        }
        lanes.push(Item {
            asker: Asker::Plane,
            ..item("acme", 4, 0)
        });
        let mut into = VecDeque::new();
        lanes.take(&mut into, 24);
        assert!(
            into.iter().any(|item| item.asker == Asker::Plane),
            "{into:?}"
        );
    }
}
