//! What every store of this ledger must do, run by the real one and by a model side by side.
//!
//! The model is a list of events per chain and a map of commands. The real store is stopped, dropped and robbed of its log in
//! between, and audited after every step.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::support::*;
use countersign_chain::{event_hash, merkle};
use countersign_ids::{EventHash, RequestDigest, Sequence};
use countersign_store::{Append, Condition, Error, Ledger, Match, Projections, Receipt};
use proptest::prelude::*;

const CHAINS: [&str; 2] = ["blog", "shop"];
const FACTS: [&str; 2] = ["registered", "observed"];
const SUBJECTS: [&str; 2] = ["site-a", "site-b"];

/// One thing that happens to a store.
#[derive(Debug, Clone)]
enum Step {
    Append {
        chain: usize,
        name: u8,
        request: Option<u8>,
        events: Vec<(usize, usize)>,
        condition: Option<Asked>,
    },
    Read {
        chain: usize,
        from: u64,
        limit: usize,
    },
    Restart(Restart),
}

/// Fact and subject that a condition minds; anything at all if there is none.
type Minds = Option<(Option<usize>, Option<usize>)>;

/// A condition: how many of the newest events the caller had not seen, and what it minds.
#[derive(Debug, Clone)]
struct Asked {
    unseen: u64,
    minds: Minds,
}

#[derive(Debug, Clone, Copy)]
enum Restart {
    Close,
    Drop,
    LoseLog,
}

/// What a store answers to an append.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    Written { first: u64, last: u64 },
    Replayed { first: u64, last: u64 },
    Conflict,
    Mismatch,
}

/// An append in the words of this test.
struct Command<'a> {
    chain: usize,
    name: u8,
    request: Option<u8>,
    events: &'a [(usize, usize)],
    /// Events seen, and what is minded.
    condition: Option<(u64, Minds)>,
}

/// What both stores do.
trait Store {
    fn append(&mut self, command: &Command<'_>) -> Answer;
    /// (fact, subject, name of the command) of each event.
    fn read(&self, chain: usize, from: u64, limit: usize) -> Vec<(usize, usize, u8)>;
    fn restart(&mut self, how: Restart);
    fn size(&self, chain: usize) -> u64;
    /// Whether a store may answer `Conflict` because it does not remember that far back.
    fn forgot(&self, chain: usize, seen: u64) -> bool;
    fn audit(&self);
}

#[derive(Debug, Default)]
struct Model {
    events: [Vec<(usize, usize, u8)>; 2],
    commands: BTreeMap<(usize, u8), (Option<u8>, u64, u64)>,
}

impl Store for Model {
    fn append(&mut self, command: &Command<'_>) -> Answer {
        let chain = &mut self.events[command.chain];
        if let Some((request, first, last)) = self.commands.get(&(command.chain, command.name)) {
            let same = *request == command.request;
            return if same {
                Answer::Replayed {
                    first: *first,
                    last: *last,
                }
            } else {
                Answer::Mismatch
            };
        }
        if let Some((seen, minds)) = &command.condition {
            let after = chain.iter().skip(usize::try_from(*seen).unwrap());
            let minded = |event: &(usize, usize, u8)| {
                minds.is_none_or(|(fact, subject)| {
                    fact.is_none_or(|fact| fact == event.0)
                        && subject.is_none_or(|subject| subject == event.1)
                })
            };
            if after.into_iter().any(minded) {
                return Answer::Conflict;
            }
        }
        let first = chain.len() as u64;
        chain.extend(
            command
                .events
                .iter()
                .map(|(fact, subject)| (*fact, *subject, command.name)),
        );
        let last = chain.len() as u64 - 1;
        self.commands.insert(
            (command.chain, command.name),
            (command.request, first, last),
        );
        Answer::Written { first, last }
    }

    fn read(&self, chain: usize, from: u64, limit: usize) -> Vec<(usize, usize, u8)> {
        self.events[chain]
            .iter()
            .skip(usize::try_from(from).unwrap())
            .take(limit)
            .copied()
            .collect()
    }

    fn restart(&mut self, _: Restart) {}

