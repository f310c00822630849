//! Freezes: windows in which nothing is published.

use axum::{Json, extract::State, http::StatusCode};
use countersign_events::words::SiteOrAll;
use countersign_ids::{FreezeId, TenantId, Time};
use countersign_service::{Need, NewFreeze};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::OfTenant;
use super::receipts::{Done, ReceiptBody};
use crate::app::App;
use crate::edge::{Bare, Caller, Segments, Write};
use crate::{problem::Problem, schema};

/// A freeze to declare.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FreezeNew {
    /// Its name; one is made if there is none.
    #[serde(default)]
    #[schema(value_type = Option<schema::FreezeId>)]
    freeze: Option<FreezeId>,
    /// The site, or `*` for every site.
    #[schema(value_type = String, pattern = r"^(\*|[a-z0-9][a-z0-9._-]{0,62})$")]
    site: SiteOrAll,
    /// It begins here.
    #[schema(value_type = schema::Time)]
    from: Time,
    /// It ends here.
    #[schema(value_type = schema::Time)]
    until: Time,
}

/// A freeze that was declared.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FreezeDeclared {
    /// Its name.
    #[schema(value_type = schema::FreezeId)]
    freeze: FreezeId,
    /// Where it stands in the ledger.
    receipt: ReceiptBody,
}

/// Declares a freeze.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/freezes", tag = "freezes", params(("tenant" = schema::TenantId, Path)),
    request_body = FreezeNew, responses((status = 201, description = "Declared", body = FreezeDeclared)))]
pub(crate) async fn declare_freeze(
    State(app): State<App>,
    caller: Caller,
    Segments(OfTenant { tenant }): Segments<OfTenant>,
    write: Write<FreezeNew>,
) -> Result<(StatusCode, Json<FreezeDeclared>), Problem> {
    let access = caller.tenant(&tenant, Need::Operate)?;
    let FreezeNew {
        freeze,
        site,
        from,
        until,
    } = write.body;
    let new = NewFreeze {
        freeze,
        site,
        from,
        until,
    };
    let (freeze, receipt) = app
        .service
        .declare_freeze(&access, &write.request, new)
        .await?;
    Ok((
        StatusCode::CREATED,
        Json(FreezeDeclared {
            freeze,
            receipt: receipt.into(),
        }),
    ))
}

#[derive(Debug, Deserialize)]
pub(crate) struct OfFreeze {
    tenant: TenantId,
    freeze: FreezeId,
}

/// Lifts a freeze before its end.
#[utoipa::path(delete, path = "/v1/tenants/{tenant}/freezes/{freeze}", tag = "freezes",
    params(("tenant" = schema::TenantId, Path), ("freeze" = schema::FreezeId, Path)),
    responses((status = 200, description = "Lifted", body = Done)))]
pub(crate) async fn lift_freeze(
    State(app): State<App>,
    caller: Caller,
    Segments(OfFreeze { tenant, freeze }): Segments<OfFreeze>,
    Bare(request): Bare,
) -> Result<Json<Done>, Problem> {
    let access = caller.tenant(&tenant, Need::Operate)?;
    Ok(Json(
        app.service
            .lift_freeze(&access, &request, freeze)
            .await?
            .into(),
    ))
}
