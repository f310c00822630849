//! What the ledger says about itself: for `/readyz`, for metrics, and for people.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use countersign_ids::{ChainId, Code, Sequence};

use crate::clock::SteppedBack;
use crate::journal::scan::Torn;
use crate::{Damage, Error, Position, codes};

/// When a caller may try again after a failure that may pass.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The state of the ledger at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// Why nothing is written any more, if so: the code and the first failure.
    pub stopped: Option<(Code, String)>,
    /// Whether it goes on by itself once what failed is mended.
    pub resumes: bool,
    /// How often it went on so since it was opened.
    pub resumed: u64,
    /// Why the log is not written, if it waits for room.
    pub log_waits: Option<String>,
    /// Everything before this position is durable.
    pub durable: Position,
    /// The log reaches this position and would survive a power cut.
    pub logged: Position,
    /// Chains that do not verify, with the first bad event: they are read-only.
    pub damaged: BTreeMap<ChainId, (Sequence, String)>,
    /// Damage that nothing healed.
    pub damage: Vec<Damage>,
    /// Damage that was healed since the ledger was opened, or while it was.
    pub healed: Vec<Damage>,
    /// Projections that stopped in one chain, with the event that stopped them.
    pub stopped_projections: BTreeMap<(String, ChainId), (Sequence, String)>,
    /// Projections that are made again while the rows before are served.
    pub rebuilding: BTreeMap<String, Rebuilding>,
    /// How often rows that were replaced are still to be removed, by projection and chain.
    pub clearing: u64,
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

/// How far a projection is that is made again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rebuilding {
    /// The version of the code that makes it.
    pub version: u32,
    /// The generation of its rows; where it differs from chain to chain, the newest.
    pub generation: u32,
    /// Whether the rows that are served stand still: an older version made them, whose code this program does not have.
    pub stale: bool,
    /// Chains in which it is not done.
    pub chains: u64,
    /// Those of them in which it stopped; [`Status::stopped_projections`] says why.
    pub stopped: u64,
    /// Events that were folded again, since this process began with it and in chains that it went on with.
    pub folded: u64,
    /// How many there are to fold, in all chains that do not stop it.
    pub events: u64,
    /// The pace since this process began with it.
    pub events_per_second: u64,
}

impl Rebuilding {
    /// How long it still takes at this pace; `None` while there is none.
    #[must_use]
    pub const fn seconds_left(&self) -> Option<u64> {
        let left = self.events.saturating_sub(self.folded);
        match self.events_per_second {
            0 if left > 0 => None,
            0 => Some(0),
            pace => Some(left.div_ceil(pace)),
        }
    }
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
        self.stop_for(error, false);
    }

    /// Nothing is written until what failed is mended.
    pub(crate) fn wait(&self, error: &Error) {
        self.stop_for(error, true);
    }

    fn stop_for(&self, error: &Error, resumes: bool) {
        let reason = chain_of(error);
        let news = self.with(|status| {
            // What is for good replaces what might have passed.
            let news = status.stopped.is_none() || (status.resumes && !resumes);
            if news {
                status.stopped = Some((error.code(), reason.clone()));
                status.resumes = resumes;
            }
            news
        });
        if news {
            tracing::error!(code = error.code().id, %reason, resumes, "the ledger stopped writing");
        }
    }

    /// What failed is mended.
    pub(crate) fn resume(&self) {
        self.with(|status| {
            status.stopped = None;
            status.resumes = false;
            status.resumed = status.resumed.saturating_add(1);
        });
        tracing::warn!("what failed is mended: the ledger writes again");
    }

    pub(crate) fn stopped(&self) -> Option<Error> {
        self.with(|status| {
            let (code, reason) = status.stopped.clone()?;
            Some(if status.resumes {
                Error::Waiting {
                    code,
                    reason,
                    retry_after: RETRY_AFTER,
                }
            } else {
                Error::Stopped { reason }
            })
        })
    }

    /// Whether the log waits for room; said when it changes.
    pub(crate) fn log_waits(&self, why: Option<String>) {
        let was = self.with(|status| std::mem::replace(&mut status.log_waits, why.clone()));
        match (was, why) {
            (None, Some(why)) => tracing::error!(
                code = codes::DISK_FULL.id,
                why,
                "the log is not written; the journal has what it lacks"
            ),
            (Some(_), None) => tracing::warn!("the log is written again"),
            _ => {}
        }
    }

    pub(crate) fn chain_damaged(&self, chain: &ChainId, sequence: Sequence, reason: &str) {
        let news = self.with(|status| {
            let known = status.damaged.contains_key(chain);
            let first = || (sequence, reason.to_owned());
            status.damaged.entry(chain.clone()).or_insert_with(first);
            !known
        });
        if news {
            tracing::error!(%chain, %sequence, reason, "a chain does not verify; it is read-only");
        }
    }

    /// Damage that nothing healed; the bytes stay as they are.
    pub(crate) fn damage_left(&self, damage: Damage) {
        say_left(&damage);
        self.with(|status| status.damage.push(damage));
    }

    /// What a sweep left is all that there is.
    pub(crate) fn left_by_sweep(&self, left: &[Damage]) {
        let before = self.with(|status| std::mem::replace(&mut status.damage, left.to_vec()));
        for damage in left.iter().filter(|damage| !before.contains(damage)) {
            say_left(damage);
        }
    }

    pub(crate) fn damaged_chains(&self) -> BTreeMap<ChainId, (Sequence, String)> {
        self.with(|status| status.damaged.clone())
    }

    /// Damage that is healed.
    pub(crate) fn damage_healed(&self, damage: Damage) {
        tracing::warn!(%damage, "damage was found and healed");
        self.with(|status| status.healed.push(damage));
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

    pub(crate) fn projection_goes_on(&self, name: &str, chain: &ChainId) {
        self.with(|status| {
            let key = (name.to_owned(), chain.clone());
            status.stopped_projections.remove(&key);
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

fn say_left(damage: &Damage) {
    let code = codes::DAMAGE_LEFT.id;
    tracing::error!(code, place = %damage.place, what = damage.what, "damage was found and is left");
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
