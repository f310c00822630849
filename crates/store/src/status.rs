//! What the ledger says about itself: for `/readyz`, for metrics, and for people.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use countersign_ids::{ChainId, Code, Sequence};

use crate::clock::SteppedBack;
use crate::journal::scan::Torn;
use crate::{Error, Position};

/// The state of the ledger at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// Why nothing is written any more, if so: the code and the first failure.
    pub stopped: Option<(Code, String)>,
    /// Everything before this position is durable.
    pub durable: Position,
    /// The log reaches this position and would survive a power cut.
    pub logged: Position,
    /// Chains that do not verify, with the first bad event: they are read-only.
    pub damaged: BTreeMap<ChainId, (Sequence, String)>,
    /// Projections that stopped in one chain, with the event that stopped them.
    pub stopped_projections: BTreeMap<(String, ChainId), (Sequence, String)>,
    /// What happened to the log when the ledger was opened or since.
    pub log_notices: Vec<String>,
    /// The log that was set aside, if one was.
    pub set_aside: Option<PathBuf>,
    /// The torn tail that was found when the ledger was opened.
    pub torn: Option<Torn>,
    /// Whether the last stop was clean.
    pub was_closed: bool,
    /// The last step back of the clock that nobody has taken yet.
    pub stepped_back: Option<SteppedBack>,
    /// Whether appends are refused because the clock jumped ahead.
    pub clock_jumped: bool,
    /// How often appends were refused because something was at its bound.
    pub refused: Refused,
}

/// How often appends were refused, by what was at its bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Refused {
    /// See [`crate::Overload::Share`].
    pub share: u64,
    /// See [`crate::Overload::Queue`].
    pub queue: u64,
    /// See [`crate::Overload::Log`].
    pub log: u64,
}

/// Where the threads of the store write their status.
#[derive(Debug, Default)]
pub(crate) struct Board(Mutex<Status>);

impl Board {
    pub(crate) fn read(&self) -> Status {
        self.with(|status| status.clone())
    }

    pub(crate) fn with<T>(&self, change: impl FnOnce(&mut Status) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Nothing is written from now on; the first reason stays.
    pub(crate) fn stop(&self, error: &Error) {
        let reason = chain_of(error);
        tracing::error!(code = error.code().id, %reason, "the ledger stopped writing");
        self.with(|status| {
            status.stopped.get_or_insert_with(|| (error.code(), reason));
        });
    }

    pub(crate) fn stopped(&self) -> Option<Error> {
        self.with(|status| {
            status.stopped.as_ref().map(|(_, reason)| Error::Stopped {
                reason: reason.clone(),
            })
        })
    }

    pub(crate) fn chain_damaged(&self, chain: &ChainId, sequence: Sequence, reason: &str) {
        tracing::error!(%chain, %sequence, reason, "a chain does not verify; it is read-only");
        self.with(|status| {
            status
                .damaged
                .entry(chain.clone())
                .or_insert_with(|| (sequence, reason.to_owned()));
        });
    }

    pub(crate) fn damaged(&self, chain: &ChainId) -> Option<Error> {
        self.with(|status| {
            let (sequence, reason) = status.damaged.get(chain)?.clone();
            Some(Error::ChainDamaged {
                chain: chain.clone(),
                sequence,
                reason,
            })
        })
    }

    pub(crate) fn projection_stopped(
        &self,
        name: &str,
        chain: &ChainId,
        sequence: Sequence,
        reason: &str,
    ) {
        tracing::error!(projection = name, %chain, %sequence, reason, "a projection stopped");
        self.with(|status| {
            let key = (name.to_owned(), chain.clone());
            status
                .stopped_projections
                .entry(key)
                .or_insert_with(|| (sequence, reason.to_owned()));
        });
    }

    pub(crate) fn log_notice(&self, notice: String) {
        tracing::warn!(notice, "the log is rebuilt from the journal");
        self.with(|status| status.log_notices.push(notice));
    }

    pub(crate) fn log_damaged(&self, chain: &ChainId, sequence: Sequence, reason: &str) {
        tracing::error!(%chain, %sequence, reason, "the log is damaged; reading from the journal");
        let notice = format!("chain `{chain}` is damaged in the log at {sequence}: {reason}");
        self.with(|status| {
            if !status.log_notices.contains(&notice) {
                status.log_notices.push(notice);
            }
        });
    }
}

/// An error and what caused it, on one line.
pub(crate) fn chain_of(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
