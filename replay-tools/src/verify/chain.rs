//! One chain as it streams by: continuity, bodies, and the roots of its tree at the sizes that somebody named.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use countersign_chain::{Base, Body, ChainState, Hashed, Header, NoHeader, Record, merkle};
use countersign_ids::{ChainId, EventHash, LedgerId, Retention, Time};

use super::fault::{Checked, bad, need};
use super::leaves::Hash;
use super::prepare::Ready;
use super::removals::Removals;
use crate::source::Form;

/// Root and last event at one size of a chain.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Snapshot {
    /// The root.
    pub root: Hash,
    /// The hash of the last event; none at size 0.
    pub last: Option<EventHash>,
}

/// The last event that went by.
#[derive(Debug)]
struct Last {
    hash: EventHash,
    sequence: u64,
    time: Time,
    platformhead: Option<u64>,
}

/// One chain under verification.
#[derive(Debug)]
pub(crate) struct ChainRun {
    ledger: LedgerId,
    chain: ChainId,
    form: Form,
    state: ChainState,
    frontier: merkle::Frontier,
    last: Option<Last>,
    count: u64,
    wanted: BTreeSet<u64>,
    known: BTreeMap<u64, Snapshot>,
    /// What the chain may begin with, by orders that prune it, in order.
    bases: Vec<Base>,
    /// Events that are not here because it was pruned: from the first to before the cut.
    gaps: Vec<Range<u64>>,
    /// What is gone from it, and why.
    pub(crate) removals: Removals,
}

impl ChainRun {
    /// A chain of which nothing was read yet; the roots at the sizes `wanted` will be kept.
    pub(crate) fn new(ledger: LedgerId, chain: ChainId, form: Form, wanted: BTreeSet<u64>) -> Self {
        let state = ChainState::genesis(&ledger, &chain);
        let frontier = merkle::Frontier::default();
        let (last, known) = (None, BTreeMap::new());
        Self {
            ledger,
            chain,
            form,
            state,
            frontier,
            last,
            count: 0,
            wanted,
            known,
            bases: Vec::new(),
            gaps: Vec::new(),
            removals: Removals::default(),
        }
    }

    /// The same chain, which may begin with these.
    pub(super) fn with_bases(mut self, bases: Vec<Base>) -> Self {
        self.bases = bases;
        self
    }

    /// Goes on from the cut that the next event stands at, if one was ordered there and what is before it is not here.
    pub(super) fn jump(&mut self, record: &Record) -> Option<Base> {
        let next = sequence_named(&record.header).filter(|next| *next > self.count)?;
        let base = self.bases.iter().find(|base| base.cut == next)?.clone();
        self.frontier = base.tree()?;
        self.gaps.push(self.count..next);
        self.state = ChainState::at(&self.ledger, &self.chain, &base);
        self.count = next;
        self.last = Some(Last {
            hash: base.head,
            sequence: next.saturating_sub(1),
            time: base.time,
            platformhead: Some(base.platformhead.sequence.get()),
        });
        self.wanted.retain(|size| *size > next);
        let (root, last) = (self.frontier.root(), Some(base.head));
        self.known.insert(next, Snapshot { root, last });
        Some(base)
    }

    /// Events that are not here because the chain was pruned.
    pub(super) fn gaps(&self) -> &[Range<u64>] {
        &self.gaps
    }

    /// Whether nothing can be said of the tree at this size any more, because the chain was pruned.
    pub(super) fn is_gone(&self, size: u64) -> bool {
        let inside = |gap: &Range<u64>| gap.start < size && size < gap.end;
        self.gaps.iter().any(inside)
    }

    /// Events so far.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// How much of it the source holds.
    pub(crate) fn form(&self) -> Form {
        self.form
    }

    /// Where the next event stands: its place in a whole chain, its own word in a sparse one.
    pub(crate) fn place(&self, record: &Record) -> u64 {
        match self.form {
            Form::Whole => self.count,
            Form::Sparse => sequence_named(&record.header).unwrap_or(self.count),
        }
    }

    /// Root and last event at a size, where it was wanted and reached.
    pub(crate) fn at_size(&self, size: u64) -> Option<Snapshot> {
        if size == 0 {
            return Some(Snapshot {
                root: merkle::empty_root(),
                last: None,
            });
        }
        self.known.get(&size).copied()
    }

    /// Root and last event where it ends; none if it has no event.
    pub(crate) fn end(&self) -> Option<Snapshot> {
        let last = Some(self.last.as_ref()?.hash);
        let root = self.frontier.root();
        Some(Snapshot { root, last })
    }

