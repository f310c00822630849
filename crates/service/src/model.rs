//! What callers hand in and get back, beside the types of the core crates.

use std::path::PathBuf;
use std::time::Duration;

use countersign_domain::{Action, Exclusion, Rejection, Site};
use countersign_events::words::{Environment, Risk, SiteOrAll, TokenRole, Verdict};
use countersign_evidence::document::Credential;
use countersign_evidence::wire::Base64;
use countersign_evidence::{ActionKind, ActionObject, JsonObject, SignedStatement};
use countersign_ids::{
    ActionId, Actor, ApproverId, ChainId, Digest, FreezeId, LedgerId, RequestDigest, Salt, SiteId,
    TenantId, Time, TokenId,
};
use countersign_store::Receipt;
use countersign_transport::PairingCode;

use crate::BearerToken;

/// How to start.
#[derive(Debug, Clone)]
pub struct Config {
    /// The data directory; made when it is absent.
    pub data: PathBuf,
    /// The file of the genesis key: made with a new ledger, and not needed again until keys change.
    pub genesis: PathBuf,
    /// The origin of checkpoints of a new ledger; `None` takes one from the ledger's id.
    pub origin: Option<String>,
    /// The policies; `None` is `policies` in the data directory.
    pub policies: Option<PathBuf>,
    /// The longest time for which a chain has changed without a checkpoint.
    pub checkpoint_age: Duration,
    /// The longest time for which chains have changed without recorded heads.
    pub heads_age: Duration,
    /// How often bodies are looked for whose retention ended.
    pub expiry_age: Duration,
    /// How often everything that is kept is read, to find damage before somebody needs what it is in.
    pub sweep_age: Duration,
    /// How the store is opened.
    pub store: countersign_store::Options,
}

impl Config {
    /// The defaults for a data directory and a genesis key file.
    #[must_use]
    pub fn new(data: impl Into<PathBuf>, genesis: impl Into<PathBuf>) -> Self {
        Self {
            data: data.into(),
            genesis: genesis.into(),
            origin: None,
            policies: None,
            checkpoint_age: Duration::from_secs(10),
            heads_age: Duration::from_secs(60),
            expiry_age: Duration::from_secs(60 * 60),
            sweep_age: Duration::from_secs(24 * 60 * 60),
            store: countersign_store::Options::default(),
        }
    }
}

/// What makes a request the same request when it is sent again.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The caller's Idempotency-Key; without one every request is a new one.
    pub key: Option<String>,
    /// The digest of the body as received.
    pub digest: Option<RequestDigest>,
    /// The W3C trace that the request belongs to.
    pub traceparent: Option<String>,
}

/// A tenant to create.
#[derive(Debug, Clone)]
pub struct NewTenant {
    /// The name of its chain.
    pub tenant: TenantId,
    /// What people call it.
    pub name: String,
}

/// A tenant, for administrators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantInfo {
    /// The name of its chain.
    pub tenant: TenantId,
    /// What people call it.
    pub name: String,
    /// How many events its chain has.
    pub size: u64,
}

/// An approver's key to enrol, with the proof that it is held.
#[derive(Debug, Clone)]
pub struct Enrolment {
    /// The key.
    pub credential: Credential,
    /// Its signature over its own enrolment.
    pub proof: Base64,
}

/// A token to issue.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// Its name; `None` makes one.
    pub id: Option<TokenId>,
    /// The tenant that it is bound to; `None` is the platform.
    pub tenant: Option<TenantId>,
    /// What it may do.
    pub role: TokenRole,
    /// Who uses it.
    pub actor: Actor,
    /// The person for whom an agent acts.
    pub owner: Option<ApproverId>,
}

/// An issued token.
#[derive(Debug)]
pub struct IssuedToken {
    /// Its name.
    pub id: TokenId,
    /// The secret, shown once: none when the request is a repeated one.
    pub token: Option<BearerToken>,
    /// Where it stands in the ledger.
    pub receipt: Receipt,
}

/// A site to register.
#[derive(Debug, Clone)]
pub struct NewSite {
    /// Its name in ids.
    pub site: SiteId,
    /// What people call it.
    pub name: String,
    /// What it is for.
    pub environment: Environment,
}

/// A pairing code.
#[derive(Debug)]
pub struct Invitation {
    /// The code, shown once: none when the request is a repeated one.
    pub code: Option<PairingCode>,
    /// It cannot be used after this.
    pub expires: Time,
    /// Where it stands in the ledger.
    pub receipt: Receipt,
}

/// A freeze to declare.
#[derive(Debug, Clone)]
pub struct NewFreeze {
    /// Its name; `None` makes one.
    pub freeze: Option<FreezeId>,
    /// What it covers.
    pub site: SiteOrAll,
    /// It begins here.
    pub from: Time,
    /// It ends here.
    pub until: Time,
}

/// A change to propose.
#[derive(Debug, Clone)]
pub struct Proposal {
    /// Its name; `None` makes one.
    pub action: Option<ActionId>,
    /// The site to change.
    pub site: SiteId,
    /// What kind of change.
    pub kind: ActionKind,
    /// The parameters of the kind.
    pub parameters: JsonObject,
    /// One line for people; `None` makes one from the kind and the release.
    pub title: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// Nothing is authorised for it after this; `None` is a day from now.
    pub expires: Option<Time>,
}

/// What came of a proposal.
#[derive(Debug)]
pub struct Proposed {
    /// The action.
    pub action: ActionId,
    /// Where it stands in the ledger.
    pub receipt: Receipt,
}

