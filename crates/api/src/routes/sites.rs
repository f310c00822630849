//! Sites: registration, pairing codes, releases, and what is known of each.

use axum::{Json, extract::State, http::StatusCode};
use countersign_events::words::Environment;
use countersign_evidence::PinnedDocument;
use countersign_evidence::action::{Grade, RollbackPlan};
use countersign_ids::{ActionId, ConnectorId, Digest, SiteId, TenantId, Time};
use countersign_service::{Need, NewSite, SiteDetail};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::receipts::ReceiptBody;
use super::{Items, OfTenant};
use crate::app::App;
use crate::edge::{Caller, Segments, Write};
use crate::{problem::Problem, schema};

/// A site to register.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SiteNew {
    /// Its name in ids.
    #[schema(value_type = schema::SiteId)]
    site: SiteId,
    /// What people call it.
    name: String,
    /// What it is for.
    #[schema(value_type = schema::Environment)]
    environment: Environment,
}

/// A site that was registered.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SiteRegistered {
    /// Its name in ids.
    #[schema(value_type = schema::SiteId)]
    site: SiteId,
    /// Where it stands in the ledger.
    receipt: ReceiptBody,
}

/// One line about a site.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SiteLine {
    /// Its name in ids.
    #[schema(value_type = schema::SiteId)]
    site: SiteId,
    /// What people call it.
    name: String,
    /// What it is for.
    #[schema(value_type = schema::Environment)]
    environment: Environment,
    /// The paired connector.
    #[schema(value_type = Option<schema::ConnectorId>)]
    connector: Option<ConnectorId>,
    /// What people call the release that is served.
    current: Option<String>,
    /// How well the state before can be brought back.
    #[schema(value_type = Option<String>)]
    readiness: Option<Grade>,
    /// When the last heartbeat was accepted.
    #[schema(value_type = Option<schema::Time>)]
    last_seen: Option<Time>,
}

/// A site.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SiteBody {
    /// The line about it.
    #[serde(flatten)]
    line: SiteLine,
    /// How often it was paired.
    generation: Option<u64>,
    /// The action whose order is out.
    #[schema(value_type = Option<schema::ActionId>)]
    held_by: Option<ActionId>,
    /// SHA-256 of the document that it pins.
    #[schema(value_type = Option<schema::Digest>)]
    document_digest: Option<Digest>,
    /// The document that it pins.
    #[schema(value_type = Option<Object>)]
    document: Option<PinnedDocument>,
    /// What the connector last said of it.
    observed: Option<ObservedBody>,
}

/// What a connector said of its site.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ObservedBody {
    /// The release served.
    #[schema(value_type = Option<schema::Digest>)]
    current: Option<Digest>,
    /// The releases that the site holds.
    #[schema(value_type = Vec<schema::Digest>)]
    releases: Vec<Digest>,
    /// What a rollback would restore.
    #[schema(value_type = Object)]
    rollback: RollbackPlan,
    /// SHA-256 of that plan.
    #[schema(value_type = schema::Digest)]
    rollback_digest: Digest,
    /// When the connector looked, by its own clock.
    #[schema(value_type = schema::Time)]
    checked_at: Time,
}

impl From<&SiteDetail> for SiteLine {
    fn from(detail: &SiteDetail) -> Self {
        let site = &detail.site;
        let observed = site.observed.as_ref();
        Self {
            site: site.id.clone(),
            name: site.name.clone(),
            environment: site.environment,
            connector: site
                .connector
                .as_ref()
                .map(|connector| connector.id.clone()),
            current: observed
                .and_then(|seen| seen.current)
                .map(|release| site.label(&release).to_owned()),
            readiness: observed.map(|seen| seen.rollback.grade),
            last_seen: detail.last_beat.map(|(time, _)| time),
        }
    }
}

impl From<SiteDetail> for SiteBody {
    fn from(detail: SiteDetail) -> Self {
        let line = SiteLine::from(&detail);
        let site = detail.site;
        Self {
            line,
            generation: site.connector.map(|connector| connector.generation),
            held_by: site.held_by,
            document_digest: site.document.as_ref().map(|pinned| pinned.digest),
            document: site.document.map(|pinned| pinned.document),
            observed: site.observed.map(|seen| ObservedBody {
                current: seen.current,
                releases: seen.releases,
                rollback: seen.rollback,
                rollback_digest: seen.rollback_digest,
                checked_at: seen.checked_at,
            }),
        }
    }
}

/// Registers a site.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/sites", tag = "sites", params(("tenant" = schema::TenantId, Path)),
    request_body = SiteNew, responses((status = 201, description = "Registered", body = SiteRegistered)))]
pub(crate) async fn register_site(
    State(app): State<App>,
    caller: Caller,
    Segments(OfTenant { tenant }): Segments<OfTenant>,
    write: Write<SiteNew>,
) -> Result<(StatusCode, Json<SiteRegistered>), Problem> {
    let access = caller.tenant(&tenant, Need::Operate)?;
    let SiteNew {
        site,
        name,
        environment,
    } = write.body;
    let new = NewSite {
        site: site.clone(),
        name,
        environment,
    };
    let receipt = app
        .service
        .register_site(&access, &write.request, new)
        .await?;
    Ok((
        StatusCode::CREATED,
        Json(SiteRegistered {
            site,
            receipt: receipt.into(),
        }),
    ))
}

