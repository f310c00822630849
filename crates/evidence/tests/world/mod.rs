//! A small ledger, a site and an order to it that passes every check; tests change one thing at a time.

#![expect(dead_code, reason = "every test target uses a part of it")]

use std::collections::BTreeSet;

use countersign_chain::checkpoint::{self, Checkpoint};
use countersign_chain::{self as chain, Header, merkle};
use countersign_evidence::checks::{self, Facts, PassedOrder, Refused, SiteNow};
use countersign_evidence::delivery::{Delivery, EventCopy};
use countersign_evidence::document::{Credential, FloorRule, KindOrAny, PinnedDocument};
use countersign_evidence::dsse::{Envelope, PayloadType};
use countersign_evidence::keys::{AddedKey, KeyStatement, Role};
use countersign_evidence::message::{Mode, TreeHead};
use countersign_evidence::order::Order;
use countersign_evidence::ring::KeyRing;
use countersign_evidence::statement::{Alg, Decision, Scope, Statement};
use countersign_evidence::wire::{self, Base64, JsonObject, OrDash, ProofHash, PublicKey, V1};
use countersign_evidence::{ActionObject, Reversibility};
use countersign_ids::{
    Actor, AuthType, BodyHash, CommandId, ConnectorId, Digest, EventHash, LedgerId, Nonce,
    PlatformHead, Retention, Salt, Sequence, Time,
};
use ed25519_dalek::SigningKey;

pub(crate) const NOON: Time = Time::from_unix_millis(1_790_000_000_000);

pub(crate) fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

pub(crate) fn public(seed: u8) -> PublicKey {
    PublicKey::from(&key(seed))
}

pub(crate) const GENESIS: u8 = 1;
pub(crate) const CHECKPOINT: u8 = 2;
pub(crate) const ORDER: u8 = 3;
pub(crate) const CONNECTOR: u8 = 4;
pub(crate) const MIRA: u8 = 5;
pub(crate) const NOOR: u8 = 6;

pub(crate) fn digest(byte: u8) -> Digest {
    Digest::from_bytes([byte; 32])
}

pub(crate) fn ledger() -> LedgerId {
    chain::ledger_id(public(GENESIS).as_bytes())
}

pub(crate) fn added(role: Role, seed: u8) -> AddedKey {
    AddedKey {
        role,
        name: format!("example.org/{seed}"),
        key: public(seed),
    }
}

pub(crate) fn first_statement() -> KeyStatement {
    KeyStatement {
        v: V1,
        ledger: ledger(),
        version: 1,
        previous: OrDash::NONE,
        origin: Some("example.org/ledger".to_owned()),
        add: vec![
            added(Role::Genesis, GENESIS),
            added(Role::Checkpoint, CHECKPOINT),
            added(Role::Order, ORDER),
        ],
        end: Vec::new(),
        quorum: None,
    }
}

pub(crate) fn sign_keys(statement: &KeyStatement, seeds: &[u8]) -> Envelope {
    let keys: Vec<SigningKey> = seeds.iter().map(|seed| key(*seed)).collect();
    Envelope::sign(
        PayloadType::Keys,
        wire::canonical(statement).unwrap(),
        &keys,
    )
}

pub(crate) fn first_envelope() -> Envelope {
    sign_keys(&first_statement(), &[GENESIS, CHECKPOINT, ORDER])
}

pub(crate) fn ring() -> KeyRing {
    KeyRing::begin(&ledger(), &first_envelope()).unwrap()
}

pub(crate) fn credential(approver: &str, seed: u8) -> Credential {
    Credential {
        approver: approver.parse().unwrap(),
        credential: format!("{approver}-key").parse().unwrap(),
        alg: Alg::Ed25519,
        key: Base64(public(seed).as_bytes().to_vec()),
        origin: None,
        rp_id: None,
    }
}

pub(crate) fn document() -> PinnedDocument {
    PinnedDocument {
        v: V1,
        ledger: ledger(),
        chain: "bakery".parse().unwrap(),
        site: "shop".parse().unwrap(),
        version: 1,
        previous: OrDash::NONE,
        approvers: vec![credential("mira", MIRA), credential("noor", NOOR)],
        floor: vec![FloorRule {
            kind: KindOrAny::Any,
            approvals: 1,
        }],
        break_glass: false,
        quorum: 2,
        genesis: public(GENESIS),
    }
}

pub(crate) fn object() -> ActionObject {
    ActionObject {
        v: V1,
        site: "shop".parse().unwrap(),
        kind: "release.publish".parse().unwrap(),
        parameters: JsonObject::of_strings([("release", digest(11).to_string())]),
        precondition: JsonObject::of_strings([("current", digest(13).to_string())]),
        plan_digest: digest(14),
        reversibility: Reversibility::Reversible,
        rollback_digest: OrDash::from(digest(19)),
        expires: NOON.plus_millis(3_600_000),
    }
}

