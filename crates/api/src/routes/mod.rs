//! One module per resource: its paths, its bodies, and the calls of the service behind them.

pub(crate) mod actions;
pub(crate) mod approvers;
pub(crate) mod blobs;
pub(crate) mod connector;
pub(crate) mod events;
pub(crate) mod freezes;
pub(crate) mod health;
pub(crate) mod keys;
pub(crate) mod ledger;
pub(crate) mod projections;
pub(crate) mod proposals;
pub(crate) mod receipts;
pub(crate) mod retention;
pub(crate) mod sites;
pub(crate) mod stream;
pub(crate) mod tenants;
pub(crate) mod tokens;
pub(crate) mod views;

use countersign_ids::{Actor, ActorId, AuthType, TenantId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::schema;

/// The path of everything in one tenant.
#[derive(Debug, Deserialize)]
pub(crate) struct OfTenant {
    pub(crate) tenant: TenantId,
}

/// A list, whole or one page of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Items<T> {
    /// The elements, in order.
    pub(crate) items: Vec<T>,
    /// The cursor of the next page; absent after the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
}

impl<T> Items<T> {
    pub(crate) const fn all(items: Vec<T>) -> Self {
        Self { items, next: None }
    }
}

/// Who acts.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ActorBody {
    /// What kind of actor.
    #[schema(value_type = schema::AuthType)]
    pub(crate) kind: AuthType,
    /// Its pseudonymous id.
    #[schema(value_type = schema::ActorId)]
    pub(crate) id: ActorId,
}

impl From<Actor> for ActorBody {
    fn from(actor: Actor) -> Self {
        Self {
            kind: actor.kind,
            id: actor.id,
        }
    }
}

impl From<&Actor> for ActorBody {
    fn from(actor: &Actor) -> Self {
        actor.clone().into()
    }
}
