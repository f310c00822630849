//! Events in order, for people and for programs. Shows; judges nothing but whether a body may be read.

use std::io::{self, Write};
use std::ops::ControlFlow;

use countersign_chain::{Body, Header, body_hash, event_hash, json};
use countersign_events::Event;
use countersign_ids::Retention;
use serde_json::{Map, Value};

use crate::source::{Entry, GO_ON, Source, SourceError};
use crate::verdict::Findings;

/// Which events to show.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only this chain.
    pub chain: Option<String>,
    /// Only from this sequence on.
    pub from: u64,
    /// At most so many.
    pub limit: Option<u64>,
    /// Only types that contain this.
    pub event_type: Option<String>,
    /// Only events whose subject is this action.
    pub action: Option<String>,
}

/// How to show them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// One line each.
    Text,
    /// One JSON object a line.
    Json,
}

/// Why showing stopped.
#[derive(Debug, thiserror::Error)]
pub enum ShowError {
    /// The source.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The output.
    #[error("cannot write the output")]
    Output(#[from] io::Error),
}

/// One event, read as far as it can be.
pub(crate) struct Shown {
    pub chain: String,
    pub header: Option<Header>,
    pub hash: String,
    pub raw: Vec<u8>,
    /// The body, or why there is none to show.
    pub body: Result<Value, String>,
    pub event: Option<Event>,
}

impl Shown {
    /// Reads an event; a body that does not hash to `bodyhash` is reported and never read.
    pub(crate) fn read(entry: Entry) -> Self {
        let header = Header::parse(&entry.record.header).ok();
        let hash = event_hash(&entry.record.header).to_string();
        let mut event = None;
        let body = match (&entry.record.body, &header) {
            (Body::Absent(reason), _) => Err(format!("body {reason}")),
            (Body::Present { .. }, None) => Err("the header is malformed".to_owned()),
            (Body::Present { salt, bytes }, Some(header)) => {
                if body_hash(salt, bytes) != header.bodyhash {
                    Err("the body does not hash to bodyhash, and is not read".to_owned())
                } else if header.retention == Retention::Personal {
                    Err("sealed".to_owned())
                } else {
                    event = Event::decode(&header.event_type, bytes).ok();
                    json::parse(bytes).map_err(|error| format!("the body is malformed: {error}"))
                }
            }
        };
        Self {
            chain: entry.chain,
            header,
            hash,
            raw: entry.record.header,
            body,
            event,
        }
    }

    fn fits(&self, filter: &Filter) -> bool {
        let Some(header) = &self.header else {
            return filter.event_type.is_none() && filter.action.is_none();
        };
        header.sequence.get() >= filter.from
            && filter
                .event_type
                .as_ref()
                .is_none_or(|wanted| header.event_type.to_string().contains(wanted))
            && filter
                .action
                .as_ref()
                .is_none_or(|action| header.subject.as_str() == action)
    }

    fn to_json(&self) -> Value {
        let mut members = Map::new();
        members.insert("chain".to_owned(), Value::String(self.chain.clone()));
        members.insert("hash".to_owned(), Value::String(self.hash.clone()));
        let header = serde_json::from_slice(&self.raw).unwrap_or(Value::Null);
        members.insert("header".to_owned(), header);
        match &self.body {
            Ok(body) => members.insert("body".to_owned(), body.clone()),
            Err(reason) => members.insert("absent".to_owned(), Value::String(reason.clone())),
        };
        Value::Object(members)
    }

    fn to_text(&self) -> String {
        let Some(header) = &self.header else {
            return format!("{}: a header that cannot be read", self.chain);
        };
        let kind = header.event_type.to_string();
        let kind = kind.strip_prefix("dev.countersign.").unwrap_or(&kind);
        let site = header
            .site
            .as_ref()
            .map(|site| format!(" at {site}"))
            .unwrap_or_default();
        let note = self
            .body
            .as_ref()
            .err()
            .map(|reason| format!(" [{reason}]"))
            .unwrap_or_default();
        format!(
            "{} {:>6} {} {:<28} {}{site} by {}:{}{note}",
            self.chain,
            header.sequence.get(),
            header.time,
            kind,
            header.subject,
            header.actor.kind,
            header.actor.id
        )
    }
}

/// Shows the events of a source that fit a filter.
pub fn show(
    source: &dyn Source,
    filter: &Filter,
    style: Style,
    out: &mut dyn Write,
) -> Result<u64, ShowError> {
    let mut shown = 0_u64;
    let mut failed = None;
    let wanted = |chain: &str| filter.chain.as_ref().is_none_or(|wanted| wanted == chain);
    source.events(&wanted, &mut Findings::default(), &mut |entry, _| {
        if filter.limit.is_some_and(|limit| shown >= limit) {
            return Ok(ControlFlow::Break(()));
        }
        let one = Shown::read(entry);
        if !one.fits(filter) {
            return GO_ON;
        }
        shown += 1;
        let line = match style {
            Style::Text => one.to_text(),
            Style::Json => one.to_json().to_string(),
        };
        if let Err(error) = writeln!(out, "{line}") {
            failed = Some(error);
            return Ok(ControlFlow::Break(()));
        }
        GO_ON
    })?;
    failed.map_or(Ok(shown), |error| Err(error.into()))
}
