//! What can be done for an append before the writer sees it, on the caller's own thread.
//!
//! Bodies are checked, salted, hashed and sealed here, so that the one writer thread only does what depends on order.

use std::ops::Range;

use countersign_chain::header::{check_text, names_platform, source};
use countersign_chain::{HashedBody, command_id, json};
use countersign_ids::{
    Actor, AuthType, BodyKey, ChainId, CommandId, DataSubject, EventHash, EventId, EventType,
    LedgerId, RequestDigest, Retention, Salt, SiteId, SubjectRef, Time, limits,
};

use super::lanes::Asker;
use super::recent::{Awaited, Seen};
use crate::append::{Append, HASH_TO_COME, NewEvent, Stamp};
use crate::entropy::Entropy;
use crate::keyring::Keyring;
use crate::{Error, PAYLOAD_BYTES_MAX};

/// The most events of one command that the store takes; the domain is stricter.
pub(crate) const EVENTS_MAX: usize = 1024;
/// What one event takes in a frame besides its body, at most: header, salt and three lengths.
const AROUND_BODY_BYTES: usize = limits::HEADER_BYTES_MAX + 16 + 12;
/// What it usually takes.
const AROUND_BODY_BYTES_USUAL: usize = 640;

/// An append as the writer takes it.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) chain: ChainId,
    pub(crate) actor: Actor,
    pub(crate) command: CommandId,
    pub(crate) request_digest: Option<RequestDigest>,
    pub(crate) condition: Option<Awaited>,
    pub(crate) causation: Option<EventId>,
    pub(crate) correlation: Option<String>,
    pub(crate) traceparent: Option<String>,
    pub(crate) events: Vec<PreparedEvent>,
    pub(crate) bytes: usize,
}

impl Prepared {
    /// About as many bytes as it takes in the journal.
    pub(crate) fn weight(&self) -> usize {
        let spared = AROUND_BODY_BYTES.saturating_sub(AROUND_BODY_BYTES_USUAL);
        self.bytes
            .saturating_sub(self.events.len().saturating_mul(spared))
    }
}

/// On whose behalf an actor asks.
pub(crate) const fn asker(actor: &Actor) -> Asker {
    match actor.kind {
        AuthType::Connector | AuthType::Service | AuthType::Reactor => Asker::Plane,
        AuthType::Person | AuthType::Agent => Asker::Caller,
    }
}

/// One event of it.
#[derive(Debug)]
pub(crate) struct PreparedEvent {
    pub(crate) event_type: EventType,
    pub(crate) subject: SubjectRef,
    pub(crate) site: Option<SiteId>,
    pub(crate) retention: Retention,
    pub(crate) id: EventId,
    pub(crate) body: HashedBody,
    pub(crate) sealed: Option<(BodyKey, DataSubject)>,
    pub(crate) platformhead: Stamp,
    pub(crate) valid: Option<(Time, Time)>,
    /// What conditions remember of it.
    pub(crate) seen: Seen,
    /// Where in the body the hash of the event before it belongs.
    pub(crate) backlink: Option<Range<usize>>,
}

impl PreparedEvent {
    /// Puts the hash of the event before it into the place that its body keeps for that.
    pub(crate) fn name_before(mut self, place: Range<usize>, hash: EventHash) -> Self {
        self.body = self.body.with(|body| {
            if let Some(bytes) = body.get_mut(place) {
                bytes.copy_from_slice(hash.to_string().as_bytes());
            }
        });
        self
    }
}

/// What sealing and ids need.
#[derive(Debug)]
pub(crate) struct Tools<'a> {
    pub(crate) ledger: &'a LedgerId,
    pub(crate) entropy: &'a Entropy,
    pub(crate) keyring: &'a Keyring,
    pub(crate) now: Time,
}

