//! What happened lately in one chain, for conditions: "nothing that matches came after what I saw".
//!
//! Only hashes are kept. Two that collide make a conflict where there was none; the command is then decided again on newer
//! events and passes, so the answer is always safe. The same holds for a caller who looked before this memory begins.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};

use countersign_ids::{EventType, SiteId, SubjectRef};

use crate::append::{Condition, Match};

/// Events of a chain that conditions can look back on.
const WINDOW_EVENTS: usize = 1024;

/// The newest events of a chain.
#[derive(Debug)]
pub(crate) struct Recent {
    first: u64,
    events: VecDeque<Seen>,
}

/// What is remembered of an event. It is made by the caller, so that the writer hashes nothing for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    event_type: u64,
    subject: u64,
    site: Option<u64>,
}

impl Seen {
    pub(crate) fn of(event_type: &EventType, subject: &SubjectRef, site: Option<&SiteId>) -> Self {
        Self {
            event_type: hash(event_type),
            subject: hash(subject),
            site: site.map(hash),
        }
    }
}

/// A condition as it is compared; made by the caller too.
#[derive(Debug)]
pub(crate) struct Awaited {
    pub(crate) seen: u64,
    matching: Vec<Wanted>,
}

impl Awaited {
    pub(crate) fn of(condition: &Condition) -> Self {
        Self {
            seen: condition.seen,
            matching: condition.matching.iter().map(Wanted::of).collect(),
        }
    }
}

impl Recent {
    /// The memory of a chain that has `size` events, none of them remembered.
    pub(crate) const fn starting_at(size: u64) -> Self {
        Self {
            first: size,
            events: VecDeque::new(),
        }
    }

    pub(crate) fn push(&mut self, event: Seen) {
        if self.events.len() == WINDOW_EVENTS {
            self.events.pop_front();
            self.first = self.first.saturating_add(1);
        }
        self.events.push_back(event);
    }

    /// Whether an event that the condition names came after what its caller saw.
    pub(crate) fn conflicts(&self, condition: &Awaited) -> bool {
        let size = self.first.saturating_add(self.events.len() as u64);
        if condition.seen >= size {
            // A caller who saw more than there is looked at another ledger.
            return condition.seen > size;
        }
        if condition.seen < self.first {
            return true;
        }
        let skip = usize::try_from(condition.seen.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let wanted = &condition.matching;
        self.events
            .iter()
            .skip(skip)
            .any(|seen| wanted.is_empty() || wanted.iter().any(|one| one.covers(seen)))
    }
}

#[derive(Debug)]
struct Wanted {
    types: Vec<u64>,
    subject: Option<u64>,
    site: Option<u64>,
}

impl Wanted {
    fn of(wanted: &Match) -> Self {
        Self {
            types: wanted.types.iter().map(hash).collect(),
            subject: wanted.subject.as_ref().map(hash),
            site: wanted.site.as_ref().map(hash),
        }
    }

    fn covers(&self, seen: &Seen) -> bool {
        (self.types.is_empty() || self.types.contains(&seen.event_type))
            && self.subject.is_none_or(|wanted| wanted == seen.subject)
            && self.site.is_none_or(|wanted| Some(wanted) == seen.site)
    }
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(fact: &str) -> EventType {
        EventType::new("action", fact, 1).unwrap()
    }

    fn seen(fact: &str, subject: &str, site: Option<&SiteId>) -> Seen {
        Seen::of(&event(fact), &subject.parse().unwrap(), site)
    }

    fn condition(
        seen: u64,
        fact: Option<&str>,
        subject: Option<&str>,
        site: Option<&str>,
    ) -> Condition {
        let one = Match {
            types: fact.map(event).into_iter().collect(),
            subject: subject.map(|subject| subject.parse().unwrap()),
            site: site.map(|site| site.parse().unwrap()),
        };
        Condition {
            seen,
            matching: vec![one],
        }
    }

    #[test]
    fn what_conflicts() {
        let mut recent = Recent::starting_at(10);
        let blog = "blog".parse().unwrap();
        recent.push(seen("proposed", "a1", Some(&blog)));
        recent.push(seen("approved", "a2", None));
        for (conflicts, condition) in [
            (false, condition(12, None, None, None)),
            (true, condition(13, None, None, None)),
            (true, condition(11, None, None, None)),
            (false, condition(11, Some("proposed"), None, None)),
            (true, condition(10, Some("proposed"), None, None)),
            (true, condition(11, Some("approved"), Some("a2"), None)),
            (false, condition(11, Some("approved"), Some("a1"), None)),
            (true, condition(10, None, None, Some("blog"))),
            (false, condition(11, None, None, Some("blog"))),
            (true, condition(9, Some("rejected"), None, None)),
            (true, Condition::unchanged(11)),
            (false, Condition::unchanged(12)),
        ] {
            let awaited = Awaited::of(&condition);
            assert_eq!(recent.conflicts(&awaited), conflicts, "{condition:?}");
        }
    }

    #[test]
    fn what_is_forgotten_conflicts() {
        let mut recent = Recent::starting_at(0);
        for _ in 0..=WINDOW_EVENTS {
            recent.push(seen("proposed", "a1", None));
        }
        let conflicts =
            |seen| recent.conflicts(&Awaited::of(&condition(seen, Some("rejected"), None, None)));
        assert!(conflicts(0));
        assert!(!conflicts(1));
    }
}
