//! What is kept and for how long: remarks, retention, erasures; and the removals that follow from them.
//!
//! A removal is found in the state and not in the event that ordered it, so one that a crash interrupted is finished by the
//! same code: do it, which looks whether it is done, then write the receipt. The receipt's command derives from the event that
//! ordered the removal, so there is one.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use countersign_domain::{
    Erase, ExpireBodies, KeepBeats, ReceiptRemoval, Remark, Removal, SetRetention,
};
use countersign_ids::{ActorId, DataSubject, EventId, Sequence, SiteId, TenantId};
use countersign_store::{Doomed, Receipt};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::access::reactor;
use crate::engine::{Command, accepted};
use crate::model::{Kept, Request};
use crate::reactor::report;
use crate::service::{Inner, command};
use crate::{Error, Service, TenantAccess};

/// Whose data is to be erased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// A person's, by the name that events have for who acts.
    Person(ActorId),
    /// A data subject's, by the random name that headers have.
    Subject(DataSubject),
}

/// How often it is looked whether a removal is pending.
const TICK: Duration = Duration::from_secs(1);
/// How long nothing is tried again after a removal that failed: each attempt reads much.
const PATIENCE: Duration = Duration::from_secs(30);

impl Service {
    /// Notes what goes on at a site, for as long as the tenant keeps that.
    ///
    /// # Errors
    /// There is no such site, or the text is none.
    pub async fn remark(
        &self,
        access: &TenantAccess,
        request: &Request,
        site: SiteId,
        text: String,
    ) -> Result<Receipt, Error> {
        self.write(access, request, Remark { site, text }).await
    }

    /// Says how long operational bodies are kept.
    ///
    /// # Errors
    /// Longer than the platform keeps them.
    pub async fn set_retention(
        &self,
        access: &TenantAccess,
        request: &Request,
        operational_days: u32,
    ) -> Result<Receipt, Error> {
        self.write(access, request, SetRetention { operational_days })
            .await
    }

    /// Says how long heartbeats are kept.
    ///
    /// # Errors
    /// Longer than the platform keeps them.
    pub async fn keep_beats(
        &self,
        access: &TenantAccess,
        request: &Request,
        beats_days: u32,
    ) -> Result<Receipt, Error> {
        self.write(access, request, KeepBeats { beats_days }).await
    }

    /// Orders the erasure of a person's data; the key goes and the receipt comes right after.
    ///
    /// # Errors
    /// Nothing sealed here is about them, or they were erased.
    pub async fn erase(
        &self,
        access: &TenantAccess,
        request: &Request,
        whose: Whose,
    ) -> Result<Receipt, Error> {
        let subject = match whose {
            Whose::Subject(subject) => subject,
            Whose::Person(person) => {
                let found = self.inner.subjects.find(access.tenant(), &person)?;
                match found {
                    Some(subject) => subject,
                    None => return self.erased_before(access, request, &person),
                }
            }
        };
        let erase = Erase {
            subject: subject.clone(),
        };
        let receipt = self.write(access, request, erase).await?;
        // What the person says from now on is of another name; without it, it would be refused until the key is gone.
        self.inner.subjects.forget(access.tenant(), &subject)?;
        Ok(receipt)
    }

    /// Once a person is erased nothing leads from them to their data subject: only the command itself is known again.
    fn erased_before(
        &self,
        access: &TenantAccess,
        request: &Request,
        person: &ActorId,
    ) -> Result<Receipt, Error> {
        let command = command(access.actor(), request)?;
        accepted(&self.inner.ledger, &access.tenant().chain(), &command)?.ok_or_else(|| {
            Error::request(format!(
                "nothing that is sealed here was said by `{person}`"
            ))
        })
    }

    /// What the tenant keeps, and what is being removed.
    ///
    /// # Errors
    /// The chain cannot be read.
    pub fn kept(&self, access: &TenantAccess) -> Result<Kept, Error> {
        let beats = access.tenant().beats();
        let beats_from = self.inner.ledger.first(&beats);
        let beats_pending = self.inner.platform(|fold| {
            let pruned = fold.platform.pruned(&beats);
            pruned.is_some_and(|pruned| !pruned.cleared)
        })?;
        self.inner.tenant(access.tenant(), |fold| {
            let keeping = fold.tenant.keeping();
            Kept {
                beats_days: keeping.beats().map(|kept| kept.days),
                beats_from: Sequence::new(beats_from),
                beats_pending,
                operational_days: keeping.operational_days(),
                operational: keeping.operational(),
                subjects: keeping.subjects().cloned().collect(),
                erased: keeping.erased().cloned().collect(),
                pending: keeping.pending().keys().copied().collect(),
            }
        })
    }
}

