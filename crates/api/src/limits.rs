//! How much one token, and one tenant, may ask in a time: more is answered with 429 and when to come back.
//!
//! Nobody waits for a turn here: a request is let in or refused. What is let in and meets in the writer's queue is handed out
//! fairly there; these bounds are for whoever asks more than an operator wants to serve at all.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use countersign_ids::{TenantId, TokenId};
use countersign_service::Access;
use tokio::time::Instant;

use crate::codes;
use crate::problem::Problem;

/// Who asked little for a while may ask so much time's worth at once.
const BURST: Duration = Duration::from_secs(2);
/// Callers that are remembered before those who are not ahead of their time are forgotten.
const REMEMBERED: usize = 4096;

/// The bounds of all callers.
#[derive(Debug)]
pub(crate) struct Limits {
    tokens: Gate<TokenId>,
    tenants: Gate<TenantId>,
}

impl Limits {
    /// So many requests in a second for each token and each tenant; 0 is without a bound.
    pub(crate) fn new(token_rate: usize, tenant_rate: usize) -> Self {
        Self {
            tokens: Gate::new(token_rate),
            tenants: Gate::new(tenant_rate),
        }
    }

    /// Lets a request in, or says when to come back.
    pub(crate) fn admit(&self, access: &Access) -> Result<(), Problem> {
        let now = Instant::now();
        self.tokens
            .admit(access.token(), now)
            .map_err(|wait| refused("token", wait))?;
        let Some(tenant) = access.tenant_id() else {
            return Ok(());
        };
        self.tenants
            .admit(tenant, now)
            .map_err(|wait| refused("tenant", wait))
    }
}

fn refused(whose: &'static str, wait: Duration) -> Problem {
    metrics::counter!("countersign_requests_limited_total", "whose" => whose).increment(1);
    let detail = format!("this {whose} asks more in a second than it may");
    Problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        codes::TOO_MANY_REQUESTS,
        detail,
    )
    .later(wait)
}

/// Requests of each caller at an even pace, with some ahead of it.
#[derive(Debug)]
struct Gate<K> {
    /// The time between two requests; none is without a bound.
    every: Option<Duration>,
    /// When the next request of a caller would be at its pace.
    due: Mutex<BTreeMap<K, Instant>>,
}

impl<K: Ord + Clone> Gate<K> {
    fn new(rate: usize) -> Self {
        let rate = u32::try_from(rate).unwrap_or(u32::MAX);
        Self {
            every: Duration::from_secs(1).checked_div(rate),
            due: Mutex::new(BTreeMap::new()),
        }
    }

    fn admit(&self, who: &K, now: Instant) -> Result<(), Duration> {
        let Some(every) = self.every else {
            return Ok(());
        };
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        if due.len() >= REMEMBERED {
            due.retain(|_, at| *at > now);
        }
        let at = due.get(who).copied().unwrap_or(now).max(now);
        let ahead = at.saturating_duration_since(now);
        if ahead > BURST {
            return Err(ahead.saturating_sub(BURST));
        }
        due.insert(who.clone(), at.checked_add(every).unwrap_or(at));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_has_its_pace_and_a_burst_and_another_has_its_own() {
        let gate = Gate::new(10);
        let began = Instant::now();
        let admitted = |who: &str, at: Duration| gate.admit(&who.to_owned(), began + at).is_ok();
        let burst = (0..100).filter(|_| admitted("a", Duration::ZERO)).count();
        assert_eq!(burst, 21, "two seconds' worth, and the one that is due");
        assert!(admitted("b", Duration::ZERO));
        let wait = gate.admit(&"a".to_owned(), began).unwrap_err();
        assert_eq!(wait, Duration::from_millis(100));
        assert!(admitted("a", wait) && !admitted("a", wait));
        let later = (0..100)
            .filter(|_| admitted("a", Duration::from_secs(60)))
            .count();
        assert_eq!(later, 21, "nothing is saved up beyond the burst");
    }

    #[test]
    fn without_a_rate_nobody_is_refused_or_remembered() {
        let gate = Gate::new(0);
        let now = Instant::now();
        assert!((0..10_000).all(|_| gate.admit(&1, now).is_ok()));
        assert!(gate.due.lock().unwrap().is_empty());
    }
}
