//! `projections`: how far the read models are, what making one again costs, and making it.

use super::{Caller, release::items};
use crate::arguments::Projections;
use crate::client::fresh_key;
use crate::exit::Failure;
use crate::output::{self, field};
use crate::progress::Progress;
use anyhow::Result;
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::Duration;

/// Between two looks at a read model that somebody waits for.
const LOOK_EVERY: Duration = Duration::from_millis(500);

pub(crate) async fn run(caller: Caller, arguments: Projections) -> Result<ExitCode> {
    match arguments {
        Projections::List => {
            let listed = caller.client.get("/v1/projections").await?;
            output::either(caller.json, &listed, table)?;
        }
        Projections::Cost { projection } => {
            let cost = cost(&caller, &projection).await?;
            output::either(caller.json, &cost, |cost| in_words(&projection, cost))?;
        }
        Projections::Rebuild { projection, wait } => {
            let cost = cost(&caller, &projection).await?;
            output::note(format_args!("{}", in_words(&projection, &cost)));
            let body = json!({ "projection": projection });
            let key = fresh_key()?;
            let mut listed = caller
                .client
                .post("/v1/projections", Some(&key), &body)
                .await?;
            if wait {
                listed = until_done(&caller, &projection, listed).await?;
            }
            output::either(caller.json, &listed, table)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn cost(caller: &Caller, projection: &str) -> Result<Value> {
    let path = format!("/v1/projections/{projection}/cost");
    caller.client.get(&path).await
}

fn in_words(projection: &str, cost: &Value) -> String {
    let number = |name: &str| cost.get(name).and_then(Value::as_u64).unwrap_or(0);
    format!(
        "making `{projection}` again folds {} events, {} KiB, in about {} s or more; what is there is served meanwhile",
        number("events"),
        number("bytes").div_ceil(1024),
        number("millis").div_ceil(1000),
    )
}

/// Waits until a read model is made again, or stopped in every chain that is left.
async fn until_done(caller: &Caller, projection: &str, mut listed: Value) -> Result<Value> {
    let number = |model: &Value, name: &str| {
        let found = model.pointer(&format!("/rebuilding/{name}"));
        found.and_then(Value::as_u64).unwrap_or(0)
    };
    let mut bar: Option<Progress> = None;
    loop {
        let model = items(&listed)
            .iter()
            .find(|model| field(model, "/projection") == projection)
            .cloned()
            .unwrap_or_default();
        let stopped = number(&model, "stopped");
        if number(&model, "chains") == stopped {
            if let Some(bar) = bar {
                bar.finish();
            }
            if stopped > 0 {
                let chains = model.pointer("/stopped").map(Value::to_string);
                let text = format!(
                    "`{projection}` cannot be made again in {stopped} chains, which keep their rows: {}",
                    chains.unwrap_or_default()
                );
                return Err(Failure::unavailable(text)
                    .with_code_of_server("projection-stopped")
                    .into());
            }
            return Ok(listed);
        }
        let events = number(&model, "events");
        let shown = bar.get_or_insert_with(|| Progress::events("folding", events));
        shown.at(number(&model, "folded"));
        tokio::time::sleep(LOOK_EVERY).await;
        listed = caller.client.get("/v1/projections").await?;
    }
}

fn table(listed: &Value) -> String {
    let header = [
        "PROJECTION",
        "VERSION",
        "GENERATION",
        "FOLDED",
        "EVENTS",
        "PER-SECOND",
        "SECONDS-LEFT",
        "STOPPED-IN",
    ];
    let row = |model: &Value| {
        let again = |name: &str| field(model, &format!("/rebuilding/{name}"));
        let stopped = model.get("stopped").and_then(Value::as_array);
        let stopped: Vec<String> = stopped
            .into_iter()
            .flatten()
            .map(|stopped| {
                format!(
                    "{}@{}",
                    field(stopped, "/chain"),
                    field(stopped, "/sequence")
                )
            })
            .collect();
        vec![
            field(model, "/projection"),
            field(model, "/version"),
            again("generation"),
            again("folded"),
            again("events"),
            again("events_per_second"),
            again("seconds_left"),
            if stopped.is_empty() {
                "-".to_owned()
            } else {
                stopped.join(" ")
            },
        ]
    };
    output::table(&header, &items(listed).iter().map(row).collect::<Vec<_>>())
}
