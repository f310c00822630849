//! Following every chain of a journal, and comparing it with what somebody else knows of it.

use std::collections::BTreeMap;

use countersign_chain::merkle::{Frontier, leaf_hash};
use countersign_chain::{ChainState, Header, Record};
use countersign_ids::{ChainId, EventHash, LedgerId};

use super::error::{Error, Lost};
use crate::Position;
use crate::read::{Item, Mark, Reader, Stump};

/// What somebody else knows of a chain.
#[derive(Debug, Clone)]
pub struct Known {
    /// The chain.
    pub chain: ChainId,
    /// How many events it had.
    pub size: u64,
    /// The root of its tree then, where they know it.
    pub root: Option<[u8; 32]>,
    /// The hash of the last of those events, where they know it.
    pub head: Option<EventHash>,
    /// Who they are, as a message says it.
    pub from: String,
}

/// Where chains stand.
pub(super) type States = BTreeMap<ChainId, ChainState>;

/// What following came to.
#[derive(Debug)]
pub(super) struct Followed {
    /// Behind the last whole frame.
    pub(super) end: Position,
    pub(super) states: States,
    /// Where the chains stood where they were to be noted.
    pub(super) noted: States,
}

/// Follows the chains from `begin`, where they stand as given, and notes where they stand at `note_at`.
pub(super) fn follow(
    reader: &Reader,
    begin: (Position, States),
    note_at: Position,
    known: &[Known],
) -> Result<Followed, Error> {
    let (from, states) = begin;
    let rooted = known.iter().filter(|known| known.root.is_some());
    let mut walk = Walk {
        ledger: reader.description().ledger,
        states,
        trees: rooted
            .map(|known| (known.chain.clone(), Frontier::new()))
            .collect(),
        known,
    };
    let mut noted = None;
    let mut items = reader.journal_from(from)?;
    for item in &mut items {
        let item = item?;
        let (Item::Events { position, .. }
        | Item::Checkpoint { position, .. }
        | Item::Pruned { position, .. }) = &item;
        if *position > note_at && noted.is_none() {
            noted = Some(walk.states.clone());
        }
        if let Item::Events { records, .. } = &item {
            records.iter().try_for_each(|record| walk.step(record))?;
        }
        if let Item::Pruned { stump, .. } = &item {
            stump.marks.iter().for_each(|mark| walk.jump(stump, mark));
        }
    }
    Ok(Followed {
        end: items.end().position,
        noted: noted.unwrap_or_else(|| walk.states.clone()),
        states: walk.states,
    })
}

struct Walk<'a> {
    ledger: LedgerId,
    states: States,
    trees: BTreeMap<ChainId, Frontier>,
    known: &'a [Known],
}

impl Walk<'_> {
    /// Goes on from a mark of a chain that was pruned. What somebody knows of it before is not compared any more.
    fn jump(&mut self, stump: &Stump, mark: &Mark) {
        let ledger = &self.ledger;
        let state = self
            .states
            .entry(stump.chain.clone())
            .or_insert_with(|| ChainState::genesis(ledger, &stump.chain));
        if mark.base.cut <= state.size() {
            return;
        }
        *state = ChainState::at(ledger, &stump.chain, &mark.base);
        if let Some(tree) = self.trees.get_mut(&stump.chain) {
            *tree = mark.base.tree().unwrap_or_default();
        }
    }

    fn step(&mut self, record: &Record) -> Result<(), Error> {
        let damaged = |chain: ChainId, sequence, reason: String| crate::Error::ChainDamaged {
            chain,
            sequence,
            reason,
        };
        let header = Header::parse(&record.header).map_err(|error| {
            let first = countersign_ids::Sequence::new(0);
            damaged(
                ChainId::platform(),
                first,
                format!("a record is no event: {error}"),
            )
        })?;
        let chain = header.chain;
        let ledger = &self.ledger;
        let state = self
            .states
            .entry(chain.clone())
            .or_insert_with(|| ChainState::genesis(ledger, &chain));
        if let Err(broken) = state.follow(record) {
            return Err(damaged(chain, broken.at(), broken.to_string()).into());
        }
        let (size, head) = (state.size(), state.head());
        if let Some(tree) = self.trees.get_mut(&chain) {
            tree.push(leaf_hash(&record.header));
        }
        let root = self.trees.get(&chain).map(Frontier::root);
        for known in self
            .known
            .iter()
            .filter(|known| known.size == size && known.chain == chain)
        {
            let other_root = known.root.is_some() && known.root != root;
            let other_head = known.head.is_some_and(|known| known != head);
            if other_root || other_head {
                return Err(Error::OtherHistory {
                    chain,
                    from: known.from.clone(),
                });
            }
        }
        Ok(())
    }
}

/// What somebody knows that these chains do not hold.
pub(super) fn lost(states: &States, known: &[Known]) -> Vec<Lost> {
    let beyond = |known: &Known| {
        let held = states.get(&known.chain).map_or(0, ChainState::size);
        (known.size > held).then(|| Lost {
            chain: Some(known.chain.clone()),
            held,
            known: known.size,
            from: known.from.clone(),
        })
    };
    known.iter().filter_map(beyond).collect()
}