/// Checks an append and does everything for it that needs no order.
pub(crate) fn prepare(tools: &Tools<'_>, append: Append) -> Result<Prepared, Error> {
    let refused = |index, reason: &str| Error::Refused {
        index,
        reason: reason.to_owned(),
    };
    if append.events.is_empty() || append.events.len() > EVENTS_MAX {
        return Err(refused(
            0,
            "a command has at least one event and at most 1024",
        ));
    }
    if append
        .backlink
        .is_some_and(|index| index >= append.events.len())
    {
        return Err(refused(
            0,
            "the event that names the one before is not in the append",
        ));
    }
    for (name, text) in [
        ("correlationid", &append.correlation),
        ("traceparent", &append.traceparent),
    ] {
        if let Some(text) = text {
            check_text(name, text).map_err(|error| refused(0, &crate::status::chain_of(&error)))?;
        }
    }
    let command = command_id(&append.chain, &append.actor, &append.command);
    let mut events = Vec::with_capacity(append.events.len());
    let mut bytes = 0_usize;
    for (index, event) in append.events.into_iter().enumerate() {
        check(&append.chain, &event).map_err(|reason| refused(index, &reason))?;
        let mut event = prepare_event(tools, &append.chain, event)?;
        if append.backlink == Some(index) {
            event.backlink =
                Some(backlink(index, &event).map_err(|reason| refused(index, reason))?);
        }
        if event.body.bytes().len() > limits::BODY_BYTES_MAX {
            return Err(refused(index, "the body is larger than 256 KiB"));
        }
        bytes = bytes
            .saturating_add(event.body.bytes().len())
            .saturating_add(AROUND_BODY_BYTES);
        if bytes > PAYLOAD_BYTES_MAX {
            return Err(refused(index, "the command is larger than a frame can be"));
        }
        events.push(event);
    }
    Ok(Prepared {
        chain: append.chain,
        actor: append.actor,
        command,
        request_digest: append.request_digest,
        condition: append.condition.as_ref().map(Awaited::of),
        causation: append.causation,
        correlation: append.correlation,
        traceparent: append.traceparent,
        events,
        bytes,
    })
}

fn check(chain: &ChainId, event: &NewEvent) -> Result<(), String> {
    json::check(&event.body)
        .map_err(|error| format!("the body is not one I-JSON object: {error}"))?;
    if event.body.len() > limits::BODY_BYTES_MAX {
        return Err("the body is larger than 256 KiB".to_owned());
    }
    if (event.retention == Retention::Personal) != event.seal.is_some() {
        return Err("a personal body, and no other, is sealed".to_owned());
    }
    let names_head =
        !chain.is_platform() && (chain.is_beats() || names_platform(&event.event_type));
    if names_head != (event.platformhead != Stamp::None) {
        return Err("authorisations, restatements and heartbeats name the platform's head, and no other event".to_owned());
    }
    Ok(())
}

fn prepare_event(
    tools: &Tools<'_>,
    chain: &ChainId,
    event: NewEvent,
) -> Result<PreparedEvent, Error> {
    let drawn = |error| Error::io(std::path::Path::new("the system's randomness"), error);
    let id = new_id(tools.now, tools.entropy.draw().map_err(drawn)?)
        .ok_or_else(|| drawn(std::io::Error::other("no id can be made")))?;
    let salt = Salt::from_bytes(tools.entropy.draw().map_err(drawn)?);
    let (body, sealed) = match event.seal {
        None => (event.body, None),
        Some(subject) => {
            let source = source(tools.ledger, chain);
            let sealed =
                tools
                    .keyring
                    .seal(tools.entropy, &subject, (&source, &id), &event.body)?;
            (sealed.body, Some((sealed.key, subject)))
        }
    };
    Ok(PreparedEvent {
        seen: Seen::of(&event.event_type, &event.subject, event.site.as_ref()),
        event_type: event.event_type,
        subject: event.subject,
        site: event.site,
        retention: event.retention,
        id,
        body: HashedBody::of(salt, body),
        sealed,
        platformhead: event.platformhead,
        valid: event.valid,
        backlink: None,
    })
}

/// Where the body of an event says that the hash of the event before it comes.
fn backlink(index: usize, event: &PreparedEvent) -> Result<Range<usize>, &'static str> {
    let wanted = HASH_TO_COME.to_string().into_bytes();
    let mut places = (0..event.body.bytes().len()).filter(|at| {
        event
            .body
            .bytes()
            .get(*at..)
            .is_some_and(|rest| rest.starts_with(&wanted))
    });
    match (places.next(), places.next()) {
        _ if index == 0 => Err("no event of the append stands before the one that names its hash"),
        _ if event.sealed.is_some() => Err("a sealed body cannot name the event before it"),
        (Some(at), None) => Ok(at..at.saturating_add(wanted.len())),
        _ => Err("the body does not leave exactly one place for the hash of the event before it"),
    }
}

fn new_id(now: Time, random: [u8; 10]) -> Option<EventId> {
    EventId::from_uuid(
        uuid::Builder::from_unix_timestamp_millis(now.unix_millis(), &random).into_uuid(),
    )
}
