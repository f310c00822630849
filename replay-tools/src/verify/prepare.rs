//! What is found out about an event before its place in a chain matters: its header, its hashes, its body as an event.
//!
//! Most of the work of a verification, done on any thread and in any order.

use countersign_chain::{Body, Hashed, NoHeader, Record, event_hash, json, merkle};
use countersign_events::{DecodeError, Event, Spec};
use countersign_ids::{EventHash, Retention};

use super::fault::{Fault, absent, need};
use super::leaves::Hash;
use crate::source::{self, Chunk, Entry, Item, Wanted};
use crate::verdict::Level;

/// An item of a source, prepared.
pub(super) enum Prepared {
    /// An event.
    Event(Box<Ready>),
    /// What the source found wrong with its container.
    Fault(source::Fault),
}

/// Whether the body of an event is read as an event: by chain and sequence.
pub(super) type Deep<'d> = dyn Fn(&str, u64) -> bool + Sync + 'd;

/// An event that was read and hashed.
pub(super) struct Ready {
    /// The chain that it stands in.
    pub chain: String,
    /// The hash of E.
    pub hash: EventHash,
    /// E as a leaf.
    pub leaf: Hash,
    /// Its header and whether its body fits, or its bytes where they are no header.
    pub read: Result<Hashed, Box<NoHeader>>,
    /// Whether a body that is present is one strict JSON object.
    pub json: Result<(), String>,
    /// What its type is declared to be; none if nobody declared it.
    spec: Option<&'static Spec>,
    /// Its body as an event; none where it was not asked for, is absent or sealed.
    pub event: Option<Result<Event, DecodeError>>,
}

impl Ready {
    /// Its bytes.
    pub(super) fn record(&self) -> &Record {
        match &self.read {
            Ok(hashed) => hashed.record(),
            Err(unread) => &unread.record,
        }
    }

    /// The event's type has that retention class, and its place on that chain; a type that is not known is said to be unknown.
    pub(super) fn belongs(&self) -> Result<(), (Level, Fault)> {
        let Ok(hashed) = &self.read else {
            return Ok(());
        };
        let (header, chain) = (hashed.header(), |fault| (Level::Chain, fault));
        let Some(spec) = self.spec else {
            let error = DecodeError::Unknown(header.event_type.clone());
            return Err((Level::Evidence, absent("type", error)));
        };
        need(
            spec.retention == header.retention,
            "retention",
            "another retention class than its family's",
        )
        .map_err(chain)?;
        need(
            spec.chains.hold(&header.chain),
            "chain",
            "an event of this type does not belong on this chain",
        )
        .map_err(chain)
    }
}

/// Prepares the items of one chunk. Bodies are read as events where `deep` says so; those that say
/// what chains there are and which bodies are gone, always.
pub(super) fn prepare(chunk: Chunk, wanted: &Wanted<'_>, deep: &Deep<'_>) -> Vec<Prepared> {
    let prepare = |item| match item {
        Item::Event(Entry { chain, record }) => {
            Prepared::Event(Box::new(ready(chain, record, deep)))
        }
        Item::Fault(fault) => Prepared::Fault(fault),
    };
    chunk.items(wanted).into_iter().map(prepare).collect()
}

fn ready(chain: String, record: Record, deep: &Deep<'_>) -> Ready {
    let leaf = merkle::leaf_hash(&record.header);
    let read = Hashed::of(record);
    let hash = match &read {
        Ok(hashed) => hashed.hash(),
        Err(unread) => event_hash(&unread.record.header),
    };
    let (json, event) = match &read {
        Ok(hashed) => {
            let sequence = hashed.header().sequence.get();
            body(hashed, chain == "platform" || deep(&chain, sequence))
        }
        Err(_) => (Ok(()), None),
    };
    let event_type = read.as_ref().ok().map(|hashed| &hashed.header().event_type);
    Ready {
        spec: event_type.and_then(countersign_events::spec),
        chain,
        hash,
        leaf,
        read,
        json,
        event,
    }
}

/// The body of an event, if it is the one that its header names; any other is reported and never read.
fn body(hashed: &Hashed, deep: bool) -> (Result<(), String>, Option<Result<Event, DecodeError>>) {
    let header = hashed.header();
    let Body::Present { bytes, .. } = &hashed.record().body else {
        return (Ok(()), None);
    };
    if !hashed.body_fits() {
        return (Ok(()), None);
    }
    let family = header.event_type.family().as_str();
    let always = matches!(family, "chain" | "retention");
    let read = (deep || always) && header.retention != Retention::Personal;
    match read.then(|| Event::decode(&header.event_type, bytes)) {
        Some(Ok(event)) => (Ok(()), Some(Ok(event))),
        // Not every body that is no event of its type is no JSON: the one is evidence, the other its chain's.
        other => (json::check(bytes).map_err(|error| error.to_string()), other),
    }
}
