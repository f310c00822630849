//! The steps themselves, each a pure function of the order and of what the caller knows, in their order.

use std::collections::BTreeSet;

use countersign_chain as chain;
use countersign_chain::checkpoint::{self, Checkpoint};
use countersign_chain::{Header, merkle, note};
use countersign_ids::{
    ActionId, ApproverId, ChainId, ConnectorId, Digest, LedgerId, Nonce, Sequence, SiteId, Time,
    limits,
};
use serde::Deserialize;

use super::RELEASE_ROLLBACK;
use crate::delivery::Delivery;
use crate::document::PinnedDocument;
use crate::dsse::Envelope;
use crate::keys::Role;
use crate::message::{Mode, TreeHead};
use crate::order::{Order, VerifiedOrder};
use crate::refusal::Refusal;
use crate::ring::KeyRing;
use crate::statement::{Decision, Scope, SignedStatement, VerifiedStatement};
use crate::wire::{JsonObject, OrDash, ProofHash, PublicKey};

/// A delivery taken apart: bytes that fit together, nothing believed yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Opened {
    /// The header, parsed from E.
    pub header: Header,
    /// E itself: the leaf.
    pub leaf: Vec<u8>,
    /// The action that B names.
    pub action: ActionId,
    /// The envelope that B holds.
    pub envelope: Envelope,
    /// The order in the envelope, unverified.
    pub order: Order,
}

/// What is read of the body of `action.authorized`; its other members are evidence for auditors.
#[derive(Deserialize)]
struct AuthorizedBody {
    action: ActionId,
    envelope: Envelope,
}

impl Opened {
    /// Takes the order out of B, B by `bodyhash`, E as the leaf.
    pub fn open(delivery: &Delivery) -> Result<Self, Refusal> {
        let malformed = |what: String| Refusal::Malformed(what);
        let leaf = delivery.event.header.as_bytes().to_vec();
        let header = Header::parse(&leaf).map_err(|error| malformed(error.to_string()))?;
        if header.event_type.to_string() != "dev.countersign.action.authorized.v1" {
            return Err(malformed(format!("the event is `{}`", header.event_type)));
        }
        let body = delivery.event.body.as_bytes();
        if chain::body_hash(&delivery.event.salt, body) != header.bodyhash {
            return Err(Refusal::Body);
        }
        chain::json::check(body).map_err(|error| malformed(error.to_string()))?;
        let body: AuthorizedBody =
            serde_json::from_slice(body).map_err(|error| malformed(error.to_string()))?;
        let order = Order::parse(body.envelope.unverified_payload())
            .map_err(|error| malformed(error.to_string()))?;
        Ok(Self {
            header,
            leaf,
            action: body.action,
            envelope: body.envelope,
            order,
        })
    }
}

/// Step 1: the connector's mode lets this order pass.
pub fn mode(order: &Order, mode: Mode) -> Result<(), Refusal> {
    let passes = match mode {
        Mode::Normal => true,
        Mode::AskForAll => !order.statements.is_empty(),
        Mode::RollbackOnly => order.action_object.kind.as_str() == RELEASE_ROLLBACK,
        Mode::Hold | Mode::Dark | Mode::Quiet | Mode::Stopped => false,
    };
    if passes {
        Ok(())
    } else {
        Err(Refusal::Mode(mode))
    }
}

/// Step 2, before the signature: key statements newer than the connector's.
pub fn follow_keys(ring: &KeyRing, statements: &[Envelope]) -> Result<KeyRing, Refusal> {
    let mut next = ring.clone();
    for statement in statements {
        next.follow(statement).map_err(Refusal::Keys)?;
    }
    Ok(next)
}

/// Step 2: the signature of an order key that the statements add and do not end.
pub fn signature(envelope: &Envelope, ring: &KeyRing) -> Result<VerifiedOrder, Refusal> {
    let mut orders = ring
        .current(Role::Order)
        .map(|held| VerifiedOrder::verify(envelope, &held.key));
    orders.find_map(Result::ok).ok_or(Refusal::Signature)
}

/// For whom an order is.
#[derive(Debug, Clone, Copy)]
pub struct Audience<'a> {
    /// The ledger.
    pub ledger: &'a LedgerId,
    /// The tenant's chain.
    pub chain: &'a ChainId,
    /// The site.
    pub site: &'a SiteId,
    /// The connector.
    pub connector: &'a ConnectorId,
    /// The generation of its pairing.
    pub generation: u64,
}

