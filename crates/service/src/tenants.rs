//! What a tenant's owner does: sites, invitations, releases, freezes. And how a tenant's chains begin and learn.

use countersign_domain::{
    AddRelease, Command as TenantCommand, DeclareFreeze, InviteConnector, LiftFreeze, NotePlatform,
    OpenTenant, RegisterSite,
};
use countersign_events::chain::Opened;
use countersign_events::platform::Noted;
use countersign_events::words::ConnectorKind;
use countersign_ids::{ChainId, Digest, EventId, FreezeId, SiteId, TenantId, limits};
use countersign_store::Receipt;
use countersign_transport::PairingCode;

use crate::access::reactor;
use crate::engine::{Command, Decided, Fold as _};
use crate::model::{Invitation, NewFreeze, NewSite, Request};
use crate::service::{Inner, command, written};
use crate::{Error, Service, TenantAccess, secrets};

impl Service {
    /// Registers a site.
    ///
    /// # Errors
    /// There is one of this name already.
    pub async fn register_site(
        &self,
        access: &TenantAccess,
        request: &Request,
        new: NewSite,
    ) -> Result<Receipt, Error> {
        let what = RegisterSite {
            site: new.site,
            name: new.name,
            connector: ConnectorKind::Static,
            environment: new.environment,
        };
        self.write(access, request, what).await
    }

    /// Makes a pairing code for a site; the one before does not count any more.
    ///
    /// # Errors
    /// There is no such site.
    pub async fn invite(
        &self,
        access: &TenantAccess,
        request: &Request,
        site: SiteId,
    ) -> Result<Invitation, Error> {
        let code = PairingCode::new(
            secrets::random()?,
            access.tenant().clone(),
            site.clone(),
            self.inner.id(),
        );
        let expires = self
            .inner
            .now()
            .plus_millis(limits::PAIRING_LIFETIME_MILLIS);
        let receipt = self
            .write(
                access,
                request,
                InviteConnector {
                    site,
                    code_digest: code.digest(),
                    expires,
                },
            )
            .await?;
        Ok(Invitation {
            code: (!receipt.replayed).then_some(code),
            expires,
            receipt,
        })
    }

    /// Adds a release of a static site. Its manifest and every file in it are blobs of the tenant already.
    ///
    /// # Errors
    /// A blob is missing, the manifest is not one, or there is no such site.
    pub async fn add_release(
        &self,
        access: &TenantAccess,
        request: &Request,
        site: SiteId,
        release: Digest,
        label: String,
    ) -> Result<Receipt, Error> {
        let manifest = self.blob(access, release).await?;
        let (inner, chain, bytes) = (
            std::sync::Arc::clone(&self.inner),
            access.tenant().chain(),
            manifest.clone(),
        );
        let missing = move || {
            let (_, manifest) = countersign_domain::Manifest::parse(&bytes).ok()?;
            manifest
                .blobs()
                .into_iter()
                .find(|digest| !inner.ledger.blobs().contains(&chain, digest))
        };
        if let Some(digest) = tokio::task::spawn_blocking(missing)
            .await
            .map_err(Error::internal)?
        {
            return Err(countersign_store::Error::BlobUnknown { digest }.into());
        }
        self.write(
            access,
            request,
            AddRelease {
                site,
                release,
                label,
                manifest,
            },
        )
        .await
    }

    /// Declares a freeze.
    ///
    /// # Errors
    /// It would never be in force, or there is one of this name.
    pub async fn declare_freeze(
        &self,
        access: &TenantAccess,
        request: &Request,
        new: NewFreeze,
    ) -> Result<(FreezeId, Receipt), Error> {
        let freeze = match new.freeze {
            Some(freeze) => freeze,
            None => secrets::name('f')?.parse()?,
        };
        let what = DeclareFreeze {
            freeze: freeze.clone(),
            site: new.site,
            from: new.from,
            until: new.until,
        };
        let receipt = self.write(access, request, what).await?;
        let freeze = if receipt.replayed {
            self.inner.subject_of(&receipt)?.parse()?
        } else {
            freeze
        };
        Ok((freeze, receipt))
    }

    /// Lifts a freeze.
    ///
    /// # Errors
    /// No such freeze is in force.
    pub async fn lift_freeze(
        &self,
        access: &TenantAccess,
        request: &Request,
        freeze: FreezeId,
    ) -> Result<Receipt, Error> {
        self.write(access, request, LiftFreeze { freeze }).await
    }

