//! Orders against approvals, and deliveries against orders.

use std::collections::BTreeSet;

use countersign_events::action::{Authorized, Delivered};
use countersign_evidence::ring::NotHeld;
use countersign_evidence::{
    Decision, Order, PinnedDocument, PublicKey, Role, Scope, VerifiedOrder, checks,
};
use countersign_ids::{ApproverId, Digest, Sequence, limits};

use super::votes::unknown_or_bad;
use super::{Context, Seen, Stage, Tenant};
use crate::verify::fault::{Checked, Fault, absent, bad, need};
use crate::verify::platform::Platform;

const RULE: &str = "order";

impl Tenant {
    /// An authorisation: an order by a key that held, over what was approved, by enough people, once.
    pub(super) fn authorized(
        &mut self,
        seen: &Seen<'_>,
        authorized: &Authorized,
        context: &mut Context<'_, '_>,
    ) -> Checked {
        context.counts.orders += 1;
        let (verified, signer) = verify_signature(authorized, context)?;
        let order = verified.order();
        let (chain, ledger) = (self.chain.clone(), self.ledger);
        let held = self.key_held(seen, &signer, context);
        let run = self.run(&authorized.action)?;
        let (stage, round) = (run.stage, run.round.as_ref().map(|round| round.number));
        run.stage = Stage::Authorized;
        run.order = Some((*verified.digest(), seen.header.sequence));
        let site = run.site.clone();
        let busy = self.site(&site)?.held_by.replace(authorized.action.clone());
        held?;
        need(
            busy.is_none(),
            "site-held",
            "an order for a site while the order of another action is out there",
        )?;
        need(
            order.ledger == ledger && order.chain == chain,
            RULE,
            "an order for another ledger or chain",
        )?;
        need(
            stage == Stage::Open,
            "action-stage",
            "an order for an action that is not open",
        )?;
        need(
            round == Some(authorized.round),
            RULE,
            "an order in another round than the last",
        )?;
        checks::action(order).map_err(|error| bad(RULE, error))?;
        checks::event(order, &authorized.action, seen.header).map_err(|error| bad(RULE, error))?;
        self.check_action(authorized, order)?;
        self.check_receiver(order)?;
        check_times(seen, order)?;
        let fresh = self.order_nonces.insert(order.nonce);
        need(fresh, RULE, "the nonce of an order came before")?;
        let before = self
            .order_sequences
            .insert(order.connector.clone(), order.sequence);
        need(
            before.is_none_or(|last| last < order.sequence),
            RULE,
            "the order's sequence does not rise",
        )?;
        self.check_statements(seen, authorized, order, context)
    }

    fn key_held(
        &mut self,
        seen: &Seen<'_>,
        signer: &PublicKey,
        context: &Context<'_, '_>,
    ) -> Checked {
        let head = seen
            .header
            .platformhead
            .as_ref()
            .ok_or_else(|| bad(RULE, "the authorisation has no platformhead"))?;
        let (head, at) = (head.sequence, seen.header.sequence);
        self.ordered.entry(*signer).or_default().push((at, head));
        self.held_at(signer, (at, head), context.platform)
    }

    /// Authorisations before a size of the chain whose key does not hold, by the keys that are known now: a key may have been
    /// ended since, at a size before theirs.
    pub(crate) fn not_held_any_more(
        &self,
        size: u64,
        platform: &Platform,
    ) -> impl Iterator<Item = (u64, Fault)> {
        let orders = self
            .ordered
            .iter()
            .flat_map(|(signer, orders)| orders.iter().map(move |order| (signer, *order)));
        orders
            .filter(move |(_, (at, _))| at.get() < size)
            .filter_map(move |(signer, order)| {
                let fault = self.held_at(signer, order, platform).err()?;
                Some((order.0.get(), fault))
            })
    }

    fn held_at(
        &self,
        signer: &PublicKey,
        (at, head): (Sequence, Sequence),
        platform: &Platform,
    ) -> Checked {
        let Some(history) = platform.keys() else {
            return Ok(());
        };
        let ends = |statement: Sequence| platform.end_size(statement, &self.chain.to_string());
        match history.holds_for_order(signer, head, at, ends) {
            Ok(_) => Ok(()),
            Err(error @ NotHeld::EndUnknown) => Err(absent("order-key", error)),
            Err(error) => Err(bad("order-key", error)),
        }
    }

    fn check_action(&mut self, authorized: &Authorized, order: &Order) -> Checked {
        let run = self.run(&authorized.action)?;
        let digest = order
            .action_object
            .digest()
            .map_err(|error| bad(RULE, error))?;
        let same =
            order.action == authorized.action && digest == run.digest && order.site == run.site;
        need(
            same,
            RULE,
            "an order for another action, or for another site",
        )?;
        let rollback = run.round.as_ref().and_then(|round| round.rollback);
        need(
            order.rollback_digest.get().copied() == rollback,
            RULE,
            "an order over another rollback plan",
        )?;
        let policy = run.round.as_ref().map(|round| round.policy);
        need(
            policy == Some(authorized.policy_digest),
            RULE,
            "another policy set than the round's; it needs a new round",
        )
    }

