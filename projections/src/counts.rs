//! Counts for dashboards: events, facts, and how many actions stand in each state.
//!
//! Keys: `count/<name>`, a row per counter that says its own name (`events`, `fact.<family>.<fact>`, `actions.open`,
//! `actions.<state>`); `where/<action>`, where an action stands, so that it can be counted down there.

use countersign_domain::State;
use countersign_domain::words::Verdict;
use countersign_events::{self as events, Event};
use countersign_ids::ActionId;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{Change, Folded, Projection, Rows, Stop, row};

/// The prefix of the keys of counters.
pub const COUNTERS: &str = "count/";

/// How much of everything there is.
#[derive(Debug, Clone, Copy)]
pub struct Counts;

impl Projection for Counts {
    fn name(&self) -> &'static str {
        "counts"
    }

    fn version(&self) -> u32 {
        2
    }

    /// Headers are counted, so a body that is gone changes no count but that of its action.
    fn fold(&self, rows: &dyn Rows, folded: &Folded<'_>) -> Result<Vec<Change>, Stop> {
        let fact = &folded.header.event_type;
        let mut changes = vec![
            add(rows, "events", 1)?,
            add(rows, &format!("fact.{}.{}", fact.family(), fact.fact()), 1)?,
        ];
        match folded.event {
            Some(Event::Action(event)) => changes.extend(step(rows, event)?),
            None
            | Some(
                Event::Keys(_)
                | Event::Chain(_)
                | Event::Heads(_)
                | Event::Approver(_)
                | Event::Token(_)
                | Event::Clock(_)
                | Event::Tenant(_)
                | Event::Platform(_)
                | Event::Site(_)
                | Event::Connector(_)
                | Event::Deploy(_)
                | Event::Freeze(_)
                | Event::Reason(_)
                | Event::Remark(_)
                | Event::Retention(_)
                | Event::Beat(_),
            ) => {}
        }
        Ok(changes)
    }
}

/// Counts an action where it stands now, and no more where it stood.
fn step(rows: &dyn Rows, event: &events::Action) -> Result<Vec<Change>, Stop> {
    let (action, Some(to)) = leads(event) else {
        return Ok(Vec::new());
    };
    let key = format!("where/{action}");
    let from = row::read(rows, &key)?.and_then(|row| state(row.get("state")?.as_str()?));
    // An unresolved order that is handed out again stays unresolved.
    if from == Some(to) || (from, to) == (Some(State::Unresolved), State::Delivered) {
        return Ok(Vec::new());
    }
    let mut changes = vec![row::put(&key, &json!({ "state": to.as_str() }))?];
    if let Some(from) = from {
        changes.push(add(rows, &format!("actions.{from}"), -1)?);
    }
    changes.push(add(rows, &format!("actions.{to}"), 1)?);
    match (from.is_none_or(State::is_final), to.is_final()) {
        (true, false) => changes.push(add(rows, "actions.open", 1)?),
        (false, true) => changes.push(add(rows, "actions.open", -1)?),
        (true, true) | (false, false) => {}
    }
    Ok(changes)
}

fn state(word: &str) -> Option<State> {
    State::ALL
        .iter()
        .copied()
        .find(|state| state.as_str() == word)
}

/// The action that an event is about, and the state that it leads to; a vote leads nowhere by itself.
const fn leads(event: &events::Action) -> (&ActionId, Option<State>) {
    use events::Action as A;
    match event {
        A::Proposed(event) => (&event.action, Some(State::Proposed)),
        A::Assessed(event) => match event.verdict {
            Verdict::Deny => (&event.action, Some(State::Denied)),
            Verdict::Allow | Verdict::NeedsApproval => (&event.action, Some(State::Waiting)),
        },
        A::Approved(event) => (&event.action, None),
        A::ApprovalWithdrawn(event) => (&event.action, None),
        A::Rejected(event) => (&event.action, Some(State::Rejected)),
        A::Withdrawn(event) => (&event.action, Some(State::Withdrawn)),
        A::Revoked(event) => (&event.action, Some(State::Revoked)),
        A::Authorized(event) => (&event.action, Some(State::Authorized)),
        A::Delivered(event) => (&event.action, Some(State::Delivered)),
        A::Accepted(event) => (&event.action, Some(State::Accepted)),
        A::Refused(event) => (&event.action, Some(State::Refused)),
        A::Succeeded(event) => (&event.action, Some(State::Succeeded)),
        A::Failed(event) => (&event.action, Some(State::Failed)),
        A::Undone(event) => (&event.action, Some(State::Undone)),
        A::Expired(event) => (&event.action, Some(State::Expired)),
        A::Unresolved(event) => (&event.action, Some(State::Unresolved)),
    }
}

fn add(rows: &dyn Rows, counter: &str, change: i64) -> Result<Change, Stop> {
    let key = format!("{COUNTERS}{counter}");
    let before: Option<Counted> = row::read_as(rows, &key)?;
    let before = before.map_or(0, |before| before.count);
    let row = Counter {
        count: before.saturating_add(change),
        counter,
    };
    row::put(&key, &row)
}

/// The row of a counter.
#[derive(Serialize)]
struct Counter<'a> {
    count: i64,
    counter: &'a str,
}

/// What is read of it.
#[derive(Deserialize)]
struct Counted {
    count: i64,
}
