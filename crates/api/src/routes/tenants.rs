//! Tenants, for administrators of the platform; a tenant's own tokens see their own.

use axum::{Json, extract::State, http::StatusCode};
use countersign_ids::TenantId;
use countersign_service::{Need, NewTenant, TenantInfo};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::receipts::ReceiptBody;
use super::{Items, OfTenant};
use crate::app::App;
use crate::edge::{Caller, Segments, Write};
use crate::{problem::Problem, schema};

/// A tenant to create.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TenantNew {
    /// The name of its chain.
    #[schema(value_type = schema::TenantId)]
    tenant: TenantId,
    /// What people call it.
    name: String,
}

/// A tenant that was created.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TenantCreated {
    /// The name of its chain.
    #[schema(value_type = schema::TenantId)]
    tenant: TenantId,
    /// Where it stands in the ledger.
    receipt: ReceiptBody,
}

/// A tenant.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TenantBody {
    /// The name of its chain.
    #[schema(value_type = schema::TenantId)]
    tenant: TenantId,
    /// What people call it.
    name: String,
    /// How many events its chain has.
    size: u64,
}

impl From<TenantInfo> for TenantBody {
    fn from(info: TenantInfo) -> Self {
        Self {
            tenant: info.tenant,
            name: info.name,
            size: info.size,
        }
    }
}

/// Creates a tenant.
#[utoipa::path(post, path = "/v1/tenants", tag = "tenants", request_body = TenantNew,
    responses((status = 201, description = "Created", body = TenantCreated)))]
pub(crate) async fn create_tenant(
    State(app): State<App>,
    caller: Caller,
    write: Write<TenantNew>,
) -> Result<(StatusCode, Json<TenantCreated>), Problem> {
    let access = caller.platform()?;
    let TenantNew { tenant, name } = write.body;
    let receipt = app
        .service
        .create_tenant(
            &access,
            &write.request,
            NewTenant {
                tenant: tenant.clone(),
                name,
            },
        )
        .await?;
    Ok((
        StatusCode::CREATED,
        Json(TenantCreated {
            tenant,
            receipt: receipt.into(),
        }),
    ))
}

/// Lists all tenants.
#[utoipa::path(get, path = "/v1/tenants", tag = "tenants",
    responses((status = 200, description = "All tenants, by name", body = Items<TenantBody>)))]
pub(crate) async fn list_tenants(
    State(app): State<App>,
    caller: Caller,
) -> Result<Json<Items<TenantBody>>, Problem> {
    let tenants = app.service.tenants(&caller.platform()?)?;
    Ok(Json(Items::all(
        tenants.into_iter().map(TenantBody::from).collect(),
    )))
}

/// Shows one tenant to its own tokens.
#[utoipa::path(get, path = "/v1/tenants/{tenant}", tag = "tenants", params(("tenant" = schema::TenantId, Path)),
    responses((status = 200, description = "The tenant", body = TenantBody)))]
pub(crate) async fn get_tenant(
    State(app): State<App>,
    caller: Caller,
    Segments(OfTenant { tenant }): Segments<OfTenant>,
) -> Result<Json<TenantBody>, Problem> {
    let access = caller.tenant(&tenant, Need::Read)?;
    Ok(Json(app.service.tenant(&access)?.into()))
}
