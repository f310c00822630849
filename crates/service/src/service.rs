//! The running service: an open ledger, its folds, its keys, its tasks; how it starts and how it stops.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use countersign_chain::CommandKey;
use countersign_domain::{
    Aggregate as _, Command as TenantCommand, Decision, Facts, Rejection, Tenant,
};
use countersign_evidence::PublicKey;
use countersign_ids::{Actor, AuthType, ChainId, Digest, LedgerId, RequestDigest, TenantId, Time};
use countersign_store::{Checkpoint, Ledger, Receipt};
use tokio::sync::RwLock;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::beats::BeatsFold;
use crate::engine::{self, About, Command, Decided, Folds};
use crate::figures::Watch;
use crate::keyfiles::Signers;
use crate::model::{Config, Request};
use crate::platform::PlatformFold;
use crate::policies::Policies;
use crate::sources::Sources;
use crate::state::TenantFold;
use crate::subjects::Subjects;
use crate::{Error, genesis, reactor, secrets};

/// The control plane in one process. Cheap to clone; every clone is the same service.
#[derive(Debug, Clone)]
pub struct Service {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) config: Config,
    pub(crate) ledger: Ledger,
    pub(crate) origin: String,
    pub(crate) genesis: PublicKey,
    /// Held for reading by whoever signs, until what it signed is durable; see `keys`.
    pub(crate) signers: Arc<RwLock<Signers>>,
    pub(crate) policies: Policies,
    pub(crate) subjects: Subjects,
    pub(crate) sources: Sources,
    pub(crate) tenants: Folds<TenantFold>,
    pub(crate) platform: Folds<PlatformFold>,
    pub(crate) beats: Folds<BeatsFold>,
    /// Under which checkpoint each order that is out was last delivered.
    pub(crate) deliveries: Mutex<BTreeMap<Digest, Checkpoint>>,
    /// The size of each chain in the heads that this process recorded last.
    pub(crate) recorded: Mutex<BTreeMap<ChainId, u64>>,
    pub(crate) watch: Watch,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

impl Service {
    /// Opens a data directory, or makes one, and begins to work.
    ///
    /// # Errors
    /// The ledger, a key or the policies cannot be used; nothing is served then.
    pub async fn start(config: Config) -> Result<Self, Error> {
        let service = Self::start_idle(config).await?;
        service.inner.open_announced().await?;
        reactor::spawn(&service.inner);
        Ok(service)
    }

    /// Opens a data directory without doing what follows from events and time: commands are taken, reactions wait for the
    /// next [`Service::start`].
    ///
    /// # Errors
    /// As for [`Service::start`].
    pub async fn start_idle(config: Config) -> Result<Self, Error> {
        let inner = tokio::task::spawn_blocking(move || Inner::open(config))
            .await
            .map_err(Error::internal)??;
        let service = Self {
            inner: Arc::new(inner),
        };
        service.inner.first_token().await?;
        Ok(service)
    }

    /// Ends the tasks and lets go of the ledger as a crash would: nothing is recorded, the journal does not say `closed`.
    pub async fn abandon(self) {
        self.inner.stop.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    /// Stops cleanly: no new commands, heads recorded, the journal says `closed`.
    ///
    /// # Errors
    /// What was acknowledged is durable all the same; the next start recovers like after a crash.
    pub async fn stop(&self) -> Result<(), Error> {
        self.inner.stop.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
        self.inner.record_heads().await?;
        let inner = Arc::clone(&self.inner);
        tokio::task::spawn_blocking(move || inner.ledger.close())
            .await
            .map_err(Error::internal)??;
        Ok(())
    }

    /// The ledger's id.
    #[must_use]
    pub fn ledger_id(&self) -> &LedgerId {
        self.inner.id()
    }

    /// The genesis key: what a verifier pins.
    #[must_use]
    pub fn genesis_key(&self) -> &PublicKey {
        &self.inner.genesis
    }

    /// The origin of the ledger's checkpoints.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.inner.origin
    }

    /// The file that holds the first administrator's token.
    #[must_use]
    pub fn admin_token_file(&self) -> PathBuf {
        self.inner.admin_token_file()
    }

    /// The server's time.
    #[must_use]
    pub fn now(&self) -> Time {
        self.inner.now()
    }
}