    fn check_receiver(&mut self, order: &Order) -> Checked {
        let site = self.site(&order.site)?;
        let same = site.connector.as_ref() == Some(&order.connector)
            && site.generation == order.generation;
        need(
            same,
            RULE,
            "an order for another connector or generation than the site's",
        )?;
        need(
            site.document_digest() == Some(order.document_digest),
            RULE,
            "an order for another pinned document",
        )
    }

    fn check_statements(
        &mut self,
        seen: &Seen<'_>,
        authorized: &Authorized,
        order: &Order,
        context: &mut Context<'_, '_>,
    ) -> Checked {
        let time = seen.header.time;
        let document = self
            .site(&order.site)?
            .document
            .as_ref()
            .map(|(document, _)| document.clone());
        let document = document.ok_or_else(|| bad(RULE, "no document is pinned at the site"))?;
        let mut people = BTreeSet::new();
        for signed in &order.statements {
            let statement = signed
                .unverified()
                .map_err(|error| unknown_or_bad(signed, &error))?;
            let digest = signed.digest();
            let once = context.used.insert(digest);
            need(
                once,
                "statement-reused",
                "a statement stands in a second order",
            )?;
            let pinned = document.credential(&statement.approver, &statement.credential);
            let pinned = pinned.ok_or_else(|| {
                bad(
                    RULE,
                    "a statement of somebody whom the document does not name",
                )
            })?;
            signed
                .verify(pinned)
                .map_err(|error| unknown_or_bad(signed, &error))?;
            let enrolled = self
                .people
                .contains_key(&(statement.approver.clone(), statement.credential.clone()));
            need(
                enrolled,
                RULE,
                "a statement of somebody who was removed, or never enrolled",
            )?;
            let stands = self.stands(authorized, &statement.approver, digest)?;
            need(
                stands,
                "order-approvals",
                "the order holds a statement that does not stand in this chain",
            )?;
            need(
                statement.counts_at(time),
                "statement-time",
                "authorised outside the times of a statement",
            )?;
            let may = statement.scope == Scope::Action || document.break_glass;
            need(
                may,
                RULE,
                "a break-glass statement where the document allows none",
            )?;
            need(
                people.insert(statement.approver.clone()),
                RULE,
                "the order counts one person twice",
            )?;
        }
        self.check_enough(authorized, &document, people.len() as u64)
    }

    fn stands(
        &mut self,
        authorized: &Authorized,
        approver: &ApproverId,
        digest: Digest,
    ) -> Checked<bool> {
        let vote = self.run(&authorized.action)?.votes.get(approver);
        Ok(vote.is_some_and(|vote| vote.decision == Decision::Approve && vote.statement == digest))
    }

    fn check_enough(
        &mut self,
        authorized: &Authorized,
        document: &PinnedDocument,
        people: u64,
    ) -> Checked {
        let run = self.run(&authorized.action)?;
        let floor = document.approvals_for(&run.kind);
        need(
            people >= floor,
            "order-floor",
            &format!("{people} approvals where the site's floor is {floor}"),
        )?;
        let denied = run
            .votes
            .values()
            .any(|vote| vote.decision == Decision::Deny);
        need(!denied, RULE, "authorised against a standing denial")
    }

    /// A delivery: of that order, before any answer, under a checkpoint that covers it.
    pub(super) fn delivered(&mut self, seen: &Seen<'_>, delivered: &Delivered) -> Checked {
        const RULE: &str = "delivery";
        let run = self.run(&delivered.action)?;
        let (order, stage) = (run.order, run.stage);
        let out = matches!(
            stage,
            Stage::Authorized | Stage::Delivered | Stage::Unresolved
        );
        need(
            out,
            "action-stage",
            "delivers what was answered, or never authorised",
        )?;
        // What is unresolved may be handed out again; it stays unresolved until the connector settles it.
        if stage != Stage::Unresolved {
            run.stage = Stage::Delivered;
        }
        let (digest, at) = order.ok_or_else(|| bad(RULE, "a delivery without an order"))?;
        need(
            digest == delivered.order_digest,
            RULE,
            "delivers another order",
        )?;
        need(
            delivered.checkpoint.size > at.get(),
            RULE,
            "the checkpoint of the delivery does not cover its order",
        )?;
        self.saw(seen, &delivered.checkpoint)
    }
}

fn verify_signature(
    authorized: &Authorized,
    context: &Context<'_, '_>,
) -> Checked<(VerifiedOrder, PublicKey)> {
    let keys = context
        .platform
        .keys()
        .map(|history| history.ring().keys())
        .unwrap_or_default();
    let orders = keys.iter().filter(|held| held.role == Role::Order);
    let mut last = None;
    for held in orders {
        match VerifiedOrder::verify(&authorized.envelope, &held.key) {
            Ok(verified) => return Ok((verified, held.key)),
            Err(error) => last = Some(error),
        }
    }
    Err(last.map_or_else(
        || bad("order-key", "the ledger has no order key"),
        |error| bad("order-key", error),
    ))
}

fn check_times(seen: &Seen<'_>, order: &Order) -> Checked {
    let time = seen.header.time;
    need(
        order.not_before <= time && time <= order.expires,
        "order-time",
        "authorised outside the times of the order",
    )?;
    let lives = order.expires.millis_since(order.not_before);
    need(
        lives <= limits::ORDER_LIFETIME_MILLIS,
        "order-time",
        "the order lives longer than 120 seconds",
    )
}