    /// A command that always writes.
    pub(crate) async fn write(
        &self,
        access: &TenantAccess,
        request: &Request,
        what: impl Into<TenantCommand>,
    ) -> Result<Receipt, Error> {
        written(
            self.inner
                .decide(
                    access.tenant(),
                    &command(access.actor(), request)?,
                    &what.into(),
                )
                .await?,
        )
    }
}

impl Inner {
    /// The subject of the first event of an accepted command.
    pub(crate) fn subject_of(&self, receipt: &Receipt) -> Result<String, Error> {
        Ok(self
            .ledger
            .event(&receipt.chain, receipt.first)?
            .header()
            .subject
            .to_string())
    }

    /// Opens the chains of an announced tenant, where they are not open yet.
    pub(crate) async fn open_tenant(&self, tenant: &TenantId) -> Result<(), Error> {
        for (number, (chain, cause)) in (0_u64..).zip(self.announced()?) {
            if chain.tenant() != Some(tenant) || self.ledger.head(&chain).is_some() {
                continue;
            }
            if chain.is_beats() {
                self.open_beats(tenant, number, cause).await?;
            } else {
                let what = OpenTenant {
                    tenant: tenant.clone(),
                    name: self.name_of(tenant)?,
                    number,
                };
                self.decide(
                    tenant,
                    &Command::following(reactor("tenants")?, cause),
                    &what.into(),
                )
                .await?;
            }
        }
        Ok(())
    }

    async fn open_beats(
        &self,
        tenant: &TenantId,
        number: u64,
        cause: EventId,
    ) -> Result<(), Error> {
        let chain = tenant.beats();
        let decide = || {
            let opened = Opened {
                chain: chain.clone(),
                number,
            };
            let draft = countersign_domain::Draft {
                event: opened.into(),
                subject: (&chain).into(),
                site: None,
                seal: None,
                valid: None,
                stamp: countersign_domain::Stamp::Newest,
                names_before: false,
            };
            let decision = countersign_domain::Decision {
                drafts: vec![draft],
                guards: Vec::new(),
                blobs: Vec::new(),
            };
            let seen = self.beats(tenant, |fold| fold.size())?;
            Ok(Decided {
                decision,
                seen,
                platform_seen: self.platform_size(),
            })
        };
        self.run(
            &chain,
            &Command::following(reactor("tenants")?, cause),
            decide,
        )
        .await
        .map(drop)
    }

    /// Opens what a crash left announced and not opened.
    pub(crate) async fn open_announced(&self) -> Result<(), Error> {
        for tenant in self.tenant_ids()? {
            let opened = self.open_tenant(&tenant).await;
            self.unless_damaged(&tenant, opened)?;
        }
        self.note_everywhere().await
    }

    /// Restates in every tenant what it does not know of the platform yet.
    pub(crate) async fn note_everywhere(&self) -> Result<(), Error> {
        for tenant in self.tenant_ids()? {
            let noted = self.note_platform(&tenant).await;
            self.unless_damaged(&tenant, noted)?;
        }
        Ok(())
    }

    /// What fails in a tenant whose chain is damaged keeps nobody else from anything: the damage itself is named elsewhere.
    fn unless_damaged(&self, tenant: &TenantId, done: Result<(), Error>) -> Result<(), Error> {
        match done {
            Err(error) if self.is_damaged(tenant) => {
                tracing::warn!(%tenant, %error, "the tenant's chain is damaged; the others go on");
                Ok(())
            }
            other => other,
        }
    }

    fn is_damaged(&self, tenant: &TenantId) -> bool {
        [tenant.chain(), tenant.beats()]
            .iter()
            .any(|chain| self.ledger.is_damaged(chain))
    }

    /// Restates in a tenant what it does not know of the platform yet: from there on it decides there.
    pub(crate) async fn note_platform(&self, tenant: &TenantId) -> Result<(), Error> {
        let noted = self.tenant(tenant, |fold| fold.tenant.noted())?;
        for (sequence, cause) in self.restated_after(noted)? {
            let noted = Noted::from(self.copy(&ChainId::platform(), sequence)?);
            let command = Command::following(reactor("notes")?, cause);
            match self
                .decide(tenant, &command, &NotePlatform { noted }.into())
                .await
            {
                // Somebody else restated it, or a later one, meanwhile.
                Err(Error::Rejected(rejection))
                    if matches!(
                        *rejection,
                        countersign_domain::Rejection::NoteRepeated { .. }
                    ) => {}
                other => drop(other?),
            }
        }
        Ok(())
    }
}
