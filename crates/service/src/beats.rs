//! Heartbeats: the fold of a tenant's `.beats` chain, and what makes the next heartbeat the next one.
//!
//! A heartbeat decides nothing in the tenant, so its rules are few: dense counters per generation, each naming the one
//! before, and no generation or checkpoint that steps back. Which key signed was checked against the tenant's chain.

use std::collections::BTreeMap;

use countersign_domain::{Decision, Draft, Guard, Rejection, Stamp};
use countersign_events::{Beat, Event, beat};
use countersign_evidence::message::Heartbeat;
use countersign_evidence::{ConnectorMessage, Envelope};
use countersign_ids::{ConnectorId, Digest, Sequence, Time};
use countersign_store::Entry;

use crate::Error;
use crate::engine::Fold;

/// The last heartbeat of one connector.
#[derive(Debug, Clone)]
pub(crate) struct LastBeat {
    pub(crate) generation: u64,
    pub(crate) counter: u64,
    pub(crate) at: Time,
    pub(crate) sequence: Sequence,
    digest: Digest,
    checkpoint: u64,
}

/// The heartbeats of one tenant.
#[derive(Debug, Default)]
pub(crate) struct BeatsFold {
    size: u64,
    last: BTreeMap<ConnectorId, LastBeat>,
}

impl BeatsFold {
    pub(crate) fn last(&self, connector: &ConnectorId) -> Option<&LastBeat> {
        self.last.get(connector)
    }

    /// Accepts the next heartbeat of a connector.
    pub(crate) fn decide(&self, beat: &Heartbeat, envelope: &Envelope) -> Result<Decision, Error> {
        let before = self
            .last(&beat.head.connector)
            .filter(|last| last.generation >= beat.head.generation);
        let (wanted, previous) = match before {
            Some(last) if last.generation > beat.head.generation => return Err(Error::UnknownKey),
            Some(last) => (last.counter.saturating_add(1), Some(last.digest)),
            None => (0, None),
        };
        if beat.counter != wanted {
            return Err(Error::Replayed {
                wanted,
                found: beat.counter,
            });
        }
        if beat.previous.get().copied() != previous {
            return Err(Error::Replayed {
                wanted,
                found: beat.counter,
            });
        }
        if let Some(last) = before.filter(|last| beat.head.checkpoint.size < last.checkpoint) {
            let (from, to) = (last.checkpoint, beat.head.checkpoint.size);
            return Err(Rejection::CheckpointSteppedBack { from, to }.into());
        }
        let draft = Draft {
            event: beat::Received {
                envelope: envelope.clone(),
            }
            .into(),
            subject: (&beat.head.site).into(),
            site: Some(beat.head.site.clone()),
            seal: None,
            valid: None,
            stamp: Stamp::Newest,
            names_before: false,
        };
        let guard = Guard {
            types: Vec::new(),
            subject: None,
            site: Some(beat.head.site.clone()),
        };
        Ok(Decision {
            drafts: vec![draft],
            guards: vec![guard],
            blobs: Vec::new(),
        })
    }
}

impl Fold for BeatsFold {
    fn size(&self) -> u64 {
        self.size
    }

    /// The last heartbeat of a connector that is paired is never pruned, and those before it decide nothing.
    fn begin_at(&mut self, first: u64) -> bool {
        self.size = self.size.max(first);
        true
    }

    fn fold(&mut self, entry: &Entry, event: Option<&Event>) -> Result<(), String> {
        self.size = entry.sequence().get().saturating_add(1);
        let Some(Event::Beat(Beat::Received(received))) = event else {
            return Ok(());
        };
        let envelope = &received.envelope;
        let message = ConnectorMessage::parse(envelope.payload_type, envelope.unverified_payload());
        let ConnectorMessage::Heartbeat(beat) = message.map_err(|error| error.to_string())? else {
            return Err("it holds no heartbeat".to_owned());
        };
        let last = LastBeat {
            generation: beat.head.generation,
            counter: beat.counter,
            at: entry.header().time,
            sequence: entry.sequence(),
            digest: envelope.payload_digest(),
            checkpoint: beat.head.checkpoint.size,
        };
        self.last.insert(beat.head.connector, last);
        Ok(())
    }
}