/// A vote: the signed statement, and the reason that it commits to.
#[derive(Debug, Clone)]
pub struct Ballot {
    /// The statement as the approver signed it.
    pub signed: SignedStatement,
    /// The reason and its salt, where the statement commits to one.
    pub reason: Option<SaltedReason>,
}

/// A reason, and the 16 random bytes without which nobody can guess it from its digest.
#[derive(Debug, Clone)]
pub struct SaltedReason {
    /// 16 random bytes.
    pub salt: Salt,
    /// The reason.
    pub reason: String,
}

/// What would happen to a proposal. Nothing of it is in the ledger.
#[derive(Debug, Clone)]
pub struct Preview {
    /// What would be executed.
    pub object: ActionObject,
    /// One line for people.
    pub title: String,
    /// How bad it is if it goes wrong.
    pub risk: Risk,
    /// How many things it touches.
    pub blast_radius: u64,
    /// What would change.
    pub plan: JsonObject,
    /// What policy says.
    pub verdict: Verdict,
    /// How many approvals it takes.
    pub needed: u64,
    /// Who could give them, and who could not and why.
    pub approvers: Vec<(ApproverId, Option<Exclusion>)>,
    /// Why, in plain words.
    pub reasons: Vec<String>,
    /// The policies that were asked.
    pub policy_digest: Digest,
}

/// An action, and what it waits for.
#[derive(Debug, Clone)]
pub struct ActionInfo {
    /// The action as its chain has it.
    pub action: Action,
    /// What stands between it and its order; none where nothing does, or where it is past it.
    pub waits_for: Option<Rejection>,
}

/// Everything that an approver needs to see one action and sign about it.
#[derive(Debug, Clone)]
pub struct ActionDetail {
    /// The action as its chain has it: object, digest, state, round, votes, order.
    pub action: Action,
    /// What stands between it and its order; none where nothing does, or where it is past it.
    pub waits_for: Option<Rejection>,
    /// The ledger, for the statement.
    pub ledger: LedgerId,
    /// The chain, for the statement.
    pub chain: ChainId,
    /// The view document of the round, byte for byte; none before the first assessment.
    pub view: Option<Vec<u8>>,
    /// The document that the site pins.
    pub document_digest: Option<Digest>,
    /// Who could approve, and who could not and why.
    pub approvers: Vec<(ApproverId, Option<Exclusion>)>,
    /// Why the verdict is what it is.
    pub reasons: Vec<String>,
    /// What the chain says of it so far, oldest first: sequence, type, time.
    pub history: Vec<HistoryLine>,
    /// The reasons that people and agents gave, oldest first: text of others, to be shown as such.
    pub given: Vec<GivenReason>,
}

/// A reason that somebody gave, opened for a reader who may see it.
#[derive(Debug, Clone)]
pub struct GivenReason {
    /// Where it stands in the chain.
    pub sequence: countersign_ids::Sequence,
    /// Who gave it.
    pub actor: Actor,
    /// The words; none once the key of the person was destroyed.
    pub text: Option<String>,
}

/// One line of an action's history.
#[derive(Debug, Clone)]
pub struct HistoryLine {
    /// Where it stands in the chain.
    pub sequence: countersign_ids::Sequence,
    /// What happened.
    pub event_type: countersign_ids::EventType,
    /// When.
    pub time: Time,
    /// By whom.
    pub actor: Actor,
}

impl From<&crate::state::Trace> for HistoryLine {
    fn from(trace: &crate::state::Trace) -> Self {
        Self {
            sequence: trace.sequence,
            event_type: trace.event_type.clone(),
            time: trace.time,
            actor: trace.actor.clone(),
        }
    }
}

/// A site as operators see it.
#[derive(Debug, Clone)]
pub struct SiteDetail {
    /// The fold of the chain: connector, document, releases, what was seen.
    pub site: Site,
    /// The last heartbeat that was accepted: when, and its counter.
    pub last_beat: Option<(Time, u64)>,
}

/// One page of a chain's events.
#[derive(Debug, Clone)]
pub struct EventsPage {
    /// The events, in order, as they are kept.
    pub events: Vec<countersign_store::Entry>,
    /// How many events the chain has.
    pub size: u64,
}

/// What `/readyz` says.
#[derive(Debug, Clone)]
pub struct Readiness {
    /// Whether commands are taken.
    pub ready: bool,
    /// What is wrong, one line each: a code and what it is about. A ready server may have some.
    pub problems: Vec<(countersign_ids::Code, String)>,
    /// The ledger's own status.
    pub ledger: countersign_store::Status,
}

/// What a tenant keeps and for how long.
#[derive(Debug, Clone)]
pub struct Kept {
    /// Days after which heartbeats are pruned; for ever if absent.
    pub beats_days: Option<u32>,
    /// The first event that the chain of heartbeats still has.
    pub beats_from: countersign_ids::Sequence,
    /// Whether a pruning was ordered that has no receipt yet.
    pub beats_pending: bool,
    /// Days after which an operational body is removed.
    pub operational_days: u32,
    /// Operational bodies that nobody ordered to remove.
    pub operational: usize,
    /// Data subjects with sealed bodies.
    pub subjects: Vec<countersign_ids::DataSubject>,
    /// Data subjects that were erased.
    pub erased: Vec<countersign_ids::DataSubject>,
    /// The events that ordered removals which are not receipted yet.
    pub pending: Vec<countersign_ids::Sequence>,
}
