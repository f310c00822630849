//! Read models of a tenant: what waits for people, what happened, and how much.

use axum::{Json, extract::State};
use countersign_domain::State as ActionState;
use countersign_ids::limits;
use countersign_projections::COUNTERS;
use countersign_service::{Need, TenantAccess};
use countersign_store::{Row, RowRange};
use serde::Deserialize;
use serde_json::Value;
use utoipa::IntoParams;

use super::{Items, OfTenant};
use crate::app::App;
use crate::edge::{Asked, Caller, Segments};
use crate::shown::ActionLine;
use crate::{problem::Problem, schema};

/// Lists what waits for a decision, what expires first at the top.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/queue", tag = "views", params(("tenant" = schema::TenantId, Path)),
    responses((status = 200, description = "Actions that wait", body = Items<ActionLine>)))]
pub(crate) async fn queue(
    State(app): State<App>,
    caller: Caller,
    Segments(OfTenant { tenant }): Segments<OfTenant>,
) -> Result<Json<Items<ActionLine>>, Problem> {
    let mut actions = app.service.actions(&caller.tenant(&tenant, Need::Read)?)?;
    actions.retain(|info| info.action.state() == ActionState::Waiting);
    actions.sort_by_key(|info| info.action.expires());
    Ok(Json(Items::all(
        actions.iter().map(ActionLine::from).collect(),
    )))
}

/// Which rows.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Rows {
    /// The cursor that the page before gave.
    #[param(pattern = "^[0-9a-f]{2,512}$")]
    after: Option<String>,
    /// At most so many: 1 to 1000.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u16>,
}

async fn rows(
    app: &App,
    access: &TenantAccess,
    (model, prefix): (&str, &str),
    asked: Rows,
) -> Result<Items<Value>, Problem> {
    let after = asked
        .after
        .map(hex::decode)
        .transpose()
        .map_err(|_| Problem::path("the cursor is not one of ours"))?;
    let limit = asked.limit.map_or(limits::PAGE_EVENTS_MAX, usize::from);
    if !(1..=limits::PAGE_EVENTS_MAX).contains(&limit) {
        return Err(Problem::path("`limit` is 1 to 1000"));
    }
    let range = RowRange {
        prefix: prefix.as_bytes().to_vec(),
        after,
        limit: limit.saturating_add(1),
    };
    let mut found = app.service.rows(access, model, &range, None).await?;
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found
        .last()
        .filter(|_| more)
        .map(|row| hex::encode(&row.key));
    let value = |row: &Row| {
        serde_json::from_slice(&row.value).map_err(|_| Problem::internal("a row is no JSON"))
    };
    Ok(Items {
        items: found.iter().map(value).collect::<Result<_, _>>()?,
        next,
    })
}

/// Lists what happened in the tenant.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/timeline", tag = "views", params(("tenant" = schema::TenantId, Path), Rows),
    responses((status = 200, description = "Lines of the timeline", body = Items<Object>)))]
pub(crate) async fn timeline(
    State(app): State<App>,
    caller: Caller,
    Segments(OfTenant { tenant }): Segments<OfTenant>,
    Asked(asked): Asked<Rows>,
) -> Result<Json<Items<Value>>, Problem> {
    let access = caller.tenant(&tenant, Need::Read)?;
    Ok(Json(rows(&app, &access, ("timeline", ""), asked).await?))
}

/// Counts what there is in the tenant, for a dashboard.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/counts", tag = "views", params(("tenant" = schema::TenantId, Path)),
    responses((status = 200, description = "Counts", body = Items<Object>)))]
pub(crate) async fn counts(
    State(app): State<App>,
    caller: Caller,
    Segments(OfTenant { tenant }): Segments<OfTenant>,
) -> Result<Json<Items<Value>>, Problem> {
    let access = caller.tenant(&tenant, Need::Read)?;
    Ok(Json(
        rows(
            &app,
            &access,
            ("counts", COUNTERS),
            Rows {
                after: None,
                limit: None,
            },
        )
        .await?,
    ))
}
