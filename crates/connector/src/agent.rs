//! The running connector: three loops around one journal.
//!
//! One loop proves readiness and sends heartbeats, one says what waits to be said, one fetches orders and executes them.
//! They share the journal, which alone decides what happens next after a crash; nothing here remembers on the side but
//! the lease and what was last seen of the site.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU32},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use countersign_evidence::{KeyRing, Mode};
use countersign_ids::{Nonce, Time};
use countersign_transport::Client;
use ed25519_dalek::SigningKey;
use tokio::sync::{Notify, watch};

use crate::{
    Config, Error,
    backoff::Backoff,
    config::Layout,
    files,
    journal::Journal,
    keys, lock,
    observe::Sight,
    site::{self, Prober, Releases, Served},
    speak::Sent,
    state::{Entry, Pairing, State},
};

/// The site, and both of its addresses.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) releases: Arc<Releases>,
    pub(crate) prober: Prober,
    pub(crate) live: Served,
    pub(crate) preview: Served,
}

/// Until when orders are fetched, by the clock here, and how far the site is contained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) until: Time,
    pub(crate) mode: Mode,
}

/// The running connector.
#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) layout: Layout,
    pub(crate) client: Client,
    pub(crate) key: SigningKey,
    pub(crate) site: Site,
    pub(crate) boot: Nonce,
    pub(crate) instance: Nonce,
    heartbeat: Duration,
    pub(crate) journal: Mutex<Journal>,
    /// Held by whoever changes the site or judges its state.
    pub(crate) working: tokio::sync::Mutex<()>,
    /// Held by whoever sends on stream `action`, so that messages go out one after another.
    pub(crate) sending: tokio::sync::Mutex<()>,
    /// Something was queued.
    pub(crate) queued: Notify,
    pub(crate) lease: watch::Sender<Option<Lease>>,
    /// How many signed checkpoints in a row were not shown to extend the accepted one.
    pub(crate) unproven: AtomicU32,
    pub(crate) sight: Mutex<Sight>,
}

/// The clock. Everything else gets a time as an argument.
pub(crate) fn now() -> Time {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Time::from_unix_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Which run of the machine this is.
fn boot() -> Result<Nonce, Error> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    match id.trim().replace('-', "").parse() {
        Ok(boot) => Ok(boot),
        Err(_) => fresh(),
    }
}

fn fresh() -> Result<Nonce, Error> {
    Ok(Nonce::from_bytes(
        files::random().map_err(Error::io("random"))?,
    ))
}

/// Runs the connector until `shutdown` resolves, `stop` is asked for at the site, or it cannot go on.
pub async fn run(config: &Config, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
    let layout = Layout::new(&config.dir);
    let mut lock = lock::take(&layout)?;
    files::remove_if_there(&layout.stop()).map_err(Error::io(layout.stop()))?;
    let agent = Agent::start(config, layout.clone()).await?;
    lock.note(
        &layout,
        agent.site.live.address(),
        agent.site.preview.address(),
    )?;
    let ended = tokio::select! {
        ended = agent.work() => ended,
        () = shutdown => Ok(()),
        () = lock::asked(&layout) => Ok(()),
    };
    drop(agent);
    files::remove_if_there(&layout.stop()).map_err(Error::io(layout.stop()))?;
    drop(lock);
    ended
}

impl Agent {
    /// Reads the journal, brings an interrupted execution to its end, and serves the site.
    pub(crate) async fn start(config: &Config, layout: Layout) -> Result<Self, Error> {
        let journal = Journal::open(&layout.journal(), now())?;
        let pairing = journal.state().pairing.clone().ok_or(Error::NotPaired)?;
        let key = keys::current(&layout, &pairing.key)?;
        let site_dir = layout.site();
        files::make_private_directory(&config.dir).map_err(Error::io(&config.dir))?;
        let releases = Arc::new(Releases::open(&site_dir)?);
        let journal = Mutex::new(journal);
        // Before anything else, and before anybody is served.
        crate::execute::take_back(&journal, &releases, now())?;
        let listen = |address| move |source| Error::Listen { address, source };
        let site = Site {
            live: site::live(config.site_listen, Arc::clone(&releases))
                .await
                .map_err(listen(config.site_listen))?,
            preview: site::preview(config.preview_listen, Arc::clone(&releases))
                .await
                .map_err(listen(config.preview_listen))?,
            prober: Prober::new().map_err(Error::Probes)?,
            releases,
        };
        let agent = Self {
            layout,
            client: Client::new(&config.server_url)?,
            key,
            site,
            boot: boot()?,
            instance: fresh()?,
            heartbeat: config.heartbeat,
            journal,
            working: tokio::sync::Mutex::default(),
            sending: tokio::sync::Mutex::default(),
            queued: Notify::new(),
            lease: watch::Sender::new(None),
            unproven: AtomicU32::new(0),
            sight: Mutex::default(),
        };
        agent.settle().await?;
        Ok(agent)
    }

