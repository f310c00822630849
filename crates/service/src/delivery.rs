//! Orders on their way: the long poll, and the delivery with the proofs of the moment.
//!
//! `action.delivered` is durable before a byte leaves, so whatever a connector may have seen is in the ledger. The same
//! checkpoint again is the same delivery; another one is another event, caused by the one before.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use countersign_domain::{Command as TenantCommand, Deliver, State};
use countersign_evidence::message::TreeHead;
use countersign_evidence::wire::ProofHash;
use countersign_evidence::{ConnectorMessage, Delivery, Envelope, EventCopy};
use countersign_ids::{ActionId, ChainId, Digest, EventId, Sequence, SiteId, TenantId, limits};
use countersign_store::Checkpoint;
use tokio::time::{Instant, timeout_at};

use crate::access::reactor;
use crate::engine::Command;
use crate::service::Inner;
use crate::{Error, Service};

/// Orders whose last delivery is remembered.
const DELIVERIES_MAX: usize = 4096;

/// An order that may leave.
#[derive(Debug)]
struct Outgoing {
    action: ActionId,
    order: Digest,
    /// The event that holds it.
    authorized: Sequence,
    /// The last event of its delivery: `authorized`, or the delivery before.
    last: EventId,
}

impl Service {
    /// Waits for an order for the connector that polls; none if there is none in time.
    ///
    /// # Errors
    /// The poll is not signed by the paired connector, or names a checkpoint that the chain never had.
    pub async fn poll(&self, envelope: &Envelope) -> Result<Option<Delivery>, Error> {
        self.poll_for(envelope, Duration::from_millis(limits::POLL_HOLD_MILLIS))
            .await
    }

    /// [`Service::poll`] that is held for another time.
    ///
    /// # Errors
    /// As for [`Service::poll`].
    pub async fn poll_for(
        &self,
        envelope: &Envelope,
        hold: Duration,
    ) -> Result<Option<Delivery>, Error> {
        let inner = &self.inner;
        let until = Instant::now() + hold;
        let mut changes = inner.ledger.subscribe();
        loop {
            changes.mark_unchanged();
            // Verified each time: the connector may have been paired again while it waited.
            let heard = inner.hear(envelope)?;
            let ConnectorMessage::Poll(poll) = heard.message.message() else {
                return Err(Error::request("a poll is wanted here"));
            };
            inner.check_witness(&heard.tenant, &poll.head.checkpoint)?;
            if let Some(delivery) = inner.deliver(&heard.tenant, &poll.head).await? {
                return Ok(Some(delivery));
            }
            let woken = tokio::select! {
                changed = timeout_at(until, changes.changed()) => matches!(changed, Ok(Ok(()))),
                () = inner.stop.cancelled() => false,
            };
            if !woken {
                return Ok(None);
            }
        }
    }
}

impl Inner {
    /// The order that waits for the site's connector, ready to leave.
    async fn deliver(
        self: &Arc<Self>,
        tenant: &TenantId,
        poll: &countersign_evidence::message::Head,
    ) -> Result<Option<Delivery>, Error> {
        let Some(outgoing) = self.outgoing(tenant, &poll.site)? else {
            return Ok(None);
        };
        // Held to the end, so that the key statements that go with it name the key of its checkpoint.
        let signing = self.signing().await;
        if let Some(checkpoint) = self
            .noted(&outgoing.order)
            .filter(|noted| noted.size >= poll.checkpoint.size)
        {
            return self.proofs(tenant, &outgoing, checkpoint, poll).map(Some);
        }
        let checkpoint = self.checkpoint_by(&signing, &tenant.chain()).await?;
        let head = TreeHead {
            size: checkpoint.size,
            root: Digest::from_bytes(checkpoint.root),
        };
        let what = Deliver {
            action: outgoing.action.clone(),
            order_digest: outgoing.order,
            checkpoint: head,
        };
        let command = Command::following(reactor("delivery")?, outgoing.last);
        match self
            .decide(tenant, &command, &TenantCommand::from(what))
            .await
        {
            Ok(Some(receipt)) if !receipt.replayed => {}
            // Somebody else delivered it meanwhile, or it ended: look again at the next change.
            Ok(_) | Err(Error::Rejected(_)) => return Ok(None),
            Err(error) => return Err(error),
        }
        self.note(outgoing.order, checkpoint.clone());
        self.proofs(tenant, &outgoing, checkpoint, poll).map(Some)
    }

    /// The checkpoint under which an order was last delivered, as long as this process remembers.
    fn noted(&self, order: &Digest) -> Option<Checkpoint> {
        self.deliveries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(order)
            .cloned()
    }

    fn note(&self, order: Digest, checkpoint: Checkpoint) {
        let mut deliveries = self
            .deliveries
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // An order lives for two minutes, so a full table is an old one; forgetting costs one more event.
        if deliveries.len() >= DELIVERIES_MAX {
            deliveries.clear();
        }
        deliveries.insert(order, checkpoint);
    }

    /// Under which checkpoints orders were delivered counts no more: its key ended.
    pub(crate) fn forget_deliveries(&self) {
        self.deliveries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    fn outgoing(&self, tenant: &TenantId, site: &SiteId) -> Result<Option<Outgoing>, Error> {
        let now = self.now();
        self.tenant(tenant, |fold| {
            let held = fold.tenant.site(site).ok()?.held_by.clone()?;
            let action = fold.tenant.action(&held).ok()?;
            let order = action.order?;
            // What may have left goes again past its time too: a connector that never had it refuses it, one that had it
            // says what became of it, and either way the site is free again.
            let may_leave = match action.state() {
                State::Authorized => now <= order.expires,
                State::Delivered | State::Unresolved => true,
                _ => false,
            };
            if !may_leave {
                return None;
            }
            let authorized = fold.newest(&held, "authorized")?;
            let delivered = fold.newest(&held, "delivered");
            Some(Outgoing {
                order: order.digest,
                authorized: authorized.sequence,
                last: delivered.map_or(authorized.id, |trace| trace.id),
                action: held,
            })
        })
    }

    fn proofs(
        &self,
        tenant: &TenantId,
        outgoing: &Outgoing,
        checkpoint: Checkpoint,
        poll: &countersign_evidence::message::Head,
    ) -> Result<Delivery, Error> {
        let chain = tenant.chain();
        let inclusion = self
            .ledger
            .inclusion(&chain, outgoing.authorized, checkpoint.size)?;
        Ok(Delivery {
            event: self.copy(&chain, outgoing.authorized)?,
            inclusion: inclusion.into_iter().map(ProofHash::from_bytes).collect(),
            consistency: self.consistency(tenant, &poll.checkpoint, checkpoint.size)?,
            keys: self.key_statements(poll.keys_version)?,
            checkpoint: checkpoint.note,
        })
    }

    /// An event as text: E, salt and B.
    pub(crate) fn copy(&self, chain: &ChainId, sequence: Sequence) -> Result<EventCopy, Error> {
        let entry = self.ledger.event(chain, sequence)?;
        let corrupt = |detail: &str| Error::Corrupt {
            chain: chain.clone(),
            sequence,
            detail: detail.to_owned(),
        };
        let countersign_chain::Body::Present { salt, bytes } = &entry.record().body else {
            return Err(corrupt("its body is absent"));
        };
        let text =
            |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| corrupt("it is not text"));
        Ok(EventCopy {
            header: text(&entry.record().header)?,
            salt: *salt,
            body: text(bytes)?,
        })
    }
}
