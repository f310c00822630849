//! Commands: bring the fold of a chain up to date, let the domain decide, append under a condition, again on a conflict.
//!
//! A fold is a cache: everything in it comes from durable, verified events, and a restart makes it again. Nothing is
//! decided here; the closures that callers pass are the domain's.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use countersign_chain::CommandKey;
use countersign_domain::{Blob, Decision, Draft};
use countersign_events::{Event, Spec};
use countersign_ids::{Actor, ChainId, EventId, EventType, RequestDigest, Retention, SubjectRef};
use countersign_store::{Append, Condition, Entry, Ledger, Match, NewEvent, Receipt, Stamp};

use crate::Error;

/// How often a command is decided again before the caller is told to come back.
pub(crate) const ATTEMPTS: usize = 16;
/// How many events are folded at once.
const PAGE: usize = 512;

/// What a fold of one chain can do.
pub(crate) trait Fold: Send + Sync + 'static {
    /// How many events were folded.
    fn size(&self) -> u64;
    /// Goes on from the first event that a pruned chain has; `false` where nothing may be missing.
    fn begin_at(&mut self, first: u64) -> bool {
        let _ = first;
        false
    }
    /// Folds the next event.
    fn fold(&mut self, entry: &Entry, event: Option<&Event>) -> Result<(), String>;
}

/// The folds of all chains of one kind.
#[derive(Debug)]
pub(crate) struct Folds<F> {
    chains: RwLock<BTreeMap<ChainId, Arc<RwLock<F>>>>,
}

impl<F> Default for Folds<F> {
    fn default() -> Self {
        Self {
            chains: RwLock::new(BTreeMap::new()),
        }
    }
}

impl<F: Fold> Folds<F> {
    /// Looks at the state of a chain, with everything durable folded in. Many may look at once.
    pub(crate) fn look<T>(
        &self,
        ledger: &Ledger,
        chain: &ChainId,
        begin: impl FnOnce() -> F,
        look: impl FnOnce(&F) -> T,
    ) -> Result<T, Error> {
        let known = read(&self.chains).get(chain).cloned();
        let fold = known.unwrap_or_else(|| {
            let mut chains = write(&self.chains);
            let begin = || Arc::new(RwLock::new(begin()));
            Arc::clone(chains.entry(chain.clone()).or_insert_with(begin))
        });
        let size = ledger.head(chain).map_or(0, |head| head.size);
        let state = read(&fold);
        if state.size() >= size {
            return Ok(look(&state));
        }
        drop(state);
        let mut state = write(&fold);
        advance(ledger, chain, &mut *state)?;
        Ok(look(&RwLockWriteGuard::downgrade(state)))
    }
}

// What is locked here is replaced or advanced by whole events, so a panic elsewhere leaves it usable.
fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

/// Folds what the ledger has beyond the fold.
fn advance<F: Fold>(ledger: &Ledger, chain: &ChainId, fold: &mut F) -> Result<(), Error> {
    loop {
        let entries = match ledger.read(chain, fold.size(), PAGE) {
            Err(countersign_store::Error::Pruned { first, .. }) if fold.begin_at(first.get()) => {
                continue;
            }
            other => other?,
        };
        for entry in &entries {
            let corrupt = |detail: String| Error::Corrupt {
                chain: chain.clone(),
                sequence: entry.sequence(),
                detail,
            };
            let event = decode(entry).map_err(corrupt)?;
            fold.fold(entry, event.as_ref()).map_err(corrupt)?;
        }
        if entries.len() < PAGE {
            return Ok(());
        }
    }
}

/// The event in an entry; none for a personal body, which decides nothing and is not opened, and for one that expired.
pub(crate) fn decode(entry: &Entry) -> Result<Option<Event>, String> {
    let header = entry.header();
    match (header.retention, entry.body()) {
        (Retention::Personal, _) | (Retention::Operational, None) => Ok(None),
        (_, Some(body)) => Event::decode(&header.event_type, body)
            .map(Some)
            .map_err(|error| error.to_string()),
        (_, None) => Err("its body is absent".to_owned()),
    }
}

