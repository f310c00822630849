//! A ledger in memory with real keys: what a control plane would sign, and what an approver would.

use countersign_chain::ledger_id;
use countersign_evidence::{
    ActionObject, Credential, Decision, Envelope, FloorRule, JsonObject, KeyStatement, OrDash,
    Order, PayloadType, PinnedDocument, PublicKey, Reversibility, Role, Scope, SignedStatement,
    Statement,
    document::KindOrAny,
    keys::AddedKey,
    wire::{self, Base64, V1},
};
use countersign_ids::{
    ActionId, ConnectorId, Digest, LedgerId, Nonce, Sequence, SiteId, TenantId, Time, limits,
};
use ed25519_dalek::SigningKey;

/// The keys of everybody who signs but the connector.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) id: LedgerId,
    pub(crate) tenant: TenantId,
    pub(crate) site: SiteId,
    pub(crate) connector: ConnectorId,
    pub(crate) genesis: SigningKey,
    pub(crate) orders: SigningKey,
    pub(crate) checkpoints: SigningKey,
    pub(crate) approver: SigningKey,
    pub(crate) keys: Vec<Envelope>,
}

pub(crate) const ORIGIN: &str = "ledger.example";

/// A key that is the same in every run.
pub(crate) fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

pub(crate) fn parsed<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

impl Ledger {
    pub(crate) fn new() -> Self {
        Self::of(key(1))
    }

    /// The ledger of this genesis key.
    pub(crate) fn of(genesis: SigningKey) -> Self {
        let (orders, checkpoints) = (key(2), key(3));
        let id = ledger_id(genesis.verifying_key().as_bytes());
        let added = |role, name: &str, key: &SigningKey| AddedKey {
            role,
            name: name.to_owned(),
            key: key.into(),
        };
        let first = KeyStatement {
            v: V1,
            ledger: id,
            version: 1,
            previous: OrDash::NONE,
            origin: Some(ORIGIN.to_owned()),
            add: vec![
                added(Role::Genesis, "genesis", &genesis),
                added(Role::Checkpoint, "checkpoint", &checkpoints),
                added(Role::Order, "order", &orders),
            ],
            end: vec![],
            quorum: None,
        };
        let signed = Envelope::sign(
            PayloadType::Keys,
            wire::canonical(&first).unwrap(),
            [&genesis, &checkpoints, &orders],
        );
        Self {
            id,
            tenant: parsed("acme"),
            site: parsed("www"),
            connector: parsed("www-connector"),
            genesis,
            orders,
            checkpoints,
            approver: key(4),
            keys: vec![signed],
        }
    }

    /// Adds a key statement; `end` and `add` are signed for by everybody who has to.
    pub(crate) fn rotate_orders(
        &mut self,
        next: SigningKey,
        reason: countersign_evidence::EndReason,
    ) {
        let stolen = reason == countersign_evidence::EndReason::Stolen;
        let add = vec![AddedKey {
            role: Role::Order,
            name: "order-2".to_owned(),
            key: (&next).into(),
        }];
        let statement = KeyStatement {
            v: V1,
            ledger: self.id,
            version: u64::try_from(self.keys.len()).unwrap() + 1,
            previous: self.keys.last().unwrap().payload_digest().into(),
            origin: None,
            add: if stolen { vec![] } else { add },
            end: vec![countersign_evidence::keys::EndedKey {
                role: Role::Order,
                key: (&self.orders).into(),
                reason,
            }],
            quorum: None,
        };
        let payload = wire::canonical(&statement).unwrap();
        let signed = if stolen {
            Envelope::sign(PayloadType::Keys, payload, [&self.genesis])
        } else {
            Envelope::sign(PayloadType::Keys, payload, [&self.orders, &next])
        };
        self.keys.push(signed);
        if !stolen {
            self.orders = next;
        }
    }

    pub(crate) fn credential(&self) -> Credential {
        Credential {
            approver: parsed("ada"),
            credential: parsed("ada-key"),
            alg: countersign_evidence::Alg::Ed25519,
            key: Base64(self.approver.verifying_key().to_bytes().to_vec()),
            origin: None,
            rp_id: None,
        }
    }

    pub(crate) fn document(&self) -> PinnedDocument {
        PinnedDocument {
            v: V1,
            ledger: self.id,
            chain: self.tenant.chain(),
            site: self.site.clone(),
            version: 1,
            previous: OrDash::NONE,
            approvers: vec![self.credential()],
            floor: vec![FloorRule {
                kind: KindOrAny::Any,
                approvals: 1,
            }],
            break_glass: false,
            quorum: 1,
            genesis: PublicKey::from(&self.genesis),
        }
    }

    /// An action that makes `release` live, planned against `current`.
    pub(crate) fn publish(
        &self,
        release: &Digest,
        current: Option<Digest>,
        rollback: Digest,
        now: Time,
    ) -> ActionObject {
        ActionObject {
            v: V1,
            site: self.site.clone(),
            kind: parsed("release.publish"),
            parameters: JsonObject::of_strings([("release", release.to_string())]),
            precondition: JsonObject::of_strings([("current", OrDash(current).to_string())]),
            plan_digest: countersign_chain::sha256(b"plan"),
            reversibility: Reversibility::Reversible,
            rollback_digest: rollback.into(),
            expires: now.plus_millis(limits::STATEMENT_LIFETIME_MILLIS_MAX),
        }
    }

    pub(crate) fn statement(
        &self,
        action: &ActionId,
        object: &ActionObject,
        nonce: u8,
        now: Time,
    ) -> Statement {
        Statement {
            v: V1,
            ledger: self.id,
            chain: self.tenant.chain(),
            site: self.site.clone(),
            action: action.clone(),
            action_digest: object.digest().unwrap(),
            decision: Decision::Approve,
            scope: Scope::Action,
            round: 1,
            approver: parsed("ada"),
            credential: parsed("ada-key"),
            reason_digest: OrDash::NONE,
            policy_digest: countersign_chain::sha256(b"policy").into(),
            view_digest: countersign_chain::sha256(b"view"),
            rollback_digest: object.rollback_digest,
            not_before: now.minus_millis(1000),
            not_after: now.plus_millis(3_600_000),
            nonce: Nonce::from_bytes([nonce; 16]),
        }
    }

    pub(crate) fn approved(
        &self,
        action: &ActionId,
        object: &ActionObject,
        nonce: u8,
        now: Time,
    ) -> SignedStatement {
        self.statement(action, object, nonce, now)
            .sign(&self.approver)
            .unwrap()
    }

    pub(crate) fn order(
        &self,
        action: &ActionId,
        object: &ActionObject,
        sequence: u64,
        now: Time,
    ) -> Order {
        let number = u8::try_from(sequence).unwrap();
        Order {
            v: V1,
            ledger: self.id,
            chain: self.tenant.chain(),
            site: self.site.clone(),
            connector: self.connector.clone(),
            generation: 1,
            action: action.clone(),
            action_object: object.clone(),
            statements: vec![self.approved(action, object, number, now)],
            rollback_digest: object.rollback_digest,
            document_digest: self.document().digest().unwrap(),
            not_before: now,
            expires: now.plus_millis(limits::ORDER_LIFETIME_MILLIS),
            nonce: Nonce::from_bytes([number; 16]),
            sequence: Sequence::new(sequence),
        }
    }
}
