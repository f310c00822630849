//! Every way in which the domain says no: a value with a stable code, never an error of the world and never corruption.
//!
//! The order of declaration is the order of precedence: where two refusals apply to one command, the earlier one is given.
//! Each code has a page in docs/errors/. What a message names is a name or a number of the domain, never free text of others.

use countersign_evidence::{ActionKind, statement::StatementError};
use countersign_ids::{
    ActionId, ApproverId, ChainId, Code, ConnectorId, CredentialId, DataSubject, Digest, FreezeId,
    Nonce, Sequence, SiteId, TenantId, Time, TokenId,
};

use crate::state::State;

macro_rules! rejections {
    ($($(#[$doc:meta])* $variant:ident $({ $($field:ident: $type:ty),* $(,)? })? $message:literal = $code:expr;)*) => {
        /// Why the domain refuses a command.
        #[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
        #[expect(missing_docs, reason = "the fields are what the message of the variant names")]
        pub enum Rejection {
            $($(#[$doc])* #[error($message)] $variant $({ $($field: $type),* })?,)*
        }

        impl Rejection {
            const fn own_code(&self) -> Code {
                match self {
                    $(Self::$variant { .. } => $code,)*
                }
            }

            /// The name of the variant, as tables of cases write it.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => stringify!($variant),)*
                }
            }

            /// The names of all variants, in order of precedence.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($variant)),*];
        }

        /// All codes of this crate, in order of precedence.
        pub const CODES: &[Code] = &[$($code),*];
    };
}

rejections! {
    // What a command names, from the outermost inwards.

    /// Nothing was written to the platform chain yet.
    LedgerUnknown "the ledger has no key statement yet"
        = Code { id: "ledger-unknown", title: "The ledger was not begun" };
    /// A key statement that does not follow the ones before, or is not signed as it has to be.
    KeyStatementRefused { why: countersign_evidence::keys::KeyError } "the key statement is refused: {why}"
        = countersign_evidence::codes::KEY_STATEMENT_REFUSED;
    /// The tenant is there already.
    TenantExists { tenant: TenantId } "tenant `{tenant}` exists already"
        = Code { id: "tenant-exists", title: "There is a tenant of this name" };
    /// No chain of this tenant was announced or opened.
    TenantUnknown { chain: ChainId } "there is no tenant with chain `{chain}`"
        = Code { id: "tenant-unknown", title: "There is no tenant of this name" };
    /// The command belongs to another chain.
    WrongChain { chain: ChainId } "this does not belong to chain `{chain}`"
        = Code { id: "wrong-chain", title: "The command belongs to another chain" };
    /// The site is there already.
    SiteExists { site: SiteId } "site `{site}` exists already"
        = Code { id: "site-exists", title: "There is a site of this name" };
    /// No site of this name in this tenant.
    SiteUnknown { site: SiteId } "there is no site `{site}`"
        = Code { id: "site-unknown", title: "There is no site of this name" };
    /// The action is there already.
    ActionExists { action: ActionId } "action `{action}` exists already"
        = Code { id: "action-exists", title: "There is an action of this name" };
    /// No action of this name in this tenant.
    ActionUnknown { action: ActionId } "there is no action `{action}`"
        = Code { id: "action-unknown", title: "There is no action of this name" };
    /// The freeze is there already.
    FreezeExists { freeze: FreezeId } "freeze `{freeze}` exists already"
        = Code { id: "freeze-exists", title: "There is a freeze of this name" };
    /// No freeze of this name, or it was lifted.
    FreezeUnknown { freeze: FreezeId } "there is no freeze `{freeze}` in force"
        = Code { id: "freeze-unknown", title: "There is no freeze of this name in force" };
    /// A freeze that ends before it begins, or lies behind us.
    FreezeWindow { from: Time, until: Time } "a freeze from `{from}` until `{until}` is never in force"
        = Code { id: "freeze-window", title: "The freeze would never be in force" };
    /// The token is there already.
    TokenExists { token: TokenId } "token `{token}` exists already"
        = Code { id: "token-exists", title: "There is a token of this name" };
    /// No token of this name, or it was revoked.
    TokenUnknown { token: TokenId } "there is no token `{token}` in force"
        = Code { id: "token-unknown", title: "There is no token of this name in force" };
    /// A role that this scope does not have.
    RoleUnfit { role: String } "role `{role}` does not exist in this scope"
        = Code { id: "role-unfit", title: "The role does not exist in this scope" };
    /// The credential was enrolled already, or its key under another name.
    CredentialExists { credential: CredentialId } "credential `{credential}`, or its key, is enrolled already"
        = Code { id: "credential-exists", title: "The credential or its key is enrolled already" };
    /// No such credential, or it was removed.
    CredentialUnknown { credential: CredentialId } "there is no credential `{credential}` of this approver in force"
        = Code { id: "credential-unknown", title: "There is no such credential in force" };
    /// The enrolment does not prove that its key is held.
    EnrolmentRefused { why: countersign_evidence::enrolment::EnrolmentError } "the enrolment is refused: {why}"
        = countersign_evidence::codes::ENROLMENT_PROOF;
    /// A recorded head that covers less than one before it.
    HeadsSteppedBack { from: u64, to: u64 } "recorded heads cover `{from}` chains, these only `{to}`"
        = Code { id: "heads-stepped-back", title: "Recorded heads would cover fewer chains" };
    /// Free text that is empty, too long or not printable.
    TextUnfit { what: &'static str, bytes_max: usize } "the {what} must be 1 to {bytes_max} bytes of printable text"
        = Code { id: "text-unfit", title: "A text is empty, too long or not printable" };

    // Restating platform events.

    /// The bytes are not the platform event that they say they are.
    NoteMalformed "the platform event to restate does not verify"
        = Code { id: "note-malformed", title: "A platform event to restate does not verify" };
    /// The event decides nothing in a tenant.
    NoteIrrelevant { event_type: String } "platform events of type `{event_type}` are not restated"
        = Code { id: "note-irrelevant", title: "This platform event is not restated in tenants" };
    /// It was restated already, or a later one was.
    NoteRepeated { sequence: u64 } "the platform event {sequence}, or a later one, was restated already"
        = Code { id: "note-repeated", title: "The platform event was restated already" };

    // Pairing.

    /// The code would live longer than ten minutes, or not at all.
    InvitationWindow { expires: Time } "a pairing code cannot expire at `{expires}`"
        = Code { id: "invitation-window", title: "The lifetime of the pairing code is out of bounds" };
    /// This code was given before.
    InvitationRepeated { site: SiteId } "this pairing code was given before, for site `{site}`"
        = Code { id: "invitation-repeated", title: "The pairing code was given before" };
    /// Nobody gave this code for this site, or a newer one replaced it.
    PairingCodeUnknown { site: SiteId } "this pairing code was not given for site `{site}`"
        = Code { id: "pairing-code-unknown", title: "The pairing code is not one of this site" };
    /// The code paired a connector before.
    PairingCodeUsed { site: SiteId } "this pairing code of site `{site}` was used before"
        = Code { id: "pairing-code-used", title: "The pairing code was used before" };
    /// The code is too old.
    PairingCodeExpired { expires: Time } "this pairing code expired at `{expires}`"
        = Code { id: "pairing-code-expired", title: "The pairing code expired" };
    /// The pairing names another document than the one given.
    PairingDocument { wanted: Digest, found: Digest } "the pairing pins document `{found}`, not `{wanted}`"
        = Code { id: "pairing-document", title: "The pairing pins another document" };
    /// The pairing carries the key of a connector that is or was paired.
    PairingKeyReused { site: SiteId } "this connector key was paired before, at site `{site}`"
        = Code { id: "pairing-key-reused", title: "The connector key was paired before" };
    /// The document is not one, or not of this site.
    DocumentRefused { site: SiteId } "the document is not one of site `{site}`, or does not follow the pinned one"
        = Code { id: "document-refused", title: "The site's document does not fit" };

    // Messages of connectors.

    /// The site has no connector.
    ConnectorUnpaired { site: SiteId } "site `{site}` has no connector"
        = Code { id: "connector-unpaired", title: "The site has no connector" };
    /// The message is for another ledger, chain, site or connector.
    MessageMisdirected { connector: ConnectorId } "the message of connector `{connector}` is for another ledger, chain or site"
        = Code { id: "message-misdirected", title: "A connector's message is for somewhere else" };
    /// The generation is not the one of the last pairing.
    GenerationEnded { wanted: u64, found: u64 } "the connector signs as generation {found}; its last pairing is {wanted}"
        = Code { id: "generation-ended", title: "The connector was paired again since" };
    /// The counter is not the next one.
    CounterGap { wanted: u64, found: u64 } "the message has counter {found}; the next one is {wanted}"
        = Code { id: "counter-gap", title: "A connector's message is not the next one" };
    /// The connector names a smaller checkpoint than before.
    CheckpointSteppedBack { from: u64, to: u64 } "the connector names a checkpoint of size {to} after one of size {from}"
        = Code { id: "checkpoint-stepped-back", title: "A connector names a smaller checkpoint than before" };
    /// The connector names a checkpoint of a size that the chain does not have.
    CheckpointUnknown { size: u64, found: u64 } "the connector names a checkpoint of size {found}; the chain has {size}"
        = Code { id: "checkpoint-unknown", title: "A connector saw more of the chain than there is" };

    // Releases.

    /// The manifest cannot be read.
    ManifestMalformed "the release manifest cannot be read"
        = Code { id: "manifest-malformed", title: "The release manifest cannot be read" };
    /// The manifest is another release, or has another label.
    ReleaseMismatch { release: Digest } "the manifest is not that of release `{release}`"
        = Code { id: "release-mismatch", title: "The manifest is another release" };
    /// The release was added before.
    ReleaseExists { release: Digest } "release `{release}` was added before"
        = Code { id: "release-exists", title: "The release was added before" };
    /// The release was not added to this site.
    ReleaseUnknown { release: Digest } "release `{release}` was not added to this site"
        = Code { id: "release-unknown", title: "The release was not added to this site" };

    // Proposing.

    /// No such kind of action.
    KindUnknown { kind: ActionKind } "there is no kind of action `{kind}`"
        = Code { id: "kind-unknown", title: "There is no such kind of action" };
    /// The parameters are not those of the kind.
    ParametersMalformed { kind: ActionKind } "the parameters are not those of kind `{kind}`"
        = Code { id: "parameters-malformed", title: "The parameters do not fit the kind" };
    /// The connector did not yet say what is live.
    SiteUnobserved { site: SiteId } "the connector of site `{site}` did not say yet what is live"
        = Code { id: "site-unobserved", title: "Nothing is known yet of what is live" };
    /// The release to return to is not at the site.
    ReleaseNotAtSite { release: Digest } "release `{release}` is not at the site"
        = Code { id: "release-not-at-site", title: "The release to return to is not at the site" };
    /// It is so already.
    NothingToChange { site: SiteId } "site `{site}` is so already"
        = Code { id: "nothing-to-change", title: "There is nothing to change" };
    /// The expiry is too near or too far.
    ExpiryOutOfBounds { earliest: Time, latest: Time } "an action must expire between `{earliest}` and `{latest}`"
        = Code { id: "expiry-out-of-bounds", title: "The expiry is too near or too far" };
    /// The plan does not fit an event.
    PlanTooLarge { bytes_max: usize } "the plan has more than {bytes_max} bytes"
        = Code { id: "plan-too-large", title: "The plan is too large" };
    /// A reason must be given.
    ReasonRequired "a reason must be given"
        = Code { id: "reason-required", title: "A reason must be given" };
    /// The reason is not the one that was signed.
    ReasonMismatch "the reason given is not the reason signed"
        = Code { id: "reason-mismatch", title: "The reason given is not the one signed" };

    // What is kept.

    /// Longer than the platform allows.
    RetentionTooLong { days_max: u32 } "this is kept for {days_max} days at most"
        = Code { id: "retention-too-long", title: "Longer than the platform keeps it" };
    /// No operational body is old enough.
    NothingExpired { until: Time } "nothing of `{until}` or before is left that may go"
        = Code { id: "nothing-expired", title: "No body has outlived its retention" };
    /// Nothing in this chain is about such a data subject.
    SubjectUnknown { subject: DataSubject } "nothing sealed here is about data subject `{subject}`"
        = Code { id: "subject-unknown", title: "Nothing sealed is about this data subject" };
    /// The data subject's key was destroyed, and nothing came since.
    SubjectErased { subject: DataSubject } "data subject `{subject}` was erased already"
        = Code { id: "subject-erased", title: "The data subject was erased already" };
    /// No removal was ordered there, or it is done.
    RemovalUnknown { ordered: Sequence } "no removal that event {ordered} ordered is pending"
        = Code { id: "removal-unknown", title: "No such removal is pending" };

    // The life of an action.

    /// No edge of an action's life leads there from where it is.
    WrongState { action: ActionId, state: State } "action `{action}` is {state}"
        = Code { id: "wrong-state", title: "The action is past this, or not there yet" };
    /// The action is too old.
    ActionExpired { action: ActionId, expires: Time } "action `{action}` expired at `{expires}`"
        = Code { id: "action-expired", title: "The action expired" };
    /// The time for this has not come.
    NotDue { action: ActionId, due: Time } "nothing is due for action `{action}` before `{due}`"
        = Code { id: "not-due", title: "The time for this has not come" };
    /// Only the proposer takes a proposal back.
    NotProposer { action: ActionId } "only its proposer withdraws action `{action}`"
        = Code { id: "not-proposer", title: "Only the proposer withdraws an action" };
    /// The assessment is not of the round that comes next.
    RoundMismatch { wanted: u64, found: u64 } "this is for round {found}; the action is in round {wanted}"
        = Code { id: "round-mismatch", title: "The action is in another round" };
    /// The assessment answers another question than the one that the chain asks now.
    AssessmentStale { action: ActionId } "the assessment of action `{action}` was made from older facts"
        = Code { id: "assessment-stale", title: "The assessment was made from older facts" };

    // Votes.

    /// The statement is about something else.
    StatementMisdirected { member: &'static str } "the statement's `{member}` is another one"
        = Code { id: "statement-misdirected", title: "The statement is about something else" };
    /// The statement's scope is not offered here.
    ScopeUnsupported "break-glass is not offered here"
        = Code { id: "scope-unsupported", title: "Break-glass is not offered here" };
    /// The statement does not count now.
    StatementNotNow { from: Time, until: Time } "the statement counts from `{from}` until `{until}`, not now"
        = Code { id: "statement-not-now", title: "The statement does not count now" };
    /// The nonce was seen in this chain.
    NonceReused { nonce: Nonce } "nonce `{nonce}` was used before"
        = Code { id: "nonce-reused", title: "The nonce was used before" };
    /// The approver is not known in this tenant.
    ApproverUnknown { approver: ApproverId } "approver `{approver}` is not known in this tenant"
        = Code { id: "approver-unknown", title: "The approver is not known in this tenant" };
    /// The credential was removed.
    ApproverRemoved { approver: ApproverId } "the credential of approver `{approver}` was removed"
        = Code { id: "approver-removed", title: "The approver's credential was removed" };
    /// The statement does not verify against the enrolled key.
    StatementRefused { why: StatementError } "the statement is refused: {why}"
        = countersign_evidence::codes::STATEMENT_SIGNATURE;
    /// The approver proposed it.
    ApproverIsProposer { approver: ApproverId } "approver `{approver}` proposed this action"
        = Code { id: "approver-is-proposer", title: "Nobody approves what they proposed" };
    /// The approver's agent proposed it.
    ApproverIsOwner { approver: ApproverId } "the agent of approver `{approver}` proposed this action"
        = Code { id: "approver-is-owner", title: "Nobody approves what their agent proposed" };
    /// The site's document does not name this key.
    ApproverNotAtSite { approver: ApproverId } "the document of the site does not name this key of approver `{approver}`"
        = Code { id: "approver-not-at-site", title: "The site does not know this approver's key" };
    /// One person, one vote.
    VoteStands { approver: ApproverId } "a vote of approver `{approver}` stands already in this round"
        = Code { id: "vote-stands", title: "This person's vote stands already" };
    /// There is no vote to take back.
    VoteMissing { approver: ApproverId } "no vote of approver `{approver}` stands in this round"
        = Code { id: "vote-missing", title: "There is no vote to take back" };

    // Minting an order.

    /// Another order is out for the site.
    SiteLocked { site: SiteId, by: ActionId } "site `{site}` waits for the outcome of action `{by}`"
        = Code { id: "site-locked", title: "Another order is out for this site" };
    /// Policy or its data are others than those that were assessed: a new round is due.
    PolicyChanged { action: ActionId } "policy changed since action `{action}` was assessed"
        = Code { id: "policy-changed", title: "Policy changed since the assessment" };
    /// The site is not as it was when the action was planned.
    PreconditionChanged { site: SiteId } "site `{site}` is not as it was when the action was planned"
        = Code { id: "precondition-changed", title: "The site is not as it was planned against" };
    /// The way back is not the one that was assessed: a new round is due.
    ReadinessChanged { site: SiteId } "the way back of site `{site}` is not the one that was approved"
        = Code { id: "readiness-changed", title: "The way back changed since the assessment" };
    /// Too few votes stand.
    ApprovalsMissing { needed: u64, have: u64 } "{have} of {needed} approvals stand"
        = Code { id: "approvals-missing", title: "Too few approvals stand" };
    /// Policy says no.
    PolicyDenies { action: ActionId } "policy does not permit action `{action}`"
        = Code { id: "policy-denies", title: "Policy does not permit it" };
    /// The signed order is not the one that the chain gives.
    OrderMismatch { member: &'static str } "the order's `{member}` is not what the chain gives"
        = Code { id: "order-mismatch", title: "The order is not the one that the chain gives" };

    // After the order.

    /// The digest is not that of the order that is out.
    OrderUnknown { action: ActionId } "no such order is out for action `{action}`"
        = Code { id: "order-unknown", title: "No such order is out" };
    /// The order is too old to be handed out.
    OrderExpired { expires: Time } "the order expired at `{expires}`"
        = Code { id: "order-lapsed", title: "The order was never handed out in time" };
}

impl Rejection {
    /// Whether waiting does not help by itself: the action was planned against a site that is not there any more, and it is
    /// proposed again to be planned against the one that is.
    #[must_use]
    pub const fn asks_for_new_proposal(&self) -> bool {
        matches!(
            self,
            Self::PreconditionChanged { .. } | Self::ReadinessChanged { .. }
        )
    }

    /// The stable code; of a signature or a key that does not verify, the code of what is wrong with it.
    #[must_use]
    pub const fn code(&self) -> Code {
        if let Self::StatementRefused { why } = self {
            return why.code();
        }
        if let Self::EnrolmentRefused { why } = self {
            return why.code();
        }
        if let Self::KeyStatementRefused { why } = self {
            return why.code();
        }
        self.own_code()
    }
}
