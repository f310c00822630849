//! The checks that a connector makes of every order, as named steps in their order; an auditor makes the same ones.
//!
//! Every fact about the site is an argument, the clock too: nothing is looked up here. [`check_order`] runs all steps
//! that need no look at the site, [`CheckedOrder::check_site`] the last two. docs/format.md, "The connector's checks".

mod steps;

use std::collections::BTreeSet;

use countersign_ids::{ConnectorId, Digest, Nonce, Sequence, Time};

use crate::delivery::Delivery;
use crate::document::PinnedDocument;
use crate::message::{Mode, TreeHead};
use crate::order::{Order, VerifiedOrder};
use crate::refusal::Refusal;
use crate::ring::KeyRing;
use crate::statement::VerifiedStatement;
use crate::wire::{JsonObject, OrDash};

pub use steps::{
    Audience, Opened, action, audience, document, event, follow_keys, mode, open_checkpoint,
    precondition, proofs, readiness, signature, statements, time, unseen, verifier, window,
};

/// The kind of action that brings a release back: the only one that passes in mode rollback-only.
pub const RELEASE_ROLLBACK: &str = "release.rollback";

/// What the connector knows of itself and its site, without looking at the site.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// What it may still do.
    pub mode: Mode,
    /// Who it is.
    pub connector: &'a ConnectorId,
    /// The generation of its pairing.
    pub generation: u64,
    /// The document in force; it also names ledger, chain and site.
    pub document: &'a PinnedDocument,
    /// The keys of the ledger, by the statements that the connector follows.
    pub ring: &'a KeyRing,
    /// The last checkpoint that it accepted.
    pub accepted: TreeHead,
    /// Nonces of orders that it saw.
    pub nonces: &'a BTreeSet<Nonce>,
    /// The sequence of the last order that it accepted.
    pub last_sequence: Option<Sequence>,
    /// Digests of statements that it executed under, kept until their `not_after`.
    pub executed: &'a BTreeSet<Digest>,
    /// Its own clock.
    pub now: Time,
}

/// What the connector found when it looked at the site for this order.
#[derive(Debug, Clone, Copy)]
pub struct SiteNow<'a> {
    /// The state, in the form of the precondition.
    pub current: &'a JsonObject,
    /// SHA-256 of the rollback plan as it was proved just now, `-` where there is none.
    pub rollback_digest: OrDash<Digest>,
}

/// A check that did not pass, and the order that this ends.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{refusal}")]
pub struct Refused {
    /// The check.
    pub refusal: Refusal,
    /// The order, if the refusal ends it: it is answered, and its nonce persisted.
    ///
    /// None where what failed is not covered by the order's signature. Whoever stands in between could have spoiled that,
    /// so nothing is answered, nothing remembered, and the order is asked for again for as long as it counts.
    pub order: Option<Box<VerifiedOrder>>,
}

impl Refused {
    const fn spoiled(refusal: Refusal) -> Self {
        Self {
            refusal,
            order: None,
        }
    }

    fn ended(refusal: Refusal, order: &VerifiedOrder) -> Self {
        Self {
            refusal,
            order: Some(Box::new(order.clone())),
        }
    }
}

/// An order that passed every check but those of the site.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckedOrder {
    order: VerifiedOrder,
    statements: Vec<VerifiedStatement>,
    checkpoint: TreeHead,
    ring: KeyRing,
}

/// An order that passed every check: what the connector may execute, and what it persists in `Prepared` first.
#[derive(Debug, Clone, PartialEq)]
pub struct PassedOrder(CheckedOrder);

/// Runs every check that needs no look at the site, in the order of the format.
pub fn check_order(delivery: &Delivery, facts: &Facts<'_>) -> Result<CheckedOrder, Refused> {
    let opened = Opened::open(delivery).map_err(Refused::spoiled)?;
    let ring = follow_keys(facts.ring, &delivery.keys).map_err(Refused::spoiled)?;
    // The mode is the first check, but only an order that is authentic is told of it, or of anything else.
    let order = signature(&opened.envelope, &ring).map_err(Refused::spoiled)?;
    let statements =
        check_signed(order.order(), facts).map_err(|refusal| Refused::ended(refusal, &order))?;
    event(order.order(), &opened.action, &opened.header).map_err(Refused::spoiled)?;
    let checkpoint = proofs(&opened, delivery, &ring, facts.accepted).map_err(Refused::spoiled)?;
    Ok(CheckedOrder {
        order,
        statements,
        checkpoint,
        ring,
    })
}

/// The checks of what the order's signature covers: what fails here ends the order.
fn check_signed(order: &Order, facts: &Facts<'_>) -> Result<Vec<VerifiedStatement>, Refusal> {
    mode(order, facts.mode)?;
    audience(
        order,
        &Audience::of(facts.document, facts.connector, facts.generation),
    )?;
    document(order, facts.document)?;
    time(order, facts.now)?;
    unseen(order, facts.nonces, facts.last_sequence)?;
    action(order)?;
    statements(order, facts.document, facts.now, facts.executed)
}

impl CheckedOrder {
    /// The order.
    pub const fn order(&self) -> &Order {
        self.order.order()
    }

    /// Runs the last two checks: the precondition and the readiness of the rollback.
    pub fn check_site(self, site: &SiteNow<'_>) -> Result<PassedOrder, Refused> {
        let checked = precondition(self.order(), site.current)
            .and_then(|()| readiness(self.order(), site.rollback_digest));
        match checked {
            Ok(()) => Ok(PassedOrder(self)),
            Err(refusal) => Err(Refused::ended(refusal, &self.order)),
        }
    }
}

impl PassedOrder {
    /// The order.
    pub const fn order(&self) -> &Order {
        self.0.order.order()
    }

    /// SHA-256 of the order's payload.
    pub const fn order_digest(&self) -> &Digest {
        self.0.order.digest()
    }

    /// The statements that it consumes: their digests are kept until their `not_after`.
    pub fn statements(&self) -> &[VerifiedStatement] {
        &self.0.statements
    }

    /// The checkpoint that the connector accepts with it.
    pub const fn checkpoint(&self) -> TreeHead {
        self.0.checkpoint
    }

    /// The keys, the delivery's statements followed.
    pub const fn ring(&self) -> &KeyRing {
        &self.0.ring
    }
}
