//! One order: authorised, delivered, answered.

use std::collections::BTreeSet;

use countersign_chain::sha256;
use countersign_events::Event;
use countersign_events::action::{Accepted, Authorized, Delivered, Succeeded, Unresolved};
use countersign_evidence::message::{Stream, TreeHead};
use countersign_evidence::{
    ActionObject, ConnectorMessage, Envelope, JsonObject, OrDash, Order, Outcome, OutcomeResult,
    SignedStatement, wire,
};
use countersign_ids::{ApproverId, Digest, Sequence, Time};
use countersign_store::Stamp;
use ed25519_dalek::SigningKey;

use super::super::{Fact, TENANT, Twist, at_site, chain, nonce, policy, service};
use super::{SITE, Story};

impl Story {
    /// The rollback plan that assessment, statement and order name.
    pub(super) fn rollback(&self) -> OrDash<Digest> {
        let plan = Self::rollback_plan().digest().unwrap();
        let other = self.twisted(Twist::RollbackOtherThanActions);
        OrDash(Some(if other { sha256(b"another") } else { plan }))
    }

    /// The action object that the order holds.
    fn ordered(&self, object: &ActionObject) -> ActionObject {
        let mut object = object.clone();
        if self.twisted(Twist::OrderForOtherRelease) {
            let release = sha256(b"another").to_string();
            object.parameters = JsonObject::of_strings([("release", release)]);
        }
        object
    }

    fn order_key(&self, number: u64) -> SigningKey {
        let keys = &self.world.keys;
        match self.world.twist {
            Twist::OrderByUnknownKey => keys.stranger.clone(),
            Twist::OrderByEndedKey => keys.order.clone(),
            _ if number > 1 => keys.order_next.clone(),
            _ => keys.order.clone(),
        }
    }

    pub(super) fn authorize(
        &mut self,
        action: &str,
        object: &ActionObject,
        statements: Vec<SignedStatement>,
        decision: &policy::Decision,
        number: u64,
    ) -> Envelope {
        let votes: BTreeSet<ApproverId> = std::iter::once("mira".parse().unwrap()).collect();
        let now = self.world.now();
        let (from, until) = self.order_times(now);
        self.orders = if self.twisted(Twist::OrderSequenceFalls) {
            10 - number
        } else {
            self.orders + 1
        };
        let order = Order {
            v: wire::V1,
            ledger: self.world.id,
            chain: chain(TENANT),
            site: SITE.parse().unwrap(),
            connector: "con-1".parse().unwrap(),
            generation: if self.twisted(Twist::OrderForOtherGeneration) {
                2
            } else {
                1
            },
            action: action.parse().unwrap(),
            action_object: self.ordered(object),
            statements,
            rollback_digest: self.rollback(),
            document_digest: self.document,
            not_before: from,
            expires: until,
            nonce: nonce(500 + number),
            sequence: Sequence::new(self.orders),
        };
        let envelope = order.sign(&self.order_key(number)).unwrap();
        let mint = policy::decide(&self.world, action, &votes);
        let mut blobs = vec![mint.policy_digest, mint.entities_digest];
        blobs.sort();
        blobs.dedup();
        let authorized = Authorized {
            action: action.parse().unwrap(),
            round: 1,
            envelope: envelope.clone(),
            evaluations: mint.evaluations,
            policy_digest: decision.policy_digest,
            cedar_version: mint.cedar_version,
            entities_digest: mint.entities_digest,
            reasons: mint.reasons,
            blobs,
        };
        let fact = Fact {
            stamp: Stamp::Newest,
            ..at_site(authorized, action, SITE)
        };
        self.world.append(TENANT, service(), vec![fact]);
        self.world.checkpoint(TENANT);
        envelope
    }

    fn order_times(&self, now: Time) -> (Time, Time) {
        if self.twisted(Twist::OrderOutsideItsTimes) {
            (now.minus_millis(600_000), now.minus_millis(480_000))
        } else {
            (now.minus_millis(1_000), now.plus_millis(119_000))
        }
    }

    pub(super) fn unresolved(&mut self, action: &str) {
        let unresolved = Unresolved {
            action: action.parse().unwrap(),
        };
        self.world
            .append(TENANT, service(), vec![at_site(unresolved, action, SITE)]);
    }

    pub(super) fn deliver(&mut self, action: &str, order: &Envelope) {
        let last = self.world.ledger().last_checkpoint(&chain(TENANT)).unwrap();
        let delivered = Delivered {
            action: action.parse().unwrap(),
            order_digest: order.payload_digest(),
            checkpoint: TreeHead {
                size: last.size,
                root: Digest::from_bytes(last.root),
            },
        };
        self.world
            .append(TENANT, service(), vec![at_site(delivered, action, SITE)]);
    }

    pub(super) fn answer(&mut self, action: &str, order: &Envelope, result: OutcomeResult) {
        if self.twisted(Twist::CounterSkips) {
            self.counter += 1;
        }
        let is_result = result.is_result();
        let state = || is_result.then(|| JsonObject::of_strings([("current", "-")]));
        let said = match self.world.twist {
            Twist::OutcomeSaysOtherResult if is_result => OutcomeResult::Undone,
            _ => result,
        };
        let order_digest = match self.world.twist {
            Twist::OutcomeOfOtherOrder => sha256(b"another order"),
            _ => order.payload_digest(),
        };
        let message = ConnectorMessage::Outcome(Outcome {
            head: self.head(TENANT),
            stream: Stream::Action,
            counter: self.counter,
            order_digest,
            result: said,
            code: OrDash((said == OutcomeResult::Undone).then(|| "probe-failed".to_owned())),
            before: state(),
            after: state(),
            observations: is_result.then(Vec::new),
            duration_ms: is_result.then_some(12),
        });
        let key = match self.world.twist {
            Twist::OutcomeByOtherKey => self.world.keys.stranger.clone(),
            _ => self.world.keys.connector.clone(),
        };
        let envelope = message.sign(&key).unwrap();
        let action_id = action.parse().unwrap();
        let event: Event = if result == OutcomeResult::Accepted {
            Accepted {
                action: action_id,
                envelope: envelope.clone(),
            }
            .into()
        } else {
            Succeeded {
                action: action_id,
                envelope: envelope.clone(),
            }
            .into()
        };
        let place = (1, "action", self.counter);
        self.world
            .append_message(TENANT, place, &envelope, vec![at_site(event, action, SITE)]);
        self.counter += 1;
    }
}
