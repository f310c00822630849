//! Whether commands are taken, and what an operator should know: the answer of `/readyz`.

use countersign_store::codes::{CLOCK_JUMPED, DAMAGE_LEFT, DISK_FULL};

use crate::model::Readiness;
use crate::{Error, Service};

impl Service {
    /// Whether commands are taken, and everything that is wrong.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        let inner = &self.inner;
        let ledger = inner.ledger.status();
        let mut problems = Vec::new();
        if let Some((code, reason)) = &ledger.stopped {
            let after = if ledger.resumes {
                "; it writes again by itself once this is mended"
            } else {
                "; it writes again after a restart"
            };
            problems.push((*code, format!("{reason}{after}")));
        }
        if ledger.clock_jumped {
            problems.push((
                CLOCK_JUMPED,
                "appends wait until the clock returns".to_owned(),
            ));
        }
        if inner.stop.is_cancelled() {
            problems.push((Error::Stopping.code(), "the server is stopping".to_owned()));
        }
        let ready = problems.is_empty();
        if let Some(reason) = &ledger.log_waits {
            problems.push((DISK_FULL, format!("the log waits for room: {reason}")));
        }
        for damage in &ledger.damage {
            problems.push((DAMAGE_LEFT, damage.to_string()));
        }
        for (chain, (sequence, reason)) in &ledger.damaged {
            let damaged = countersign_store::Error::ChainDamaged {
                chain: chain.clone(),
                sequence: *sequence,
                reason: reason.clone(),
            };
            problems.push((damaged.code(), damaged.to_string()));
        }
        for ((projection, chain), (sequence, reason)) in &ledger.stopped_projections {
            let line = format!(
                "read model `{projection}` of chain `{chain}` stopped at {sequence}: {reason}"
            );
            problems.push((crate::error::PROJECTION, line));
        }
        if let Some(problem) = inner.policies.problem() {
            problems.push((countersign_policy::POLICY_INVALID, problem));
        }
        Readiness {
            ready,
            problems,
            ledger,
        }
    }
}
