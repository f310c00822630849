//! Begins a tenant's chain, with the number that the platform announced for it.

use countersign_events::chain::Opened;
use countersign_events::tenant::Created;
use countersign_ids::TenantId;

use super::Facts;
use crate::decision::{Decision, Draft};
use crate::rejection::Rejection;
use crate::tenant::Tenant;
use crate::text;

/// Begins the tenant's chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenTenant {
    /// The tenant.
    pub tenant: TenantId,
    /// What people call it.
    pub name: String,
    /// The number of its chain, as announced.
    pub number: u64,
}

impl OpenTenant {
    pub(super) fn decide(&self, tenant: &Tenant, _: &Facts) -> Result<Decision, Rejection> {
        if tenant.size > 0 {
            return Err(Rejection::TenantExists {
                tenant: self.tenant.clone(),
            });
        }
        if self.tenant.chain() != tenant.chain {
            return Err(Rejection::WrongChain {
                chain: tenant.chain.clone(),
            });
        }
        text::line("name", &self.name, text::NAME_TEXT_BYTES_MAX)?;
        let opened = Opened {
            chain: tenant.chain.clone(),
            number: self.number,
        };
        let created = Created {
            tenant: self.tenant.clone(),
            name: self.name.clone(),
        };
        Ok(Decision::of([
            Draft::new(opened, &tenant.chain),
            Draft::new(created, &self.tenant),
        ]))
    }
}
