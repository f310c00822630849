//! What a caller asks the ledger to write, and what it gets back.

use countersign_chain::CommandKey;
use countersign_ids::{
    Actor, ChainId, CommandId, DataSubject, EventHash, EventId, EventType, PlatformHead,
    RequestDigest, Retention, Sequence, SiteId, SubjectRef, Time,
};

use crate::Position;

/// One event to write. The writer gives it its id, time, sequences, links and salt.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// Its type.
    pub event_type: EventType,
    /// The aggregate that it is about.
    pub subject: SubjectRef,
    /// The site, where there is one.
    pub site: Option<SiteId>,
    /// How long its body is kept; `Personal` exactly when `seal` is given.
    pub retention: Retention,
    /// B: one I-JSON object as it will be stored, or sealed and then stored.
    pub body: Vec<u8>,
    /// The person that a personal body is about: seals it with that person's key.
    pub seal: Option<DataSubject>,
    /// Whether the header names the platform chain's head, and how new that must be.
    pub platformhead: Stamp,
    /// The writer refuses the event outside these times (order and statements of an authorisation).
    pub valid: Option<(Time, Time)>,
}

/// The `platformhead` of an event (formats section 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stamp {
    /// None.
    #[default]
    None,
    /// The newest known to the writer.
    Newest,
    /// The newest, and refused if an event of family `keys` has this platform sequence or a later one: the size of the
    /// platform chain that the caller decided on.
    Fresh {
        /// Events of the platform chain that the caller had seen.
        seen: u64,
    },
    /// The newest, or the platform event that this one restates if that is newer.
    Restates(PlatformHead),
}

/// An append is refused if an event that matches came after the caller looked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// How many events of the chain the caller had seen: it decided on sequences below this one.
    pub seen: u64,
    /// Any of these is a conflict; an empty list means every event is.
    pub matching: Vec<Match>,
}

impl Condition {
    /// Nothing at all may have come after the first `seen` events.
    #[must_use]
    pub const fn unchanged(seen: u64) -> Self {
        Self {
            seen,
            matching: Vec::new(),
        }
    }
}

/// A kind of event. What is not given matches anything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Match {
    /// One of these types; empty: any type.
    pub types: Vec<EventType>,
    /// This subject.
    pub subject: Option<SubjectRef>,
    /// This site.
    pub site: Option<SiteId>,
}

impl Match {
    /// Whether an event is of this kind.
    #[must_use]
    pub fn covers(
        &self,
        event_type: &EventType,
        subject: &SubjectRef,
        site: Option<&SiteId>,
    ) -> bool {
        (self.types.is_empty() || self.types.contains(event_type))
            && self.subject.as_ref().is_none_or(|wanted| wanted == subject)
            && self.site.as_ref().is_none_or(|wanted| Some(wanted) == site)
    }
}

/// One command's events for one chain: all of them are written or none.
#[derive(Debug, Clone)]
pub struct Append {
    /// The chain.
    pub chain: ChainId,
    /// Who sent the command.
    pub actor: Actor,
    /// What makes the command the same when it is sent again.
    pub command: CommandKey,
    /// What the request said; the same command with another one is refused.
    pub request_digest: Option<RequestDigest>,
    /// The events, at least one.
    pub events: Vec<NewEvent>,
    /// When to refuse; `None` never.
    pub condition: Option<Condition>,
    /// The event that caused the command.
    pub causation: Option<EventId>,
    /// What ties a story of several commands together.
    pub correlation: Option<String>,
    /// The W3C trace that the request belongs to.
    pub traceparent: Option<String>,
    /// The event, by its place in `events`, whose body names the hash of the event before it. Only the writer knows that
    /// hash: it puts it where the body says [`HASH_TO_COME`], exactly once.
    pub backlink: Option<usize>,
}

/// Stands in a body for the hash of the event before it in the same append.
pub const HASH_TO_COME: EventHash = EventHash::from_bytes([0; 32]);

impl Append {
    /// A command without condition, cause or request.
    #[must_use]
    pub const fn new(
        chain: ChainId,
        actor: Actor,
        command: CommandKey,
        events: Vec<NewEvent>,
    ) -> Self {
        Self {
            chain,
            actor,
            command,
            request_digest: None,
            events,
            condition: None,
            causation: None,
            correlation: None,
            traceparent: None,
            backlink: None,
        }
    }
}

/// How durable an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// fdatasynced here.
    Local,
    /// Under a `heads.recorded` of the platform chain.
    Recorded,
}

impl Level {
    /// The word in receipts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Recorded => "recorded",
        }
    }
}

/// What a caller gets for an append, and again for the same command ever after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The chain.
    pub chain: ChainId,
    /// The command.
    pub command: CommandId,
    /// The sequence of its first event.
    pub first: Sequence,
    /// The sequence of its last event.
    pub last: Sequence,
    /// Id and hash of each event, in order.
    pub events: Vec<(EventId, EventHash)>,
    /// The journal up to here holds them.
    pub position: Position,
    /// How durable they are now; it may have risen since the first answer.
    pub level: Level,
    /// Whether the command had been accepted before and nothing was written now.
    pub replayed: bool,
}
