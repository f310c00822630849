//! The approval queue: one row per action of which something is still to come; it goes when the action ends.

use countersign_events::{self as events, Event};
use countersign_ids::Time;
use serde_json::{Value, json};

use crate::{Change, Folded, Projection, Rows, Stop, row};

/// What waits, and what is on its way.
#[derive(Debug, Clone, Copy)]
pub struct Queue;

impl Projection for Queue {
    fn name(&self) -> &'static str {
        "queue"
    }

    fn version(&self) -> u32 {
        1
    }

    fn fold(&self, rows: &dyn Rows, folded: &Folded<'_>) -> Result<Vec<Change>, Stop> {
        match folded.event {
            Some(Event::Action(event)) => action(rows, folded, event),
            // A reason is sealed, and what has no body decides nothing; the other families are not about actions.
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
            ) => Ok(Vec::new()),
        }
    }
}

fn action(
    rows: &dyn Rows,
    folded: &Folded<'_>,
    event: &events::Action,
) -> Result<Vec<Change>, Stop> {
    use events::Action as A;
    let at = folded.header.time;
    match event {
        A::Proposed(proposed) => Ok(vec![row::put(
            proposed.action.as_str(),
            &opened(folded, proposed),
        )?]),
        A::Assessed(assessed) if assessed.verdict == events::words::Verdict::Deny => {
            Ok(vec![row::delete(assessed.action.as_str())])
        }
        A::Assessed(assessed) => row::update(
            rows,
            assessed.action.as_str(),
            [
                ("state", json!("waiting")),
                ("since", json!(at)),
                ("round", json!(assessed.round)),
                ("verdict", json!(assessed.verdict)),
                ("needed", json!(assessed.needed)),
                ("votes", json!(0)),
                ("view_digest", json!(assessed.view_digest)),
            ],
        ),
        A::Approved(vote) => votes(rows, vote.action.as_str(), 1),
        A::ApprovalWithdrawn(vote) => votes(rows, vote.action.as_str(), -1),
        A::Authorized(authorized) => moved(rows, authorized.action.as_str(), "authorized", at),
        // A second delivery of an unresolved order does not make it less so.
        A::Delivered(delivered)
            if state(rows, delivered.action.as_str())?.as_deref() == Some("unresolved") =>
        {
            Ok(Vec::new())
        }
        A::Delivered(delivered) => moved(rows, delivered.action.as_str(), "delivered", at),
        A::Accepted(outcome) => moved(rows, outcome.action.as_str(), "accepted", at),
        A::Unresolved(unresolved) => moved(rows, unresolved.action.as_str(), "unresolved", at),
        A::Rejected(vote) => Ok(vec![row::delete(vote.action.as_str())]),
        A::Withdrawn(ended) => Ok(vec![row::delete(ended.action.as_str())]),
        A::Revoked(ended) => Ok(vec![row::delete(ended.action.as_str())]),
        A::Refused(ended) => Ok(vec![row::delete(ended.action.as_str())]),
        A::Succeeded(ended) => Ok(vec![row::delete(ended.action.as_str())]),
        A::Failed(ended) => Ok(vec![row::delete(ended.action.as_str())]),
        A::Undone(ended) => Ok(vec![row::delete(ended.action.as_str())]),
        A::Expired(ended) => Ok(vec![row::delete(ended.action.as_str())]),
    }
}

fn opened(folded: &Folded<'_>, proposed: &events::action::Proposed) -> Value {
    let object = &proposed.action_object;
    let actor = &folded.header.actor;
    json!({
        "action": proposed.action,
        "site": object.site,
        "kind": object.kind,
        "title": proposed.title,
        "risk": proposed.risk,
        "reversibility": object.reversibility,
        "blast_radius": proposed.blast_radius,
        "proposer": { "kind": actor.kind, "id": actor.id },
        "proposer_owner": proposed.proposer_owner,
        "proposed": folded.header.time,
        "expires": object.expires,
        "state": "proposed",
        "since": folded.header.time,
        "round": 0,
        "needed": 0,
        "votes": 0,
    })
}

fn moved(rows: &dyn Rows, action: &str, state: &str, at: Time) -> Result<Vec<Change>, Stop> {
    row::update(
        rows,
        action,
        [("state", json!(state)), ("since", json!(at))],
    )
}

fn state(rows: &dyn Rows, action: &str) -> Result<Option<String>, Stop> {
    let row = row::read(rows, action)?;
    Ok(row.and_then(|row| row.get("state").and_then(Value::as_str).map(str::to_owned)))
}

fn votes(rows: &dyn Rows, action: &str, change: i64) -> Result<Vec<Change>, Stop> {
    let Some(row) = row::read(rows, action)? else {
        return Ok(Vec::new());
    };
    let before = row.get("votes").and_then(Value::as_i64).unwrap_or_default();
    row::update(
        rows,
        action,
        [("votes", json!(before.saturating_add(change).max(0)))],
    )
}
