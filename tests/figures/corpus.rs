//! A ledger as the server keeps it, and commands as it appends them: 16 chains, all read models, ids and digests random.

use anyhow::{Context, Result};
use countersign_chain::CommandKey;
use countersign_events::Event;
use countersign_events::deploy::ReleaseAdded;
use countersign_ids::{Actor, AuthType, ChainId, Digest, EventType, Retention, SiteId, SubjectRef};
use countersign_store::{Append, Condition, Ledger, Match, NewEvent, Options, Stamp};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Chains that are written to.
pub(crate) const CHAINS: u64 = 16;

/// About what an event takes on disk without its frame: header, salt and body.
pub(crate) const EVENT_BYTES: usize = 1300;

/// As the server has it: declared, not parsed.
const TYPE: EventType = EventType::declared("deploy", "release-added", 1);

/// How many bodies a pool has: more than one block of the log, so that none repeats where it would compress.
const POOL: u64 = 16_384;

/// Makes a ledger and opens it.
pub(crate) fn ledger_with(root: &Path, options: Options) -> Result<Ledger> {
    Ledger::create(root, [7; 32], &options).context("no ledger")?;
    Ledger::open(root, options).context("the new ledger does not open")
}

/// Makes commands, each once.
#[derive(Debug)]
pub(crate) struct Commands {
    next: AtomicU64,
    run: String,
    chains: Vec<ChainId>,
    pool: Vec<Vec<u8>>,
    actor: Actor,
}

impl Commands {
    /// To chains of their own.
    pub(crate) fn new(run: &str) -> Result<Self> {
        let chains = (0..CHAINS).map(|number| format!("bench-{number}").parse());
        Self::to(run, &chains.collect::<Result<Vec<_>, _>>()?)
    }

    /// To these chains in turn.
    pub(crate) fn to(run: &str, chains: &[ChainId]) -> Result<Self> {
        Ok(Self {
            next: AtomicU64::new(0),
            run: run.to_owned(),
            chains: chains.to_vec(),
            pool: Vec::new(),
            actor: Actor {
                kind: AuthType::Agent,
                id: "bench".parse()?,
            },
        })
    }

    /// With bodies made beforehand, so that making them costs the writers nothing.
    pub(crate) fn pooled(run: &str) -> Result<Self> {
        let pool = (0..POOL).map(|number| body(&format!("{run}-{number}")));
        Ok(Self {
            pool: pool.collect::<Result<_>>()?,
            ..Self::new(run)?
        })
    }

    fn body(&self, site: &str, number: u64) -> Result<Vec<u8>> {
        match self.pool.get(usize::try_from(number % POOL)?) {
            Some(made) => Ok(made.clone()),
            None => body(site),
        }
    }

    /// The next command: `events` events of one site of one chain, under the condition that nobody else touched that site.
    pub(crate) fn next(&self, ledger: &Ledger, events: u64) -> Result<Append> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let turn = usize::try_from(number)? % self.chains.len().max(1);
        let chain = self.chains.get(turn).context("no chains")?.clone();
        let name = format!("{}-{number}", self.run);
        let site: SiteId = name.parse()?;
        let news: Result<Vec<NewEvent>> = (0..events)
            .map(|event| {
                let body = self.body(&name, number * events + event)?;
                Ok(Self::event(&site, body))
            })
            .collect();
        let actor = self.actor.clone();
        let mut append = Append::new(chain.clone(), actor, CommandKey::Key(name), news?);
        append.condition = Some(Condition {
            seen: ledger.head(&chain).map_or(0, |head| head.size),
            matching: vec![Match {
                types: Vec::new(),
                subject: Some(SubjectRef::from(&site)),
                site: None,
            }],
        });
        Ok(append)
    }

    fn event(site: &SiteId, body: Vec<u8>) -> NewEvent {
        NewEvent {
            event_type: TYPE,
            subject: SubjectRef::from(site),
            site: Some(site.clone()),
            retention: Retention::Evidence,
            body,
            seal: None,
            platformhead: Stamp::None,
            valid: None,
        }
    }
}

/// The body of an event that people know: a release was added, with five files. It is about 500 bytes.
fn body(site: &str) -> Result<Vec<u8>> {
    let mut attachments = (0..5)
        .map(|_| random().map(Digest::from_bytes))
        .collect::<Result<Vec<_>>>()?;
    attachments.sort();
    let event = Event::from(ReleaseAdded {
        site: site.parse()?,
        release: Digest::from_bytes(random()?),
        label: "2026-autumn".to_owned(),
        attachments,
    });
    Ok(event.encode()?)
}

/// Random bytes.
pub(crate) fn random<const LENGTH: usize>() -> Result<[u8; LENGTH]> {
    let mut bytes = [0; LENGTH];
    getrandom::fill(&mut bytes).context("no randomness")?;
    Ok(bytes)
}
