//! A connector in the test: its own key, its own counters, real signatures, no site.

use countersign_evidence::action::{Grade, RollbackPlan};
use countersign_evidence::message::{
    Head, Heartbeat, Observation, Observed, Outcome, OutcomeResult, Paired, Poll, Readiness,
    SiteState, Stream, TreeHead,
};
use countersign_evidence::wire::{JsonObject, OrDash, V1};
use countersign_evidence::{ConnectorMessage, Envelope, Mode, PublicKey};
use countersign_ids::{Digest, Nonce, Time};
use countersign_transport::{PairingCode, PairingInfo};
use ed25519_dalek::SigningKey;

pub struct Connector {
    pub key: SigningKey,
    pub head: Head,
    action: u64,
    beat: u64,
    last_beat: Option<Digest>,
    pub current: Option<Digest>,
    pub previous: Option<Digest>,
    pub grade: Grade,
}

impl Connector {
    /// A connector that was told what its code is for, and has made its key.
    pub fn new(info: &PairingInfo, seed: u8) -> Self {
        let head = Head {
            v: V1,
            ledger: info.ledger,
            chain: info.tenant.chain(),
            site: info.site.clone(),
            connector: info.connector.clone(),
            generation: info.generation,
            document_digest: info.document.digest().unwrap(),
            checkpoint: TreeHead {
                size: 0,
                root: Digest::from_bytes(countersign_chain::merkle::empty_root()),
            },
            keys_version: 1,
        };
        Self {
            key: SigningKey::from_bytes(&[seed; 32]),
            head,
            action: 0,
            beat: 0,
            last_beat: None,
            current: None,
            previous: None,
            grade: Grade::Exact,
        }
    }

    /// The message that proves the new key. The code is used up by whoever sends it first.
    pub fn pair(&mut self, code: &PairingCode) -> Envelope {
        let message = Paired {
            head: self.head.clone(),
            stream: Stream::Action,
            counter: 0,
            key: PublicKey::from(&self.key),
            code_digest: code.digest(),
        };
        self.action = 1;
        self.sign(&ConnectorMessage::Paired(message))
    }

    /// What the connector sees now.
    pub fn observed(&mut self, now: Time) -> Envelope {
        let rollback = self.rollback();
        let releases = self.previous.iter().chain(&self.current).copied().collect();
        let message = Observed {
            head: self.head.clone(),
            stream: Stream::Action,
            counter: self.next_action(),
            observed: SiteState {
                current: OrDash(self.current),
                releases,
                rollback,
                checked_at: now,
            },
        };
        self.sign(&ConnectorMessage::Observed(message))
    }

    /// What became of an order.
    pub fn outcome(&mut self, order: Digest, result: OutcomeResult) -> Envelope {
        let state = |release: Option<Digest>| {
            JsonObject::of_strings([("current", OrDash(release).to_string())])
        };
        let ends = result.is_result();
        let good = matches!(result, OutcomeResult::Accepted | OutcomeResult::Succeeded);
        let message = Outcome {
            head: self.head.clone(),
            stream: Stream::Action,
            counter: self.next_action(),
            order_digest: order,
            result,
            code: OrDash((!good).then(|| "probe-failed".to_owned())),
            before: ends.then(|| state(self.previous)),
            after: ends.then(|| state(self.current)),
            observations: ends.then(|| {
                vec![Observation {
                    what: "live /".to_owned(),
                    ok: good,
                    detail: "200".to_owned(),
                }]
            }),
            duration_ms: ends.then_some(7),
        };
        self.sign(&ConnectorMessage::Outcome(message))
    }

    /// A sign of life.
    pub fn heartbeat(&mut self) -> Envelope {
        let mut head = self.head.clone();
        head.chain = head.chain.tenant().unwrap().beats();
        let rollback = self.rollback();
        let message = Heartbeat {
            head,
            stream: Stream::Beat,
            counter: self.beat,
            boot: Nonce::from_bytes([1; 16]),
            instance: Nonce::from_bytes([2; 16]),
            previous: OrDash(self.last_beat),
            inventory: countersign_chain::sha256(b"inventory"),
            readiness: Readiness {
                grade: rollback.grade,
                rollback_digest: OrDash(Some(rollback.digest().unwrap())),
            },
            mode: Mode::Normal,
        };
        let envelope = self.sign(&ConnectorMessage::Heartbeat(message));
        self.beat += 1;
        self.last_beat = Some(envelope.payload_digest());
        envelope
    }

    /// A request for orders.
    pub fn poll(&self) -> Envelope {
        self.sign(&ConnectorMessage::Poll(Poll {
            head: self.head.clone(),
        }))
    }

    /// The switch of an executed release.
    pub fn switch(&mut self, release: Digest) {
        self.previous = self.current.replace(release);
    }

    fn rollback(&self) -> RollbackPlan {
        RollbackPlan {
            v: V1,
            site: self.head.site.clone(),
            connector: "static".to_owned(),
            restore: OrDash(self.current),
            grade: self.grade,
            lost: Vec::new(),
        }
    }

    fn next_action(&mut self) -> u64 {
        let counter = self.action;
        self.action += 1;
        counter
    }

    fn sign(&self, message: &ConnectorMessage) -> Envelope {
        message.sign(&self.key).unwrap()
    }
}
