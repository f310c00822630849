//! What a decision gives: drafts of events, and what must not have happened meanwhile.
//!
//! Pure values; the writer gives each draft its id, time, positions and links. docs/format.md, "Appending".

use countersign_events::Event;
use countersign_ids::{
    ChainId, DataSubject, Digest, EventType, PlatformHead, SiteId, SubjectRef, Time,
};

/// An event that was decided and is not yet written.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// What happened.
    pub event: Event,
    /// The aggregate that it is about.
    pub subject: SubjectRef,
    /// The site, where there is one.
    pub site: Option<SiteId>,
    /// The person that a personal body is about.
    pub seal: Option<DataSubject>,
    /// The writer refuses the append outside these times, both included.
    pub valid: Option<(Time, Time)>,
    /// Whether the header names an event of the platform chain, and which.
    pub stamp: Stamp,
    /// Whether its body names the hash of the draft before it, which the writer puts where 32 zero bytes stand.
    pub names_before: bool,
}

/// The `platformhead` of a draft.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stamp {
    /// None.
    #[default]
    None,
    /// The newest event of family `keys` or `heads`.
    Newest,
    /// The newest, and the append is refused if the keys changed since the decision.
    Fresh,
    /// The newest, or the platform event that is restated if that is newer.
    Restates(PlatformHead),
}

impl Draft {
    /// A draft about `subject`, at no site.
    pub(crate) fn new(event: impl Into<Event>, subject: impl Into<SubjectRef>) -> Self {
        Self {
            event: event.into(),
            subject: subject.into(),
            site: None,
            seal: None,
            valid: None,
            stamp: Stamp::None,
            names_before: false,
        }
    }

    pub(crate) fn at(mut self, site: &SiteId) -> Self {
        self.site = Some(site.clone());
        self
    }

    pub(crate) fn sealed(mut self, person: &DataSubject) -> Self {
        self.seal = Some(person.clone());
        self
    }

    pub(crate) const fn valid(mut self, from: Time, until: Time) -> Self {
        self.valid = Some((from, until));
        self
    }

    pub(crate) const fn stamped(mut self, stamp: Stamp) -> Self {
        self.stamp = stamp;
        self
    }
}

/// A blob that has to be durable before the events that name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// Its SHA-256.
    pub digest: Digest,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// A kind of event; what is not given matches any.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Guard {
    /// One of these types; empty: any.
    pub types: Vec<EventType>,
    /// About this.
    pub subject: Option<SubjectRef>,
    /// At this site.
    pub site: Option<SiteId>,
}

impl Guard {
    /// Everything that is about `subject`.
    pub(crate) fn about(subject: impl Into<SubjectRef>) -> Self {
        Self {
            subject: Some(subject.into()),
            ..Self::default()
        }
    }

    /// Everything at `site`.
    pub(crate) fn site(site: &SiteId) -> Self {
        Self {
            site: Some(site.clone()),
            ..Self::default()
        }
    }

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

/// What was decided.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Decision {
    /// The events, in order; none where the chain says so already.
    pub drafts: Vec<Draft>,
    /// If an event of one of these kinds came since, the command is decided again. Empty: any event at all.
    pub guards: Vec<Guard>,
    /// Blobs to store before.
    pub blobs: Vec<Blob>,
}

impl Decision {
    pub(crate) fn of(drafts: impl IntoIterator<Item = Draft>) -> Self {
        Self {
            drafts: drafts.into_iter().collect(),
            guards: Vec::new(),
            blobs: Vec::new(),
        }
    }

    pub(crate) fn unless(mut self, guards: impl IntoIterator<Item = Guard>) -> Self {
        self.guards.extend(guards);
        self
    }
}

/// The chain that a tenant's, the platform's or a heartbeat's decision is for.
pub trait Aggregate {
    /// The chain that it folds.
    fn chain(&self) -> &ChainId;
    /// How many events it has folded: a decision was made on the sequences below this one.
    fn size(&self) -> u64;
}
