//! Declares and lifts freezes: windows in which policy lets nothing through but ways back.

use countersign_events::freeze::{Declared, Lifted};
use countersign_ids::{FreezeId, Time};

use super::Facts;
use crate::decision::{Decision, Draft, Guard};
use crate::rejection::Rejection;
use crate::tenant::Tenant;
use crate::words::SiteOrAll;

/// Declares a freeze.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclareFreeze {
    /// Its name.
    pub freeze: FreezeId,
    /// What it covers.
    pub site: SiteOrAll,
    /// It begins here.
    pub from: Time,
    /// It ends here.
    pub until: Time,
}

/// Lifts a freeze.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiftFreeze {
    /// Its name.
    pub freeze: FreezeId,
}

impl DeclareFreeze {
    pub(super) fn decide(&self, tenant: &Tenant, facts: &Facts) -> Result<Decision, Rejection> {
        tenant.created()?;
        if let SiteOrAll::Site(site) = &self.site {
            tenant.site(site)?;
        }
        if tenant.freezes.contains_key(&self.freeze) {
            return Err(Rejection::FreezeExists {
                freeze: self.freeze.clone(),
            });
        }
        if self.until <= self.from || self.until <= facts.now {
            return Err(Rejection::FreezeWindow {
                from: self.from,
                until: self.until,
            });
        }
        let declared = Declared {
            freeze: self.freeze.clone(),
            site: self.site.clone(),
            from: self.from,
            until: self.until,
        };
        let draft = Draft::new(declared, &self.freeze);
        let draft = match &self.site {
            SiteOrAll::Site(site) => draft.at(site),
            SiteOrAll::All => draft,
        };
        Ok(Decision::of([draft]).unless([Guard::about(&self.freeze)]))
    }
}

impl LiftFreeze {
    pub(super) fn decide(&self, tenant: &Tenant, facts: &Facts) -> Result<Decision, Rejection> {
        tenant.created()?;
        let freeze = tenant
            .freezes
            .get(&self.freeze)
            .filter(|freeze| !freeze.lifted && facts.now < freeze.until);
        let freeze = freeze.ok_or_else(|| Rejection::FreezeUnknown {
            freeze: self.freeze.clone(),
        })?;
        let draft = Draft::new(
            Lifted {
                freeze: self.freeze.clone(),
            },
            &self.freeze,
        );
        let draft = match &freeze.site {
            SiteOrAll::Site(site) => draft.at(site),
            SiteOrAll::All => draft,
        };
        Ok(Decision::of([draft]).unless([Guard::about(&self.freeze)]))
    }
}