    /// Takes the next event: tells whether every rule of the chain holds, and goes on in any case.
    pub(super) fn follow(&mut self, ready: &Ready, believed: bool) -> Checked {
        let outcome = match &ready.read {
            Ok(hashed) if self.form == Form::Whole && believed => self.strict(hashed, &ready.json),
            Ok(hashed) => self.loose(hashed, &ready.json),
            Err(unread) => Err(bad("continuity", self.no_header(believed, unread))),
        };
        let hash = ready.hash;
        if let Ok(hashed) = &ready.read {
            let header = hashed.header();
            self.last = Some(Last {
                hash,
                sequence: header.sequence.get(),
                time: header.time,
                platformhead: header.platformhead.as_ref().map(|head| head.sequence.get()),
            });
        } else if let Some(last) = &mut self.last {
            (last.hash, last.sequence) = (hash, last.sequence.saturating_add(1));
        }
        self.leaf(ready.leaf, hash);
        outcome
    }

    /// Takes the next leaf of the tree.
    pub(super) fn leaf(&mut self, leaf: Hash, hash: EventHash) {
        self.frontier.push(leaf);
        self.count = self.count.saturating_add(1);
        if self.wanted.remove(&self.count) {
            self.known.insert(
                self.count,
                Snapshot {
                    root: self.frontier.root(),
                    last: Some(hash),
                },
            );
        }
    }

    /// The words for bytes that are no header.
    fn no_header(&self, believed: bool, unread: &NoHeader) -> String {
        if believed && self.form == Form::Whole {
            return format!("the event after {} events is no header", self.count);
        }
        unread.source.to_string()
    }

    /// The rules of the chain, by the code that the writer runs too.
    fn strict(&mut self, hashed: &Hashed, json: &Result<(), String>) -> Checked {
        self.state
            .advance(hashed)
            .map_err(|broken| bad("continuity", broken))?;
        whole_body(hashed, json)
    }

    /// What can be said of an event whose predecessor is absent or bad, so that every bad range is listed.
    fn loose(&self, hashed: &Hashed, json: &Result<(), String>) -> Checked {
        const RULE: &str = "continuity";
        let header = hashed.header();
        let here = header.ledger == self.ledger && header.chain == self.chain;
        need(here, RULE, "source names another chain")?;
        let sequence = header.sequence.get();
        if self.form == Form::Whole {
            let next = self.expected();
            need(
                sequence == next,
                RULE,
                &format!("sequence {sequence} where {next} comes next"),
            )?;
        }
        need(
            hashed.body_fits(),
            "body-hash",
            "the body does not hash to bodyhash",
        )?;
        if sequence == 0 {
            let genesis = ChainState::genesis(&self.ledger, &self.chain).advance(hashed);
            genesis.map_err(|error| bad(RULE, error))?;
        }
        if let Some(last) = &self.last {
            need(
                sequence > last.sequence || sequence == 0,
                RULE,
                "the sequence does not rise",
            )?;
            let links = sequence != last.sequence.saturating_add(1) || header.prevhash == last.hash;
            need(links, "link", "does not link to the event before")?;
            need(header.time >= last.time, RULE, "time falls")?;
            let head = header.platformhead.as_ref().map(|head| head.sequence.get());
            need(
                head.is_none() || head >= last.platformhead,
                RULE,
                "platformhead falls",
            )?;
        }
        whole_body(hashed, json)
    }

    /// The sequence that comes next: behind the last event that has one, so that a gap is one bad event and not all after it.
    fn expected(&self) -> u64 {
        self.last
            .as_ref()
            .map_or(self.count, |last| last.sequence.saturating_add(1))
    }
}

/// The body is there unless it may be absent, and it is one strict JSON object.
fn whole_body(hashed: &Hashed, json: &Result<(), String>) -> Checked {
    absence(hashed.header(), &hashed.record().body)?;
    json.as_ref()
        .map_err(|error| bad("body-json", error))
        .copied()
}

/// Evidence is never absent. Whether an event names the range of what is gone, the end of the chain tells.
fn absence(header: &Header, body: &Body) -> Checked {
    let gone = matches!(body, Body::Absent(_));
    need(
        !gone || header.retention != Retention::Evidence,
        "absent-evidence",
        "an evidence body is absent",
    )
}

/// The sequence that a header names, without trusting the rest of it.
pub(crate) fn sequence_named(header: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(header).ok()?;
    let (_, rest) = text.split_once("\"sequence\":\"")?;
    rest.split_once('"')?
        .0
        .parse::<countersign_ids::Sequence>()
        .ok()
        .map(countersign_ids::Sequence::get)
}
