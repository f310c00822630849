//! The whole ledger checked against itself: journal, chains, trees, log, indexes and projections.
//!
//! Tests call it after every step, and an operator may: it reads everything. Events that become durable while it runs are not
//! looked at.

use std::collections::BTreeMap;

use countersign_chain::merkle::{Frontier, leaf_hash};
use countersign_chain::{Body, ChainState, Verified};
use countersign_ids::{ChainId, CommandId, Sequence};

use crate::journal::scan;
use crate::read::{Item, Mark, Reader, Rebuild, compare};
use crate::read_rows::AllRows;
use crate::{Entry, Error, Ledger, Position, Projections, RowRange};

/// Events that are compared with the log at a time.
const COMPARE_EVENTS: usize = 1024;

/// What was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Audit {
    /// Chains with events.
    pub chains: u64,
    /// Events, each verified in the journal and compared with what readers see.
    pub events: u64,
    /// Commands, each found once, with its receipt.
    pub commands: u64,
    /// Rows of projections, each equal to what the events make.
    pub rows: u64,
}

/// One chain as the journal tells it.
#[derive(Debug)]
struct Told {
    size: u64,
    state: ChainState,
    frontier: Frontier,
    /// First sequence and number of events of each command.
    commands: BTreeMap<CommandId, (Sequence, u64)>,
    pending: Vec<Verified>,
}

impl Told {
    /// Goes on from what is left of pruned events, unless it is there already.
    fn begin_at(&mut self, mark: &Mark) {
        let base = &mark.base;
        if base.cut > self.state.size() {
            self.state = ChainState::at(self.state.ledger(), &self.state.chain().clone(), base);
            self.frontier = base.tree().unwrap_or_default();
            // What a crash left in front of the cut is not read any more.
            self.pending.clear();
            self.commands.clear();
        }
    }
}

impl Ledger {
    /// Checks everything; an error names the first thing that is wrong. Call it while nothing is written.
    pub fn audit(&self, projections: &Projections) -> Result<Audit, Error> {
        let mut told: BTreeMap<ChainId, Told> = BTreeMap::new();
        for (id, head) in self.chains() {
            let state = ChainState::genesis(&self.description().ledger, &id);
            let (frontier, commands) = (Frontier::new(), BTreeMap::new());
            told.insert(
                id,
                Told {
                    size: head.size,
                    state,
                    frontier,
                    commands,
                    pending: Vec::new(),
                },
            );
        }
        let mut audit = Audit {
            chains: told.len() as u64,
            ..Audit::default()
        };
        let mut rebuild = Rebuild::new(projections);
        for item in Reader::of(self.layout().clone())?.journal()? {
            let (position, records) = match item? {
                Item::Events { position, records } => (position, records),
                Item::Pruned { stump, .. } => {
                    if let Some(chain) = told.get_mut(&stump.chain) {
                        stump.marks.iter().for_each(|mark| chain.begin_at(mark));
                    }
                    continue;
                }
                Item::Checkpoint { .. } => continue,
            };
            for record in records {
                audit.events += self.audit_event(&mut told, &mut rebuild, position, &record)?;
            }
        }
        for (id, chain) in &mut told {
            self.compare(id, chain)?;
            audit.commands += self.audit_chain(id, chain)?;
        }
        audit.rows = self.audit_rows(projections, rebuild.rows())?;
        Ok(audit)
    }

