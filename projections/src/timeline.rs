//! The timeline: one row per event of a chain, by sequence. Personal and absent bodies have a row too: something happened.

use countersign_ids::Retention;
use serde::Serialize;

use crate::{Change, Folded, Projection, Rows, Stop, row};

/// What happened, in order.
#[derive(Debug, Clone, Copy)]
pub struct Timeline;

impl Projection for Timeline {
    fn name(&self) -> &'static str {
        "timeline"
    }

    fn version(&self) -> u32 {
        1
    }

    fn fold(&self, _: &dyn Rows, folded: &Folded<'_>) -> Result<Vec<Change>, Stop> {
        let header = folded.header;
        let event_type = &header.event_type;
        let line = Line {
            actor: header.actor.id.to_string(),
            actor_kind: header.actor.kind.to_string(),
            body: match header.retention {
                Retention::Evidence => "present",
                // Whether it is still there must not change a row: the rows of what is left are the rows of all.
                Retention::Operational | Retention::Personal => "sealed or absent",
            },
            fact: format!("{}.{}", event_type.family(), event_type.fact()),
            hash: folded.hash.to_string(),
            id: header.id.to_string(),
            sequence: header.sequence.to_string(),
            site: header.site.as_ref().map(ToString::to_string),
            subject: header.subject.to_string(),
            time: header.time.to_string(),
            r#type: event_type.to_string(),
        };
        Ok(vec![row::put(&header.sequence.padded(), &line)?])
    }
}

/// One row, its members in the order of canonical JSON.
#[derive(Serialize)]
struct Line {
    actor: String,
    actor_kind: String,
    body: &'static str,
    fact: String,
    hash: String,
    id: String,
    sequence: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    site: Option<String>,
    subject: String,
    time: String,
    r#type: String,
}