/// Who sends a command, and what makes it the same command when it is sent again.
#[derive(Debug, Clone)]
pub(crate) struct Command {
    pub(crate) actor: Actor,
    pub(crate) key: CommandKey,
    pub(crate) request: Option<RequestDigest>,
    pub(crate) causation: Option<EventId>,
    pub(crate) traceparent: Option<String>,
    pub(crate) about: Option<About>,
}

/// What the first event of a caller's command has to be: the request digest covers the body, and the path names the rest.
#[derive(Debug, Clone, Default)]
pub(crate) struct About {
    pub(crate) types: Vec<EventType>,
    pub(crate) subject: Option<SubjectRef>,
    /// The event itself, where its subject is not all that the path names.
    pub(crate) event: Option<Event>,
}

impl About {
    /// A command that writes one of these first, about what its path names.
    pub(crate) fn of(specs: &[&Spec], subject: impl Into<SubjectRef>) -> Self {
        Self {
            subject: Some(subject.into()),
            ..Self::any(specs)
        }
    }

    /// A command that writes one of these first; its body names what about.
    pub(crate) fn any(specs: &[&Spec]) -> Self {
        Self {
            types: specs.iter().map(|spec| spec.event_type.clone()).collect(),
            ..Self::default()
        }
    }

    fn is(&self, entry: &Entry) -> bool {
        let header = entry.header();
        self.types.contains(&header.event_type)
            && self
                .subject
                .as_ref()
                .is_none_or(|subject| *subject == header.subject)
            && self
                .event
                .as_ref()
                .is_none_or(|event| decode(entry).is_ok_and(|found| found.as_ref() == Some(event)))
    }
}

impl Command {
    /// What follows from an event, once.
    pub(crate) const fn following(actor: Actor, cause: EventId) -> Self {
        Self {
            actor,
            key: CommandKey::Event(cause),
            request: None,
            causation: Some(cause),
            traceparent: None,
            about: None,
        }
    }
}

/// What a decision amounts to: events to append, and the size of the chains that it was made on.
#[derive(Debug)]
pub(crate) struct Decided {
    pub(crate) decision: Decision,
    pub(crate) seen: u64,
    pub(crate) platform_seen: u64,
}

/// Decides and appends until the decision stands, or the domain says no.
///
/// Returns no receipt where the decision is that nothing is to be done.
pub(crate) async fn run(
    ledger: &Ledger,
    chain: &ChainId,
    command: &Command,
    mut decide: impl FnMut() -> Result<Decided, Error> + Send,
) -> Result<Option<Receipt>, Error> {
    if let Some(receipt) = accepted(ledger, chain, command)? {
        return Ok(Some(receipt));
    }
    for _ in 0..ATTEMPTS {
        let decided = match decide() {
            Ok(decided) => decided,
            Err(error) => return own_receipt(ledger, chain, command, error),
        };
        if let Committed::Done(receipt) = commit(ledger, chain, command, decided).await? {
            return Ok(receipt);
        }
    }
    Err(Error::Contended {
        chain: chain.clone(),
    })
}

/// The receipt of a command that was refused: the same one, in flight twice, may be what stood in its own way.
pub(crate) fn own_receipt(
    ledger: &Ledger,
    chain: &ChainId,
    command: &Command,
    error: Error,
) -> Result<Option<Receipt>, Error> {
    if !matches!(error, Error::Rejected(_)) {
        return Err(error);
    }
    accepted(ledger, chain, command)?.map(Some).ok_or(error)
}

/// What became of one decision.
#[derive(Debug)]
pub(crate) enum Committed {
    /// It stands, or there was nothing to write.
    Done(Option<Receipt>),
    /// The chain moved: decide again.
    Again,
}