pub(crate) fn statement(approver: &str, object: &ActionObject) -> Statement {
    Statement {
        v: V1,
        ledger: ledger(),
        chain: "bakery".parse().unwrap(),
        site: "shop".parse().unwrap(),
        action: "a1".parse().unwrap(),
        action_digest: object.digest().unwrap(),
        decision: Decision::Approve,
        scope: Scope::Action,
        round: 1,
        approver: approver.parse().unwrap(),
        credential: format!("{approver}-key").parse().unwrap(),
        reason_digest: OrDash::NONE,
        policy_digest: OrDash::from(digest(16)),
        view_digest: digest(18),
        rollback_digest: object.rollback_digest,
        not_before: NOON,
        not_after: NOON.plus_millis(3_600_000),
        nonce: Nonce::from_bytes([7; 16]),
    }
}

/// Everything that goes into one check; `check` puts it together afresh.
pub(crate) struct World {
    pub(crate) mode: Mode,
    pub(crate) connector: ConnectorId,
    pub(crate) generation: u64,
    pub(crate) document: PinnedDocument,
    pub(crate) ring: KeyRing,
    pub(crate) accepted: u64,
    pub(crate) accepted_root: Option<Digest>,
    pub(crate) nonces: BTreeSet<Nonce>,
    pub(crate) last_sequence: Option<Sequence>,
    pub(crate) executed: BTreeSet<Digest>,
    pub(crate) now: Time,
    pub(crate) current: JsonObject,
    pub(crate) rollback: OrDash<Digest>,
    /// Statements and who signs them.
    pub(crate) statements: Vec<(Statement, SigningKey)>,
    pub(crate) order: Order,
    pub(crate) order_key: SigningKey,
    pub(crate) checkpoint_key: SigningKey,
    pub(crate) body_action: String,
    pub(crate) header: fn(&mut Header),
    pub(crate) delivery: fn(&mut Delivery),
}

impl World {
    pub(crate) fn new() -> Self {
        let object = object();
        let document = document();
        Self {
            mode: Mode::Normal,
            connector: "c1".parse().unwrap(),
            generation: 1,
            ring: ring(),
            accepted: 3,
            accepted_root: None,
            nonces: BTreeSet::new(),
            last_sequence: Some(Sequence::new(4)),
            executed: BTreeSet::new(),
            now: NOON.plus_millis(1000),
            current: object.precondition.clone(),
            rollback: object.rollback_digest,
            statements: vec![(statement("mira", &object), key(MIRA))],
            order: Order {
                v: V1,
                ledger: ledger(),
                chain: "bakery".parse().unwrap(),
                site: "shop".parse().unwrap(),
                connector: "c1".parse().unwrap(),
                generation: 1,
                action: "a1".parse().unwrap(),
                rollback_digest: object.rollback_digest,
                action_object: object,
                statements: Vec::new(),
                document_digest: document.digest().unwrap(),
                not_before: NOON,
                expires: NOON.plus_millis(120_000),
                nonce: Nonce::from_bytes([8; 16]),
                sequence: Sequence::new(5),
            },
            document,
            order_key: key(ORDER),
            checkpoint_key: key(CHECKPOINT),
            body_action: "a1".to_owned(),
            header: |_| (),
            delivery: |_| (),
        }
    }

    /// The order with the statements signed.
    pub(crate) fn signed_order(&self) -> Order {
        let mut order = self.order.clone();
        order.statements = self
            .statements
            .iter()
            .map(|(statement, key)| statement.sign(key).unwrap())
            .collect();
        order
    }

    /// Signs the order again after a change of it that votes do not see.
    pub(crate) fn deliver(&self, order: &Order) -> Delivery {
        let envelope = order.sign(&self.order_key).unwrap();
        let body = JsonObject(
            [
                ("action".to_owned(), self.body_action.clone().into()),
                (
                    "envelope".to_owned(),
                    serde_json::to_value(&envelope).unwrap(),
                ),
                ("round".to_owned(), 1.into()),
            ]
            .into(),
        );
        let body = wire::canonical(&body).unwrap();
        let salt = Salt::from_bytes([3; 16]);
        let mut header = header(chain::body_hash(&salt, &body));
        (self.header)(&mut header);
        let header = header.to_bytes();
        let mut leaves: Vec<Vec<u8>> = (0..8_u8).map(|n| vec![n]).collect();
        leaves.get_mut(5).unwrap().clone_from(&header);
        let nodes: Vec<merkle::Node> = leaves.iter().map(|leaf| merkle::leaf_hash(leaf)).collect();
        let head = checkpoint::TreeHead {
            size: 8,
            root: root(&nodes),
        };
        let note = Checkpoint {
            origin: checkpoint::origin(self.ring.origin(), &self.order.chain),
            head,
        };
        let mut delivery = Delivery {
            event: EventCopy {
                header: String::from_utf8(header).unwrap(),
                salt,
                body: String::from_utf8(body).unwrap(),
            },
            checkpoint: note.sign(&self.checkpoint_key).unwrap(),
            inclusion: wrap(inclusion(5, &nodes)),
            consistency: wrap(consistency(usize::try_from(self.accepted).unwrap(), &nodes)),
            keys: Vec::new(),
        };
        (self.delivery)(&mut delivery);
        delivery
    }

