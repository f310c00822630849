//! The figures of a running server: what it holds, what waits in it, and when each part last got on.
//!
//! Taken when they are asked for. *Healthy but not moving* is `countersign_waiting` above zero with an old
//! `countersign_oldest_waiting_seconds` or `countersign_last_progress_timestamp_seconds`; *nothing to do* is `countersign_waiting`
//! at zero. Labels are kinds of work and tenants, never sites, actions or people.

mod lag;
mod process;
mod progress;

pub(crate) use progress::{Part, Progress};

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use countersign_domain::{Action, State, Tenant, due};
use countersign_ids::{ActionId, ChainId, Sequence, TenantId, Time};
use countersign_store::{Ledger, Overload, Refused, Status};

use crate::beats::BeatsFold;
use crate::service::Inner;
use crate::state::TenantFold;
use crate::{Error, LEASE_MILLIS, Service};
use lag::{Lag, Samples};

/// One figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// Its name; [`FIGURES`] says what it means.
    pub name: &'static str,
    /// What it is about.
    pub labels: Vec<(&'static str, String)>,
    /// The figure.
    pub value: f64,
}

/// Every figure and what it means, as `/metrics` explains it.
pub const FIGURES: &[(&str, &str)] = &[
    ("countersign_ready", "Whether commands are taken"),
    (
        "countersign_ledger_stopped",
        "Whether the writer stopped after a failure",
    ),
    (
        "countersign_ledger_resumed_total",
        "How often the writer went on by itself after a failure",
    ),
    (
        "countersign_log_waits_for_room",
        "Whether the log is not written for want of room",
    ),
    (
        "countersign_clock_jumped",
        "Whether appends wait because the clock jumped ahead",
    ),
    (
        "countersign_damaged_chains",
        "Chains that do not verify and are read-only",
    ),
    (
        "countersign_stopped_read_models",
        "Read models that stopped in a chain",
    ),
    (
        "countersign_rebuilding_read_models",
        "Read models that are made again while what is there is served",
    ),
    (
        "countersign_rebuild_events",
        "Events that are to be folded again, by read model",
    ),
    (
        "countersign_rebuild_folded_events",
        "Events that were folded again, by read model",
    ),
    (
        "countersign_rebuild_events_per_second",
        "How fast events are folded again, by read model",
    ),
    (
        "countersign_policy_invalid",
        "Whether the policy files that were read last are not sound",
    ),
    ("countersign_chains", "Chains with events"),
    ("countersign_events", "Durable events"),
    ("countersign_journal_bytes", "Durable bytes of the journal"),
    (
        "countersign_log_lag_bytes",
        "Bytes of the journal that the log lacks",
    ),
    (
        "countersign_log_lag_events",
        "Events that the log lacks, as of the last sample",
    ),
    (
        "countersign_log_lag_seconds",
        "How long the oldest event that the log lacks has been durable",
    ),
    (
        "countersign_fold_lag_bytes",
        "Bytes of the journal that the read models lack",
    ),
    (
        "countersign_writer_queue",
        "Callers that wait for the writer",
    ),
    (
        "countersign_last_event_timestamp_seconds",
        "The time of the newest event",
    ),
    (
        "countersign_last_progress_timestamp_seconds",
        "When a part of the server last came to the end of its work, or had none",
    ),
    (
        "countersign_waiting",
        "Actions that wait, by what they wait for",
    ),
    (
        "countersign_oldest_waiting_seconds",
        "How long the oldest of them has waited",
    ),
    (
        "countersign_checkpoint_age_seconds",
        "How long the oldest event under no signed checkpoint has been there",
    ),
    (
        "countersign_heads_age_seconds",
        "How long the oldest event under no recorded heads has been there",
    ),
    ("countersign_connectors", "Paired connectors of a tenant"),
    (
        "countersign_connectors_silent",
        "Paired connectors of a tenant that are silent for longer than their lease",
    ),
    (
        "countersign_oldest_beat_seconds",
        "How long the connector of a tenant that was heard least lately has been silent",
    ),
    (
        "countersign_disk_free_bytes",
        "Bytes that the server may still write beside the ledger",
    ),
    (
        "countersign_disk_bytes",
        "Bytes of the file system that the ledger is on",
    ),
    ("process_resident_memory_bytes", "Memory of the server"),
    ("process_open_fds", "Files and sockets that are open"),
    ("process_max_fds", "How many may be open"),
];

