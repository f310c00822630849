//! The platform chain: keys, announced chains, recorded heads. Everything else is checked against it.

use std::collections::{BTreeMap, BTreeSet};

use countersign_chain::{json, merkle};
use countersign_events::{Event, approver::Approver, chain::Chain, heads::Recorded, keys::Keys};
use countersign_evidence::{Envelope, KeyHistory, PublicKey, Role};
use countersign_ids::{CommandId, Digest, EventHash, LedgerId, Sequence};
use serde::{Deserialize, Serialize};

use super::blobs::Blobs;
use super::fault::{Checked, absent, bad, need};
use super::leaves::{Hash, Head, LeafTree};
use super::pins::Pins;
use super::prunings::Cut;
use super::tenant::Seen;
use crate::base64;
use crate::source::Form;
use crate::verdict::Level;

/// What a `heads.recorded` says about one chain: compared with the chain itself.
#[derive(Debug, Clone)]
pub(crate) struct HeadClaim {
    /// The `heads.recorded`.
    pub at: u64,
    /// What it says.
    pub head: Head,
}

/// `heads/<sequence>.json`: what one `heads.recorded` says about the chains of a bundle, with the paths that prove it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HeadsPage {
    /// The chains of the bundle that it covers.
    pub chains: BTreeMap<String, HeadsEntry>,
    /// The number of leaves.
    pub size: u64,
}

/// One chain of a [`HeadsPage`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HeadsEntry {
    /// The hash of the chain's last event, `-` before it is opened.
    pub head: String,
    /// The chain's number: its leaf.
    pub number: u64,
    /// The inclusion proof of the leaf, base64, its sibling first.
    pub path: Vec<String>,
    /// The root of the chain's tree.
    pub root: Digest,
    /// The size of the chain.
    pub size: u64,
}

/// The fold of the platform chain.
#[derive(Debug)]
pub(crate) struct Platform {
    ledger: LedgerId,
    form: Form,
    hashes: BTreeMap<u64, EventHash>,
    keys: Option<KeyHistory>,
    family: (u64, Option<EventHash>),
    numbers: BTreeMap<String, u64>,
    heads: Vec<Head>,
    leaves: LeafTree,
    /// The sequence at which a list of heads could not be read: from there on nothing can be said about roots.
    lost: Option<u64>,
    pending: BTreeSet<Sequence>,
    /// Statements that end a key and in whose append no heads were recorded (yet), with that append's command.
    unrecorded: BTreeMap<Sequence, CommandId>,
    ends: BTreeMap<Sequence, BTreeMap<String, u64>>,
    claims: Vec<HeadClaim>,
    broken: bool,
    last_heads: Option<u64>,
    pages: Vec<Page>,
    cuts: BTreeMap<String, Vec<Cut>>,
}

/// Which chains the page of one `heads.recorded` covers.
#[derive(Debug)]
pub(crate) struct Page {
    /// The `heads.recorded`.
    pub at: u64,
    /// Its number of leaves.
    pub size: u64,
    /// The chains with a path.
    pub chains: BTreeSet<String>,
}

impl Platform {
    /// A chain of which nothing was read yet.
    pub(crate) fn new(ledger: LedgerId, form: Form) -> Self {
        Self {
            ledger,
            form,
            hashes: BTreeMap::new(),
            keys: None,
            family: (0, None),
            numbers: BTreeMap::new(),
            heads: Vec::new(),
            leaves: LeafTree::default(),
            lost: None,
            pending: BTreeSet::new(),
            unrecorded: BTreeMap::new(),
            ends: BTreeMap::new(),
            claims: Vec::new(),
            broken: false,
            last_heads: None,
            pages: Vec::new(),
            cuts: BTreeMap::new(),
        }
    }

    /// The prunings that were ordered, by chain.
    pub(crate) fn cuts(&self) -> &BTreeMap<String, Vec<Cut>> {
        &self.cuts
    }

    /// Whether heads that stand at or before `by` cover the first `size` events of a chain.
    pub(super) fn covers(&self, chain: &str, size: u64, by: u64) -> bool {
        let mut claims = self.claims.iter();
        claims.any(|claim| claim.at <= by && claim.head.chain == chain && claim.head.size >= size)
    }

