//! How much one token, and one tenant, may ask in a time: more is answered with 429 and when to come back.
//!
//! Product controls against callers who ask more than an operator wants to serve, and no shield against an attack: a request
//! is counted when its token has been read. Nobody waits for a turn here; what is let in and meets in the writer's queue is
//! handed out fairly there. Connectors and health have no token, and are not counted.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::http::{Method, StatusCode};
use countersign_ids::{TenantId, TokenId};
use countersign_service::Access;

use crate::codes;
use crate::problem::Problem;

/// Callers that are remembered in one class; of more, those who asked least are forgotten.
const REMEMBERED_MAX: usize = 16 * 1024;

/// So many in a time: that many at once, and then as many evenly in each such time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub count: u32,
    /// In how long.
    pub per: Duration,
}

impl Rate {
    /// So many in a second.
    #[must_use]
    pub const fn per_second(count: u32) -> Self {
        Self {
            count,
            per: Duration::from_secs(1),
        }
    }
}

/// The rates of one caller, by what it asks; none is without a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rates {
    /// Requests that change something, or that are decided like one.
    pub commands: Option<Rate>,
    /// Requests that read.
    pub reads: Option<Rate>,
    /// Event streams that are opened.
    pub streams: Option<Rate>,
}

impl Rates {
    /// No bounds.
    pub const OFF: Self = Self {
        commands: None,
        reads: None,
        streams: None,
    };

    /// What one token may ask where nothing else is set.
    #[must_use]
    pub const fn of_token() -> Self {
        Self {
            commands: Some(Rate::per_second(1000)),
            reads: Some(Rate::per_second(2000)),
            streams: Some(Rate::per_second(20)),
        }
    }

    /// What all tokens of one tenant may ask where nothing else is set.
    #[must_use]
    pub const fn of_tenant() -> Self {
        Self {
            commands: Some(Rate::per_second(2000)),
            reads: Some(Rate::per_second(4000)),
            streams: Some(Rate::per_second(50)),
        }
    }
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Commands,
    Reads,
    Streams,
}

impl Class {
    /// The class of a request to a route.
    pub(crate) fn of(method: &Method, route: &str) -> Self {
        if route.ends_with("/events/stream") {
            Self::Streams
        } else if matches!(*method, Method::GET | Method::HEAD) {
            Self::Reads
        } else {
            Self::Commands
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Commands => "commands",
            Self::Reads => "reads",
            Self::Streams => "streams",
        }
    }
}

/// The bounds of all callers.
#[derive(Debug)]
pub(crate) struct Limits {
    tokens: Gates<TokenId>,
    tenants: Gates<TenantId>,
}

impl Limits {
    pub(crate) fn new(token: Rates, tenant: Rates) -> Self {
        for whose in ["token", "tenant"] {
            for class in [Class::Commands, Class::Reads, Class::Streams] {
                counter(whose, class).increment(0);
            }
        }
        Self {
            tokens: Gates::new(token),
            tenants: Gates::new(tenant),
        }
    }

    /// Lets a request in, or says when to come back. `now` is the time since any fixed moment.
    pub(crate) fn admit(
        &self,
        access: &Access,
        class: Class,
        now: Duration,
    ) -> Result<(), Problem> {
        // The token first: what it is refused does not count for its tenant.
        self.tokens
            .of(class)
            .admit(access.token(), now)
            .map_err(|wait| refused("token", class, wait))?;
        access.tenant_id().map_or(Ok(()), |tenant| {
            self.tenants
                .of(class)
                .admit(tenant, now)
                .map_err(|wait| refused("tenant", class, wait))
        })
    }

    /// Counts what a request that was let in asks for beside the one thing: whoever asked waits for it the next time. Who waits
    /// for an earlier one still, because several were let in before any was counted, is refused, and its tenant owes nothing.
    pub(crate) fn charge(
        &self,
        access: &Access,
        class: Class,
        more: usize,
        now: Duration,
    ) -> Result<(), Problem> {
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        self.tokens
            .of(class)
            .charge(access.token(), more, now)
            .map_err(|wait| refused("token", class, wait))?;
        access.tenant_id().map_or(Ok(()), |tenant| {
            self.tenants
                .of(class)
                .charge(tenant, more, now)
                .map_err(|wait| refused("tenant", class, wait))
        })
    }
}

