//! Counts for dashboards: events, facts, and how many actions stand in each state. One row per counter.

use countersign_events::{self as events, Event};
use serde_json::{Value, json};

use crate::{Change, Folded, Projection, Rows, Stop, row};

/// How much of everything there is.
#[derive(Debug, Clone, Copy)]
pub struct Counts;

impl Projection for Counts {
    fn name(&self) -> &'static str {
        "counts"
    }

    fn version(&self) -> u32 {
        1
    }

    /// Headers are counted, so a body that is gone changes no count.
    fn fold(&self, rows: &dyn Rows, folded: &Folded<'_>) -> Result<Vec<Change>, Stop> {
        let fact = &folded.header.event_type;
        let mut changes = vec![
            add(rows, "events", 1)?,
            add(rows, &format!("fact.{}.{}", fact.family(), fact.fact()), 1)?,
        ];
        if let Some(Event::Action(event)) = folded.event {
            match opens_or_ends(event) {
                Some(true) => changes.push(add(rows, "actions.open", 1)?),
                Some(false) => changes.push(add(rows, "actions.open", -1)?),
                None => {}
            }
        }
        Ok(changes)
    }
}

/// Whether an event begins an action's life (true), ends it (false), or neither.
const fn opens_or_ends(event: &events::Action) -> Option<bool> {
    use events::Action as A;
    match event {
        A::Proposed(_) => Some(true),
        A::Assessed(assessed) => match assessed.verdict {
            events::words::Verdict::Deny => Some(false),
            events::words::Verdict::Allow | events::words::Verdict::NeedsApproval => None,
        },
        A::Rejected(_)
        | A::Withdrawn(_)
        | A::Revoked(_)
        | A::Refused(_)
        | A::Succeeded(_)
        | A::Failed(_)
        | A::Undone(_)
        | A::Expired(_) => Some(false),
        A::Approved(_)
        | A::ApprovalWithdrawn(_)
        | A::Authorized(_)
        | A::Delivered(_)
        | A::Accepted(_)
        | A::Unresolved(_) => None,
    }
}

fn add(rows: &dyn Rows, counter: &str, change: i64) -> Result<Change, Stop> {
    let before = row::read(rows, counter)?.and_then(|row| row.get("count").and_then(Value::as_i64));
    row::put(
        counter,
        &json!({ "count": before.unwrap_or_default().saturating_add(change) }),
    )
}
