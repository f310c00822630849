//! Restates a platform event in a tenant's chain, so that what is decided here is decided on it.

use countersign_chain as chain;
use countersign_events::platform::Noted;
use countersign_ids::PlatformHead;

use super::Facts;
use crate::decision::{Decision, Draft, Stamp};
use crate::note::{Note, is_restated};
use crate::rejection::Rejection;
use crate::tenant::Tenant;

/// Restates a platform event.
#[derive(Debug, Clone, PartialEq)]
pub struct NotePlatform {
    /// The event: E, salt and B, byte for byte.
    pub noted: Noted,
}

impl NotePlatform {
    pub(super) fn decide(&self, tenant: &Tenant, _: &Facts) -> Result<Decision, Rejection> {
        let (_, ledger) = tenant.created()?;
        let note = Note::read(&self.noted)?;
        if note.header.ledger != *ledger {
            return Err(Rejection::NoteMalformed);
        }
        if !is_restated(&note.event) {
            return Err(Rejection::NoteIrrelevant {
                event_type: note.header.event_type.to_string(),
            });
        }
        if tenant.noted >= Some(note.header.sequence) {
            return Err(Rejection::NoteRepeated {
                sequence: note.header.sequence.get(),
            });
        }
        let head = PlatformHead {
            sequence: note.header.sequence,
            hash: chain::event_hash(self.noted.header.as_bytes()),
        };
        let draft = Draft::new(self.noted.clone(), note.header.subject.clone())
            .stamped(Stamp::Restates(head));
        // Two restatements at once would both be valid alone: nothing at all may come between.
        Ok(Decision::of([draft]))
    }
}
