//! Proposing over HTTP, each proposal durable, beside an axum that reads the same body and does nothing.

use crate::Run;
use crate::child::{Empty, Plane, Running};
use crate::load::{self, CONNECTIONS, Requests};
use crate::report::{Figure, median};
use crate::stage::{SITE, Stage};
use crate::writing::{per_second, runtime};
use anyhow::Result;
use countersign_ids::TenantId;
use std::time::Duration;

/// How often both are measured, in turns.
const ROUNDS: usize = 5;
/// How long each time.
const TURN: Duration = Duration::from_secs(4);

/// Requests per second over 64 connections.
pub(crate) fn propose(_: &Run) -> Result<Vec<Figure>> {
    let directory = tempfile::tempdir_in(".")?;
    let plane = Running::<Plane>::start("plane", directory.path())?;
    let empty = Running::<Empty>::start("empty", directory.path())?;
    let body = body(&plane.said.stage);
    let (mut ours, mut limit) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let (sent, spent) = propose_for(&plane.said, TURN, &format!("r{round}"))?;
        ours.push(per_second(sent, spent));
        let nothing = nothing(&body);
        let (sent, spent) =
            runtime()?.block_on(load::send_for(empty.said.address, TURN, nothing, "201"))?;
        limit.push(per_second(sent, spent));
    }
    empty.stop()?;
    plane.stop()?;
    let how = format!(
        "{CONNECTIONS} keep-alive connections, {} bytes of JSON, a sealed reason in each, 16 tenants, policy asked behind; {ROUNDS} turns of {} s",
        body.len(),
        TURN.as_secs()
    );
    Ok(vec![
        Figure::plain("HTTP propose, 64 connections", "requests/s", median(ours))
            .beside("empty axum JSON POST", median(limit))
            .at_least(0.4)
            .how(how),
    ])
}

/// Proposes for a while; how many proposals were answered with 201, and in what time.
pub(crate) fn propose_for(plane: &Plane, time: Duration, run: &str) -> Result<(u64, Duration)> {
    let requests = proposals(run, &plane.stage);
    runtime()?.block_on(load::send_for(plane.address, time, requests, "201"))
}

/// Each connection is an agent of one of the tenants; each proposal has its own key.
fn proposals(run: &str, stage: &Stage) -> Vec<Requests> {
    let body = body(stage);
    let agents = stage.agents.iter().cycle().take(CONNECTIONS).enumerate();
    let proposals = |(connection, (tenant, token)): (usize, &(TenantId, String))| {
        let path = format!("/v1/tenants/{tenant}/actions");
        let headers = format!("authorization: Bearer {token}\r\n");
        let (run, body) = (run.to_owned(), body.clone());
        let proposal = move |number: u64| {
            let key = format!("idempotency-key: {run}-{connection}-{number}\r\n");
            load::post(&path, &format!("{headers}{key}"), &body)
        };
        Box::new(proposal) as Requests
    };
    agents.map(proposals).collect()
}

fn nothing(body: &str) -> Vec<Requests> {
    let request = load::post("/", "", body);
    let same = || {
        let request = request.clone();
        Box::new(move |_| request.clone()) as Requests
    };
    std::iter::repeat_with(same).take(CONNECTIONS).collect()
}

/// A proposal as an agent writes it.
fn body(stage: &Stage) -> String {
    proposal(stage).to_string()
}

pub(crate) fn proposal(stage: &Stage) -> serde_json::Value {
    serde_json::json!({
        "site": SITE,
        "kind": "release.publish",
        "parameters": { "release": stage.release },
        "title": "Publish the first release of the shop",
        "reason": "The opening hours change on Monday, the menu of the season is new, and two photographs were replaced. The owner read the preview on Friday.",
    })
}