    fn audit_event(
        &self,
        told: &mut BTreeMap<ChainId, Told>,
        rebuild: &mut Rebuild,
        position: Position,
        record: &countersign_chain::Record,
    ) -> Result<u64, Error> {
        let header = countersign_chain::Header::parse(&record.header)
            .map_err(|error| wrong(position, &error.to_string()))?;
        let id = header.chain;
        let Some(chain) = told
            .get_mut(&id)
            .filter(|chain| chain.state.size() < chain.size)
        else {
            return Ok(0);
        };
        let verified = chain
            .state
            .follow(record)
            .map_err(|broken| wrong(position, &format!("chain `{id}`: {broken}")))?;
        chain.frontier.push(leaf_hash(&record.header));
        let sequence = header.sequence;
        let command = chain
            .commands
            .entry(header.commandid)
            .or_insert((sequence, 0));
        if command.0.get().saturating_add(command.1) != sequence.get() {
            return Err(wrong(
                position,
                &format!("chain `{id}`: command {} came twice", header.commandid),
            ));
        }
        command.1 = command.1.saturating_add(1);
        rebuild.fold(&Entry::from_verified(verified.clone()));
        chain.pending.push(verified);
        if chain.pending.len() >= COMPARE_EVENTS {
            self.compare(&id, chain)?;
        }
        Ok(1)
    }

    /// Compares what the journal holds with what readers see.
    fn compare(&self, id: &ChainId, chain: &mut Told) -> Result<(), Error> {
        let pending = std::mem::take(&mut chain.pending);
        let begun = self.first(id);
        let mut pending = pending;
        // A pruning begins with the log's head or with the journal: until it is done, the other may still hold the events.
        pending.retain(|verified| verified.header().sequence.get() >= begun);
        chain.commands.retain(|_, (first, _)| first.get() >= begun);
        let Some(first) = pending.first().map(|verified| verified.header().sequence) else {
            return Ok(());
        };
        let read = self.read(id, first.get(), pending.len())?;
        let same = read.len() == pending.len()
            && read.iter().zip(&pending).all(|(read, told)| {
                let (read, told) = (read.record(), told.record());
                // A removal begins with the journal: until it is done, the log may still hold the body.
                let removed = matches!(told.body, Body::Absent(_));
                read == told || (removed && read.header == told.header)
            });
        let reason = || "what readers see differs from the journal".to_owned();
        if same {
            Ok(())
        } else {
            Err(Error::ChainDamaged {
                chain: id.clone(),
                sequence: first,
                reason: reason(),
            })
        }
    }

    fn audit_chain(&self, id: &ChainId, chain: &Told) -> Result<u64, Error> {
        let damaged = |sequence: Sequence, reason: &str| Error::ChainDamaged {
            chain: id.clone(),
            sequence,
            reason: reason.to_owned(),
        };
        let head = self.head(id).filter(|head| head.size >= chain.size);
        if chain.state.size() != chain.size || head.is_none() {
            return Err(damaged(
                chain.state.next(),
                "the journal ends before the chain does",
            ));
        }
        if self.root_at(id, chain.size)? != chain.frontier.root() {
            return Err(damaged(chain.state.next(), "the tree has another root"));
        }
        for (command, (first, events)) in &chain.commands {
            let receipt = self
                .receipt(id, command)?
                .ok_or_else(|| damaged(*first, "its command has no receipt"))?;
            if receipt.first != *first
                || receipt.last.get() != first.get().saturating_add(events.saturating_sub(1))
            {
                return Err(damaged(
                    *first,
                    "the receipt of its command names other events",
                ));
            }
        }
        Ok(chain.commands.len() as u64)
    }

    fn audit_rows(&self, projections: &Projections, rebuilt: &AllRows) -> Result<u64, Error> {
        let mut live = AllRows::new();
        let mut rows = 0_u64;
        for projection in projections.make() {
            for (id, _) in self.chains() {
                let all = self.rows(projection.name(), &id, &RowRange::all())?;
                rows = rows.saturating_add(all.len() as u64);
                let all = all.into_iter().map(|row| (row.key, row.value)).collect();
                live.insert((projection.name().to_owned(), id), all);
            }
        }
        match compare(&live, rebuilt) {
            None => Ok(rows),
            Some(difference) => {
                let key = String::from_utf8_lossy(&difference.key).into_owned();
                let what = format!(
                    "row `{key}` of `{}` in `{}` differs",
                    difference.projection, difference.chain
                );
                Err(wrong(self.durable(), &what))
            }
        }
    }
}

fn wrong(at: Position, what: &str) -> Error {
    scan::Error::Damaged {
        at,
        what: what.to_owned(),
    }
    .into()
}
