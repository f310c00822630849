//! A ledger as the server keeps it, and commands as it appends them: 16 chains, all read models, ids and digests random.

use anyhow::{Context, Result};
use countersign_chain::CommandKey;
use countersign_events::Event;
use countersign_events::deploy::ReleaseAdded;
use countersign_ids::{Actor, AuthType, ChainId, Digest, EventType, Retention};
use countersign_store::{Append, Condition, Ledger, Match, NewEvent, Options, Stamp};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Chains that are written to.
pub(crate) const CHAINS: u64 = 16;

/// About what an event takes on disk without its frame: header, salt and body.
pub(crate) const EVENT_BYTES: usize = 1300;

/// Makes a ledger and opens it as the server does.
pub(crate) fn ledger(root: &Path) -> Result<Ledger> {
    Ledger::create(root, [7; 32], &Options::default()).context("no ledger")?;
    Ledger::open(root, Options::default()).context("the new ledger does not open")
}

/// Makes commands, each once.
#[derive(Debug)]
pub(crate) struct Commands {
    next: AtomicU64,
    run: String,
}

impl Commands {
    pub(crate) fn new(run: &str) -> Self {
        Self {
            next: AtomicU64::new(0),
            run: run.to_owned(),
        }
    }

    /// The next command: `events` events of one site of one chain, under the condition that nobody else touched that site.
    pub(crate) fn next(&self, ledger: &Ledger, events: u64) -> Result<Append> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let chain: ChainId = format!("bench-{}", number % CHAINS).parse()?;
        let actor = Actor {
            kind: AuthType::Agent,
            id: "bench".parse()?,
        };
        let site = format!("{}-{number}", self.run);
        let news: Result<Vec<NewEvent>> = (0..events).map(|_| event(&site)).collect();
        let mut append = Append::new(
            chain.clone(),
            actor,
            CommandKey::Key(format!("{}-{number}", self.run)),
            news?,
        );
        append.condition = Some(Condition {
            seen: ledger.head(&chain).map_or(0, |head| head.size),
            matching: vec![Match {
                types: Vec::new(),
                subject: Some(site.parse()?),
                site: None,
            }],
        });
        Ok(append)
    }
}

/// An event that people know: a release was added, with five files. Its body is about 500 bytes.
fn event(site: &str) -> Result<NewEvent> {
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
    Ok(NewEvent {
        event_type: EventType::new("deploy", "release-added", 1)?,
        subject: site.parse()?,
        site: Some(site.parse()?),
        retention: Retention::Evidence,
        body: event.encode()?,
        seal: None,
        platformhead: Stamp::None,
        valid: None,
    })
}

/// Random bytes.
pub(crate) fn random<const LENGTH: usize>() -> Result<[u8; LENGTH]> {
    let mut bytes = [0; LENGTH];
    getrandom::fill(&mut bytes).context("no randomness")?;
    Ok(bytes)
}