    fn size(&self, chain: usize) -> u64 {
        self.events[chain].len() as u64
    }

    fn forgot(&self, _: usize, _: u64) -> bool {
        false
    }

    fn audit(&self) {}
}

struct Real {
    dir: tempfile::TempDir,
    ledger: Option<Ledger>,
    receipts: BTreeMap<(usize, u8), Receipt>,
    /// The sizes at the last start, before which conditions are not remembered.
    remembered_from: [u64; 2],
}

impl Real {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ledger = fresh(dir.path(), options());
        Self {
            dir,
            ledger: Some(ledger),
            receipts: BTreeMap::new(),
            remembered_from: [0; 2],
        }
    }

    fn ledger(&self) -> &Ledger {
        self.ledger.as_ref().unwrap()
    }
}

fn build(command: &Command<'_>) -> Append {
    let events = command
        .events
        .iter()
        .map(|(fact, subject)| event(FACTS[*fact], SUBJECTS[*subject], "{}"))
        .collect();
    let mut append = Append::new(
        chain(CHAINS[command.chain]),
        actor(),
        key(&command.name.to_string()),
        events,
    );
    append.request_digest = command
        .request
        .map(|request| RequestDigest::from_bytes([request; 16]));
    append.condition = command.condition.map(|(seen, minds)| {
        let matching = minds.map(|(fact, subject)| Match {
            types: fact
                .map(|fact| event(FACTS[fact], "x", "{}").event_type)
                .into_iter()
                .collect(),
            subject: subject.map(|subject| SUBJECTS[subject].parse().unwrap()),
            site: None,
        });
        Condition {
            seen,
            matching: matching.into_iter().collect(),
        }
    });
    append
}

impl Store for Real {
    fn append(&mut self, command: &Command<'_>) -> Answer {
        let receipt = match self.ledger().append_blocking(build(command)) {
            Ok(receipt) => receipt,
            Err(Error::Conflict { .. }) => return Answer::Conflict,
            Err(Error::Mismatch { .. }) => return Answer::Mismatch,
            Err(error) => panic!("{error}"),
        };
        let (first, last) = (receipt.first.get(), receipt.last.get());
        let stored = Receipt {
            replayed: false,
            ..receipt.clone()
        };
        let known = self
            .receipts
            .entry((command.chain, command.name))
            .or_insert_with(|| stored.clone());
        assert_eq!(known, &stored, "a command has one receipt for ever");
        if receipt.replayed {
            Answer::Replayed { first, last }
        } else {
            Answer::Written { first, last }
        }
    }

    fn read(&self, chain_index: usize, from: u64, limit: usize) -> Vec<(usize, usize, u8)> {
        let entries = self
            .ledger()
            .read(&chain(CHAINS[chain_index]), from, limit)
            .unwrap();
        let place =
            |words: &[&str], word: &str| words.iter().position(|known| *known == word).unwrap();
        let names: BTreeMap<_, u8> = self
            .receipts
            .iter()
            .map(|((_, name), receipt)| (receipt.command, *name))
            .collect();
        entries
            .iter()
            .map(|entry| {
                let header = entry.header();
                let fact = place(&FACTS, header.event_type.fact());
                (
                    fact,
                    place(&SUBJECTS, header.subject.as_str()),
                    names[&header.commandid],
                )
            })
            .collect()
    }

    fn restart(&mut self, how: Restart) {
        let ledger = self.ledger.take().unwrap();
        if matches!(how, Restart::Close) {
            ledger.close().unwrap();
        }
        drop(ledger);
        let path: PathBuf = self.dir.path().to_path_buf();
        if matches!(how, Restart::LoseLog) {
            std::fs::remove_dir_all(path.join("sled")).unwrap();
        }
        let ledger = Ledger::open(&path, options()).unwrap();
        assert_eq!(ledger.status().was_closed, matches!(how, Restart::Close));
        self.ledger = Some(ledger);
        self.remembered_from = [self.size(0), self.size(1)];
    }

    fn size(&self, chain_index: usize) -> u64 {
        self.ledger()
            .head(&chain(CHAINS[chain_index]))
            .map_or(0, |head| head.size)
    }

