//! What stands on the platform chain of a test ledger: keys, announced chains, recorded heads; and every checkpoint.

use countersign_chain::{Checkpoint, CommandKey, event_hash};
use countersign_events::heads::{KeysHead, Recorded};
use countersign_events::{chain as chain_events, keys as keys_events};
use countersign_evidence::keys::{AddedKey, EndedKey};
use countersign_evidence::{
    EndReason, Envelope, KeyStatement, OrDash, PayloadType, PublicKey, Role, wire,
};
use countersign_ids::Digest;
use countersign_store::{HASH_TO_COME, Stamp};
use ed25519_dalek::SigningKey;

use super::{Fact, ORIGIN, TENANT, Twist, World, chain, fact, service};

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

impl World {
    pub(super) fn create_keys(&mut self) {
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

    /// Ends the order key and adds the next, signed by both; heads are recorded in the same append.
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
        let changed = fact(keys_events::Changed { envelope }, "keys");
        let count = self.keys_head.unwrap().count + 1;
        let alone = self.twist == Twist::KeyEndsAlone;
        let facts = if alone {
            vec![changed]
        } else {
            // Only the writer knows the hash of the statement; it completes the heads with it.
            let last = HASH_TO_COME;
            let recorded = self.recorded(KeysHead { count, last });
            vec![changed, fact(recorded, "heads")]
        };
        let receipt = self.append("platform", service(), facts);
        self.keys_head = Some(KeysHead {
            count,
            last: receipt.events[0].1,
        });
        if alone {
            self.record_heads();
        } else {
            self.checkpoint("platform");
        }
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
        let recorded = self.recorded(self.keys_head.unwrap());
        self.append("platform", service(), vec![fact(recorded, "heads")]);
        self.checkpoint("platform");
    }

    /// The heads as they are now.
    fn recorded(&mut self, mut keys: KeysHead) -> Recorded {
        let with_end = keys.last == HASH_TO_COME;
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
            // As if nothing had been ordered since the heads before.
            let earlier = self
                .leaves
                .get(&id)
                .filter(|_| with_end && self.twist == Twist::KeyEndsEarlier);
            if let Some(leaf) = earlier {
                leaves.push(leaf.clone());
                continue;
            }
            self.leaves.insert(id.clone(), leaf.clone());
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
        if self.twist == Twist::HeadsLackKeys {
            keys.count += 1;
        }
        Recorded {
            size: leaves.len() as u64,
            root: Digest::from_bytes(root),
            keys,
            blobs,
        }
    }
}
