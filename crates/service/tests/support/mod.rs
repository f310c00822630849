//! A control plane in a temporary directory, with a tenant, a site, an approver with a real key and a connector with another.

#![expect(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its own part of the support"
)]

pub mod action;
pub mod connector;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use countersign_domain::manifest::{File, Manifest};
use countersign_domain::{Action, State};
use countersign_events::words::{Environment, TokenRole};
use countersign_evidence::message::OutcomeResult;
use countersign_evidence::statement::{Decision, Scope};
use countersign_evidence::wire::{OrDash, V1};
use countersign_evidence::{
    Delivery, Envelope, JsonObject, Order, SignedStatement, Statement, enrolment,
};
use countersign_ids::{
    ActionId, Actor, AuthType, Digest, Nonce, Salt, Sequence, SiteId, TenantId, Time,
};
use countersign_service::{
    ActionDetail, Ballot, Config, Enrolment, Error, Need, NewSite, NewTenant, NewToken,
    PlatformAccess, Proposal, Request, SaltedReason, Service, TenantAccess,
};
use countersign_transport::PairingCode;
use ed25519_dalek::SigningKey;

pub use connector::Connector;

/// How long anything may take before a test fails.
pub const BOUND: Duration = Duration::from_secs(60);

pub struct Plane {
    pub directory: tempfile::TempDir,
    pub service: Service,
    pub admin: PlatformAccess,
    pub owner: TenantAccess,
    pub agent: TenantAccess,
    pub approver: TenantAccess,
    pub alice: SigningKey,
    pub tenant: TenantId,
    pub site: SiteId,
    tokens: [String; 3],
}

pub fn config(directory: &Path) -> Config {
    Config::new(directory.join("data"), directory.join("genesis.pem"))
}

fn admin(service: &Service) -> PlatformAccess {
    let text = std::fs::read_to_string(service.admin_token_file()).unwrap();
    service
        .authenticate(text.trim())
        .unwrap()
        .platform()
        .unwrap()
}

pub fn keyed(key: &str) -> Request {
    Request {
        key: Some(key.to_owned()),
        ..Request::default()
    }
}

/// A clock that a test moves.
#[derive(Debug)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    pub fn new() -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(0)))
    }

    pub fn pass(&self, seconds: u64) {
        self.0.fetch_add(seconds * 1000, Ordering::SeqCst);
    }
}

impl countersign_store::clock::Clock for ManualClock {
    fn now(&self) -> Time {
        Time::from_unix_millis(1_795_320_000_000 + self.0.load(Ordering::SeqCst))
    }

    fn steady(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst))
    }
}

impl Plane {
    /// A running plane with the tenant `acme`, the approver `alice` and the site `shop`; nothing is paired yet.
    pub async fn new() -> Self {
        Self::with(|_| ()).await
    }

    /// [`Plane::new`] by another clock.
    pub async fn by(clock: Arc<ManualClock>) -> Self {
        Self::with(move |config| config.store.clock = clock).await
    }