    fn forgot(&self, chain: usize, seen: u64) -> bool {
        seen < self.remembered_from[chain]
    }

    fn audit(&self) {
        self.ledger().audit(&Projections::none()).unwrap();
        for id in CHAINS.map(chain) {
            check_proofs(self.ledger(), &id);
        }
    }
}

/// The last event is in the tree, and the tree continues each of its beginnings.
fn check_proofs(ledger: &Ledger, id: &countersign_ids::ChainId) {
    let head = ledger.tree_head(id).unwrap();
    let Some(last) = head.size.checked_sub(1) else {
        return;
    };
    let entry = ledger.event(id, Sequence::new(last / 2)).unwrap();
    let leaf = merkle::leaf_hash(&entry.record().header);
    let proof = ledger
        .inclusion(id, Sequence::new(last / 2), head.size)
        .unwrap();
    merkle::verify_inclusion(&leaf, last / 2, head.size, &proof, &head.root).unwrap();
    let old = head.size / 3;
    let (root, proof) = (
        ledger.root_at(id, old).unwrap(),
        ledger.consistency(id, old, head.size).unwrap(),
    );
    merkle::verify_consistency(old, head.size, &root, &head.root, &proof).unwrap();
    let hash: EventHash = event_hash(
        &ledger
            .event(id, Sequence::new(last))
            .unwrap()
            .record()
            .header,
    );
    assert_eq!(ledger.head(id).unwrap().hash, hash);
}

fn step() -> impl Strategy<Value = Step> {
    let minds = prop::option::of((prop::option::of(0..2_usize), prop::option::of(0..2_usize)));
    let asked = (0..4_u64, minds).prop_map(|(unseen, minds)| Asked { unseen, minds });
    let append = (
        0..2_usize,
        0..24_u8,
        prop::option::weighted(0.2, 0..2_u8),
        prop::option::weighted(0.5, asked),
    );
    let events = prop::collection::vec((0..2_usize, 0..2_usize), 1..4);
    let append =
        (append, events).prop_map(|((chain, name, request, condition), events)| Step::Append {
            chain,
            name,
            request,
            events,
            condition,
        });
    let read = (0..2_usize, 0..60_u64, 0..40_usize).prop_map(|(chain, from, limit)| Step::Read {
        chain,
        from,
        limit,
    });
    let restart = prop_oneof![
        Just(Restart::Close),
        Just(Restart::Drop),
        Just(Restart::LoseLog)
    ]
    .prop_map(Step::Restart);
    prop_oneof![12 => append, 3 => read, 2 => restart]
}

fn run(steps: &[Step]) {
    let (mut model, mut real) = (Model::default(), Real::new());
    for step in steps {
        match step {
            Step::Append {
                chain,
                name,
                request,
                events,
                condition,
            } => {
                let seen =
                    |asked: &Asked| (model.size(*chain).saturating_sub(asked.unseen), asked.minds);
                let condition = condition.as_ref().map(seen);
                let command = Command {
                    chain: *chain,
                    name: *name,
                    request: *request,
                    events,
                    condition,
                };
                let real_answer = real.append(&command);
                let forgotten = condition.is_some_and(|(seen, _)| real.forgot(*chain, seen));
                if real_answer == Answer::Conflict && forgotten {
                    // Safe: the caller decides again on newer events.
                    continue;
                }
                assert_eq!(real_answer, model.append(&command), "{step:?}");
            }
            Step::Read { chain, from, limit } => {
                assert_eq!(
                    real.read(*chain, *from, *limit),
                    model.read(*chain, *from, *limit),
                    "{step:?}"
                );
            }
            Step::Restart(how) => {
                real.restart(*how);
                model.restart(*how);
            }
        }
        real.audit();
        model.audit();
        for chain in 0..2 {
            assert_eq!(real.size(chain), model.size(chain));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(96) })]

    #[test]
    fn the_store_does_what_the_model_does(steps in prop::collection::vec(step(), 1..24)) {
        run(&steps);
    }
}
