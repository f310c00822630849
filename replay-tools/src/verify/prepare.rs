//! What is found out about an event before its place in a chain matters: its header, its hashes, its body as an event.
//!
//! Most of the work of a verification, done on any thread and in any order.

use countersign_chain::{Body, Hashed, NoHeader, Record, event_hash, json, merkle};
use countersign_events::{DecodeError, Event};
use countersign_ids::{EventHash, Retention};

use super::leaves::Hash;
use crate::source::{Entry, Fault, Item};

/// An item of a source, prepared.
pub(super) enum Prepared {
    /// An event.
    Event(Box<Ready>),
    /// What the source found wrong with its container.
    Fault(Fault),
}

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
}

/// Prepares one item. Bodies are read as events where `deep` says so; those that say
/// what chains there are and which bodies are gone, always.
pub(super) fn prepare(item: Item, deep: bool) -> Prepared {
    match item {
        Item::Event(Entry { chain, record }) => {
            Prepared::Event(Box::new(ready(chain, record, deep)))
        }
        Item::Fault(fault) => Prepared::Fault(fault),
    }
}

fn ready(chain: String, record: Record, deep: bool) -> Ready {
    let leaf = merkle::leaf_hash(&record.header);
    let read = Hashed::of(record);
    let hash = match &read {
        Ok(hashed) => hashed.hash(),
        Err(unread) => event_hash(&unread.record.header),
    };
    let (json, event) = match &read {
        Ok(hashed) => body(hashed, deep || chain == "platform"),
        Err(_) => (Ok(()), None),
    };
    Ready {
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