    /// [`Plane::new`] with other settings.
    #[expect(
        clippy::too_many_lines,
        reason = "the story of one set-up, told in order"
    )]
    pub async fn with(set: impl FnOnce(&mut Config)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut config = config(directory.path());
        set(&mut config);
        let service = Service::start(config).await.unwrap();
        let admin = admin(&service);
        let (tenant, site): (TenantId, SiteId) = ("acme".parse().unwrap(), "shop".parse().unwrap());
        let new = NewTenant {
            tenant: tenant.clone(),
            name: "Acme".to_owned(),
        };
        service
            .create_tenant(&admin, &Request::default(), new)
            .await
            .unwrap();
        let alice = SigningKey::from_bytes(&[77; 32]);
        let (credential, proof) = enrolment::enrol(
            service.ledger_id(),
            "alice".parse().unwrap(),
            "alice-1".parse().unwrap(),
            &alice,
        )
        .unwrap();
        service
            .enrol(&admin, &Request::default(), Enrolment { credential, proof })
            .await
            .unwrap();
        let mut tokens = Vec::new();
        for (role, kind, actor, owner) in [
            (TokenRole::Owner, AuthType::Person, "olga", None),
            (TokenRole::Proposer, AuthType::Agent, "bot", Some("olga")),
            (TokenRole::Approver, AuthType::Person, "alice", None),
        ] {
            let new = NewToken {
                id: None,
                tenant: Some(tenant.clone()),
                role,
                actor: Actor {
                    kind,
                    id: actor.parse().unwrap(),
                },
                owner: owner.map(|owner| owner.parse().unwrap()),
            };
            let issued = service
                .issue_token(&admin, &Request::default(), new)
                .await
                .unwrap();
            tokens.push(issued.token.unwrap().reveal().to_string());
        }
        let tokens: [String; 3] = tokens.try_into().unwrap();
        let [owner, agent, approver] = accesses(&service, &tenant, &tokens);
        let new = NewSite {
            site: site.clone(),
            name: "Shop".to_owned(),
            environment: Environment::Production,
        };
        service
            .register_site(&owner, &Request::default(), new)
            .await
            .unwrap();
        Self {
            directory,
            service,
            admin,
            owner,
            agent,
            approver,
            alice,
            tenant,
            site,
            tokens,
        }
    }

    /// The same data directory, opened again after a crash.
    pub async fn crash(self, idle: bool) -> Self {
        self.crash_with(idle, || ()).await
    }

    /// A crash, and something that happens to the directory before it is opened again.
    pub async fn crash_and(self, meanwhile: impl FnOnce()) -> Self {
        self.crash_with(false, meanwhile).await
    }

    async fn crash_with(self, idle: bool, meanwhile: impl FnOnce()) -> Self {
        let Self {
            directory,
            service,
            alice,
            tenant,
            site,
            tokens,
            ..
        } = self;
        service.abandon().await;
        meanwhile();
        Self::open(directory, alice, tenant, site, tokens, idle).await
    }

    /// The same data directory, opened again after a clean stop.
    pub async fn restart(self) -> Self {
        let Self {
            directory,
            service,
            alice,
            tenant,
            site,
            tokens,
            ..
        } = self;
        service.stop().await.unwrap();
        drop(service);
        Self::open(directory, alice, tenant, site, tokens, false).await
    }

    async fn open(
        directory: tempfile::TempDir,
        alice: SigningKey,
        tenant: TenantId,
        site: SiteId,
        tokens: [String; 3],
        idle: bool,
    ) -> Self {
        let config = config(directory.path());
        let service = if idle {
            Service::start_idle(config).await
        } else {
            Service::start(config).await
        }
        .unwrap();
        let admin = admin(&service);
        let [owner, agent, approver] = accesses(&service, &tenant, &tokens);
        Self {
            directory,
            service,
            admin,
            owner,
            agent,
            approver,
            alice,
            tenant,
            site,
            tokens,
        }
    }

    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    pub async fn invite(&self) -> PairingCode {
        self.service
            .invite(&self.owner, &Request::default(), self.site.clone())
            .await
            .unwrap()
            .code
            .unwrap()
    }

    /// A paired connector of a site that has said nothing yet.
    pub async fn paired(&self, site: &str) -> Connector {
        let site: SiteId = site.parse().unwrap();
        let request = Request::default();
        let invited = self.service.invite(&self.owner, &request, site);
        let code = invited.await.unwrap().code.unwrap();
        let info = self.service.pairing(&code.to_string()).await.unwrap();
        let mut connector = Connector::new(&info, u8::try_from(100 + info.generation).unwrap());
        let paired = connector.pair(&code);
        self.service.pair(&code.to_string(), &paired).await.unwrap();
        connector
    }

    /// A paired connector that has reported a site that serves `current`.
    pub async fn connector(&self, current: Option<Digest>) -> Connector {
        let code = self.invite().await;
        let info = self.service.pairing(&code.to_string()).await.unwrap();
        let mut connector = Connector::new(&info, u8::try_from(info.generation).unwrap());
        let paired = connector.pair(&code);
        self.service.pair(&code.to_string(), &paired).await.unwrap();
        connector.current = current;
        self.observe(&mut connector).await;
        connector
    }

    pub async fn observe(&self, connector: &mut Connector) {
        let observed = connector.observed(self.service.now());
        self.service.message(&observed).await.unwrap();
    }

    /// Adds a release whose only page says `text`.
    pub async fn release(&self, label: &str, text: &str) -> Digest {
        let page = text.as_bytes().to_vec();
        let digest = countersign_chain::sha256(&page);
        let manifest = Manifest {
            v: V1,
            label: label.to_owned(),
            pages: vec!["index.html".to_owned()],
            files: vec![File {
                path: "index.html".to_owned(),
                digest,
                bytes: page.len().try_into().unwrap(),
                media_type: "text/html".to_owned(),
            }],
            base_path: "/".to_owned(),
        };
        let bytes = manifest.to_bytes().unwrap();
        let release = countersign_chain::sha256(&bytes);
        self.service
            .put_blob(&self.owner, digest, page)
            .await
            .unwrap();
        self.service
            .put_blob(&self.owner, release, bytes)
            .await
            .unwrap();
        let request = Request::default();
        let added = self.service.add_release(
            &self.owner,
            &request,
            self.site.clone(),
            release,
            label.to_owned(),
        );
        added.await.unwrap();
        release
    }
}

fn accesses(service: &Service, tenant: &TenantId, tokens: &[String; 3]) -> [TenantAccess; 3] {
    let [owner, agent, approver] = tokens;
    let access = |token: &str, need| {
        service
            .authenticate(token)
            .unwrap()
            .tenant(tenant, need)
            .unwrap()
    };
    [
        access(owner, Need::Operate),
        access(agent, Need::Propose),
        access(approver, Need::Vote),
    ]
}