/// Appends a decision, its blobs first.
pub(crate) async fn commit(
    ledger: &Ledger,
    chain: &ChainId,
    command: &Command,
    mut decided: Decided,
) -> Result<Committed, Error> {
    if decided.decision.drafts.is_empty() {
        return Ok(Committed::Done(None));
    }
    store(ledger, chain, std::mem::take(&mut decided.decision.blobs)).await?;
    let appended = ledger.append(append(chain, command, decided)?).await;
    became(ledger, chain, command, appended)
}

/// What the writer's answer means for a command.
pub(crate) fn became(
    ledger: &Ledger,
    chain: &ChainId,
    command: &Command,
    appended: Result<Receipt, countersign_store::Error>,
) -> Result<Committed, Error> {
    match appended {
        Err(error) if error.decide_again() => Ok(Committed::Again),
        // The same key was faster: its command may have been another.
        Ok(receipt) if receipt.replayed => accepted(ledger, chain, command).map(Committed::Done),
        other => Ok(Committed::Done(Some(other?))),
    }
}

/// Stores the blobs that events will name; they are durable when this returns.
pub(crate) async fn store(ledger: &Ledger, chain: &ChainId, blobs: Vec<Blob>) -> Result<(), Error> {
    let files = ledger.blobs();
    let mut unknown = blobs;
    unknown.retain(|blob| !files.is_durable(chain, &blob.digest));
    if unknown.is_empty() {
        return Ok(());
    }
    let (files, chain) = (files.clone(), chain.clone());
    let put = move || {
        let blobs = unknown.iter().map(|blob| (&blob.digest, &*blob.bytes));
        files.put_all(&chain, blobs)
    };
    Ok(tokio::task::spawn_blocking(put)
        .await
        .map_err(Error::internal)??)
}

/// The receipt of a command that was accepted before, whatever became of the state since.
pub(crate) fn accepted(
    ledger: &Ledger,
    chain: &ChainId,
    command: &Command,
) -> Result<Option<Receipt>, Error> {
    let Some(receipt) = ledger.receipt_for(chain, &command.actor, &command.key)? else {
        return Ok(None);
    };
    let first = ledger.event(chain, receipt.first)?;
    let same = first.header().requestdigest == command.request
        && command.about.as_ref().is_none_or(|about| about.is(&first));
    if !same {
        return Err(countersign_store::Error::Mismatch {
            command: receipt.command,
        }
        .into());
    }
    Ok(Some(Receipt {
        replayed: true,
        ..receipt
    }))
}

pub(crate) fn append(
    chain: &ChainId,
    command: &Command,
    decided: Decided,
) -> Result<Append, Error> {
    let Decided {
        decision,
        seen,
        platform_seen,
    } = decided;
    let backlink = decision.drafts.iter().position(|draft| draft.names_before);
    let events = decision
        .drafts
        .into_iter()
        .map(|draft| new_event(draft, platform_seen))
        .collect::<Result<_, _>>()?;
    let matching = decision
        .guards
        .into_iter()
        .map(|guard| Match {
            types: guard.types,
            subject: guard.subject,
            site: guard.site,
        })
        .collect();
    Ok(Append {
        request_digest: command.request,
        condition: Some(Condition { seen, matching }),
        causation: command.causation,
        traceparent: command.traceparent.clone(),
        backlink,
        ..Append::new(
            chain.clone(),
            command.actor.clone(),
            command.key.clone(),
            events,
        )
    })
}

fn new_event(draft: Draft, platform_seen: u64) -> Result<NewEvent, Error> {
    Ok(NewEvent {
        event_type: draft.event.event_type(),
        subject: draft.subject,
        site: draft.site,
        retention: draft.event.retention(),
        body: draft.event.encode().map_err(Error::internal)?,
        seal: draft.seal,
        platformhead: match draft.stamp {
            countersign_domain::Stamp::None => Stamp::None,
            countersign_domain::Stamp::Newest => Stamp::Newest,
            countersign_domain::Stamp::Fresh => Stamp::Fresh {
                seen: platform_seen,
            },
            countersign_domain::Stamp::Restates(head) => Stamp::Restates(head),
        },
        valid: draft.valid,
    })
}
