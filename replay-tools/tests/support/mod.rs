//! Whole signed histories, made through the store, and the one thing wrong in each.
//!
//! `World` is a ledger on disk with every key; `Twist` names what its history does that it must not. `zip` takes bundles
//! apart and puts them together again.

#![expect(dead_code, reason = "each test file uses a part of this")]

pub(crate) mod policy;
pub(crate) mod python;
pub(crate) mod story;
pub(crate) mod zip;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use countersign_chain::{Checkpoint, CommandKey, event_hash, request_digest, sha256};
use countersign_events::heads::{KeysHead, Recorded};
use countersign_events::{Event, chain as chain_events, keys as keys_events};
use countersign_evidence::keys::{AddedKey, EndedKey};
use countersign_evidence::{
    EndReason, Envelope, KeyStatement, OrDash, PayloadType, PublicKey, Role, wire,
};
use countersign_ids::{
    Actor, AuthType, ChainId, DataSubject, Digest, EventHash, LedgerId, Nonce, RequestDigest,
    SiteId, Time,
};
use countersign_store::{Append, Ledger, NewEvent, Options, Receipt, Stamp};
use ed25519_dalek::SigningKey;
use tempfile::TempDir;

pub(crate) const TENANT: &str = "acme";
pub(crate) const ORIGIN: &str = "ledger.example";

/// What a history does that it must not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Twist {
    #[default]
    Sound,
    ApprovedByProposer,
    ApprovedByOwner,
    StatementOverOtherDigest,
    StatementOverOtherView,
    StatementByStranger,
    StatementForged,
    SecondVoteOfOnePerson,
    StatementNonceReused,
    StatementReused,
    StatementExpired,
    OrderOutsideItsTimes,
    OrderByUnknownKey,
    OrderByEndedKey,
    OrderWithoutApproval,
    OrderForOtherGeneration,
    OrderSequenceFalls,
    OutcomeOfOtherOrder,
    OutcomeByOtherKey,
    OutcomeSaysOtherResult,
    CounterSkips,
    SplitView,
    PolicyVerdictChanged,
    PolicyEvaluationChanged,
    EnrolmentForged,
    ViewShowsOtherAction,
    DocumentOfOtherGenesis,
    PairedWithoutInvitation,
    DocumentPinnedAlone,
    RestatesOtherBody,
    HeadsOfOtherRoot,
    HeadsLackKeys,
    KeyStatementUnsigned,
    CheckpointByUnknownKey,
}

/// Every key of the tests, made from one byte each.
pub(crate) struct Keys {
    pub genesis: SigningKey,
    pub checkpoint: SigningKey,
    pub order: SigningKey,
    pub order_next: SigningKey,
    pub connector: SigningKey,
    pub mira: SigningKey,
    pub theo: SigningKey,
    pub stranger: SigningKey,
}

impl Keys {
    /// Other seeds make another ledger.
    pub(crate) fn of(seed: u8) -> Self {
        let key =
            |number: u8| SigningKey::from_bytes(&[seed.wrapping_mul(16).wrapping_add(number); 32]);
        Self {
            genesis: key(1),
            checkpoint: key(2),
            order: key(3),
            order_next: key(4),
            connector: key(5),
            mira: key(6),
            theo: key(7),
            stranger: key(8),
        }
    }
}

/// A ledger on disk, open for writing.
pub(crate) struct World {
    pub dir: TempDir,
    pub ledger: Option<Ledger>,
    pub keys: Keys,
    pub id: LedgerId,
    pub twist: Twist,
    runtime: tokio::runtime::Runtime,
    commands: u64,
    announced: Vec<ChainId>,
    recorded: BTreeMap<ChainId, u64>,
    keys_head: Option<KeysHead>,
    statement: (u64, Option<Digest>),
}

/// An event to append.
pub(crate) struct Fact {
    pub event: Event,
    pub subject: String,
    pub site: Option<SiteId>,
    pub stamp: Stamp,
    pub seal: Option<DataSubject>,
}

pub(crate) fn fact(event: impl Into<Event>, subject: &str) -> Fact {
    Fact {
        event: event.into(),
        subject: subject.to_owned(),
        site: None,
        stamp: Stamp::None,
        seal: None,
    }
}

