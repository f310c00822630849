//! What follows from events and from time: assessing, minting, expiring; restating; checkpoints and heads of bounded age.
//!
//! A reaction is found in the state, not in the event that led to it, so a crash at any point forgets nothing: the next
//! start looks at the same state. Its command id derives from the last event of its action and the kind of work, so nothing
//! happens twice either. No effect lives in a task alone.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use countersign_domain::{Due, due};
use countersign_events::clock::SteppedBack;
use countersign_ids::{ChainId, Digest, EventId, TenantId};
use countersign_store::Receipt;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{MissedTickBehavior, interval};

use crate::Error;
use crate::access::reactor;
use crate::checkpoints::{Heads, append};
use crate::damage;
use crate::engine::{ATTEMPTS, Command};
use crate::figures::Part;
use crate::keep;
use crate::platform::PlatformFold;
use crate::service::Inner;

/// How often time and the policy files are looked at.
const TICK: Duration = Duration::from_millis(500);
/// How many rounds of reactions to reactions are followed before others get their turn.
const ROUNDS: usize = 16;
/// How many tenants get their turn at the same time.
const TENANTS_AT_ONCE: usize = 4;
/// How many reactions of one tenant are under way at once.
const AT_ONCE: usize = 16;
/// How many rounds policy is asked for at a time.
const ASSESSED_TOGETHER: usize = 64;

/// The newest event of the platform's chain, and how many there are.
type Newest = (EventId, u64);

/// Starts the tasks. They end when the service stops.
pub(crate) fn spawn(inner: &Arc<Inner>) {
    inner.tasks.spawn(follow(Arc::clone(inner)));
    inner.tasks.spawn(keep_checkpoints(Arc::clone(inner)));
    inner.tasks.spawn(keep_heads(Arc::clone(inner)));
    inner.tasks.spawn(keep::keep_bodies(Arc::clone(inner)));
    inner
        .tasks
        .spawn(damage::look_for_damage(Arc::clone(inner)));
}

/// Settles every tenant whose chain, time or policy moved.
async fn follow(inner: Arc<Inner>) {
    let mut changes = inner.ledger.subscribe();
    let mut settled: BTreeMap<TenantId, (u64, Digest)> = BTreeMap::new();
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        changes.mark_unchanged();
        match settle_all(&inner, &mut settled).await {
            Ok(()) => inner.moved(Part::Reactions),
            Err(error) => report(&error),
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            _ = tick.tick() => {
                settled.clear();
                inner.sample();
                inner.resume_writing();
            }
            () = inner.stop.cancelled() => return,
        }
    }
}

async fn settle_all(
    inner: &Arc<Inner>,
    settled: &mut BTreeMap<TenantId, (u64, Digest)>,
) -> Result<(), Error> {
    inner.note_clock().await?;
    let policy = *inner.policy_set().await?.digest();
    let mut tasks = JoinSet::new();
    for tenant in inner.tenant_ids()? {
        let size = inner.size_of(&tenant);
        if size == 0 || settled.get(&tenant) == Some(&(size, policy)) {
            continue;
        }
        if tasks.len() >= TENANTS_AT_ONCE {
            note_settled(settled, tasks.join_next().await)?;
        }
        let inner = Arc::clone(inner);
        tasks.spawn(async move {
            let size = settle(&inner, &tenant, &policy)
                .await
                .unwrap_or_else(|error| {
                    report(&error);
                    inner.size_of(&tenant)
                });
            (tenant, (size, policy))
        });
    }
    while !tasks.is_empty() {
        note_settled(settled, tasks.join_next().await)?;
    }
    Ok(())
}

/// A tenant, and at which size and under which policies nothing more was due in it.
type Settled = (TenantId, (u64, Digest));

fn note_settled(
    settled: &mut BTreeMap<TenantId, (u64, Digest)>,
    ended: Option<Result<Settled, JoinError>>,
) -> Result<(), Error> {
    settled.extend(ended.transpose().map_err(Error::internal)?);
    Ok(())
}

