//! A ledger on disk: opening, appending, stopping.

use std::collections::BTreeMap;
use std::path::PathBuf;

use countersign_chain::{CommandKey, request_digest};
use countersign_events::Event;
use countersign_events::heads::KeysHead;
use countersign_evidence::Envelope;
use countersign_ids::{Actor, AuthType, ChainId, Digest, EventHash, LedgerId, RequestDigest, Time};
use countersign_store::{Append, Ledger, NewEvent, Options, Receipt, Stamp};
use tempfile::TempDir;

use super::{Fact, Keys, Twist, chain, service};

/// A ledger on disk, open for writing.
pub(crate) struct World {
    pub dir: TempDir,
    pub ledger: Option<Ledger>,
    pub keys: Keys,
    pub id: LedgerId,
    pub twist: Twist,
    pub(super) runtime: tokio::runtime::Runtime,
    pub(super) commands: u64,
    pub(super) announced: Vec<ChainId>,
    pub(super) recorded: BTreeMap<ChainId, u64>,
    /// What was last recorded of each chain.
    pub(super) leaves: BTreeMap<ChainId, Vec<u8>>,
    pub(super) keys_head: Option<KeysHead>,
    pub(super) statement: (u64, Option<Digest>),
}

impl World {
    /// A new ledger with its keys, the tenant's chains announced and opened.
    pub(crate) fn new(seed: u8, twist: Twist) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keys::of(seed);
        let genesis = keys.genesis.verifying_key().to_bytes();
        let options = Options {
            segment_bytes: 1 << 20,
            ..Options::default()
        };
        let id = Ledger::create(&dir.path().join("data"), genesis, &options)
            .unwrap()
            .ledger;
        let ledger = Ledger::open(&dir.path().join("data"), options).unwrap();
        let mut world = Self {
            dir,
            ledger: Some(ledger),
            keys,
            id,
            twist,
            runtime: tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap(),
            commands: 0,
            announced: Vec::new(),
            recorded: BTreeMap::new(),
            leaves: BTreeMap::new(),
            keys_head: None,
            statement: (0, None),
        };
        world.create_keys();
        world
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        self.ledger.as_ref().unwrap()
    }

    /// The time by the ledger's clock.
    pub(crate) fn now(&self) -> Time {
        self.ledger().now()
    }

    /// Stops the ledger cleanly.
    pub(crate) fn stop(&mut self) {
        if let Some(ledger) = self.ledger.take() {
            ledger.close().unwrap();
        }
    }

    pub(crate) fn append_as(
        &mut self,
        on: &str,
        actor: Actor,
        key: CommandKey,
        request: Option<RequestDigest>,
        facts: Vec<Fact>,
    ) -> Receipt {
        let heads = |fact: &Fact| matches!(fact.event, Event::Heads(_));
        let backlink = facts.iter().position(heads).filter(|at| *at > 0);
        let events = facts
            .into_iter()
            .map(|fact| NewEvent {
                event_type: fact.event.event_type(),
                subject: fact.subject.parse().unwrap(),
                site: fact.site,
                retention: fact.event.retention(),
                body: fact.event.encode().unwrap(),
                seal: fact.seal,
                platformhead: fact.stamp,
                valid: None,
            })
            .collect();
        let mut append = Append::new(chain(on), actor, key, events);
        append.request_digest = request;
        append.backlink = backlink;
        self.ledger().append_blocking(append).unwrap()
    }

    /// Appends under a fresh Idempotency-Key.
    pub(crate) fn append(&mut self, on: &str, actor: Actor, facts: Vec<Fact>) -> Receipt {
        self.commands += 1;
        let key = CommandKey::Key(format!("command-{}", self.commands));
        self.append_as(on, actor, key, None, facts)
    }

    /// Appends an event that no program of this version knows.
    pub(crate) fn append_raw(
        &mut self,
        on: &str,
        family: &str,
        name: &str,
        version: u32,
        body: &[u8],
    ) {
        self.commands += 1;
        let event = NewEvent {
            event_type: countersign_ids::EventType::new(family, name, version).unwrap(),
            subject: "www".parse().unwrap(),
            site: None,
            retention: countersign_ids::Retention::Evidence,
            body: body.to_vec(),
            seal: None,
            platformhead: Stamp::None,
            valid: None,
        };
        let key = CommandKey::Key(format!("command-{}", self.commands));
        self.ledger()
            .append_blocking(Append::new(chain(on), service(), key, vec![event]))
            .unwrap();
    }

    /// Appends a connector's message: its counter is the command.
    pub(crate) fn append_message(
        &mut self,
        on: &str,
        (generation, stream, counter): (u64, &str, u64),
        envelope: &Envelope,
        facts: Vec<Fact>,
    ) -> Receipt {
        let actor = Actor {
            kind: AuthType::Connector,
            id: "con-1".parse().unwrap(),
        };
        let key = CommandKey::Counter {
            generation,
            stream: stream.to_owned(),
            counter,
        };
        let request = request_digest(envelope.unverified_payload());
        self.append_as(on, actor, key, Some(request), facts)
    }

    pub(crate) fn blob(&self, on: &str, bytes: &[u8]) -> Digest {
        self.ledger().blobs().put(&chain(on), bytes).unwrap()
    }

    pub(crate) fn head_hash(&self, on: &str) -> EventHash {
        self.ledger().head(&chain(on)).unwrap().hash
    }
}
