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
}