/// Does what is due in a tenant until nothing is; the size of its chain when that was looked for last.
async fn settle(inner: &Arc<Inner>, tenant: &TenantId, policy: &Digest) -> Result<u64, Error> {
    inner.note_platform(tenant).await?;
    let mut size = 0;
    for _ in 0..ROUNDS {
        // Before the look: what comes after it is looked for again.
        size = inner.size_of(tenant);
        let due = inner.due(tenant, policy)?;
        let (rounds, others): (Vec<_>, Vec<_>) = due
            .into_iter()
            .partition(|(due, _)| matches!(due, Due::Assess(_)));
        let assessed = assess(inner, tenant, rounds).await;
        // What fails for one round keeps nothing else from its time.
        let did = react_all(inner, tenant, others).await?;
        if !(assessed? || did) {
            return Ok(size);
        }
    }
    Ok(size)
}

/// Asks policy for every round that is due, many at a time; whether anything was written, or the first that failed.
async fn assess(
    inner: &Arc<Inner>,
    tenant: &TenantId,
    due: Vec<(Due, Command)>,
) -> Result<bool, Error> {
    let mut outcome = Ok(false);
    for some in due.chunks(ASSESSED_TOGETHER) {
        let actions = some.iter().map(|(due, _)| due.action().clone()).collect();
        let commands: Vec<Command> = some.iter().map(|(_, command)| command.clone()).collect();
        for result in inner.assess_all(tenant, actions, &commands).await {
            outcome = match (outcome, wrote(result.map(new))) {
                (Ok(any), Ok(wrote)) => Ok(any || wrote),
                (Err(first), _) | (Ok(_), Err(first)) => Err(first),
            };
        }
    }
    outcome
}

/// Does everything else that is due, several at once; whether anything was written.
async fn react_all(
    inner: &Arc<Inner>,
    tenant: &TenantId,
    due: Vec<(Due, Command)>,
) -> Result<bool, Error> {
    let mut wrote_any = false;
    let mut tasks = JoinSet::new();
    for (due, command) in due {
        if tasks.len() >= AT_ONCE {
            wrote_any |= ended(tasks.join_next().await)?;
        }
        // Each is about an action of its own, so they meet in one group of the writer instead of waiting in line.
        let (inner, tenant) = (Arc::clone(inner), tenant.clone());
        tasks.spawn(async move { inner.react(&tenant, &due, &command).await });
    }
    while !tasks.is_empty() {
        wrote_any |= ended(tasks.join_next().await)?;
    }
    Ok(wrote_any)
}

/// Whether a receipt is of something that was written just now.
fn new(receipt: Option<Receipt>) -> bool {
    receipt.is_some_and(|receipt| !receipt.replayed)
}

/// Whether a reaction that ended wrote something.
fn ended(ended: Option<Result<Result<bool, Error>, JoinError>>) -> Result<bool, Error> {
    let result = ended.transpose().map_err(Error::internal)?;
    result.map_or(Ok(false), wrote)
}

/// Whether a reaction wrote something.
fn wrote(result: Result<bool, Error>) -> Result<bool, Error> {
    match result {
        // What was due a moment ago is not any more, or not yet: the state says so next time.
        Err(Error::Rejected(rejection)) => {
            tracing::debug!(%rejection, "not due");
            Ok(false)
        }
        other => other,
    }
}

impl Inner {
    /// How many events the chain of a tenant has.
    fn size_of(&self, tenant: &TenantId) -> u64 {
        let head = self.ledger.head(&tenant.chain());
        head.map_or(0, |head| head.size)
    }

    /// What is due now, each with the command that does it.
    fn due(&self, tenant: &TenantId, policy: &Digest) -> Result<Vec<(Due, Command)>, Error> {
        let now = self.now();
        let found = self.tenant(tenant, |fold| {
            let with_cause = |due: Due| {
                let cause = fold.traces(due.action()).last().map(|trace| trace.id)?;
                Some((due, cause))
            };
            due(&fold.tenant, policy, now)
                .into_iter()
                .filter_map(with_cause)
                .collect::<Vec<_>>()
        })?;
        found
            .into_iter()
            .map(|(due, cause)| Ok((due.clone(), Command::following(reactor(due.work())?, cause))))
            .collect()
    }