/// Lists the sites of a tenant.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/sites", tag = "sites", params(("tenant" = schema::TenantId, Path)),
    responses((status = 200, description = "All sites, by name", body = Items<SiteLine>)))]
pub(crate) async fn list_sites(
    State(app): State<App>,
    caller: Caller,
    Segments(OfTenant { tenant }): Segments<OfTenant>,
) -> Result<Json<Items<SiteLine>>, Problem> {
    let sites = app.service.sites(&caller.tenant(&tenant, Need::Read)?)?;
    Ok(Json(Items::all(sites.iter().map(SiteLine::from).collect())))
}

#[derive(Debug, Deserialize)]
pub(crate) struct OfSite {
    tenant: TenantId,
    site: SiteId,
}

/// Shows one site.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/sites/{site}", tag = "sites",
    params(("tenant" = schema::TenantId, Path), ("site" = schema::SiteId, Path)),
    responses((status = 200, description = "The site", body = SiteBody)))]
pub(crate) async fn get_site(
    State(app): State<App>,
    caller: Caller,
    Segments(OfSite { tenant, site }): Segments<OfSite>,
) -> Result<Json<SiteBody>, Problem> {
    Ok(Json(
        app.service
            .site(&caller.tenant(&tenant, Need::Read)?, &site)?
            .into(),
    ))
}

/// Nothing to say yet.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct InvitationNew {}

/// A pairing code.
#[derive(Serialize, ToSchema)]
pub(crate) struct InvitationBody {
    /// The code; absent when the request is a repeated one, since it is stored nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    /// It cannot be used after this.
    #[schema(value_type = schema::Time)]
    expires: Time,
    /// Where it stands in the ledger.
    receipt: ReceiptBody,
}

/// Makes a pairing code for a site. It works once, for ten minutes.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/sites/{site}/pairing", tag = "sites",
    params(("tenant" = schema::TenantId, Path), ("site" = schema::SiteId, Path)),
    request_body = InvitationNew, responses((status = 201, description = "The code, shown once", body = InvitationBody)))]
pub(crate) async fn invite(
    State(app): State<App>,
    caller: Caller,
    Segments(OfSite { tenant, site }): Segments<OfSite>,
    write: Write<InvitationNew>,
) -> Result<(StatusCode, Json<InvitationBody>), Problem> {
    let access = caller.tenant(&tenant, Need::Operate)?;
    let InvitationNew {} = write.body;
    let invitation = app.service.invite(&access, &write.request, site).await?;
    let body = InvitationBody {
        code: invitation.code.map(|code| code.to_string()),
        expires: invitation.expires,
        receipt: invitation.receipt.into(),
    };
    Ok((StatusCode::CREATED, Json(body)))
}

/// A release to add; its manifest and files are stored as blobs before.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReleaseNew {
    /// The digest of its manifest.
    #[schema(value_type = schema::Digest)]
    release: Digest,
    /// What people call it.
    label: String,
}

/// A release that was added.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReleaseAdded {
    /// The digest of its manifest.
    #[schema(value_type = schema::Digest)]
    release: Digest,
    /// Where it stands in the ledger.
    receipt: ReceiptBody,
}

/// A release of a site.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReleaseBody {
    /// The digest of its manifest.
    #[schema(value_type = schema::Digest)]
    release: Digest,
    /// What people call it.
    label: String,
    /// When it was added.
    #[schema(value_type = schema::Time)]
    added: Time,
}

/// Adds a release that can be proposed.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/sites/{site}/releases", tag = "sites",
    params(("tenant" = schema::TenantId, Path), ("site" = schema::SiteId, Path)),
    request_body = ReleaseNew, responses((status = 201, description = "Added", body = ReleaseAdded)))]
pub(crate) async fn add_release(
    State(app): State<App>,
    caller: Caller,
    Segments(OfSite { tenant, site }): Segments<OfSite>,
    write: Write<ReleaseNew>,
) -> Result<(StatusCode, Json<ReleaseAdded>), Problem> {
    let access = caller.tenant(&tenant, Need::Operate)?;
    let ReleaseNew { release, label } = write.body;
    let receipt = app
        .service
        .add_release(&access, &write.request, site, release, label)
        .await?;
    Ok((
        StatusCode::CREATED,
        Json(ReleaseAdded {
            release,
            receipt: receipt.into(),
        }),
    ))
}

/// Lists the releases of a site, the oldest first.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/sites/{site}/releases", tag = "sites",
    params(("tenant" = schema::TenantId, Path), ("site" = schema::SiteId, Path)),
    responses((status = 200, description = "Its releases", body = Items<ReleaseBody>)))]
pub(crate) async fn list_releases(
    State(app): State<App>,
    caller: Caller,
    Segments(OfSite { tenant, site }): Segments<OfSite>,
) -> Result<Json<Items<ReleaseBody>>, Problem> {
    let detail = app
        .service
        .site(&caller.tenant(&tenant, Need::Read)?, &site)?;
    let mut releases: Vec<_> = detail
        .site
        .releases
        .into_iter()
        .map(|(release, known)| ReleaseBody {
            release,
            label: known.label,
            added: known.added,
        })
        .collect();
    releases.sort_by_key(|known| known.added);
    Ok(Json(Items::all(releases)))
}
