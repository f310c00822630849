//! What a tenant's chain says of one action.

use std::collections::BTreeMap;

use countersign_evidence::{ActionObject, JsonObject, SignedStatement, Statement};
use countersign_ids::{ActionId, Actor, ApproverId, Digest, Nonce, Sequence, SiteId, Time};

use crate::state::State;
use crate::words::{Risk, Verdict};

/// What somebody asked for: everything about an action that never changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposal {
    /// The action.
    pub id: ActionId,
    /// What would be executed.
    pub object: ActionObject,
    /// SHA-256 of the canonical bytes of the action object.
    pub digest: Digest,
    /// What would change. It is dropped when the action ends; the chain keeps it.
    pub plan: JsonObject,
    /// One line for people.
    pub title: String,
    /// How bad it is if it goes wrong.
    pub risk: Risk,
    /// How many things it touches.
    pub blast_radius: u64,
    /// Who proposed it.
    pub proposer: Actor,
    /// The person for whom the proposing agent acts.
    pub owner: Option<ApproverId>,
    /// SHA-256 of salt and reason.
    pub reason_digest: Option<Digest>,
    /// Blobs that belong to it.
    pub attachments: Vec<Digest>,
    /// When it was proposed.
    pub at: Time,
}

/// An action.
#[derive(Debug, Clone, PartialEq)]
pub struct Action {
    /// What was asked for.
    pub proposal: Proposal,
    // INVARIANT: moves along the edges of `State::next` only; see `Action::go`.
    state: State,
    /// When it came to where it is.
    pub since: Time,
    /// The round of assessment; 0 before the first.
    pub round: u64,
    /// The assessment of this round.
    pub assessment: Option<Assessment>,
    /// Approvals of this round that were not taken back, by person.
    // INVARIANT: at most one per person, all of the present round.
    pub votes: BTreeMap<ApproverId, Vote>,
    /// The order, once minted.
    pub order: Option<Order>,
    /// The code of the connector's last outcome, where it has one.
    pub outcome_code: Option<String>,
}

/// What policy and the site's document ask for in one round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assessment {
    /// What policy said.
    pub verdict: Verdict,
    /// How many people policy needs.
    pub needed: u64,
    /// How many people are needed in all: policy's number or the floor of the site's document, whichever is more.
    pub required: u64,
    /// The policy set.
    pub policy_digest: Digest,
    /// What approvers are shown.
    pub view_digest: Digest,
    /// The way back that they are shown.
    pub rollback_digest: Option<Digest>,
    /// The site's document that the floor came from.
    pub document_digest: Option<Digest>,
    /// Whether the site was then as the action was planned against.
    pub as_planned: bool,
}

/// One person's approval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vote {
    /// The statement, as signed.
    pub signed: SignedStatement,
    /// The statement, read.
    pub statement: Statement,
    /// SHA-256 of its bytes.
    pub digest: Digest,
}

/// What an order is known by after it was minted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// SHA-256 of its payload.
    pub digest: Digest,
    /// Its nonce.
    pub nonce: Nonce,
    /// Its sequence.
    pub sequence: Sequence,
    /// It does not count after this.
    pub expires: Time,
}

impl Action {
    /// An action that nobody assessed yet.
    pub(crate) const fn new(proposal: Proposal) -> Self {
        let since = proposal.at;
        Self {
            proposal,
            state: State::Proposed,
            since,
            round: 0,
            assessment: None,
            votes: BTreeMap::new(),
            order: None,
            outcome_code: None,
        }
    }

    /// Its id.
    #[must_use]
    pub const fn id(&self) -> &ActionId {
        &self.proposal.id
    }

    /// The site that it changes.
    #[must_use]
    pub const fn site(&self) -> &SiteId {
        &self.proposal.object.site
    }

    /// Where it is.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// Nothing is authorised for it after this.
    #[must_use]
    pub const fn expires(&self) -> Time {
        self.proposal.object.expires
    }

    /// Moves along an edge; whether there is one.
    pub(crate) fn go(&mut self, to: State, at: Time) -> bool {
        if !self.state.leads_to(to) {
            return false;
        }
        self.state = to;
        self.since = at;
        if to.is_final() {
            // The chain keeps them; a fold that kept every plan would grow with the ledger.
            self.proposal.plan = JsonObject::default();
            self.votes = BTreeMap::new();
        }
        true
    }
}
