//! Who calls, and what that lets them do. A [`TenantAccess`] is the only way to a tenant's data.
//!
//! Bearer tokens name a scope (one tenant, or the platform), a role and the actor that events will name. They stand in the
//! platform chain as digests; a revoked one stops working with the event that revokes it.

use countersign_events::words::TokenRole;
use countersign_ids::{Actor, ActorId, ApproverId, AuthType, TenantId, TokenId};

use crate::Error;

/// What a caller wants to do in a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// See what happened and what waits.
    Read,
    /// Propose, and take a proposal back.
    Propose,
    /// Vote; the vote itself is signed by the approver's own key.
    Vote,
    /// Register sites, invite connectors, add releases, declare freezes, revoke.
    Operate,
}

/// Whether a token of this role does this in its own tenant. An administrator of the platform sees into no tenant.
const fn allows(role: TokenRole, need: Need) -> bool {
    match need {
        Need::Read => !matches!(role, TokenRole::Admin),
        Need::Propose => matches!(role, TokenRole::Proposer | TokenRole::Owner),
        Need::Vote => matches!(role, TokenRole::Approver | TokenRole::Owner),
        Need::Operate => matches!(role, TokenRole::Owner),
    }
}

/// An authenticated caller. Only [`crate::Service::authenticate`] makes one.
#[derive(Debug, Clone)]
pub struct Access {
    token: TokenId,
    actor: Actor,
    role: TokenRole,
    owner: Option<ApproverId>,
    tenant: Option<TenantId>,
}

/// A caller who may do something in one tenant.
#[derive(Debug, Clone)]
pub struct TenantAccess {
    tenant: TenantId,
    actor: Actor,
    owner: Option<ApproverId>,
    role: TokenRole,
}

/// A caller who may administer the platform.
#[derive(Debug, Clone)]
pub struct PlatformAccess {
    actor: Actor,
}

impl Access {
    pub(crate) const fn new(
        token: TokenId,
        actor: Actor,
        role: TokenRole,
        owner: Option<ApproverId>,
        tenant: Option<TenantId>,
    ) -> Self {
        Self {
            token,
            actor,
            role,
            owner,
            tenant,
        }
    }

    /// The token that was presented.
    #[must_use]
    pub const fn token(&self) -> &TokenId {
        &self.token
    }

    /// Who calls, as events name them.
    #[must_use]
    pub const fn actor(&self) -> &Actor {
        &self.actor
    }

    /// What the token is for.
    #[must_use]
    pub const fn role(&self) -> TokenRole {
        self.role
    }

    /// The tenant that the token is for; none for the platform.
    #[must_use]
    pub const fn tenant_id(&self) -> Option<&TenantId> {
        self.tenant.as_ref()
    }

    /// Permission to do something in a tenant.
    ///
    /// # Errors
    /// Another tenant's token learns nothing, not even whether the tenant exists; a role that is too small is told so.
    pub fn tenant(&self, tenant: &TenantId, need: Need) -> Result<TenantAccess, Error> {
        if self.tenant.as_ref() != Some(tenant) {
            return Err(Error::OtherTenant {
                tenant: tenant.clone(),
            });
        }
        if !allows(self.role, need) {
            return Err(Error::RoleTooSmall {
                role: self.role.as_str(),
                need: need.as_str(),
            });
        }
        Ok(TenantAccess {
            tenant: tenant.clone(),
            actor: self.actor.clone(),
            owner: self.owner.clone(),
            role: self.role,
        })
    }

    /// Permission to do something with the platform.
    ///
    /// # Errors
    /// The token is not an administrator's.
    pub fn platform(&self) -> Result<PlatformAccess, Error> {
        if self.role == TokenRole::Admin && self.tenant.is_none() {
            Ok(PlatformAccess {
                actor: self.actor.clone(),
            })
        } else {
            Err(Error::RoleTooSmall {
                role: self.role.as_str(),
                need: "administer the platform",
            })
        }
    }
}

impl Need {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Propose => "propose",
            Self::Vote => "vote",
            Self::Operate => "operate",
        }
    }
}

impl TenantAccess {
    /// The tenant.
    #[must_use]
    pub const fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// Who acts.
    #[must_use]
    pub const fn actor(&self) -> &Actor {
        &self.actor
    }

    /// In what role.
    #[must_use]
    pub const fn role(&self) -> TokenRole {
        self.role
    }

    /// The person for whom an agent acts.
    #[must_use]
    pub const fn owner(&self) -> Option<&ApproverId> {
        self.owner.as_ref()
    }
}

impl PlatformAccess {
    /// Who acts.
    #[must_use]
    pub const fn actor(&self) -> &Actor {
        &self.actor
    }
}

/// The actor of what the server does at set-up and by its own clock.
pub(crate) fn service() -> Result<Actor, Error> {
    named(AuthType::Service, "plane")
}

/// The actor of one kind of work that follows from events: one event leads to at most one command of each.
pub(crate) fn reactor(work: &str) -> Result<Actor, Error> {
    named(AuthType::Reactor, work)
}

fn named(kind: AuthType, id: &str) -> Result<Actor, Error> {
    let id: ActorId = id.parse().map_err(Error::from)?;
    Ok(Actor { kind, id })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(role: TokenRole, tenant: Option<&str>) -> Access {
        let tenant = tenant.map(|tenant| tenant.parse().unwrap());
        Access::new(
            "t1".parse().unwrap(),
            service().unwrap(),
            role,
            None,
            tenant,
        )
    }

    #[test]
    fn a_role_does_what_it_is_there_for_in_its_own_tenant() {
        for (role, read, propose, vote, operate) in [
            (TokenRole::Observer, true, false, false, false),
            (TokenRole::Proposer, true, true, false, false),
            (TokenRole::Approver, true, false, true, false),
            (TokenRole::Owner, true, true, true, true),
        ] {
            let access = access(role, Some("acme"));
            let (own, other) = ("acme".parse().unwrap(), "other".parse().unwrap());
            for (need, allowed) in [
                (Need::Read, read),
                (Need::Propose, propose),
                (Need::Vote, vote),
                (Need::Operate, operate),
            ] {
                assert_eq!(
                    access.tenant(&own, need).is_ok(),
                    allowed,
                    "{role:?} {need:?}"
                );
                assert!(matches!(
                    access.tenant(&other, need),
                    Err(Error::OtherTenant { .. })
                ));
            }
            assert!(access.platform().is_err());
        }
    }

    #[test]
    fn an_administrator_sees_into_no_tenant() {
        let admin = access(TokenRole::Admin, None);
        assert!(admin.platform().is_ok());
        assert!(admin.tenant(&"acme".parse().unwrap(), Need::Read).is_err());
        assert!(access(TokenRole::Admin, Some("acme")).platform().is_err());
    }
}
