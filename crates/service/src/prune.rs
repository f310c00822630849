//! Pruning chains of heartbeats: ordered when a tenant's policy, the recorded heads and the last heartbeats allow a cut, then
//! done, then receipted.
//!
//! What is ordered and not done is found in the platform's state, so what a crash interrupted is finished by the same code.

use std::sync::Arc;

use countersign_chain::CUT_EVENTS;
use countersign_domain::{BeatsKept, PruneBeats, ReceiptPruning};
use countersign_ids::{ChainId, Sequence, TenantId, Time};
use countersign_store::Pruning;

use crate::Error;
use crate::access::reactor;
use crate::engine::Command;
use crate::service::Inner;

/// Events that go by one order: their bases are in memory while it is done.
const ORDER_EVENTS_MAX: u64 = 1 << 18;

impl Inner {
    /// Orders that the heartbeats before a cut go, if the tenant said how long it keeps them and there is such a cut.
    pub(crate) async fn order_pruning(self: &Arc<Self>, tenant: &TenantId) -> Result<(), Error> {
        let chain = tenant.beats();
        let Some(kept) = self.tenant(tenant, |fold| fold.tenant.keeping().beats())? else {
            return Ok(());
        };
        let pending = self.platform(|fold| {
            let pruned = fold.platform.pruned(&chain);
            pruned.is_some_and(|pruned| !pruned.cleared)
        })?;
        // What the tenant said was recorded before anything goes by it.
        let said = self.ledger.recorded(&tenant.chain()) > kept.at.get();
        if pending || !said {
            return Ok(());
        }
        let until = kept.ends_until(self.now());
        let recorded = self.ledger.recorded(&chain);
        let Some(cut) = self.cut(tenant, recorded, until)? else {
            return Ok(());
        };
        self.order_cut(&chain, (kept, until), (recorded, cut)).await
    }

    async fn order_cut(
        self: &Arc<Self>,
        chain: &ChainId,
        (kept, until): (BeatsKept, Time),
        (recorded, cut): (u64, u64),
    ) -> Result<(), Error> {
        let (inner, of) = (Arc::clone(self), chain.clone());
        let base = tokio::task::spawn_blocking(move || inner.ledger.base_at(&of, cut))
            .await
            .map_err(Error::internal)??;
        let order = PruneBeats {
            chain: chain.clone(),
            policy: kept.at,
            until,
            recorded,
            base,
        };
        let Some(last) = self.platform(|fold| fold.last)? else {
            return Ok(());
        };
        let command = Command::following(reactor("pruning")?, last);
        match self.decide_platform(&command, &order.into()).await {
            // Somebody ordered it meanwhile.
            Err(Error::Rejected(rejection)) => {
                tracing::debug!(%rejection, "nothing to prune");
                Ok(())
            }
            other => other.map(drop),
        }
    }

    /// The last place for a cut: what is before it is recorded and old enough, and neither the newest events nor the last
    /// heartbeat of a connector that is paired.
    fn cut(&self, tenant: &TenantId, recorded: u64, until: Time) -> Result<Option<u64>, Error> {
        let chain = tenant.beats();
        let paired = self.tenant(tenant, |fold| {
            let sites = fold.tenant.sites();
            let paired = sites.filter_map(|site| site.connector.as_ref());
            paired
                .map(|connector| (connector.id.clone(), connector.generation))
                .collect::<Vec<_>>()
        })?;
        let (size, needed) = self.beats(tenant, |fold| {
            let last = paired.iter().filter_map(|(connector, generation)| {
                let last = fold.last(connector)?;
                (last.generation == *generation).then_some(last.sequence.get())
            });
            (crate::engine::Fold::size(fold), last.min())
        })?;
        let first = self.ledger.first(&chain);
        let bound = recorded
            .min(size.saturating_sub(CUT_EVENTS))
            .min(needed.unwrap_or(u64::MAX))
            .min(first.saturating_add(ORDER_EVENTS_MAX));
        let old = |cut: u64| -> Result<bool, Error> {
            let last = Sequence::new(cut.saturating_sub(1));
            Ok(self.ledger.event(&chain, last)?.header().time <= until)
        };
        // Time never falls within a chain, so the places that are old enough stand before the others.
        let (mut low, mut high) = (first / CUT_EVENTS, bound / CUT_EVENTS);
        while low < high {
            let middle = high - (high - low) / 2;
            if old(middle.saturating_mul(CUT_EVENTS))? {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        let cut = low.saturating_mul(CUT_EVENTS);
        Ok((cut > first).then_some(cut))
    }

    /// Does a pruning that was ordered and is not done, and writes its receipt.
    pub(crate) async fn finish_pruning(self: &Arc<Self>, tenant: &TenantId) -> Result<(), Error> {
        let chain = tenant.beats();
        let pending = self.platform(|fold| {
            let pruned = fold.platform.pruned(&chain);
            pruned.filter(|pruned| !pruned.cleared).cloned()
        })?;
        let Some(pending) = pending else {
            return Ok(());
        };
        let pruning = Arc::new(Pruning {
            chain: chain.clone(),
            base: pending.base,
        });
        let inner = Arc::clone(self);
        tokio::task::spawn_blocking(move || inner.ledger.prune(&pruning))
            .await
            .map_err(Error::internal)??;
        let ordered = pending.ordered;
        let cause = self
            .ledger
            .event(&ChainId::platform(), ordered)?
            .header()
            .id;
        let command = Command::following(reactor("pruning")?, cause);
        let receipt = ReceiptPruning { chain, ordered };
        self.decide_platform(&command, &receipt.into())
            .await
            .map(drop)
    }
}