/// Orders expiry when it is due, and does what was ordered; what a crash left first.
pub(crate) async fn keep_bodies(inner: Arc<Inner>) {
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut look: Option<Instant> = None;
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = inner.stop.cancelled() => return,
        }
        let due = look.is_none_or(|at| Instant::now() >= at);
        if due {
            look = Some(Instant::now() + inner.config.expiry_age);
        }
        if let Err(error) = inner.keep_all(due).await {
            report(&error);
            tokio::select! {
                () = tokio::time::sleep(PATIENCE) => {}
                () = inner.stop.cancelled() => return,
            }
        }
    }
}

impl Inner {
    /// Does what is pending in every tenant; one that fails does not keep the others from theirs.
    async fn keep_all(self: &Arc<Self>, expire: bool) -> Result<(), Error> {
        let mut outcome = Ok(());
        for tenant in self.tenant_ids()? {
            if self.ledger.head(&tenant.chain()).is_none() {
                continue;
            }
            if let Err(error) = self.keep(&tenant, expire).await {
                outcome = Err(error);
            }
        }
        outcome
    }

    async fn keep(self: &Arc<Self>, tenant: &TenantId, expire: bool) -> Result<(), Error> {
        if expire {
            self.expire(tenant).await?;
        }
        let pending = self.tenant(tenant, |fold| fold.tenant.keeping().pending().clone())?;
        for (ordered, removal) in pending {
            self.finish(tenant, ordered, removal).await?;
        }
        // Last, so that heartbeats which cannot be pruned keep nobody's data.
        if expire {
            self.order_pruning(tenant).await?;
        }
        self.finish_pruning(tenant).await
    }

    /// Orders the removal of what outlived its retention, if anything did.
    async fn expire(&self, tenant: &TenantId) -> Result<(), Error> {
        let chain = tenant.chain();
        let left: BTreeSet<Sequence> = self.tenant(tenant, |fold| {
            fold.tenant.keeping().pending().keys().copied().collect()
        })?;
        self.ledger.settle_removals(&chain, &left)?;
        let now = self.now();
        let due = self.tenant(tenant, |fold| fold.tenant.keeping().is_expiry_due(now))?;
        let Some(head) = self.ledger.head(&chain).filter(|_| due) else {
            return Ok(());
        };
        let last = Sequence::new(head.size.saturating_sub(1));
        let command = Command::following(reactor("expiry")?, self.id_at(tenant, last)?);
        match self.decide(tenant, &command, &ExpireBodies.into()).await {
            // Somebody ordered it meanwhile.
            Err(Error::Rejected(rejection)) => {
                tracing::debug!(%rejection, "nothing to expire");
                Ok(())
            }
            other => other.map(drop),
        }
    }

    /// Does a removal and writes its receipt.
    async fn finish(
        self: &Arc<Self>,
        tenant: &TenantId,
        ordered: Sequence,
        removal: Removal,
    ) -> Result<(), Error> {
        let (ranges, subject) = match removal {
            Removal::Expired(ranges) => (ranges, None),
            Removal::Erased(subject, ranges) => {
                // First, so that nothing new is sealed under a name whose key goes.
                self.subjects.forget(tenant, &subject)?;
                (ranges, Some(subject))
            }
        };
        let doomed = Arc::new(Doomed {
            chain: tenant.chain(),
            ordered,
            ranges,
            subject,
        });
        let inner = Arc::clone(self);
        let removed = tokio::task::spawn_blocking(move || inner.ledger.remove(&doomed))
            .await
            .map_err(Error::internal)??;
        let receipt = ReceiptRemoval {
            ordered,
            bodies: removed.bodies,
            before: removed.before,
            after: removed.after,
        };
        let command = Command::following(reactor("removals")?, self.id_at(tenant, ordered)?);
        self.decide(tenant, &command, &receipt.into()).await?;
        let left = self.tenant(tenant, |fold| {
            fold.tenant.keeping().pending().keys().copied().collect()
        })?;
        Ok(self.ledger.settle_removals(&tenant.chain(), &left)?)
    }

    fn id_at(&self, tenant: &TenantId, at: Sequence) -> Result<EventId, Error> {
        Ok(self.ledger.event(&tenant.chain(), at)?.header().id)
    }
}