    /// Whether a broken event or a lost list of heads leaves open what is recorded.
    pub(super) fn is_unsure(&self) -> bool {
        self.broken || self.lost.is_some()
    }

    pub(super) fn cuts_mut(&mut self, chain: &str) -> &mut Vec<Cut> {
        self.cuts.entry(chain.to_owned()).or_default()
    }

    /// Keys and where their statements stand.
    pub(crate) fn keys(&self) -> Option<&KeyHistory> {
        self.keys.as_ref()
    }

    /// The genesis key.
    pub(crate) fn genesis(&self) -> Option<&PublicKey> {
        self.keys.as_ref().map(|history| history.ring().genesis())
    }

    /// The hash of a platform event that is here.
    pub(crate) fn hash_at(&self, sequence: u64) -> Option<EventHash> {
        self.hashes.get(&sequence).copied()
    }

    /// Whether every event is here.
    pub(crate) fn is_whole(&self) -> bool {
        self.form == Form::Whole
    }

    /// Whether a broken event ended the reading.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Nothing after this point is read.
    pub(crate) fn break_off(&mut self) {
        self.broken = true;
    }

    /// Where a key that the statement at a platform sequence ended is ended on a chain: that chain's size then.
    pub(crate) fn end_size(&self, statement: Sequence, chain: &str) -> Option<u64> {
        self.ends
            .get(&statement)
            .map(|sizes| sizes.get(chain).copied().unwrap_or(0))
    }

