//! Adds a site to a tenant.

use countersign_events::site::Registered;
use countersign_ids::SiteId;

use super::Facts;
use crate::decision::{Decision, Draft, Guard};
use crate::rejection::Rejection;
use crate::tenant::Tenant;
use crate::text;
use crate::words::{ConnectorKind, Environment};

/// Adds a site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisterSite {
    /// The site.
    pub site: SiteId,
    /// What people call it.
    pub name: String,
    /// What stands there.
    pub connector: ConnectorKind,
    /// What it is for.
    pub environment: Environment,
}

impl RegisterSite {
    pub(super) fn decide(&self, tenant: &Tenant, _: &Facts) -> Result<Decision, Rejection> {
        tenant.created()?;
        if tenant.sites.contains_key(&self.site) {
            return Err(Rejection::SiteExists {
                site: self.site.clone(),
            });
        }
        text::line("name", &self.name, text::NAME_TEXT_BYTES_MAX)?;
        let registered = Registered {
            site: self.site.clone(),
            name: self.name.clone(),
            connector: self.connector,
            environment: self.environment,
        };
        Ok(
            Decision::of([Draft::new(registered, &self.site).at(&self.site)])
                .unless([Guard::site(&self.site)]),
        )
    }
}
