//! A control plane in a temporary directory, with a tenant, a site, an approver with a real key and a connector with another.

#![expect(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its own part of the support"
)]

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

    #[expect(
        clippy::too_many_lines,
        reason = "the story of one set-up, told in order"
    )]
    async fn with(set: impl FnOnce(&mut Config)) -> Self {
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

    pub fn publish(&self, release: Digest) -> Proposal {
        self.proposal("release.publish", release)
    }

    pub fn proposal(&self, kind: &str, release: Digest) -> Proposal {
        Proposal {
            action: None,
            site: self.site.clone(),
            kind: kind.parse().unwrap(),
            parameters: JsonObject::of_strings([("release", release.to_string())]),
            title: None,
            reason: Some("spring menu".to_owned()),
            expires: None,
        }
    }

    pub async fn propose(&self, proposal: Proposal) -> ActionId {
        self.service
            .propose(&self.agent, &Request::default(), proposal)
            .await
            .unwrap()
            .action
    }

    pub fn detail(&self, action: &ActionId) -> ActionDetail {
        self.service.action(&self.owner, action).unwrap()
    }

    /// Waits until the action is in one of these states.
    pub async fn until(&self, action: &ActionId, states: &[State]) -> Action {
        self.wait(action, |action| states.contains(&action.state()))
            .await
    }

    pub async fn wait(&self, action: &ActionId, holds: impl Fn(&Action) -> bool) -> Action {
        let wait = async {
            let mut follow = self.service.follow(&self.owner, Sequence::ZERO);
            loop {
                let action = self.detail(action).action;
                if holds(&action) {
                    return action;
                }
                follow.next().await.unwrap();
            }
        };
        match tokio::time::timeout(BOUND, wait).await {
            Ok(action) => action,
            Err(_) => panic!("the action stays {:?}", self.detail(action).action),
        }
    }

    /// A statement of alice about the action as it is shown to her now.
    pub fn statement(&self, action: &ActionId, decision: Decision, nonce: u8) -> Statement {
        let detail = self.detail(action);
        let assessment = detail.action.assessment.clone().unwrap();
        let now = self.service.now();
        Statement {
            v: V1,
            ledger: detail.ledger,
            chain: detail.chain,
            site: self.site.clone(),
            action: action.clone(),
            action_digest: detail.action.proposal.digest,
            decision,
            scope: Scope::Action,
            round: detail.action.round,
            approver: "alice".parse().unwrap(),
            credential: "alice-1".parse().unwrap(),
            reason_digest: OrDash::NONE,
            policy_digest: OrDash(Some(assessment.policy_digest)),
            view_digest: assessment.view_digest,
            rollback_digest: OrDash(assessment.rollback_digest),
            not_before: now.minus_millis(1000),
            not_after: now.plus_millis(600_000),
            nonce: Nonce::from_bytes([nonce; 16]),
        }
    }

    pub fn signed(&self, action: &ActionId, decision: Decision, nonce: u8) -> SignedStatement {
        self.statement(action, decision, nonce)
            .sign(&self.alice)
            .unwrap()
    }

    /// Alice's vote; a denial with a reason.
    pub async fn vote(
        &self,
        action: &ActionId,
        decision: Decision,
        nonce: u8,
    ) -> Result<(), Error> {
        let mut statement = self.statement(action, decision, nonce);
        let reason = (decision == Decision::Deny).then(|| SaltedReason {
            salt: Salt::from_bytes([nonce; 16]),
            reason: "not on a Friday".to_owned(),
        });
        statement.reason_digest = OrDash(reason.as_ref().map(|given| {
            countersign_evidence::statement::reason_digest(given.salt.as_bytes(), &given.reason)
        }));
        let signed = statement.sign(&self.alice).unwrap();
        let ballot = Ballot { signed, reason };
        self.service
            .vote(&self.approver, &Request::default(), action.clone(), ballot)
            .await
            .map(drop)
    }

    /// Polls until there is an order.
    pub async fn order(&self, connector: &Connector) -> Delivery {
        self.service
            .poll_for(&connector.poll(), BOUND)
            .await
            .unwrap()
            .expect("an order within the bound")
    }

    /// The whole way of one publish, up to its success.
    pub async fn publish_whole(
        &self,
        connector: &mut Connector,
        release: Digest,
        nonce: u8,
    ) -> ActionId {
        let action = self.propose(self.publish(release)).await;
        self.until(&action, &[State::Waiting]).await;
        self.vote(&action, Decision::Approve, nonce).await.unwrap();
        let delivery = self.order(connector).await;
        let order = order_of(&delivery);
        assert_eq!(order.1.action, action);
        self.outcome(connector, order.0, OutcomeResult::Accepted)
            .await;
        connector.switch(release);
        self.outcome(connector, order.0, OutcomeResult::Succeeded)
            .await;
        self.observe(connector).await;
        action
    }

    pub async fn outcome(&self, connector: &mut Connector, order: Digest, result: OutcomeResult) {
        let envelope = connector.outcome(order, result);
        self.service.message(&envelope).await.unwrap();
    }

    /// The facts of all events of the tenant's chain, in order.
    pub fn facts(&self) -> Vec<String> {
        let mut facts = Vec::new();
        loop {
            let from = Sequence::new(facts.len().try_into().unwrap());
            let page = self.service.events(&self.owner, from, 1000).unwrap();
            let done = page.events.is_empty();
            facts.extend(page.events.iter().map(|entry| {
                let of = &entry.header().event_type;
                format!("{}.{}", of.family(), of.fact())
            }));
            if done {
                return facts;
            }
        }
    }

    /// How often a fact stands in the tenant's chain.
    pub fn count(&self, fact: &str) -> usize {
        self.facts().iter().filter(|one| *one == fact).count()
    }

    /// No command id stands twice in the chain but for consecutive events of one command.
    pub fn audit(&self) {
        let page = self
            .service
            .events(&self.owner, Sequence::ZERO, 1000)
            .unwrap();
        let mut seen = BTreeSet::new();
        let mut last = None;
        for entry in &page.events {
            let command = entry.header().commandid;
            assert!(
                last == Some(command) || seen.insert(command),
                "command {command} came twice"
            );
            last = Some(command);
        }
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

/// The order in a delivery, and its digest.
pub fn order_of(delivery: &Delivery) -> (Digest, Order) {
    let envelope = envelope_of(delivery);
    (
        envelope.payload_digest(),
        Order::parse(envelope.unverified_payload()).unwrap(),
    )
}

/// The signed order in a delivery.
pub fn envelope_of(delivery: &Delivery) -> Envelope {
    let body: JsonObject = serde_json::from_str(&delivery.event.body).unwrap();
    serde_json::from_value(body.0.get("envelope").unwrap().clone()).unwrap()
}