impl Inner {
    fn open(config: Config) -> Result<Self, Error> {
        let ledger = genesis::open(&config)?;
        let keys = ledger.layout().keys();
        if ledger.head(&ChainId::platform()).is_none() {
            genesis::begin(&ledger, &config, &Signers::first(&keys)?)?;
        }
        let ring = genesis::follow(&ledger)?;
        let signers = Signers::in_force(&keys, &ring)?;
        let policies = config
            .policies
            .clone()
            .unwrap_or_else(|| config.data.join("policies"));
        Ok(Self {
            origin: ring.origin().to_owned(),
            genesis: *ring.genesis(),
            signers: Arc::new(RwLock::new(signers)),
            policies: Policies::open(&policies)?,
            subjects: Subjects::new(keys.join("subjects")),
            sources: Sources::default(),
            tenants: Folds::default(),
            platform: Folds::default(),
            beats: Folds::default(),
            deliveries: Mutex::default(),
            recorded: Mutex::default(),
            watch: Watch::default(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            ledger,
            config,
        })
    }

    pub(crate) fn id(&self) -> &LedgerId {
        &self.ledger.description().ledger
    }

    pub(crate) fn now(&self) -> Time {
        self.ledger.now()
    }

    /// Refuses new work once the server is stopping.
    pub(crate) fn open_for_work(&self) -> Result<(), Error> {
        if self.stop.is_cancelled() {
            Err(Error::Stopping)
        } else {
            Ok(())
        }
    }

    /// Looks at a tenant as everything durable has it.
    pub(crate) fn tenant<T>(
        &self,
        tenant: &TenantId,
        look: impl FnOnce(&TenantFold) -> T,
    ) -> Result<T, Error> {
        let chain = tenant.chain();
        self.tenants
            .look(&self.ledger, &chain, || TenantFold::new(&chain), look)
    }

    /// Looks at the platform as everything durable has it.
    pub(crate) fn platform<T>(&self, look: impl FnOnce(&PlatformFold) -> T) -> Result<T, Error> {
        self.platform
            .look(&self.ledger, &ChainId::platform(), PlatformFold::new, look)
    }

    /// Decides a tenant's command and appends what it comes to.
    pub(crate) async fn decide(
        &self,
        tenant: &TenantId,
        command: &Command,
        what: &TenantCommand,
    ) -> Result<Option<Receipt>, Error> {
        let command = &Command {
            about: about(what),
            ..command.clone()
        };
        let decided = || {
            let facts = Facts {
                now: self.now(),
                actor: command.actor.clone(),
            };
            self.decide_once(tenant, |state| {
                countersign_domain::decide(state, what, &facts)
            })
        };
        self.run(&tenant.chain(), command, decided).await
    }

    /// One decision on the state of the moment.
    pub(crate) fn decide_once(
        &self,
        tenant: &TenantId,
        decide: impl FnOnce(&Tenant) -> Result<Decision, Rejection>,
    ) -> Result<Decided, Error> {
        let platform_seen = self.platform_size();
        self.tenant(tenant, |fold| {
            decide(&fold.tenant).map(|decision| Decided {
                decision,
                seen: fold.tenant.size(),
                platform_seen,
            })
        })?
        .map_err(Error::from)
    }

    /// Decisions on one state, each for its place; a place that has none now is to be decided again.
    pub(crate) fn decide_on(
        &self,
        tenant: &TenantId,
        places: &[usize],
        decide: impl Fn(&Tenant, usize) -> Option<Result<Decision, Rejection>>,
    ) -> Vec<(usize, Result<Decided, Error>)> {
        let platform_seen = self.platform_size();
        let all = self.tenant(tenant, |fold| {
            let seen = fold.tenant.size();
            let decided = |decision| Decided {
                decision,
                seen,
                platform_seen,
            };
            let one = |place: &usize| {
                let decision = decide(&fold.tenant, *place)?;
                Some((*place, decision.map(decided).map_err(Error::from)))
            };
            places.iter().filter_map(one).collect()
        });
        all.unwrap_or_else(|error| {
            // No state, no decision: each is told by an error of its own.
            let told = |place: &usize| Some((*place, Err(self.tenant(tenant, |_| ()).err()?)));
            let (first, rest) = match places.split_first() {
                Some((first, rest)) => (Some((*first, Err(error))), rest),
                None => (None, places),
            };
            first
                .into_iter()
                .chain(rest.iter().filter_map(told))
                .collect()
        })
    }

    pub(crate) fn platform_size(&self) -> u64 {
        self.ledger
            .head(&ChainId::platform())
            .map_or(0, |head| head.size)
    }

    pub(crate) async fn run(
        &self,
        chain: &ChainId,
        command: &Command,
        decide: impl FnMut() -> Result<Decided, Error> + Send,
    ) -> Result<Option<Receipt>, Error> {
        self.open_for_work()?;
        let result = engine::run(&self.ledger, chain, command, decide).await;
        told(chain, command, &result);
        result
    }
}

/// What a caller's command writes first; a connector's and a reactor's name says it already.
pub(crate) fn about(what: &TenantCommand) -> Option<About> {
    use countersign_events::{
        Payload as _, action, connector, deploy, freeze, remark, retention, site,
    };
    Some(match what {
        TenantCommand::RegisterSite(_) => About::any(&[site::Registered::SPEC]),
        TenantCommand::Propose(_) => About::any(&[action::Proposed::SPEC]),
        TenantCommand::DeclareFreeze(_) => About::any(&[freeze::Declared::SPEC]),
        TenantCommand::InviteConnector(what) => About::of(&[connector::Invited::SPEC], &what.site),
        TenantCommand::AddRelease(what) => About::of(&[deploy::ReleaseAdded::SPEC], &what.site),
        TenantCommand::Vote(what) => About::of(
            &[
                action::Approved::SPEC,
                action::Rejected::SPEC,
                action::ApprovalWithdrawn::SPEC,
            ],
            &what.action,
        ),
        TenantCommand::Withdraw(what) => About::of(&[action::Withdrawn::SPEC], &what.action),
        TenantCommand::Revoke(what) => About::of(&[action::Revoked::SPEC], &what.action),
        TenantCommand::LiftFreeze(what) => About::of(&[freeze::Lifted::SPEC], &what.freeze),
        TenantCommand::Remark(what) => About::of(&[remark::Made::SPEC], &what.site),
        TenantCommand::SetRetention(_) => About::any(&[retention::Set::SPEC]),
        TenantCommand::KeepBeats(_) => About::any(&[retention::BeatsSet::SPEC]),
        TenantCommand::ExpireBodies(_) => About::any(&[retention::Expired::SPEC]),
        TenantCommand::Erase(what) => About::of(&[retention::Erased::SPEC], &what.subject),
        TenantCommand::OpenTenant(_)
        | TenantCommand::NotePlatform(_)
        | TenantCommand::PairConnector(_)
        | TenantCommand::RecordObservation(_)
        | TenantCommand::Assess(_)
        | TenantCommand::Mint(_)
        | TenantCommand::Deliver(_)
        | TenantCommand::RecordOutcome(_)
        | TenantCommand::Expire(_)
        | TenantCommand::MarkUnresolved(_)
        | TenantCommand::ReceiptRemoval(_) => return None,
    })
}

/// Counts what became of a command, and says it to whoever listens for details.
pub(crate) fn told(chain: &ChainId, command: &Command, result: &Result<Option<Receipt>, Error>) {
    let outcome = count(result);
    tracing::debug!(
        command = %countersign_chain::command_id(chain, &command.actor, &command.key),
        %chain,
        actor = %command.actor.id,
        outcome,
        "command"
    );
}

/// Counts what became of a command, for `/metrics`, and names it.
pub(crate) fn count(result: &Result<Option<Receipt>, Error>) -> &'static str {
    let outcome = match result {
        Ok(Some(receipt)) if receipt.replayed => "repeated",
        Ok(Some(_)) => "written",
        Ok(None) => "nothing",
        Err(error) => error.code().id,
    };
    metrics::counter!("countersign_commands_total", "outcome" => outcome).increment(1);
    outcome
}

