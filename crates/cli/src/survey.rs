//! One reading of a journal from its beginning: every link is followed, and what doctor, backup and restore ask is kept.
//!
//! It needs no lock and writes nothing. It is not a verdict: signatures, proofs and policy are what `replay verify` checks.

use crate::progress::Progress;
use anyhow::Result;
use countersign_chain::{Body, Broken, ChainState, Checkpoint, Header, note::Note};
use countersign_events::{Event, Keys, keys};
use countersign_evidence::Envelope;
use countersign_ids::{BodyKey, ChainId, DataSubject, Digest, LedgerId, Sequence, SiteId, Time};
use countersign_store::read::{End, Item, Items, Mark, Reader, Stump};
use countersign_store::{Error, Position};
use serde::Deserialize;
use std::collections::BTreeMap;

/// What stands in a journal, up to its last whole frame.
#[derive(Debug)]
pub(crate) struct Survey {
    ledger: LedgerId,
    pub(crate) events: u64,
    /// Behind the last frame that was read.
    pub(crate) position: Position,
    /// How it ends; none where that cannot be told.
    pub(crate) end: Option<End>,
    /// What is damaged, with its position; what follows it was read all the same.
    pub(crate) damage: Vec<String>,
    pub(crate) chains: BTreeMap<ChainId, Chain>,
    /// Records whose header names no chain of a ledger.
    pub(crate) nameless: u64,
    /// Key statements, from version 1.
    pub(crate) statements: Vec<Envelope>,
    /// Blobs that events name, with one event that does.
    pub(crate) blobs: BTreeMap<Digest, (ChainId, Sequence)>,
    /// Keys that sealed bodies.
    pub(crate) sealed: BTreeMap<DataSubject, BodyKey>,
    /// When each site's connector was paired, and when it was heard last.
    pub(crate) connectors: BTreeMap<(ChainId, SiteId), Heard>,
}

/// One chain.
#[derive(Debug)]
pub(crate) struct Chain {
    pub(crate) state: ChainState,
    /// The first event that does not follow.
    pub(crate) broken: Option<Broken>,
    /// The last signed checkpoint: its size, its root and the note.
    pub(crate) checkpoint: Option<(Checkpoint, String)>,
    /// The time of the first event that no checkpoint covers.
    pub(crate) uncovered: Option<Time>,
}

/// When a connector was heard.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Heard {
    pub(crate) paired: Option<Time>,
    pub(crate) beat: Option<Time>,
}

/// Where bodies name blobs, whatever their type (docs/format.md section 2).
#[derive(Deserialize)]
struct Names {
    #[serde(default)]
    blobs: Vec<Digest>,
    #[serde(default)]
    attachments: Vec<Digest>,
}

impl Survey {
    pub(crate) fn new(ledger: LedgerId) -> Self {
        Self {
            ledger,
            events: 0,
            position: Position::ZERO,
            end: None,
            damage: Vec::new(),
            chains: BTreeMap::new(),
            nameless: 0,
            statements: Vec::new(),
            blobs: BTreeMap::new(),
            sealed: BTreeMap::new(),
            connectors: BTreeMap::new(),
        }
    }

    /// Reads a whole journal.
    pub(crate) fn of(reader: &Reader, progress: &Progress) -> Result<Self, Error> {
        let mut survey = Self::new(reader.description().ledger);
        survey.read(reader.journal_over_damage()?, progress)?;
        Ok(survey)
    }

    fn read(&mut self, mut items: Items, progress: &Progress) -> Result<(), Error> {
        let mut unread = false;
        for item in &mut items {
            match item {
                Ok(Item::Events { position, records }) => {
                    self.position = position;
                    for record in &records {
                        self.record(record);
                    }
                }
                Ok(Item::Checkpoint {
                    position,
                    chain,
                    note,
                }) => {
                    self.position = position;
                    self.checkpoint(&chain, note);
                }
                Ok(Item::Pruned { position, stump }) => {
                    self.position = position;
                    self.pruned(&stump);
                }
                Err(Error::Damaged(error)) => {
                    self.damage.push(error.to_string());
                    unread = true;
                }
                Err(error) => return Err(error),
            }
            progress.at(self.position.get());
        }
        let left_out = items.damage().iter().map(ToString::to_string);
        self.damage.extend(left_out);
        if !unread {
            let end = items.end();
            self.position = end.position;
            self.end = Some(end);
        }
        Ok(())
    }

    /// Goes on from what is left of pruned events.
    fn pruned(&mut self, stump: &Stump) {
        let chain = self.chain(&stump.chain);
        for Mark { base, .. } in &stump.marks {
            if base.cut > chain.state.size() && chain.broken.is_none() {
                chain.state = ChainState::at(chain.state.ledger(), &stump.chain, base);
            }
        }
    }

    fn chain(&mut self, id: &ChainId) -> &mut Chain {
        let ledger = &self.ledger;
        self.chains.entry(id.clone()).or_insert_with(|| Chain {
            state: ChainState::genesis(ledger, id),
            broken: None,
            checkpoint: None,
            uncovered: None,
        })
    }

    pub(crate) fn record(&mut self, record: &countersign_chain::Record) {
        self.events = self.events.saturating_add(1);
        let Ok(header) = Header::parse(&record.header) else {
            self.nameless = self.nameless.saturating_add(1);
            return;
        };
        let chain = self.chain(&header.chain);
        if chain.broken.is_some() {
            return;
        }
        match chain.state.follow(record) {
            Ok(_) => {
                chain.uncovered.get_or_insert(header.time);
                self.note(&header, &record.body);
            }
            Err(broken) => chain.broken = Some(broken),
        }
    }

    fn note(&mut self, header: &Header, body: &Body) {
        if let (Some(subject), Some(key)) = (&header.datasubject, header.bodykey) {
            self.sealed.insert(subject.clone(), key);
            return;
        }
        let Body::Present { bytes, .. } = body else {
            return;
        };
        if let Ok(names) = serde_json::from_slice::<Names>(bytes) {
            for digest in names.blobs.into_iter().chain(names.attachments) {
                let here = (header.chain.clone(), header.sequence);
                self.blobs.entry(digest).or_insert(here);
            }
        }
        match (
            header.event_type.family().as_str(),
            header.event_type.fact(),
        ) {
            ("keys", _) => {
                if let Ok(Event::Keys(
                    Keys::Created(keys::Created { envelope })
                    | Keys::Changed(keys::Changed { envelope }),
                )) = Event::decode(&header.event_type, bytes)
                {
                    self.statements.push(envelope);
                }
            }
            ("connector", "paired") => {
                if let Some(heard) = self.heard(header) {
                    heard.paired = Some(header.time);
                }
            }
            ("beat", "received") => {
                if let Some(heard) = self.heard(header) {
                    heard.beat = Some(header.time);
                }
            }
            _ => {}
        }
    }

    fn heard(&mut self, header: &Header) -> Option<&mut Heard> {
        let tenant = header.chain.tenant()?.chain();
        let site = header.site.clone()?;
        Some(self.connectors.entry((tenant, site)).or_default())
    }

    fn checkpoint(&mut self, chain: &ChainId, text: String) {
        let Some(chain) = self.chains.get_mut(chain) else {
            return;
        };
        let parsed = Note::parse(text.as_bytes()).map(|note| Checkpoint::parse(note.text()));
        if let Ok(Ok(checkpoint)) = parsed {
            // Events that came while it was signed are as new as the newest.
            let covers = checkpoint.head.size >= chain.state.size();
            chain.uncovered = (!covers).then(|| chain.state.time());
            chain.checkpoint = Some((checkpoint, text));
        }
    }
}
