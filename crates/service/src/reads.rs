//! What callers see of a tenant: its fold, its events as they are kept, its read models, its blobs.
//!
//! Every read takes a [`TenantAccess`], which was made for one tenant; nothing here can name another.

use std::time::Duration;

use countersign_chain::CommandKey;
use countersign_domain::{Aggregate as _, obstacle};
use countersign_ids::{ActionId, Digest, Sequence, SiteId, limits};
use countersign_store::{Entry, Receipt, Row, RowRange};

use crate::model::{
    ActionDetail, ActionInfo, EventsPage, HistoryLine, Request, SiteDetail, TenantInfo,
};
use crate::{Error, Service, TenantAccess};

/// How long a read waits for the caller's own write to reach the read models.
const OWN_WRITE_WAIT: Duration = Duration::from_secs(2);
/// Events that are read before their bytes are counted.
const READ_AT_ONCE: usize = 32;

impl Service {
    /// The tenant itself.
    ///
    /// # Errors
    /// The chain cannot be read.
    pub fn tenant(&self, access: &TenantAccess) -> Result<TenantInfo, Error> {
        self.inner.tenant(access.tenant(), |fold| TenantInfo {
            tenant: access.tenant().clone(),
            name: fold.tenant.name().to_owned(),
            size: fold.tenant.size(),
        })
    }

    /// All sites of the tenant, by name.
    ///
    /// # Errors
    /// The chain cannot be read.
    pub fn sites(&self, access: &TenantAccess) -> Result<Vec<SiteDetail>, Error> {
        let sites: Vec<_> = self.inner.tenant(access.tenant(), |fold| {
            fold.tenant.sites().cloned().collect()
        })?;
        sites
            .into_iter()
            .map(|site| {
                let last_beat = self.inner.last_beat(access.tenant(), &site)?;
                Ok(SiteDetail { site, last_beat })
            })
            .collect()
    }

    /// One site.
    ///
    /// # Errors
    /// There is none of this name, or the chain cannot be read.
    pub fn site(&self, access: &TenantAccess, site: &SiteId) -> Result<SiteDetail, Error> {
        let site = self
            .inner
            .tenant(access.tenant(), |fold| fold.tenant.site(site).cloned())??;
        let last_beat = self.inner.last_beat(access.tenant(), &site)?;
        Ok(SiteDetail { site, last_beat })
    }

    /// All actions of the tenant, ended ones too, by name.
    ///
    /// # Errors
    /// The chain cannot be read.
    pub fn actions(&self, access: &TenantAccess) -> Result<Vec<ActionInfo>, Error> {
        let now = self.inner.now();
        self.inner.tenant(access.tenant(), |fold| {
            let info = |action: &countersign_domain::Action| ActionInfo {
                waits_for: obstacle(&fold.tenant, action, now),
                action: action.clone(),
            };
            fold.tenant.actions().map(info).collect()
        })
    }

    /// Everything that an approver needs to see one action and to sign about it.
    ///
    /// # Errors
    /// There is none of this name, or the chain cannot be read.
    pub fn action(&self, access: &TenantAccess, action: &ActionId) -> Result<ActionDetail, Error> {
        let (inner, now) = (&self.inner, self.inner.now());
        let chain = access.tenant().chain();
        let (mut detail, reasons) = inner.tenant(access.tenant(), |fold| {
            let found = fold.tenant.action(action)?.clone();
            let site = fold.tenant.site(found.site())?;
            let question = fold.tenant.question_at_mint(action, now);
            let approvers = question.map_or_else(|_| Vec::new(), |question| question.approvers);
            let detail = ActionDetail {
                ledger: *inner.id(),
                chain: chain.clone(),
                view: None,
                document_digest: site.document.as_ref().map(|pinned| pinned.digest),
                approvers: approvers
                    .into_iter()
                    .map(|approver| (approver.id, approver.excluded))
                    .collect(),
                reasons: Vec::new(),
                history: fold.traces(action).iter().map(HistoryLine::from).collect(),
                given: Vec::new(),
                waits_for: obstacle(&fold.tenant, &found, now),
                action: found,
            };
            let reasons = fold.reasons.get(action).cloned().unwrap_or_default();
            Ok::<_, countersign_domain::Rejection>((detail, reasons))
        })??;
        if let Some(assessment) = &detail.action.assessment {
            let view = inner.ledger.blobs().get(&chain, &assessment.view_digest)?;
            detail.view = Some(view);
        }
        detail.reasons = inner.reasons(access.tenant(), action)?;
        detail.given = inner.given(&chain, &reasons)?;
        Ok(detail)
    }

    /// Events of the tenant's chain from a sequence on: at most so many, and no more once they are large together.
    ///
    /// # Errors
    /// The chain cannot be read.
    pub fn events(
        &self,
        access: &TenantAccess,
        from: Sequence,
        limit: usize,
    ) -> Result<EventsPage, Error> {
        self.events_within(access, from, limit, limits::PAGE_BYTES_MAX)
    }

    /// [`Service::events`] with another bound of bytes; the event that passes it is the last of its page.
    ///
    /// # Errors
    /// As for [`Service::events`].
    pub fn events_within(
        &self,
        access: &TenantAccess,
        from: Sequence,
        limit: usize,
        bytes_max: usize,
    ) -> Result<EventsPage, Error> {
        let chain = access.tenant().chain();
        let limit = limit.clamp(1, limits::PAGE_EVENTS_MAX);
        let (mut events, mut bytes) = (Vec::new(), 0_usize);
        let mut next = from.get();
        while events.len() < limit && bytes < bytes_max {
            let wanted = limit.saturating_sub(events.len()).min(READ_AT_ONCE);
            let read = self.inner.ledger.read(&chain, next, wanted)?;
            let is_last = read.len() < wanted;
            for entry in read {
                if bytes >= bytes_max {
                    break;
                }
                bytes = bytes.saturating_add(size_of(&entry));
                next = entry.sequence().next().get();
                events.push(entry);
            }
            if is_last {
                break;
            }
        }
        let size = self.inner.ledger.head(&chain).map_or(0, |head| head.size);
        Ok(EventsPage { events, size })
    }

