//! The read models, for administrators: how far they are, what making one again costs, and making it.

use axum::{Json, extract::State, http::StatusCode};
use countersign_ids::{ChainId, Sequence};
use countersign_service::ReadModel;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Items;
use crate::app::App;
use crate::edge::{Caller, Segments, Write};
use crate::{problem::Problem, schema};

/// A read model in all chains.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProjectionBody {
    /// Its name.
    projection: &'static str,
    /// The version of its code.
    version: u32,
    /// How far it is, while it is made again.
    #[serde(skip_serializing_if = "Option::is_none")]
    rebuilding: Option<RebuildingBody>,
    /// Chains in which it stopped; it goes on in the others.
    stopped: Vec<StoppedBody>,
}

/// How far a read model is that is made again.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RebuildingBody {
    /// Which of the times that it was made: the newest, where chains differ.
    generation: u32,
    /// Whether the rows that are served stand still, because an older version made them.
    stale: bool,
    /// Chains in which it is not done.
    chains: u64,
    /// Those of them in which it stopped.
    stopped: u64,
    /// Events that were folded again.
    folded: u64,
    /// How many there are to fold.
    events: u64,
    /// The pace.
    events_per_second: u64,
    /// How long it still takes at this pace; absent while there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds_left: Option<u64>,
}

/// Where and why a read model stopped.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StoppedBody {
    /// The chain.
    #[schema(value_type = schema::ChainId)]
    chain: ChainId,
    /// The event that stopped it.
    #[schema(value_type = schema::Sequence)]
    sequence: Sequence,
    /// Why.
    reason: String,
}

impl From<ReadModel> for ProjectionBody {
    fn from(model: ReadModel) -> Self {
        let stopped = model.stopped.into_iter();
        Self {
            projection: model.name,
            version: model.version,
            rebuilding: model.rebuilding.map(|told| RebuildingBody {
                generation: told.generation,
                stale: told.stale,
                chains: told.chains,
                stopped: told.stopped,
                folded: told.folded,
                events: told.events,
                events_per_second: told.events_per_second,
                seconds_left: told.seconds_left(),
            }),
            stopped: stopped
                .map(|(chain, sequence, reason)| StoppedBody {
                    chain,
                    sequence,
                    reason,
                })
                .collect(),
        }
    }
}

/// Lists the read models of the plane, and how far those are that are made again.
#[utoipa::path(get, path = "/v1/projections", tag = "projections",
    responses((status = 200, description = "The read models", body = Items<ProjectionBody>)))]
pub(crate) async fn list_projections(
    State(app): State<App>,
    caller: Caller,
) -> Result<Json<Items<ProjectionBody>>, Problem> {
    let models = app.service.read_models(&caller.platform()?).into_iter();
    Ok(Json(Items::all(models.map(ProjectionBody::from).collect())))
}

/// The path of one read model.
#[derive(Debug, Deserialize)]
pub(crate) struct OfProjection {
    projection: String,
}

/// What making a read model again takes.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CostBody {
    /// Events to fold.
    events: u64,
    /// About how large they are.
    bytes: u64,
    /// About how long it takes, measured over the first few thousand of them.
    millis: u64,
}

/// Counts what making a read model again would take. Nothing is begun.
#[utoipa::path(get, path = "/v1/projections/{projection}/cost", tag = "projections", params(("projection" = String, Path, pattern = "^[a-z][a-z-]{0,63}$")),
    responses((status = 200, description = "The cost", body = CostBody)))]
pub(crate) async fn get_cost(
    State(app): State<App>,
    caller: Caller,
    Segments(OfProjection { projection }): Segments<OfProjection>,
) -> Result<Json<CostBody>, Problem> {
    let cost = app
        .service
        .rebuild_cost(&caller.platform()?, projection)
        .await?;
    Ok(Json(CostBody {
        events: cost.events,
        bytes: cost.bytes,
        millis: u64::try_from(cost.time.as_millis()).unwrap_or(u64::MAX),
    }))
}

/// Which read model to make again.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RebuildNew {
    /// Its name.
    #[schema(pattern = "^[a-z][a-z-]{0,63}$")]
    projection: String,
}

/// Makes a read model again in every chain, beside the rows that are served. One that is under way goes on.
#[utoipa::path(post, path = "/v1/projections", tag = "projections", request_body = RebuildNew,
    responses((status = 202, description = "Ordered; it goes on even if the server dies now", body = Items<ProjectionBody>)))]
pub(crate) async fn rebuild_projection(
    State(app): State<App>,
    caller: Caller,
    write: Write<RebuildNew>,
) -> Result<(StatusCode, Json<Items<ProjectionBody>>), Problem> {
    let access = caller.platform()?;
    app.service.rebuild(&access, write.body.projection).await?;
    let models = app.service.read_models(&access).into_iter();
    let models = Items::all(models.map(ProjectionBody::from).collect());
    Ok((StatusCode::ACCEPTED, Json(models)))
}