pub(crate) fn at_site(event: impl Into<Event>, subject: &str, site: &str) -> Fact {
    Fact {
        site: Some(site.parse().unwrap()),
        ..fact(event, subject)
    }
}

pub(crate) fn person(id: &str) -> Actor {
    Actor {
        kind: AuthType::Person,
        id: id.parse().unwrap(),
    }
}

pub(crate) fn service() -> Actor {
    Actor {
        kind: AuthType::Service,
        id: "server".parse().unwrap(),
    }
}

pub(crate) fn chain(id: &str) -> ChainId {
    id.parse().unwrap()
}

pub(crate) fn nonce(number: u64) -> Nonce {
    let mut bytes = [0; 16];
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    Nonce::from_bytes(bytes)
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

    fn create_keys(&mut self) {
        let add = |role, name: &str, key: &SigningKey| AddedKey {
            role,
            name: name.to_owned(),
            key: PublicKey::from(key),
        };
        let statement = KeyStatement {
            v: wire::V1,
            ledger: self.id,
            version: 1,
            previous: OrDash::NONE,
            origin: Some(ORIGIN.to_owned()),
            add: vec![
                add(Role::Genesis, "genesis", &self.keys.genesis),
                add(Role::Checkpoint, "checkpoint", &self.keys.checkpoint),
                add(Role::Order, "order", &self.keys.order),
            ],
            end: Vec::new(),
            quorum: None,
        };
        let payload = wire::canonical(&statement).unwrap();
        let mut signers = vec![&self.keys.genesis, &self.keys.checkpoint, &self.keys.order];
        if self.twist == Twist::KeyStatementUnsigned {
            signers.pop();
        }
        let envelope = Envelope::sign(PayloadType::Keys, payload, signers);
        self.statement = (1, Some(envelope.payload_digest()));
        let created = fact(keys_events::Created { envelope }, "keys");
        let id = self.id.to_string();
        let receipt = self.append_as(
            "platform",
            service(),
            CommandKey::Key(id),
            None,
            vec![created],
        );
        self.keys_head = Some(KeysHead {
            count: 1,
            last: receipt.events[0].1,
        });
    }

    /// Ends the order key and adds the next, signed by both; heads are recorded after it.
    pub(crate) fn rotate_order_key(&mut self) {
        let statement = KeyStatement {
            v: wire::V1,
            ledger: self.id,
            version: self.statement.0 + 1,
            previous: OrDash(self.statement.1),
            origin: None,
            add: vec![AddedKey {
                role: Role::Order,
                name: "order".to_owned(),
                key: PublicKey::from(&self.keys.order_next),
            }],
            end: vec![EndedKey {
                role: Role::Order,
                key: PublicKey::from(&self.keys.order),
                reason: EndReason::Rotated,
            }],
            quorum: None,
        };
        let payload = wire::canonical(&statement).unwrap();
        let envelope = Envelope::sign(
            PayloadType::Keys,
            payload,
            [&self.keys.order, &self.keys.order_next],
        );
        self.statement = (statement.version, Some(envelope.payload_digest()));
        let receipt = self.append(
            "platform",
            service(),
            vec![fact(keys_events::Changed { envelope }, "keys")],
        );
        let count = self.keys_head.unwrap().count + 1;
        self.keys_head = Some(KeysHead {
            count,
            last: receipt.events[0].1,
        });
        self.record_heads();
    }

    /// Announces and opens a chain.
    pub(crate) fn open_chain(&mut self, id: &str) {
        let number = self.announced.len() as u64;
        let announced = chain_events::Announced {
            chain: chain(id),
            number,
        };
        self.append("platform", service(), vec![fact(announced, id)]);
        self.announced.push(chain(id));
        let opened = chain_events::Opened {
            chain: chain(id),
            number,
        };
        let stamp = if chain(id).is_beats() {
            Stamp::Newest
        } else {
            Stamp::None
        };
        self.append(
            id,
            service(),
            vec![Fact {
                stamp,
                ..fact(opened, id)
            }],
        );
    }

    /// Signs and records a checkpoint of a chain as it is now.
    pub(crate) fn checkpoint(&mut self, id: &str) -> countersign_store::Checkpoint {
        let head = self.ledger().tree_head(&chain(id)).unwrap();
        let checkpoint = Checkpoint {
            origin: format!("{ORIGIN}/{id}"),
            head,
        };
        let wrong = self.twist == Twist::CheckpointByUnknownKey && id == TENANT;
        let key = if wrong {
            &self.keys.stranger
        } else {
            &self.keys.checkpoint
        };
        let note = checkpoint.sign(key).unwrap();
        self.runtime
            .block_on(self.ledger().record_checkpoint(&chain(id), note))
            .unwrap()
    }

    /// Records the heads of every announced chain, and a platform checkpoint over them.
    pub(crate) fn record_heads(&mut self) {
        let mut leaves = Vec::new();
        let mut changed = Vec::new();
        for id in self.announced.clone() {
            let head = self.ledger().tree_head(&id).unwrap();
            let last = head.size.checked_sub(1).map(|last| {
                let event = self
                    .ledger()
                    .event(&id, countersign_ids::Sequence::new(last))
                    .unwrap();
                event_hash(&event.record().header)
            });
            let leaf =
                countersign_chain::checkpoint::head_leaf(&id.to_string(), &head, last.as_ref());
            if self.recorded.insert(id, head.size).unwrap_or(0) != head.size {
                changed.extend_from_slice(&leaf);
            }
            leaves.push(leaf);
        }
        let mut tree = countersign_chain::merkle::Frontier::new();
        for leaf in &leaves {
            tree.push(countersign_chain::merkle::leaf_hash(leaf));
        }
        let mut root = tree.root();
        if self.twist == Twist::HeadsOfOtherRoot {
            root[0] ^= 1;
        }
        let blobs = if changed.is_empty() {
            Vec::new()
        } else {
            vec![self.blob("platform", &changed)]
        };
        let mut keys = self.keys_head.unwrap();
        if self.twist == Twist::HeadsLackKeys {
            keys.count += 1;
        }
        let recorded = Recorded {
            size: leaves.len() as u64,
            root: Digest::from_bytes(root),
            keys,
            blobs,
        };
        self.append("platform", service(), vec![fact(recorded, "heads")]);
        self.checkpoint("platform");
    }

    pub(crate) fn blob(&self, on: &str, bytes: &[u8]) -> Digest {
        self.ledger().blobs().put(&chain(on), bytes).unwrap()
    }

    pub(crate) fn head_hash(&self, on: &str) -> EventHash {
        self.ledger().head(&chain(on)).unwrap().hash
    }
}