fn refused(whose: &'static str, class: Class, wait: Duration) -> Problem {
    counter(whose, class).increment(1);
    let what = class.as_str();
    Problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        codes::TOO_MANY_REQUESTS,
        format!("more {what} than this {whose} may ask in a time"),
    )
    .later(wait)
}

fn counter(whose: &'static str, class: Class) -> metrics::Counter {
    metrics::counter!("countersign_requests_limited_total", "whose" => whose, "class" => class.as_str())
}

#[derive(Debug)]
struct Gates<K> {
    commands: Gate<K>,
    reads: Gate<K>,
    streams: Gate<K>,
}

impl<K: Ord + Clone> Gates<K> {
    const fn new(rates: Rates) -> Self {
        Self {
            commands: Gate::new(rates.commands),
            reads: Gate::new(rates.reads),
            streams: Gate::new(rates.streams),
        }
    }

    const fn of(&self, class: Class) -> &Gate<K> {
        match class {
            Class::Commands => &self.commands,
            Class::Reads => &self.reads,
            Class::Streams => &self.streams,
        }
    }
}

/// A bucket of tokens for each caller, kept as the one moment at which it is full again.
#[derive(Debug)]
struct Gate<K> {
    rate: Option<Rate>,
    // INVARIANT: at most `REMEMBERED_MAX` callers. Who is not in it has a full bucket.
    full: Mutex<BTreeMap<K, Duration>>,
}

impl<K: Ord + Clone> Gate<K> {
    const fn new(rate: Option<Rate>) -> Self {
        Self {
            rate,
            full: Mutex::new(BTreeMap::new()),
        }
    }

    fn admit(&self, who: &K, now: Duration) -> Result<(), Duration> {
        let Some(Rate { count, per }) = self.rate else {
            return Ok(());
        };
        let Some(every) = per.checked_div(count) else {
            return Err(per);
        };
        let mut full = self.full.lock().unwrap_or_else(PoisonError::into_inner);
        let at = full.get(who).copied().unwrap_or(now).max(now);
        // Taking one more makes the bucket full so much later; it never holds less than nothing.
        let then = at.saturating_add(every);
        let wait = then.saturating_sub(now).saturating_sub(per);
        if !wait.is_zero() {
            return Err(wait);
        }
        if full.len() >= REMEMBERED_MAX && !full.contains_key(who) {
            forget(&mut full, now);
        }
        full.insert(who.clone(), then);
        Ok(())
    }

    /// Counts more of a caller that was let in just now, unless it owes more than that already.
    fn charge(&self, who: &K, more: u32, now: Duration) -> Result<(), Duration> {
        let Some((every, per)) = self
            .rate
            .and_then(|rate| Some((rate.per.checked_div(rate.count)?, rate.per)))
        else {
            return Ok(());
        };
        let mut full = self.full.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(at) = full.get_mut(who) else {
            return Ok(());
        };
        let wait = at.saturating_sub(now).saturating_sub(per);
        if !wait.is_zero() {
            return Err(wait);
        }
        *at = (*at).max(now).saturating_add(every.saturating_mul(more));
        Ok(())
    }
}

