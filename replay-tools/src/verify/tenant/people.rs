//! People: platform facts restated in the tenant's chain, and the proofs of enrolment.

use countersign_chain::{Header, body_hash, event_hash, json};
use countersign_events::approver::{Approver, Enrolled};
use countersign_events::platform::Noted;
use countersign_events::{DecodeError, Event};
use countersign_evidence::{Alg, enrolment};
use countersign_ids::LedgerId;

use super::{Context, Seen, Tenant};
use crate::verify::fault::{Checked, absent, bad, need};

impl Tenant {
    /// A platform event restated: the same bytes as on platform, and not newer than the `platformhead`.
    pub(super) fn noted(
        &mut self,
        seen: &Seen<'_>,
        noted: &Noted,
        context: &Context<'_, '_>,
    ) -> Checked {
        const RULE: &str = "restated";
        let raw = noted.header.as_bytes();
        let header = Header::parse(raw)
            .map_err(|error| bad(RULE, format!("the header restated: {error}")))?;
        let body = noted.body.as_bytes();
        let same = header.ledger == self.ledger && header.chain.is_platform();
        need(same, RULE, "restates an event of another ledger or chain")?;
        need(
            body_hash(&noted.salt, body) == header.bodyhash,
            RULE,
            "the body restated does not hash to its bodyhash",
        )?;
        json::check(body).map_err(|error| bad(RULE, error))?;
        // What it says is taken in before its place on platform is looked for: it is whole in itself, and a platform event
        // that a bundle lacks must not turn into votes of strangers.
        let said = match Event::decode(&header.event_type, body) {
            Ok(event) => self.take_in(event, context),
            Err(error @ DecodeError::Unknown(_)) => Err(absent("type", error)),
            Err(error @ DecodeError::Malformed { .. }) => Err(bad(RULE, error)),
        };
        said?;
        let at = header.sequence;
        let head = seen.header.platformhead.as_ref();
        need(
            head.is_some_and(|head| head.sequence >= at),
            RULE,
            "its platformhead is older than what it restates",
        )?;
        match context.platform.hash_at(at.get()) {
            Some(hash) => need(
                hash == event_hash(raw),
                RULE,
                "restates another event than platform has there",
            ),
            None if context.platform.is_whole() => need(
                context.platform.is_broken(),
                RULE,
                "restates an event that platform does not have",
            ),
            None => Err(absent(
                RULE,
                format!("platform event {at}, which it restates, is not here"),
            )),
        }
    }

    fn take_in(&mut self, event: Event, context: &Context<'_, '_>) -> Checked {
        match event {
            Event::Approver(Approver::Enrolled(enrolled)) => {
                let key = (enrolled.approver.clone(), enrolled.credential.clone());
                self.people.insert(key, enrolled.credential());
                context.pins.approver(&enrolled.key.0)?;
                check_enrolment(&self.ledger, &enrolled)
            }
            Event::Approver(Approver::Removed(removed)) => {
                self.people.remove(&(removed.approver, removed.credential));
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// The key proves that it is held, for this ledger and this person.
pub(crate) fn check_enrolment(ledger: &LedgerId, enrolled: &Enrolled) -> Checked {
    if enrolled.alg != Alg::Ed25519 {
        return Err(absent(
            "alg",
            format!("keys of kind `{}` are not supported", enrolled.alg.as_str()),
        ));
    }
    enrolment::verify_enrolment(ledger, &enrolled.credential(), &enrolled.proof)
        .map_err(|error| bad("enrolment", error))
}