    /// Does one thing that is due; whether it wrote anything.
    async fn react(
        self: &Arc<Self>,
        tenant: &TenantId,
        due: &Due,
        command: &Command,
    ) -> Result<bool, Error> {
        let receipt = match due {
            // Rounds are asked for together.
            Due::Assess(_) => None,
            Due::Mint(action) => self.mint(tenant, action, command).await?,
            Due::Write(_, _, what) => self.decide(tenant, command, what).await?,
        };
        Ok(new(receipt))
    }

    /// Tries to write again where the ledger waits for space, permission or handles: nobody may be left who asks for it.
    fn resume_writing(self: &Arc<Self>) {
        if self.ledger.status().resumes {
            let inner = Arc::clone(self);
            // It says itself what it came to.
            drop(tokio::task::spawn_blocking(move || {
                drop(inner.ledger.resume())
            }));
        }
    }

    /// Records the heads of all chains, if any changed.
    pub(crate) async fn record_heads(self: &Arc<Self>) -> Result<(), Error> {
        let inner = Arc::clone(self);
        let collect = move || inner.collect_heads();
        let Some((heads, last)) = tokio::task::spawn_blocking(collect)
            .await
            .map_err(Error::internal)??
        else {
            return Ok(());
        };
        let append = append(heads.event, "heads", reactor("heads")?, last)?;
        match self.ledger.append(append).await {
            // The platform moved meanwhile; the next time records it.
            Err(error) if error.decide_again() => return Ok(()),
            other => drop(other?),
        }
        *self.recorded.lock().unwrap_or_else(PoisonError::into_inner) = heads.sizes;
        self.checkpoint(&ChainId::platform()).await.map(drop)
    }

    /// Writes down that the clock went back, so that nobody wonders about the times around it.
    async fn note_clock(&self) -> Result<(), Error> {
        let Some(step) = self.ledger.take_stepped_back() else {
            return Ok(());
        };
        for _ in 0..ATTEMPTS {
            let Some(basis) = self.platform(PlatformFold::heads)? else {
                return Ok(());
            };
            let event = SteppedBack {
                from: step.from,
                to: step.to,
            };
            match self
                .ledger
                .append(append(event, "clock", reactor("clock")?, basis.last)?)
                .await
            {
                Err(error) if error.decide_again() => {}
                other => return Ok(other.map(drop)?),
            }
        }
        Err(Error::Contended {
            chain: ChainId::platform(),
        })
    }

    /// The heads of all chains with their blob stored, and the platform event that causes them; none if nothing changed.
    fn collect_heads(&self) -> Result<Option<(Heads, Newest)>, Error> {
        let Some(basis) = self.platform(PlatformFold::heads)? else {
            return Ok(None);
        };
        let before = self
            .recorded
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let heads = crate::checkpoints::collect(&self.ledger, &basis, &before)?;
        let Some(blob) = &heads.blob else {
            return Ok(None);
        };
        self.ledger.blobs().put(&ChainId::platform(), &blob.bytes)?;
        Ok(Some((heads, basis.last)))
    }
}

async fn keep_checkpoints(inner: Arc<Inner>) {
    let mut tick = interval(inner.config.checkpoint_age);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = inner.stop.cancelled() => return,
        }
        let mut signed = true;
        for (chain, _) in inner.ledger.chains() {
            if inner.ledger.is_damaged(&chain) {
                continue;
            }
            if let Err(error) = inner.checkpoint(&chain).await {
                signed = false;
                report(&error);
            }
        }
        if signed {
            inner.moved(Part::Checkpoints);
        }
    }
}

async fn keep_heads(inner: Arc<Inner>) {
    let mut tick = interval(inner.config.heads_age);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = inner.stop.cancelled() => return,
        }
        match inner.record_heads().await {
            Ok(()) => inner.moved(Part::Heads),
            Err(error) => report(&error),
        }
    }
}

pub(crate) fn report(error: &Error) {
    metrics::counter!("countersign_reactions_failed_total").increment(1);
    tracing::warn!(code = error.code().id, %error, "a reaction did not come about; it is tried again");
}