/// What actions wait for. The first four are the server's own work, and are done within a second while it is healthy.
const WORK: &[&str] = &[
    "assess",
    "mint",
    "expire",
    "unresolved",
    "decision",
    "delivery",
    "outcome",
];

/// What is remembered from one look to the next.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    samples: Mutex<Samples>,
    /// When the server's own work was first seen to be due.
    due: Mutex<BTreeMap<(TenantId, ActionId, &'static str), Time>>,
    pub(crate) progress: Progress,
}

impl Service {
    /// The figures of now. Reads the policy files and folds what is new: not for a task that must not wait.
    ///
    /// # Errors
    /// An event cannot be read.
    pub fn figures(&self) -> Result<Vec<Figure>, Error> {
        let inner = &self.inner;
        let mut all = Collected::default();
        // A counter is shown from its first increment on; this one is looked at before anything fails.
        metrics::counter!("countersign_reactions_failed_total").increment(0);
        inner.of_ledger(&mut all);
        inner.of_parts(&mut all);
        inner.of_proofs(&mut all)?;
        inner.of_tenants(&mut all)?;
        process::figures(&inner.config.data, &mut all);
        let readiness = self.readiness();
        all.flag("countersign_ready", readiness.ready);
        Ok(all.0)
    }
}

/// Figures as they come.
#[derive(Debug, Default)]
pub(crate) struct Collected(Vec<Figure>);

impl Collected {
    fn add(&mut self, name: &'static str, value: f64) {
        self.of(name, Vec::new(), value);
    }

    fn of(&mut self, name: &'static str, labels: Vec<(&'static str, String)>, value: f64) {
        self.0.push(Figure {
            name,
            labels,
            value,
        });
    }

    fn flag(&mut self, name: &'static str, is: bool) {
        self.add(name, f64::from(u8::from(is)));
    }

    fn count(&mut self, name: &'static str, count: u64) {
        self.count_of(name, Vec::new(), count);
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "a figure beyond 2^53 may be off by one"
    )]
    fn count_of(&mut self, name: &'static str, labels: Vec<(&'static str, String)>, count: u64) {
        self.of(name, labels, count as f64);
    }
}

/// Seconds between two times; none where the second is not later.
fn seconds(from: Time, to: Time) -> f64 {
    std::time::Duration::from_millis(to.millis_since(from)).as_secs_f64()
}

fn timestamp(time: Time) -> f64 {
    seconds(Time::from_unix_millis(0), time)
}

impl Inner {
    fn of_ledger(&self, all: &mut Collected) {
        let status = self.ledger.status();
        let chains = self.ledger.chains();
        let events = chains.iter().map(|(_, head)| head.size).sum();
        let folded = *self.ledger.subscribe_folded().borrow();
        let lag = self.lag(&status, events);
        all.flag("countersign_ledger_stopped", status.stopped.is_some());
        metrics::counter!("countersign_ledger_resumed_total").absolute(status.resumed);
        all.flag("countersign_log_waits_for_room", status.log_waits.is_some());
        all.flag("countersign_clock_jumped", status.clock_jumped);
        all.count("countersign_damaged_chains", length(status.damaged.len()));
        let stopped = length(status.stopped_projections.len());
        all.count("countersign_stopped_read_models", stopped);
        of_rebuilds(&status, &self.ledger.kept_projections(), all);
        all.flag(
            "countersign_policy_invalid",
            self.policies.problem().is_some(),
        );
        all.count("countersign_chains", length(chains.len()));
        all.count("countersign_events", events);
        all.count("countersign_journal_bytes", status.durable.get());
        all.count("countersign_log_lag_bytes", lag.bytes);
        all.count("countersign_log_lag_events", lag.events);
        all.add("countersign_log_lag_seconds", lag.seconds);
        all.count("countersign_fold_lag_bytes", status.durable.since(folded));
        all.count("countersign_writer_queue", length(self.ledger.waiting()));
        let Refused { share, queue, log } = status.refused;
        for (by, count) in [
            (Overload::Share, share),
            (Overload::Queue, queue),
            (Overload::Log, log),
        ] {
            metrics::counter!("countersign_appends_refused_total", "by" => by.as_str())
                .absolute(count);
        }
        let newest = chains.iter().map(|(_, head)| head.time).max();
        all.add(
            "countersign_last_event_timestamp_seconds",
            newest.map_or(0.0, timestamp),
        );
    }

