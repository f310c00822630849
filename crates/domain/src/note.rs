//! A platform event as it is restated in a tenant's chain: E, salt and B, checked to belong together.

use countersign_chain::{self as chain, Header};
use countersign_events::platform::Noted;
use countersign_events::{self as events, Event};

use crate::rejection::Rejection;

/// A restated platform event, read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Note {
    pub(crate) header: Header,
    pub(crate) event: Event,
}

impl Note {
    /// Reads E and B; the body has to be the one that E names.
    pub(crate) fn read(noted: &Noted) -> Result<Self, Rejection> {
        let header =
            Header::parse(noted.header.as_bytes()).map_err(|_| Rejection::NoteMalformed)?;
        if chain::body_hash(&noted.salt, noted.body.as_bytes()) != header.bodyhash
            || !header.chain.is_platform()
        {
            return Err(Rejection::NoteMalformed);
        }
        let event = Event::decode(&header.event_type, noted.body.as_bytes())
            .map_err(|_| Rejection::NoteMalformed)?;
        Ok(Self { header, event })
    }
}

/// Whether a platform event decides something in tenants, and so has to be restated there.
#[must_use]
pub const fn is_restated(event: &Event) -> bool {
    match event {
        Event::Approver(events::Approver::Enrolled(_) | events::Approver::Removed(_))
        | Event::Keys(events::Keys::Changed(_)) => true,
        Event::Keys(events::Keys::Created(_))
        | Event::Chain(_)
        | Event::Heads(_)
        | Event::Token(_)
        | Event::Clock(_)
        | Event::Tenant(_)
        | Event::Platform(_)
        | Event::Site(_)
        | Event::Connector(_)
        | Event::Deploy(_)
        | Event::Freeze(_)
        | Event::Action(_)
        | Event::Reason(_)
        | Event::Remark(_)
        | Event::Retention(_)
        | Event::Beat(_) => false,
    }
}