/// Every verdict level as text, for tables.
pub(crate) fn levels(verdict: &countersign_replay::report::Verdict) -> BTreeMap<String, String> {
    verdict
        .levels
        .iter()
        .map(|(level, status)| (level.name().to_owned(), status.word().to_owned()))
        .collect()
}

/// Verifies whatever lies at a path.
pub(crate) fn verify(path: &Path) -> countersign_replay::report::Verdict {
    verify_with(
        path,
        &countersign_replay::verify::Pins::default(),
        &countersign_replay::verdict::Demands::default(),
    )
}

pub(crate) fn verify_with(
    path: &Path,
    pins: &countersign_replay::verify::Pins,
    demands: &countersign_replay::verdict::Demands,
) -> countersign_replay::report::Verdict {
    let mut progress = countersign_replay::progress::Progress::hidden();
    countersign_replay::open::open(path)
        .and_then(|mut source| {
            countersign_replay::verify::verify(source.as_mut(), pins, demands, &mut progress)
        })
        .unwrap_or_else(|error| {
            countersign_replay::report::Verdict::of_unread(path, &error).unwrap()
        })
}

/// Exports a bundle beside the ledger.
pub(crate) fn export(world: &World, tenant: Option<&str>, name: &str) -> PathBuf {
    export_scope(world, tenant, false, name)
}

/// Exports a bundle with release files.
pub(crate) fn export_scope(
    world: &World,
    tenant: Option<&str>,
    attachments: bool,
    name: &str,
) -> PathBuf {
    let out = world.path(name);
    let source = countersign_replay::open::open(&world.data()).unwrap();
    let scope = countersign_replay::export::Scope {
        tenant: tenant.map(str::to_owned),
        attachments,
    };
    let mut progress = countersign_replay::progress::Progress::hidden();
    countersign_replay::export::export(source.as_ref(), &scope, &out, &mut progress).unwrap();
    out
}

pub(crate) fn digest(bytes: &[u8]) -> Digest {
    sha256(bytes)
}