    pub(crate) fn check(&self) -> Result<PassedOrder, Box<Refused>> {
        self.check_order(&self.signed_order())
    }

    pub(crate) fn check_order(&self, order: &Order) -> Result<PassedOrder, Box<Refused>> {
        let delivery = self.deliver(order);
        let nodes: Vec<merkle::Node> = (0..self.accepted)
            .map(|n| merkle::leaf_hash(&[u8::try_from(n).unwrap()]))
            .collect();
        let accepted = TreeHead {
            size: self.accepted,
            root: self
                .accepted_root
                .unwrap_or_else(|| Digest::from_bytes(root(&nodes))),
        };
        let facts = Facts {
            mode: self.mode,
            connector: &self.connector,
            generation: self.generation,
            document: &self.document,
            ring: &self.ring,
            accepted,
            nonces: &self.nonces,
            last_sequence: self.last_sequence,
            executed: &self.executed,
            now: self.now,
        };
        let site = SiteNow {
            current: &self.current,
            rollback_digest: self.rollback,
        };
        Ok(checks::check_order(&delivery, &facts).and_then(|checked| checked.check_site(&site))?)
    }
}

fn header(bodyhash: BodyHash) -> Header {
    Header {
        ledger: ledger(),
        chain: "bakery".parse().unwrap(),
        id: "019a0000-0000-7000-8000-000000000005".parse().unwrap(),
        event_type: "dev.countersign.action.authorized.v1".parse().unwrap(),
        subject: "a1".parse().unwrap(),
        site: Some("shop".parse().unwrap()),
        time: NOON,
        retention: Retention::Evidence,
        sequence: Sequence::new(5),
        familysequence: Sequence::new(2),
        prevhash: EventHash::from_bytes([4; 32]),
        bodyhash,
        bodykey: None,
        datasubject: None,
        actor: Actor {
            kind: AuthType::Reactor,
            id: "mint".parse().unwrap(),
        },
        commandid: CommandId::from_bytes([5; 16]),
        requestdigest: None,
        platformhead: Some(PlatformHead {
            sequence: Sequence::ZERO,
            hash: EventHash::from_bytes([6; 32]),
        }),
        correlationid: None,
        causationid: None,
        traceparent: None,
        ownerepoch: None,
    }
}

fn wrap(nodes: Vec<merkle::Node>) -> Vec<ProofHash> {
    nodes.into_iter().map(ProofHash::from_bytes).collect()
}

fn split(nodes: &[merkle::Node]) -> usize {
    nodes.len().next_power_of_two() / 2
}

/// RFC 6962 section 2.1, as written there.
pub(crate) fn root(nodes: &[merkle::Node]) -> merkle::Node {
    match nodes {
        [] => merkle::empty_root(),
        [one] => *one,
        _ => {
            let (left, right) = nodes.split_at(split(nodes));
            merkle::node_hash(&root(left), &root(right))
        }
    }
}

pub(crate) fn inclusion(index: usize, nodes: &[merkle::Node]) -> Vec<merkle::Node> {
    if nodes.len() <= 1 {
        return Vec::new();
    }
    let at = split(nodes);
    let (left, right) = nodes.split_at(at);
    let (mut path, other) = if index < at {
        (inclusion(index, left), right)
    } else {
        (inclusion(index - at, right), left)
    };
    path.push(root(other));
    path
}

pub(crate) fn consistency(old: usize, nodes: &[merkle::Node]) -> Vec<merkle::Node> {
    if old == 0 || old >= nodes.len() {
        Vec::new()
    } else {
        subproof(old, nodes, true)
    }
}

fn subproof(old: usize, nodes: &[merkle::Node], whole: bool) -> Vec<merkle::Node> {
    if old == nodes.len() {
        return if whole { Vec::new() } else { vec![root(nodes)] };
    }
    let at = split(nodes);
    let (left, right) = nodes.split_at(at);
    let (mut path, other) = if old <= at {
        (subproof(old, left, whole), right)
    } else {
        (subproof(old - at, right, false), left)
    };
    path.push(root(other));
    path
}