    /// What the log lacks now.
    fn lag(&self, status: &Status, events: u64) -> Lag {
        let now = self.now();
        let lag = {
            let mut samples = lock(&self.watch.samples);
            samples.take(status.durable, events, now);
            samples.lag(status.durable, status.logged, events, now)
        };
        if lag.moves {
            self.moved(Part::Log);
        }
        lag
    }

    /// Notes where journal and log are, so that a lag has an age even if nobody asked before.
    pub(crate) fn sample(&self) {
        let chains = self.ledger.chains();
        let events = chains.iter().map(|(_, head)| head.size).sum();
        self.lag(&self.ledger.status(), events);
    }

    /// A part came to the end of its work, or had none.
    pub(crate) fn moved(&self, part: Part) {
        self.watch.progress.mark(part, self.now());
    }

    fn of_parts(&self, all: &mut Collected) {
        for (part, at) in self.watch.progress.all() {
            all.of(
                "countersign_last_progress_timestamp_seconds",
                vec![("part", part.to_owned())],
                timestamp(at),
            );
        }
    }

    /// How old the oldest event is that is under no signed checkpoint, or in no recorded heads.
    fn of_proofs(&self, all: &mut Collected) -> Result<(), Error> {
        let (mut unsigned, mut unrecorded) = (0.0_f64, 0.0_f64);
        let now = self.now();
        for (chain, head) in self.ledger.chains() {
            let signed = self
                .ledger
                .last_checkpoint(&chain)
                .map_or(0, |last| last.size);
            unsigned = unsigned.max(age_of(&self.ledger, &chain, signed, head.size, now)?);
            // What records the heads cannot be in them.
            if !chain.is_platform() {
                let recorded = self.ledger.recorded(&chain);
                unrecorded =
                    unrecorded.max(age_of(&self.ledger, &chain, recorded, head.size, now)?);
            }
        }
        all.add("countersign_checkpoint_age_seconds", unsigned);
        all.add("countersign_heads_age_seconds", unrecorded);
        Ok(())
    }

    fn of_tenants(&self, all: &mut Collected) -> Result<(), Error> {
        let (now, policy) = (self.now(), *self.policies.current().digest());
        let mut waiting = Waiting::default();
        let mut seen = lock(&self.watch.due);
        let mut still = BTreeSet::new();
        for tenant in self.tenant_ids()? {
            let connectors = self.tenant(&tenant, |fold| {
                for due in due(&fold.tenant, &policy, now) {
                    let key = (tenant.clone(), due.action().clone(), due.work());
                    let since = *seen.entry(key.clone()).or_insert(now);
                    still.insert(key);
                    waiting.note(due.work(), since, now);
                }
                for action in fold.tenant.actions() {
                    if let Some((work, since)) = waits_for_others(fold, action) {
                        waiting.note(work, since, now);
                    }
                }
                paired(&fold.tenant)
            })?;
            self.of_connectors(&tenant, &connectors, now, all)?;
        }
        seen.retain(|key, _| still.contains(key));
        waiting.figures(all);
        Ok(())
    }