impl<'a> Audience<'a> {
    /// The connector at the site of this document.
    pub const fn of(
        document: &'a PinnedDocument,
        connector: &'a ConnectorId,
        generation: u64,
    ) -> Self {
        Self {
            ledger: &document.ledger,
            chain: &document.chain,
            site: &document.site,
            connector,
            generation,
        }
    }
}

/// Step 3: audience and generation.
pub fn audience(order: &Order, of: &Audience<'_>) -> Result<(), Refusal> {
    let differs = [
        ("ledger", order.ledger != *of.ledger),
        ("chain", order.chain != *of.chain),
        (
            "site",
            order.site != *of.site || order.action_object.site != *of.site,
        ),
        ("connector", order.connector != *of.connector),
    ];
    if let Some((member, _)) = differs.iter().find(|(_, differs)| *differs) {
        return Err(Refusal::Audience(member));
    }
    if order.generation == of.generation {
        Ok(())
    } else {
        Err(Refusal::Generation {
            wanted: of.generation,
            found: order.generation,
        })
    }
}

/// Step 3, still the audience: the order was made for the document in force.
pub fn document(order: &Order, document: &PinnedDocument) -> Result<(), Refusal> {
    match document.digest() {
        Ok(digest) if digest == order.document_digest => Ok(()),
        _ => Err(Refusal::Document),
    }
}

/// Step 4: the times of order and action, by the clock given.
pub fn time(order: &Order, now: Time) -> Result<(), Refusal> {
    window(order)?;
    if now < order.not_before {
        return Err(Refusal::NotYet {
            from: order.not_before,
            now,
        });
    }
    let until = order.expires.min(order.action_object.expires);
    if now > until {
        Err(Refusal::Expired { until, now })
    } else {
        Ok(())
    }
}

/// Step 4, without a clock: the order counts for no longer than an order may.
pub fn window(order: &Order) -> Result<(), Refusal> {
    let fits = order.not_before <= order.expires
        && order.expires.millis_since(order.not_before) <= limits::ORDER_LIFETIME_MILLIS;
    if fits { Ok(()) } else { Err(Refusal::Window) }
}

/// Step 5: the nonce is unseen and the sequence above the last accepted.
pub fn unseen(
    order: &Order,
    nonces: &BTreeSet<Nonce>,
    last: Option<Sequence>,
) -> Result<(), Refusal> {
    if nonces.contains(&order.nonce) {
        return Err(Refusal::NonceSeen(order.nonce));
    }
    match last {
        Some(last) if order.sequence <= last => Err(Refusal::Sequence {
            last,
            found: order.sequence,
        }),
        _ => Ok(()),
    }
}

/// Step 6: order, action object and every statement name one action.
pub fn action(order: &Order) -> Result<(), Refusal> {
    if order.rollback_digest != order.action_object.rollback_digest {
        return Err(Refusal::Action);
    }
    let digest = order
        .action_object
        .digest()
        .map_err(|error| Refusal::Malformed(error.to_string()))?;
    for signed in &order.statements {
        let statement = signed.unverified().map_err(Refusal::Statement)?;
        let same = statement.ledger == order.ledger
            && statement.chain == order.chain
            && statement.site == order.site
            && statement.action == order.action
            && statement.action_digest == digest
            && statement.rollback_digest == order.rollback_digest
            && statement.decision == Decision::Approve;
        if !same {
            return Err(Refusal::StatementAction(statement.credential));
        }
    }
    Ok(())
}

/// Step 7: each statement against the pinned approvers, its times and its one use; then the floor, which nothing lowers:
/// where the document lets a break-glass statement count, it counts as one person.
pub fn statements(
    order: &Order,
    document: &PinnedDocument,
    now: Time,
    executed: &BTreeSet<Digest>,
) -> Result<Vec<VerifiedStatement>, Refusal> {
    let mut verified: Vec<VerifiedStatement> = Vec::new();
    let mut people: BTreeSet<&ApproverId> = BTreeSet::new();
    for signed in &order.statements {
        verified.push(statement(signed, document, now, executed)?);
    }
    let round = verified.first().map(|first| first.statement().round);
    for one in &verified {
        let statement = one.statement();
        if !people.insert(&statement.approver) || Some(statement.round) != round {
            return Err(Refusal::StatementRepeated(statement.approver.clone()));
        }
    }
    let floor = document.approvals_for(&order.action_object.kind);
    let approvals = u64::try_from(people.len()).unwrap_or(u64::MAX);
    if approvals >= floor {
        Ok(verified)
    } else {
        Err(Refusal::Floor {
            wanted: floor,
            found: approvals,
        })
    }
}