    /// The three loops; ends only when the connector cannot go on.
    async fn work(&self) -> Result<(), Error> {
        tokio::select! {
            ended = self.beats() => ended,
            ended = self.says() => ended,
            ended = self.orders() => ended,
        }
    }

    async fn beats(&self) -> Result<(), Error> {
        let mut backoff = Backoff::new();
        loop {
            // While an order is being executed, the heartbeat says what was seen before. A site that cannot be looked
            // at gets none: what is not known is not said.
            if let Ok(_working) = self.working.try_lock()
                && let Err(error) = self.look().await
            {
                survivable(error)?;
                backoff.wait().await;
                continue;
            }
            match self.beat().await? {
                Sent::Done => {
                    backoff.reset();
                    tokio::time::sleep(self.heartbeat).await;
                }
                Sent::Later => backoff.wait().await,
            }
        }
    }

    async fn says(&self) -> Result<(), Error> {
        let mut backoff = Backoff::new();
        loop {
            match self.flush().await? {
                Sent::Done => {
                    backoff.reset();
                    self.queued.notified().await;
                }
                Sent::Later => backoff.wait().await,
            }
        }
    }

    async fn orders(&self) -> Result<(), Error> {
        let mut backoff = Backoff::new();
        loop {
            self.may_ask().await;
            // A result that was not taken comes before the next order.
            let said = self.flush().await?;
            let fetched = match said {
                Sent::Done => self.fetch().await?,
                Sent::Later => Sent::Later,
            };
            match fetched {
                Sent::Done => backoff.reset(),
                Sent::Later => backoff.wait().await,
            }
        }
    }

    /// Waits until there is a lease and no reason to be quiet.
    async fn may_ask(&self) {
        let mut lease = self.lease.subscribe();
        loop {
            let leased = lease
                .borrow_and_update()
                .is_some_and(|lease| lease.until > now());
            if leased && self.state().quiet.is_none() {
                return;
            }
            // The sender lives as long as the agent, so this only ends with a new lease.
            let changed = lease.changed().await;
            drop(changed);
        }
    }

    pub(crate) fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the journal says now.
    pub(crate) fn state(&self) -> State {
        self.journal().state().clone()
    }

    /// Writes to the journal, and wakes whoever sends.
    pub(crate) fn write(&self, entries: Vec<Entry>) -> Result<(), Error> {
        self.journal().write(entries)?;
        self.queued.notify_one();
        Ok(())
    }

    /// What the connector may do now.
    pub(crate) fn mode(&self, state: &State) -> Mode {
        match (&state.quiet, *self.lease.borrow()) {
            (Some(_), _) => Mode::Quiet,
            (None, Some(lease)) => lease.mode,
            (None, None) => Mode::Normal,
        }
    }
}

/// A site that cannot be read may be mended while the connector runs; anything else ends it.
pub(crate) fn survivable(error: Error) -> Result<(), Error> {
    let Error::Release(error) = error else {
        return Err(error);
    };
    tracing::error!(%error, "the site cannot be looked at");
    Ok(())
}

/// The pairing; a state without one is never run.
pub(crate) fn pairing(state: &State) -> Result<&Pairing, Error> {
    state.pairing.as_ref().ok_or(Error::NotPaired)
}

/// The keys of the ledger, from the statements that the journal holds.
pub(crate) fn ring(state: &State) -> Result<KeyRing, Error> {
    let ledger = pairing(state)?.ledger;
    let mut statements = state.keys.iter();
    let mut ring = KeyRing::begin(&ledger, statements.next().ok_or(Error::NotPaired)?)?;
    for statement in statements {
        ring.follow(statement)?;
    }
    Ok(ring)
}
