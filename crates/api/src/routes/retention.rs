//! What is kept for how long, and what is removed: remarks, retention, erasures.

use axum::{Json, extract::State, http::StatusCode};
use countersign_ids::{ActorId, DataSubject, Sequence, SiteId, TenantId};
use countersign_service::{Need, Whose};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::OfTenant;
use super::receipts::Done;
use crate::app::App;
use crate::edge::{Caller, Segments, Write};
use crate::{problem::Problem, schema};

/// A remark to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RemarkNew {
    /// The words; they name no person.
    text: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct OfSite {
    tenant: TenantId,
    site: SiteId,
}

/// Notes what goes on at a site. The words decide nothing and are removed when the retention of operational bodies ends.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/sites/{site}/remarks", tag = "retention",
    params(("tenant" = schema::TenantId, Path), ("site" = schema::SiteId, Path)),
    request_body = RemarkNew, responses((status = 201, description = "Noted", body = Done)))]
pub(crate) async fn remark(
    State(app): State<App>,
    caller: Caller,
    Segments(OfSite { tenant, site }): Segments<OfSite>,
    write: Write<RemarkNew>,
) -> Result<(StatusCode, Json<Done>), Problem> {
    let access = caller.tenant(&tenant, Need::Operate)?;
    let receipt = app
        .service
        .remark(&access, &write.request, site, write.body.text)
        .await?;
    Ok((StatusCode::CREATED, Json(receipt.into())))
}

/// How long to keep operational bodies.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RetentionNew {
    /// Days; 0 keeps them until bodies are looked for next.
    operational_days: u32,
}

/// What a tenant keeps for how long.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RetentionBody {
    /// Days after which heartbeats are pruned; for ever where the tenant said nothing.
    beats_days: Option<u32>,
    /// The first event that the chain of heartbeats still has.
    #[schema(value_type = schema::Sequence)]
    beats_from: Sequence,
    /// Whether heartbeats are being pruned: ordered, and without a receipt yet.
    beats_pending: bool,
    /// Days after which an operational body is removed.
    operational_days: u32,
    /// Operational bodies that are kept.
    operational: usize,
    /// Data subjects of whom something sealed is kept.
    #[schema(value_type = Vec<schema::DataSubject>)]
    subjects: Vec<DataSubject>,
    /// Data subjects whose keys were ordered to be destroyed.
    #[schema(value_type = Vec<schema::DataSubject>)]
    erased: Vec<DataSubject>,
    /// Removals that were ordered and have no receipt yet, by the sequence of the event that ordered them.
    #[schema(value_type = Vec<schema::Sequence>)]
    pending: Vec<Sequence>,
}

/// What is kept for how long, and what is being removed.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/retention", tag = "retention", params(("tenant" = schema::TenantId, Path)),
    responses((status = 200, description = "What is kept", body = RetentionBody)))]
pub(crate) async fn get_retention(
    State(app): State<App>,
    caller: Caller,
    Segments(OfTenant { tenant }): Segments<OfTenant>,
) -> Result<Json<RetentionBody>, Problem> {
    let access = caller.tenant(&tenant, Need::Read)?;
    let kept = app.service.kept(&access)?;
    Ok(Json(RetentionBody {
        beats_days: kept.beats_days,
        beats_from: kept.beats_from,
        beats_pending: kept.beats_pending,
        operational_days: kept.operational_days,
        operational: kept.operational,
        subjects: kept.subjects,
        erased: kept.erased,
        pending: kept.pending,
    }))
}

/// Says how long operational bodies are kept.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/retention", tag = "retention", params(("tenant" = schema::TenantId, Path)),
    request_body = RetentionNew, responses((status = 200, description = "Set", body = Done)))]
pub(crate) async fn set_retention(
    State(app): State<App>,
    caller: Caller,
    Segments(OfTenant { tenant }): Segments<OfTenant>,
    write: Write<RetentionNew>,
) -> Result<Json<Done>, Problem> {
    let access = caller.tenant(&tenant, Need::Operate)?;
    let days = write.body.operational_days;
    let receipt = app
        .service
        .set_retention(&access, &write.request, days)
        .await?;
    Ok(Json(receipt.into()))
}

/// How long to keep heartbeats.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BeatsRetentionNew {
    /// Days; 0 keeps them until they are recorded.
    beats_days: u32,
}

/// Says how long heartbeats are kept; before that they are kept for ever.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/retention/beats", tag = "retention", params(("tenant" = schema::TenantId, Path)),
    request_body = BeatsRetentionNew, responses((status = 200, description = "Set", body = Done)))]
pub(crate) async fn keep_beats(
    State(app): State<App>,
    caller: Caller,
    Segments(OfTenant { tenant }): Segments<OfTenant>,
    write: Write<BeatsRetentionNew>,
) -> Result<Json<Done>, Problem> {
    let access = caller.tenant(&tenant, Need::Operate)?;
    let days = write.body.beats_days;
    let receipt = app
        .service
        .keep_beats(&access, &write.request, days)
        .await?;
    Ok(Json(receipt.into()))
}

/// Whose data to erase: one of the two.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, untagged)]
pub(crate) enum ErasureNew {
    /// The person, by the name that events have for who acts.
    Person {
        /// Its pseudonymous id.
        #[schema(value_type = schema::ActorId)]
        person: ActorId,
    },
    /// The data subject, by the random name that headers have.
    Subject {
        /// Its name.
        #[schema(value_type = schema::DataSubject)]
        datasubject: DataSubject,
    },
}

/// Erases a person's data: their key is destroyed, what it sealed can never be read again, and a receipt follows in the chain.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/erasures", tag = "retention", params(("tenant" = schema::TenantId, Path)),
    request_body = ErasureNew, responses((status = 202, description = "Ordered; done even if the server dies now", body = Done)))]
pub(crate) async fn erase(
    State(app): State<App>,
    caller: Caller,
    Segments(OfTenant { tenant }): Segments<OfTenant>,
    write: Write<ErasureNew>,
) -> Result<(StatusCode, Json<Done>), Problem> {
    let access = caller.tenant(&tenant, Need::Operate)?;
    let whose = match write.body {
        ErasureNew::Person { person } => Whose::Person(person),
        ErasureNew::Subject { datasubject } => Whose::Subject(datasubject),
    };
    let receipt = app.service.erase(&access, &write.request, whose).await?;
    Ok((StatusCode::ACCEPTED, Json(receipt.into())))
}