    /// The statements that end a key without recording, in the same append, where it ends on each chain.
    pub(crate) fn unrecorded_ends(&self) -> impl Iterator<Item = u64> + '_ {
        self.unrecorded.keys().map(|at| at.get())
    }

    /// What recorded heads say about chains.
    pub(crate) fn claims(&self) -> &[HeadClaim] {
        &self.claims
    }

    /// The number under which a chain was announced.
    pub(crate) fn number(&self, chain: &str) -> Option<u64> {
        self.numbers.get(chain).copied()
    }

    /// The pages of paths that were read.
    pub(crate) fn pages(&self) -> &[Page] {
        &self.pages
    }

    /// The sequence of the newest `heads.recorded`.
    pub(crate) fn last_heads(&self) -> Option<u64> {
        self.last_heads
    }

    /// Folds one event; gives what it found per level.
    pub(crate) fn apply(
        &mut self,
        seen: &Seen<'_>,
        present: &dyn Fn(&str) -> bool,
        blobs: &mut Blobs<'_>,
        pins: &Pins,
    ) -> Vec<(Level, Checked)> {
        let at = seen.header.sequence.get();
        self.hashes.insert(at, seen.hash);
        match seen.event {
            Event::Keys(Keys::Created(created)) => {
                vec![(Level::Keys, self.statement(seen, &created.envelope, pins))]
            }
            Event::Keys(Keys::Changed(changed)) => {
                vec![(Level::Keys, self.statement(seen, &changed.envelope, pins))]
            }
            Event::Chain(Chain::Announced(announced)) => {
                let next = self.heads.len() as u64;
                let dense = self.form == Form::Sparse || announced.number == next;
                let name = announced.chain.to_string();
                let head = Head::unopened(&name);
                self.leaves.push(&head.to_bytes());
                self.heads.push(head);
                let new = self.numbers.insert(name, announced.number).is_none();
                vec![(
                    Level::Chain,
                    need(
                        dense && new,
                        "announced",
                        "chain numbers are dense, and a chain has one",
                    ),
                )]
            }
            Event::Chain(Chain::Pruned(pruned)) => {
                vec![(Level::Chain, self.pruned(seen, pruned))]
            }
            Event::Chain(Chain::Cleared(cleared)) => {
                vec![(Level::Chain, self.cleared(cleared))]
            }
            Event::Heads(countersign_events::heads::Heads::Recorded(recorded)) => {
                let outcome = self.recorded(seen, recorded, present, blobs);
                self.last_heads = Some(at);
                vec![(Level::Tree, outcome)]
            }
            Event::Approver(Approver::Enrolled(enrolled)) => {
                let outcome = super::tenant::check_enrolment(&self.ledger, enrolled);
                vec![
                    (Level::Evidence, outcome),
                    (Level::Evidence, pins.approver(&enrolled.key.0)),
                ]
            }
            Event::Chain(Chain::Opened(_))
            | Event::Approver(Approver::Removed(_))
            | Event::Token(_)
            | Event::Clock(_)
            | Event::Tenant(_)
            | Event::Platform(_)
            | Event::Site(_)
            | Event::Connector(_)
            | Event::Deploy(_)
            | Event::Freeze(_)
            | Event::Action(_)
            | Event::Reason(_)
            | Event::Remark(_)
            | Event::Retention(_)
            | Event::Beat(_) => Vec::new(),
        }
    }

    fn statement(&mut self, seen: &Seen<'_>, envelope: &Envelope, pins: &Pins) -> Checked {
        const RULE: &str = "key-statement";
        let at = seen.header.sequence;
        self.family = (self.family.0 + 1, Some(seen.hash));
        let Some(history) = &mut self.keys else {
            let history =
                KeyHistory::begin(&self.ledger, envelope).map_err(|error| bad(RULE, error))?;
            let genesis = *history.ring().genesis();
            self.keys = Some(history);
            need(
                at == Sequence::ZERO,
                RULE,
                "the first key statement is not platform event 0",
            )?;
            let fits = pins
                .genesis
                .as_ref()
                .is_none_or(|pin| pin.fits(&self.ledger, &genesis));
            return need(fits, "pin", "another genesis key than the pinned one");
        };
        let statement = history
            .follow(at, envelope)
            .map_err(|error| bad(RULE, error))?;
        if !statement.end.is_empty() {
            self.pending.insert(at);
            self.unrecorded.insert(at, seen.header.commandid);
        }
        let mut witnesses = statement
            .add
            .iter()
            .filter(|added| added.role == Role::Witness);
        witnesses.try_for_each(|added| pins.witness(added.key.as_bytes()))
    }

    fn recorded(
        &mut self,
        seen: &Seen<'_>,
        recorded: &Recorded,
        present: &dyn Fn(&str) -> bool,
        blobs: &mut Blobs<'_>,
    ) -> Checked {
        const RULE: &str = "heads";
        let keys =
            self.family.0 == recorded.keys.count && self.family.1 == Some(recorded.keys.last);
        let outcome = match self.form {
            Form::Whole => self.recorded_whole(seen, recorded, blobs),
            Form::Sparse => self.recorded_sparse(seen, recorded, present, blobs),
        };
        let sizes: BTreeMap<String, u64> = match (&outcome, self.form) {
            (Ok(sizes), Form::Sparse) => sizes.clone(),
            _ => self
                .heads
                .iter()
                .map(|head| (head.chain.clone(), head.size))
                .collect(),
        };
        let command = seen.header.commandid;
        self.unrecorded.retain(|_, ended_by| *ended_by != command);
        for statement in std::mem::take(&mut self.pending) {
            self.ends.insert(statement, sizes.clone());
        }
        outcome?;
        need(
            keys,
            RULE,
            "another count or last event of family `keys` than stand before it",
        )
    }

    /// Applies the list of changed leaves and compares the root.
    fn recorded_whole(
        &mut self,
        seen: &Seen<'_>,
        recorded: &Recorded,
        blobs: &mut Blobs<'_>,
    ) -> Checked<BTreeMap<String, u64>> {
        const RULE: &str = "heads";
        let at = seen.header.sequence.get();
        for digest in &recorded.blobs {
            let list = match blobs.get(digest) {
                Ok(list) => list,
                Err(fault) => {
                    self.lost.get_or_insert(at);
                    return Err(fault);
                }
            };
            let changed =
                Head::parse_list(&list).ok_or_else(|| bad(RULE, "the blob is no list of heads"))?;
            let mut last = None;
            for head in changed {
                let number = self.numbers.get(&head.chain).copied();
                let number = number.ok_or_else(|| {
                    bad(
                        RULE,
                        format!("a head of `{}`, which is not announced", head.chain),
                    )
                })?;
                need(
                    last.is_none_or(|last| last < number),
                    RULE,
                    "the list of heads is not in order of number",
                )?;
                last = Some(number);
                let index = usize::try_from(number).unwrap_or(usize::MAX);
                let before = self
                    .heads
                    .get_mut(index)
                    .ok_or_else(|| bad(RULE, "a head of an unknown number"))?;
                need(before.size <= head.size, RULE, "a recorded size falls")?;
                *before = head.clone();
                self.leaves.set(index, &head.to_bytes());
                self.claims.push(HeadClaim { at, head });
            }
        }
        if let Some(lost) = self.lost {
            return Err(absent(
                RULE,
                format!("the heads recorded at {lost} could not be read, and these build on them"),
            ));
        }
        need(
            recorded.size == self.leaves.len(),
            RULE,
            "not one leaf per announced chain",
        )?;
        need(
            self.leaves.root() == *recorded.root.as_bytes(),
            RULE,
            "the heads do not hash to the recorded root",
        )?;
        Ok(BTreeMap::new())
    }

    /// Checks the page of paths that a bundle holds instead of the lists.
    fn recorded_sparse(
        &mut self,
        seen: &Seen<'_>,
        recorded: &Recorded,
        present: &dyn Fn(&str) -> bool,
        blobs: &Blobs<'_>,
    ) -> Checked<BTreeMap<String, u64>> {
        const RULE: &str = "heads";
        let at = seen.header.sequence.get();
        let page = blobs.source().heads_page(at)?;
        let page =
            page.ok_or_else(|| absent(RULE, "the page with the paths of these heads is missing"))?;
        let page =
            HeadsPage::parse(&page).ok_or_else(|| bad(RULE, "the page of heads is malformed"))?;
        need(
            page.size == recorded.size,
            RULE,
            "the page of heads has another number of leaves",
        )?;
        let mut sizes = BTreeMap::new();
        for (chain, entry) in &page.chains {
            need(
                present(chain),
                RULE,
                "the page of heads names a chain that is not here",
            )?;
            let (head, path) = entry
                .read(chain)
                .ok_or_else(|| bad(RULE, "the page of heads is malformed"))?;
            let leaf = merkle::leaf_hash(&head.to_bytes());
            let root = *recorded.root.as_bytes();
            merkle::verify_inclusion(&leaf, entry.number, page.size, &path, &root)
                .map_err(|error| bad(RULE, format!("path of `{chain}`: {error}")))?;
            let same = *self.numbers.entry(chain.clone()).or_insert(entry.number) == entry.number;
            need(same, RULE, "a chain has two numbers")?;
            sizes.insert(chain.clone(), head.size);
            self.claims.push(HeadClaim { at, head });
        }
        self.pages.push(Page {
            at,
            size: page.size,
            chains: sizes.keys().cloned().collect(),
        });
        Ok(sizes)
    }
}

impl HeadsPage {
    /// Reads a page: RFC 8785 bytes, exactly these members.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let value = json::parse(bytes).ok()?;
        let exact = json::canonical(&value).ok()? == bytes;
        serde_json::from_value(value).ok().filter(|_| exact)
    }
}

impl HeadsEntry {
    /// The leaf that the entry describes, and its path.
    fn read(&self, chain: &str) -> Option<(Head, Vec<Hash>)> {
        let last = if self.head == "-" {
            None
        } else {
            Some(self.head.parse().ok()?)
        };
        let path = self
            .path
            .iter()
            .map(|part| base64::decode_hash(part))
            .collect::<Option<_>>()?;
        Some((
            Head {
                chain: chain.to_owned(),
                size: self.size,
                root: *self.root.as_bytes(),
                last,
            },
            path,
        ))
    }

    /// The entry for a head.
    pub(crate) fn of(head: &Head, number: u64, path: &[Hash]) -> Self {
        Self {
            head: head.last_text(),
            number,
            path: path.iter().map(|part| base64::encode(part)).collect(),
            root: Digest::from_bytes(head.root),
            size: head.size,
        }
    }
}
