//! Family `tenant`: the unit of isolation.

use countersign_ids::TenantId;

use crate::declare::events;

events! {
    /// Tenants.
    Tenant = "tenant" Evidence;

    /// The tenant exists.
    Created = "created" v 1 on Tenant about "the tenant" {
        /// The tenant: also the name of its chain.
        pub tenant: TenantId,
        /// What people call it.
        pub name: String,
    }

    /// The name that an announced tenant has from its first event on: written with its announcement, so that whoever opens its
    /// chain knows it.
    Named = "named" v 1 on Platform about "the tenant" {
        /// The tenant.
        pub tenant: TenantId,
        /// What people call it.
        pub name: String,
    }
}
