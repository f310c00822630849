//! The timeline: one row per event of a chain, by sequence. Personal and absent bodies have a row too: something happened.

use countersign_ids::Retention;
use serde_json::{Map, Value};

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
        let mut line = Map::new();
        let mut put =
            |name: &str, value: String| line.insert(name.to_owned(), Value::String(value));
        put("sequence", header.sequence.to_string());
        put("id", header.id.to_string());
        put("time", header.time.to_string());
        put("type", header.event_type.to_string());
        put(
            "fact",
            format!(
                "{}.{}",
                header.event_type.family(),
                header.event_type.fact()
            ),
        );
        put("subject", header.subject.to_string());
        put("actor_kind", header.actor.kind.to_string());
        put("actor", header.actor.id.to_string());
        put("hash", folded.hash.to_string());
        put(
            "body",
            match header.retention {
                Retention::Evidence => "present",
                // Whether it is still there must not change a row: the rows of what is left are the rows of all.
                Retention::Operational | Retention::Personal => "sealed or absent",
            }
            .to_owned(),
        );
        if let Some(site) = &header.site {
            put("site", site.to_string());
        }
        Ok(vec![row::put(
            &header.sequence.padded(),
            &Value::Object(line),
        )?])
    }
}