/// The command of a caller: its own key, or a new one where it gave none.
pub(crate) fn command(actor: &Actor, request: &Request) -> Result<Command, Error> {
    let key = match &request.key {
        Some(key) => key.clone(),
        None => hex::encode(secrets::random::<16>()?),
    };
    let bytes = key.len();
    if bytes == 0 || bytes > countersign_ids::limits::IDEMPOTENCY_KEY_BYTES_MAX {
        return Err(Error::request(format!(
            "an Idempotency-Key of {bytes} bytes"
        )));
    }
    Ok(Command {
        actor: actor.clone(),
        key: CommandKey::Key(key),
        request: request.digest,
        causation: None,
        traceparent: request.traceparent.clone(),
        about: None,
    })
}

/// The command of a connector's message: its counter is its name for ever.
pub(crate) fn counted(
    actor: Actor,
    generation: u64,
    stream: &str,
    counter: u64,
    request: RequestDigest,
) -> Command {
    let key = CommandKey::Counter {
        generation,
        stream: stream.to_owned(),
        counter,
    };
    Command {
        actor,
        key,
        request: Some(request),
        causation: None,
        traceparent: None,
        about: None,
    }
}

/// What has to have written something: a command whose decision can never be empty.
pub(crate) fn written(receipt: Option<Receipt>) -> Result<Receipt, Error> {
    receipt.ok_or_else(|| Error::internal("a command that always writes wrote nothing"))
}

/// The actor that a connector is in events.
pub(crate) fn connector_actor(connector: &countersign_ids::ConnectorId) -> Result<Actor, Error> {
    Ok(Actor {
        kind: AuthType::Connector,
        id: connector.as_str().parse()?,
    })
}