fn statement(
    signed: &SignedStatement,
    document: &PinnedDocument,
    now: Time,
    executed: &BTreeSet<Digest>,
) -> Result<VerifiedStatement, Refusal> {
    let named = signed.unverified().map_err(Refusal::Statement)?;
    let Some(credential) = document.credential(&named.approver, &named.credential) else {
        return Err(Refusal::StatementUnpinned(named.credential));
    };
    let verified = signed.verify(credential).map_err(Refusal::Statement)?;
    if named.scope == Scope::BreakGlass && !document.break_glass {
        return Err(Refusal::BreakGlass(named.approver));
    }
    if !named.counts_at(now) {
        return Err(Refusal::StatementTime {
            credential: named.credential,
            now,
        });
    }
    if executed.contains(verified.digest()) {
        return Err(Refusal::StatementExecuted(*verified.digest()));
    }
    Ok(verified)
}

/// Step 8, before the proofs: the event that they are about is of the order's action, in the order's chain.
pub fn event(order: &Order, of_body: &ActionId, header: &Header) -> Result<(), Refusal> {
    let same =
        order.action == *of_body && header.ledger == order.ledger && header.chain == order.chain;
    if same { Ok(()) } else { Err(Refusal::Action) }
}

/// Step 8: the checkpoint's signature, its size, the inclusion of E, and consistency with what was accepted.
pub fn proofs(
    opened: &Opened,
    delivery: &Delivery,
    ring: &KeyRing,
    accepted: TreeHead,
) -> Result<TreeHead, Refusal> {
    let head = open_checkpoint(ring, &opened.header.chain, &delivery.checkpoint)?;
    if head.size < accepted.size {
        return Err(Refusal::CheckpointBehind {
            accepted: accepted.size,
            found: head.size,
        });
    }
    let fits = delivery.inclusion.len() <= limits::PROOF_HASHES_MAX
        && delivery.consistency.len() <= limits::PROOF_HASHES_MAX;
    if !fits {
        return Err(Refusal::Malformed("a proof is too long".to_owned()));
    }
    let nodes = |hashes: &[ProofHash]| {
        hashes
            .iter()
            .map(|hash| *hash.as_bytes())
            .collect::<Vec<_>>()
    };
    let leaf = merkle::leaf_hash(&opened.leaf);
    let index = opened.header.sequence.get();
    merkle::verify_inclusion(
        &leaf,
        index,
        head.size,
        &nodes(&delivery.inclusion),
        &head.root,
    )
    .map_err(|_| Refusal::Inclusion)?;
    let (old, new) = (accepted.root.as_bytes(), &head.root);
    merkle::verify_consistency(
        accepted.size,
        head.size,
        old,
        new,
        &nodes(&delivery.consistency),
    )
    .map_err(|_| Refusal::Consistency)?;
    Ok(TreeHead {
        size: head.size,
        root: Digest::from_bytes(head.root),
    })
}

/// A signed note of `chain`, by a checkpoint key that the statements add and do not end.
pub fn open_checkpoint(
    ring: &KeyRing,
    chain: &ChainId,
    note: &str,
) -> Result<checkpoint::TreeHead, Refusal> {
    let origin = checkpoint::origin(ring.origin(), chain);
    let known: Vec<note::Verifier> = ring
        .current(Role::Checkpoint)
        .filter_map(|held| verifier(&origin, &held.key))
        .collect();
    match Checkpoint::open(note.as_bytes(), &known) {
        Ok(checkpoint) if checkpoint.origin == origin => Ok(checkpoint.head),
        _ => Err(Refusal::Checkpoint),
    }
}

/// The verifier of notes of one origin by one key; none where the key is no point of the curve.
pub fn verifier(origin: &str, key: &PublicKey) -> Option<note::Verifier> {
    let key = ed25519_dalek::VerifyingKey::from_bytes(key.as_bytes()).ok()?;
    note::Verifier::new(origin, key).ok()
}

/// Step 9: the site is in the state that the action was planned against.
pub fn precondition(order: &Order, current: &JsonObject) -> Result<(), Refusal> {
    if order.action_object.precondition == *current {
        Ok(())
    } else {
        Err(Refusal::Precondition)
    }
}

/// Step 10: the rollback plan, proved again just now, is the one that was approved.
pub fn readiness(order: &Order, rollback_digest: OrDash<Digest>) -> Result<(), Refusal> {
    if order.rollback_digest == rollback_digest {
        Ok(())
    } else {
        Err(Refusal::Readiness)
    }
}