    /// Follows the tenant's chain from a sequence on.
    #[must_use]
    pub fn follow(&self, access: &TenantAccess, from: Sequence) -> Follow {
        Follow {
            service: self.clone(),
            access: access.clone(),
            next: from,
            changes: self.inner.ledger.subscribe(),
        }
    }

    /// The receipt of the command that wrote an event, with the level that it has now.
    ///
    /// # Errors
    /// The chain has no such event.
    pub fn receipt(
        &self,
        access: &TenantAccess,
        chain: &countersign_ids::ChainId,
        sequence: Sequence,
    ) -> Result<Receipt, Error> {
        let own = [access.tenant().chain(), access.tenant().beats()];
        if !own.contains(chain) {
            return Err(countersign_store::Error::Missing {
                chain: chain.clone(),
                sequence,
            }
            .into());
        }
        Ok(self.inner.ledger.receipt_at(chain, sequence)?)
    }

    /// Whether the ledger has a command of this caller under the key of this request, whatever it was.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn is_accepted(&self, access: &TenantAccess, request: &Request) -> Result<bool, Error> {
        let Some(key) = &request.key else {
            return Ok(false);
        };
        let (chain, key) = (access.tenant().chain(), CommandKey::Key(key.clone()));
        let receipt = self
            .inner
            .ledger
            .receipt_for(&chain, access.actor(), &key)?;
        Ok(receipt.is_some())
    }

    /// Rows of a read model of the tenant (`timeline`, `queue`, `sites`, `counts`), in order of their keys, as they are kept.
    ///
    /// `at_least` waits briefly for the caller's own write.
    ///
    /// # Errors
    /// There is no such read model, it stopped, or it cannot be read.
    pub async fn rows(
        &self,
        access: &TenantAccess,
        projection: &str,
        range: &RowRange,
        at_least: Option<&Receipt>,
    ) -> Result<Vec<Row>, Error> {
        if let Some(receipt) = at_least {
            let reached = self.inner.ledger.folded(receipt.position);
            // Past the bound the rows are given as they are: older, and not wrong.
            drop(tokio::time::timeout(OWN_WRITE_WAIT, reached).await);
        }
        let chain = access.tenant().chain();
        Ok(self.inner.ledger.rows(projection, &chain, range)?)
    }

    /// Stores a blob for the tenant.
    ///
    /// # Errors
    /// The bytes do not have the digest, or cannot be stored.
    pub async fn put_blob(
        &self,
        access: &TenantAccess,
        digest: Digest,
        bytes: Vec<u8>,
    ) -> Result<(), Error> {
        self.inner.open_for_work()?;
        let (inner, chain) = (std::sync::Arc::clone(&self.inner), access.tenant().chain());
        let stored = move || inner.ledger.blobs().put_expected(&chain, &digest, &bytes);
        Ok(tokio::task::spawn_blocking(stored)
            .await
            .map_err(Error::internal)??)
    }

    /// A blob of the tenant.
    ///
    /// # Errors
    /// The tenant has no such blob.
    pub async fn blob(&self, access: &TenantAccess, digest: Digest) -> Result<Vec<u8>, Error> {
        let (inner, chain) = (std::sync::Arc::clone(&self.inner), access.tenant().chain());
        let read = move || inner.ledger.blobs().get(&chain, &digest);
        Ok(tokio::task::spawn_blocking(read)
            .await
            .map_err(Error::internal)??)
    }

    /// How many events the tenant's chain has.
    ///
    /// # Errors
    /// The chain cannot be read.
    pub fn size(&self, access: &TenantAccess) -> Result<u64, Error> {
        self.inner
            .tenant(access.tenant(), |fold| fold.tenant.size())
    }
}

/// What is read at once for somebody who follows: a slow one holds so much, beside one event that is larger.
const FOLLOWED_EVENTS_MAX: usize = 64;
const FOLLOWED_BYTES_MAX: usize = 256 * 1024;

/// What an entry takes in a page: header and body.
fn size_of(entry: &Entry) -> usize {
    let body = entry.body().map_or(0, <[u8]>::len);
    entry.record().header.len().saturating_add(body)
}

/// Every event of a chain from a place on, each once, as it becomes durable.
#[derive(Debug)]
pub struct Follow {
    service: Service,
    access: TenantAccess,
    next: Sequence,
    changes: tokio::sync::watch::Receiver<countersign_store::Position>,
}

impl Follow {
    /// The next events; waits until there is one. `None` once the server stops.
    ///
    /// # Errors
    /// The chain cannot be read.
    pub async fn next(&mut self) -> Result<Option<Vec<Entry>>, Error> {
        loop {
            // Marked as seen before reading, so that what comes in between wakes the next wait.
            self.changes.mark_unchanged();
            let page = self.service.events_within(
                &self.access,
                self.next,
                FOLLOWED_EVENTS_MAX,
                FOLLOWED_BYTES_MAX,
            )?;
            if let Some(last) = page.events.last() {
                self.next = last.sequence().next();
                return Ok(Some(page.events));
            }
            let stopped = tokio::select! {
                changed = self.changes.changed() => changed.is_err(),
                () = self.service.inner.stop.cancelled() => true,
            };
            if stopped {
                return Ok(None);
            }
        }
    }
}
