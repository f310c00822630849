//! The sites: one row per site, as its tenant's chain last told of it.

use countersign_events::{self as events, Event};
use countersign_evidence::ConnectorMessage;
use serde_json::{Value, json};

use crate::{Change, Folded, Projection, Rows, Stop, row};

/// How the sites are.
#[derive(Debug, Clone, Copy)]
pub struct Sites;

impl Projection for Sites {
    fn name(&self) -> &'static str {
        "sites"
    }

    fn version(&self) -> u32 {
        1
    }

    fn fold(&self, rows: &dyn Rows, folded: &Folded<'_>) -> Result<Vec<Change>, Stop> {
        let at = folded.header.time;
        match folded.event {
            Some(Event::Site(event)) => site(rows, folded, event),
            Some(Event::Connector(events::Connector::Paired(paired))) => {
                match row::heard(&paired.envelope) {
                    Some(ConnectorMessage::Paired(message)) => row::update(
                        rows,
                        message.head.site.as_str(),
                        [
                            ("connector", json!(message.head.connector)),
                            ("generation", json!(message.head.generation)),
                            ("paired", json!(at)),
                        ],
                    ),
                    _ => Ok(Vec::new()),
                }
            }
            Some(Event::Deploy(events::Deploy::ReleaseAdded(added))) => {
                let site = added.site.as_str();
                let Some(mut row) = row::read(rows, site)? else {
                    return Ok(Vec::new());
                };
                let before = row.get("releases").and_then(Value::as_u64);
                let releases = before.unwrap_or_default().saturating_add(1);
                row.insert("releases".to_owned(), json!(releases));
                Ok(vec![row::put(site, &row)?])
            }
            Some(Event::Action(event)) => action(rows, folded, event),
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
                | Event::Connector(events::Connector::Invited(_))
                | Event::Freeze(_)
                | Event::Reason(_)
                | Event::Remark(_)
                | Event::Retention(_)
                | Event::Beat(_),
            ) => Ok(Vec::new()),
        }
    }
}

fn site(rows: &dyn Rows, folded: &Folded<'_>, event: &events::Site) -> Result<Vec<Change>, Stop> {
    match event {
        events::Site::Registered(registered) => {
            let new = json!({
                "site": registered.site,
                "name": registered.name,
                "kind": registered.connector,
                "environment": registered.environment,
                "registered": folded.header.time,
                "releases": 0,
                "held_by": "-",
            });
            Ok(vec![row::put(registered.site.as_str(), &new)?])
        }
        events::Site::DocumentPinned(pinned) => {
            let digest = pinned
                .document
                .digest()
                .map_err(|error| Stop(error.to_string()))?;
            let members = [
                ("document_digest", json!(digest)),
                ("document_version", json!(pinned.document.version)),
            ];
            row::update(rows, pinned.document.site.as_str(), members)
        }
        events::Site::Observed(observed) => match row::heard(&observed.envelope) {
            Some(ConnectorMessage::Observed(message)) => row::update(
                rows,
                message.head.site.as_str(),
                [
                    ("current", json!(message.observed.current)),
                    ("readiness", json!(message.observed.rollback.grade)),
                    ("restores", json!(message.observed.rollback.restore)),
                    ("observed", json!(folded.header.time)),
                ],
            ),
            _ => Ok(Vec::new()),
        },
    }
}

/// Which action holds a site: from its order until its end.
fn action(
    rows: &dyn Rows,
    folded: &Folded<'_>,
    event: &events::Action,
) -> Result<Vec<Change>, Stop> {
    use events::Action as A;
    let Some(site) = folded.header.site.as_ref() else {
        return Ok(Vec::new());
    };
    let hold = |holder: Value| row::update(rows, site.as_str(), [("held_by", holder)]);
    match event {
        A::Authorized(authorized) => hold(json!(authorized.action)),
        A::Refused(_) | A::Succeeded(_) | A::Failed(_) | A::Undone(_) => hold(json!("-")),
        A::Expired(expired) if expired.from == events::words::ExpiredFrom::Authorized => {
            hold(json!("-"))
        }
        A::Proposed(_)
        | A::Assessed(_)
        | A::Approved(_)
        | A::Rejected(_)
        | A::ApprovalWithdrawn(_)
        | A::Withdrawn(_)
        | A::Revoked(_)
        | A::Delivered(_)
        | A::Accepted(_)
        | A::Expired(_)
        | A::Unresolved(_) => Ok(Vec::new()),
    }
}