/// Makes room: whose bucket is full, and if that is not enough, the half of the others whose bucket is full soonest.
fn forget<K: Ord>(full: &mut BTreeMap<K, Duration>, now: Duration) {
    full.retain(|_, at| *at > now);
    if full.len() < REMEMBERED_MAX {
        return;
    }
    let mut times: Vec<Duration> = full.values().copied().collect();
    let middle = times.len() / 2;
    let (_, median, _) = times.select_nth_unstable(middle);
    let median = *median;
    full.retain(|_, at| *at > median);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn admitted(gate: &Gate<u32>, who: u32, at: Duration) -> usize {
        (0..1000).filter(|_| gate.admit(&who, at).is_ok()).count()
    }

    #[test]
    fn a_caller_has_its_rate_at_once_and_then_evenly_and_another_has_its_own() {
        let gate = Gate::new(Some(Rate::per_second(10)));
        assert_eq!(admitted(&gate, 1, SECOND), 10);
        assert_eq!(admitted(&gate, 2, SECOND), 10);
        let wait = gate.admit(&1, SECOND).unwrap_err();
        assert_eq!(wait, Duration::from_millis(100));
        assert_eq!(admitted(&gate, 1, SECOND + wait), 1);
        assert_eq!(admitted(&gate, 1, 60 * SECOND), 10, "nothing is saved up");
        // A clock that stands still or goes back gives nothing.
        assert_eq!(admitted(&gate, 1, 59 * SECOND), 0);
    }

    #[test]
    fn a_list_is_let_in_and_then_waited_for() {
        let gate = Gate::new(Some(Rate::per_second(10)));
        assert_eq!(gate.admit(&1, SECOND), Ok(()));
        assert_eq!(
            gate.admit(&1, SECOND),
            Ok(()),
            "let in before the first was read"
        );
        assert_eq!(gate.charge(&1, 98, SECOND), Ok(()));
        let owed = gate.charge(&1, 98, SECOND).unwrap_err();
        assert_eq!(owed, 9 * SECOND, "and refused when it was");
        // A hundred at ten a second: the tenth second after is the first with room for one more.
        assert_eq!(admitted(&gate, 1, 10 * SECOND), 0);
        assert_eq!(admitted(&gate, 1, 10 * SECOND + SECOND / 10), 1);
        assert_eq!(admitted(&gate, 2, SECOND), 10, "others have their own");
    }

    #[test]
    fn what_a_rate_can_be() {
        for (rate, at_once, after_a_second) in [
            (None, 1000, 1000),
            (Some(Rate::per_second(0)), 0, 0),
            (Some(Rate::per_second(1)), 1, 1),
            (
                Some(Rate {
                    count: 60,
                    per: 60 * SECOND,
                }),
                60,
                1,
            ),
            (Some(Rate::per_second(u32::MAX)), 1000, 1000),
            (
                Some(Rate {
                    count: 1,
                    per: 86_400 * SECOND,
                }),
                1,
                0,
            ),
        ] {
            let gate = Gate::new(rate);
            assert_eq!(admitted(&gate, 1, Duration::ZERO), at_once, "{rate:?}");
            assert_eq!(admitted(&gate, 1, SECOND), after_a_second, "{rate:?}");
        }
    }

    #[test]
    fn memory_is_bounded_and_who_asks_most_is_not_forgotten() {
        let gate = Gate::new(Some(Rate::per_second(10)));
        assert_eq!(admitted(&gate, u32::MAX, SECOND), 10);
        for who in 0..100_000 {
            gate.admit(&who, SECOND).unwrap();
        }
        assert!(gate.full.lock().unwrap().len() <= REMEMBERED_MAX);
        assert_eq!(admitted(&gate, u32::MAX, SECOND), 0);
        gate.admit(&1, 10 * SECOND).unwrap();
        for who in 0..100_000 {
            gate.admit(&who, 20 * SECOND).unwrap();
        }
        assert!(gate.full.lock().unwrap().len() <= REMEMBERED_MAX);
    }

    #[test]
    fn what_is_asked_has_a_class() {
        for (method, route, class) in [
            (Method::GET, "/v1/tenants/{tenant}/events", Class::Reads),
            (Method::HEAD, "/v1/tenants", Class::Reads),
            (
                Method::GET,
                "/v1/tenants/{tenant}/events/stream",
                Class::Streams,
            ),
            (Method::POST, "/v1/actions", Class::Commands),
            (
                Method::PUT,
                "/v1/tenants/{tenant}/blobs/{digest}",
                Class::Commands,
            ),
            (Method::from_bytes(b"QUERY").unwrap(), "", Class::Commands),
        ] {
            assert_eq!(Class::of(&method, route), class, "{method} {route}");
        }
    }

    proptest! {
        /// Beside a bucket that is counted in fractions: one more or less where they round differently, and never more.
        #[test]
        fn it_is_a_bucket_of_tokens(count in 1..50_u32, millis in 1..5000_u64, steps in prop::collection::vec(0..400_u64, 1..200)) {
            let per = Duration::from_millis(millis);
            let gate = Gate::new(Some(Rate { count, per }));
            let (mut now, mut level) = (Duration::ZERO, f64::from(count));
            for step in steps {
                let gone = Duration::from_millis(step);
                now += gone;
                let filled = f64::from(count) * gone.as_secs_f64() / per.as_secs_f64();
                level = (level + filled).min(f64::from(count));
                match gate.admit(&(), now) {
                    Ok(()) => {
                        prop_assert!(level > 1.0 - 1e-3, "{level}");
                        level -= 1.0;
                    }
                    Err(wait) => {
                        prop_assert!(level < 1.0 + 1e-3, "{level}");
                        let missing = (1.0 - level) * per.as_secs_f64() / f64::from(count);
                        prop_assert!((wait.as_secs_f64() - missing).abs() < 1e-3 * per.as_secs_f64());
                    }
                }
            }
        }
    }
}
