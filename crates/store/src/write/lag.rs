//! Who may still write when the log is far behind the journal: those who made it so are refused first.
//!
//! As long as the log lacks less than half of what it may, nobody is counted. Beyond it, what each chain adds is; a chain that
//! added more than its part is refused at three quarters of the bound, and the last quarter is for the others. Connectors and
//! the plane itself may go beyond the bound, by a quarter.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use countersign_ids::ChainId;

use super::lanes::Asker;

/// A chain with more than one part in so many of what was added has its part.
const PART: u64 = 8;
/// Chains that are counted; with more of them, none is to blame.
const CHAINS_MAX: usize = 4096;

/// What was added since the log fell behind.
#[derive(Debug)]
pub(crate) struct Lagging {
    bytes_max: u64,
    counting: AtomicBool,
    added: Mutex<Added>,
}

#[derive(Debug, Default)]
struct Added {
    all: u64,
    chains: BTreeMap<ChainId, u64>,
}

impl Lagging {
    pub(crate) fn new(bytes_max: u64) -> Self {
        Self {
            bytes_max,
            counting: AtomicBool::new(false),
            added: Mutex::default(),
        }
    }

    /// Whether a chain may add something while the log lacks so much.
    pub(crate) fn admits(&self, asker: Asker, chain: &ChainId, lag: u64) -> bool {
        let quarter = self.bytes_max / 4;
        if asker == Asker::Plane {
            return lag <= self.bytes_max.saturating_add(quarter);
        }
        if lag <= self.bytes_max.saturating_sub(quarter) {
            return true;
        }
        lag <= self.bytes_max && !self.has_its_part(chain)
    }

    /// Takes note of what a chain adds.
    pub(crate) fn note(&self, chain: &ChainId, bytes: usize, lag: u64) {
        if lag <= self.bytes_max / 2 {
            if self.counting.swap(false, Ordering::Relaxed) {
                *self.added() = Added::default();
            }
            return;
        }
        self.counting.store(true, Ordering::Relaxed);
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let mut added = self.added();
        if added.chains.len() >= CHAINS_MAX || added.all > self.bytes_max {
            // What was long ago counts for nothing.
            *added = Added::default();
        }
        added.all = added.all.saturating_add(bytes);
        match added.chains.get_mut(chain) {
            Some(its) => *its = its.saturating_add(bytes),
            None => drop(added.chains.insert(chain.clone(), bytes)),
        }
    }

    fn has_its_part(&self, chain: &ChainId) -> bool {
        let added = self.added();
        let its = added.chains.get(chain).copied().unwrap_or_default();
        its > added.all / PART
    }

    fn added(&self) -> std::sync::MutexGuard<'_, Added> {
        self.added.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_made_the_lag_are_refused_first() {
        let lagging = Lagging::new(1000);
        let chain = |name: &str| name.parse::<ChainId>().unwrap();
        // Nothing is counted until half is lacking.
        lagging.note(&chain("early"), 400, 400);
        lagging.note(&chain("noisy"), 200, 501);
        lagging.note(&chain("quiet"), 1, 700);
        for (asker, name, lag, admitted) in [
            (Asker::Caller, "noisy", 750, true),
            (Asker::Caller, "noisy", 751, false),
            (Asker::Caller, "quiet", 751, true),
            (Asker::Caller, "early", 1000, true),
            (Asker::Caller, "quiet", 1000, true),
            (Asker::Caller, "quiet", 1001, false),
            (Asker::Plane, "noisy", 1250, true),
            (Asker::Plane, "noisy", 1251, false),
        ] {
            let got = lagging.admits(asker, &chain(name), lag);
            assert_eq!(got, admitted, "{asker:?} {name} {lag}");
        }
        // When the log has caught up, it is forgotten.
        lagging.note(&chain("quiet"), 1, 10);
        assert!(lagging.admits(Asker::Caller, &chain("noisy"), 1000));
        // Where many make it, none of them has more than its part.
        for number in 0..20 {
            lagging.note(&chain(&format!("t{number}")), 10, 900);
        }
        assert!(lagging.admits(Asker::Caller, &chain("t3"), 1000));
    }

    #[test]
    fn memory_is_bounded() {
        let lagging = Lagging::new(u64::MAX);
        for number in 0..3 * CHAINS_MAX {
            let chain = format!("t{number}").parse().unwrap();
            lagging.note(&chain, 1, u64::MAX);
            assert!(lagging.added().chains.len() <= CHAINS_MAX);
        }
    }
}