    fn of_connectors(
        &self,
        tenant: &TenantId,
        connectors: &[(countersign_ids::ConnectorId, Option<Time>)],
        now: Time,
        all: &mut Collected,
    ) -> Result<(), Error> {
        let heard = self
            .beats
            .look(&self.ledger, &tenant.beats(), BeatsFold::default, |fold| {
                connectors
                    .iter()
                    .map(|(id, observed)| fold.last(id).map(|last| last.at).max(*observed))
                    .collect::<Vec<_>>()
            })?;
        let silent = heard
            .iter()
            .filter(|at| at.is_none_or(|at| now.millis_since(at) > LEASE_MILLIS))
            .count();
        let oldest = heard.iter().flatten().min();
        let label = || vec![("tenant", tenant.to_string())];
        let number = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        all.of("countersign_connectors", label(), number(heard.len()));
        all.of("countersign_connectors_silent", label(), number(silent));
        all.of(
            "countersign_oldest_beat_seconds",
            label(),
            oldest.map_or(0.0, |oldest| seconds(*oldest, now)),
        );
        Ok(())
    }
}

/// How far read models are that are made again; zeros for the others, so that a figure never stands still at an old value.
fn of_rebuilds(status: &Status, kept: &[(&'static str, u32)], all: &mut Collected) {
    let again = length(status.rebuilding.len());
    all.count("countersign_rebuilding_read_models", again);
    for (name, _) in kept {
        let told = status.rebuilding.get(*name).copied().unwrap_or_default();
        for (figure, value) in [
            ("countersign_rebuild_events", told.events),
            ("countersign_rebuild_folded_events", told.folded),
            (
                "countersign_rebuild_events_per_second",
                told.events_per_second,
            ),
        ] {
            let label = vec![("projection", (*name).to_owned())];
            all.count_of(figure, label, value);
        }
    }
}

fn age_of(
    ledger: &Ledger,
    chain: &ChainId,
    covered: u64,
    size: u64,
    now: Time,
) -> Result<f64, Error> {
    if covered >= size {
        return Ok(0.0);
    }
    let oldest = ledger.event(chain, Sequence::new(covered))?;
    Ok(seconds(oldest.header().time, now))
}

/// What an action waits for that the server cannot do: people, or the site; and since when.
fn waits_for_others(fold: &TenantFold, action: &Action) -> Option<(&'static str, Time)> {
    let work = match action.state() {
        State::Waiting => "decision",
        State::Authorized => "delivery",
        State::Delivered | State::Accepted => "outcome",
        State::Proposed
        | State::Withdrawn
        | State::Denied
        | State::Rejected
        | State::Expired
        | State::Revoked
        | State::Refused
        | State::Succeeded
        | State::Failed
        | State::Undone
        | State::Unresolved => return None,
    };
    Some((work, fold.traces(action.id()).last()?.time))
}

/// The paired connectors of a tenant, and when the chain last recorded what one saw.
fn paired(tenant: &Tenant) -> Vec<(countersign_ids::ConnectorId, Option<Time>)> {
    tenant
        .sites()
        .filter_map(|site| {
            let connector = site.connector.as_ref()?;
            let observed = site.observed.as_ref().map(|observed| observed.at);
            Some((connector.id.clone(), observed))
        })
        .collect()
}

/// What waits, by kind: how many, and the oldest.
#[derive(Debug, Default)]
struct Waiting(BTreeMap<&'static str, (u32, f64)>);

impl Waiting {
    fn note(&mut self, work: &'static str, since: Time, now: Time) {
        let (count, oldest) = self.0.entry(work).or_default();
        *count = count.saturating_add(1);
        *oldest = oldest.max(seconds(since, now));
    }

    /// Every kind, those included of which nothing waits.
    fn figures(&self, all: &mut Collected) {
        for work in WORK {
            let (count, oldest) = self.0.get(work).copied().unwrap_or_default();
            let label = || vec![("work", (*work).to_owned())];
            all.of("countersign_waiting", label(), f64::from(count));
            all.of("countersign_oldest_waiting_seconds", label(), oldest);
        }
    }
}

fn length(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Whole values are replaced under these locks, so a panic elsewhere leaves them usable.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
