//! What one tenant's chain says, folded with every signature inside its bodies checked on the way.
//!
//! The auditor's own fold: it shares the signed formats with the server (`evidence`) and none of its decisions. One
//! module per kind of evidence; docs/format.md section 4.

mod messages;
mod orders;
mod people;
mod votes;

pub(crate) use people::check_enrolment;

use std::collections::{BTreeMap, BTreeSet};

use countersign_chain::Header;
use countersign_events::{
    self as events, Event, action::Action, connector, deploy, platform, site,
};
use countersign_evidence::action::ActionKind;
use countersign_evidence::message::Stream;
use countersign_evidence::{Credential, Decision, OutcomeResult, PinnedDocument, PublicKey};
use countersign_ids::{
    ActionId, ApproverId, ChainId, CommandId, ConnectorId, CredentialId, Digest, EventHash,
    LedgerId, Nonce, Sequence, SiteId, Time,
};

use serde::{Deserialize, Serialize};

use super::blobs::Blobs;
use super::fault::{Checked, bad, need};
use super::pins::Pins;
use super::platform::Platform;
use super::resume::pairs;
use crate::report::Counts;

/// An event that was verified as part of its chain, with its body read.
#[derive(Debug)]
pub(crate) struct Seen<'a> {
    /// Header.
    pub header: &'a Header,
    /// Hash.
    pub hash: EventHash,
    /// Body.
    pub event: &'a Event,
}

/// What checks need besides the fold.
pub(crate) struct Context<'a, 'b> {
    /// The platform chain, as far as it was read.
    pub platform: &'a Platform,
    /// Evidence blobs.
    pub blobs: &'a mut Blobs<'b>,
    /// Statements that stand in an order, over the whole ledger.
    pub used: &'a mut BTreeSet<Digest>,
    /// What the caller pins.
    pub pins: &'a Pins,
    /// What was looked at.
    pub counts: &'a mut Counts,
}

/// A tree that somebody says they saw: it must be this chain's at that size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claim {
    /// Size.
    pub size: u64,
    /// Root.
    pub root: Digest,
}

/// One site.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Site {
    document: Option<(PinnedDocument, Digest)>,
    /// The open invitation, and until when it counts; a later one takes its place.
    invitation: Option<(Digest, Time)>,
    generation: u64,
    connector: Option<ConnectorId>,
    /// The action whose order is out: no other is authorised here until it is over.
    held_by: Option<ActionId>,
}

impl Site {
    fn document_digest(&self) -> Option<Digest> {
        self.document.as_ref().map(|(_, digest)| *digest)
    }
}

/// Where an action stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Stage {
    Open,
    Authorized,
    Delivered,
    Accepted,
    Unresolved,
    Over,
}

/// The last assessment of an action.
#[derive(Debug, Serialize, Deserialize)]
struct Round {
    number: u64,
    view: Digest,
    rollback: Option<Digest>,
    policy: Digest,
}

/// The last vote of one person in a round.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Standing {
    decision: Decision,
    statement: Digest,
    until: Time,
}

/// One action.
#[derive(Debug, Serialize, Deserialize)]
struct ActionRun {
    site: SiteId,
    kind: ActionKind,
    digest: Digest,
    /// The proposer and the owner of the proposing agent: they never approve.
    excluded: BTreeSet<String>,
    round: Option<Round>,
    votes: BTreeMap<ApproverId, Standing>,
    stage: Stage,
    order: Option<(Digest, Sequence)>,
}

/// The last message of a connector's generation on one stream.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct LastMessage {
    counter: u64,
    digest: Digest,
    saw: u64,
}

/// A connector of one generation.
#[derive(Debug, Serialize, Deserialize)]
struct Paired {
    key: PublicKey,
    site: SiteId,
    at: Time,
}

/// The fold of one tenant's chain and its heartbeats.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Tenant {
    ledger: LedgerId,
    chain: ChainId,
    #[serde(with = "pairs")]
    people: BTreeMap<(ApproverId, CredentialId), Credential>,
    sites: BTreeMap<SiteId, Site>,
    actions: BTreeMap<ActionId, ActionRun>,
    #[serde(with = "pairs")]
    connectors: BTreeMap<(ConnectorId, u64), Paired>,
    #[serde(with = "pairs")]
    counters: BTreeMap<(ConnectorId, u64, Stream), LastMessage>,
    beats: BTreeMap<SiteId, (u64, u64)>,
    /// The time of the last heartbeat that was pruned.
    beats_pruned: Option<Time>,
    nonces: BTreeSet<Nonce>,
    order_nonces: BTreeSet<Nonce>,
    order_sequences: BTreeMap<ConnectorId, Sequence>,
    /// The authorisations under each order key, and the platform head that each of them names.
    #[serde(with = "pairs")]
    ordered: BTreeMap<PublicKey, Vec<(Sequence, Sequence)>>,
    /// Pinned documents seen, so that a heartbeat can be placed among their versions.
    documents: BTreeMap<Digest, u64>,
    claims: Vec<Claim>,
    /// A later version of a document, and its append: a message of the connector in it has to name the document.
    unnamed: Option<(CommandId, Digest)>,
}

impl Tenant {
    /// A chain of which nothing was read yet.
    pub(crate) fn new(ledger: LedgerId, chain: ChainId) -> Self {
        Self {
            ledger,
            chain,
            people: BTreeMap::new(),
            sites: BTreeMap::new(),
            actions: BTreeMap::new(),
            connectors: BTreeMap::new(),
            counters: BTreeMap::new(),
            beats: BTreeMap::new(),
            beats_pruned: None,
            nonces: BTreeSet::new(),
            order_nonces: BTreeSet::new(),
            order_sequences: BTreeMap::new(),
            ordered: BTreeMap::new(),
            documents: BTreeMap::new(),
            claims: Vec::new(),
            unnamed: None,
        }
    }

    /// The heartbeats up to this time were pruned: what those after them go on from is not known.
    pub(crate) fn prune_beats(&mut self, until: Time) {
        self.beats_pruned = Some(until);
        self.beats.clear();
        self.counters
            .retain(|(_, _, stream), _| *stream != Stream::Beat);
    }

    /// The trees that the last event says somebody saw.
    pub(crate) fn take_claims(&mut self) -> Vec<Claim> {
        std::mem::take(&mut self.claims)
    }

    /// Folds one event. What it finds wrong is the event's; the fold goes on.
    pub(crate) fn apply(&mut self, seen: &Seen<'_>, context: &mut Context<'_, '_>) -> Checked {
        let command = seen.header.commandid;
        let alone = self.unnamed.take_if(|unnamed| unnamed.0 != command);
        self.fold(seen, context)?;
        need(
            alone.is_none(),
            "document",
            "a document was pinned before this, and no message of the connector in its append names it",
        )
    }

    fn fold(&mut self, seen: &Seen<'_>, context: &mut Context<'_, '_>) -> Checked {
        match seen.event {
            Event::Platform(platform::Platform::Noted(noted)) => self.noted(seen, noted, context),
            Event::Site(site::Site::Registered(registered)) => self.registered(&registered.site),
            Event::Site(site::Site::DocumentPinned(pinned)) => {
                self.pinned(seen, &pinned.document, context)
            }
            Event::Site(site::Site::Observed(observed)) => self
                .message(seen, &observed.envelope, Stream::Action, context)
                .map(drop),
            Event::Connector(connector::Connector::Invited(invited)) => {
                self.site(&invited.site)?.invitation = Some((invited.code_digest, invited.expires));
                Ok(())
            }
            Event::Connector(connector::Connector::Paired(paired)) => {
                self.paired(seen, &paired.envelope, context)
            }
            Event::Beat(events::beat::Beat::Received(received)) => {
                self.beat(seen, &received.envelope, context)
            }
            Event::Action(action) => self.action(seen, action, context),
            Event::Deploy(deploy::Deploy::ReleaseAdded(_))
            | Event::Keys(_)
            | Event::Chain(_)
            | Event::Heads(_)
            | Event::Approver(_)
            | Event::Token(_)
            | Event::Clock(_)
            | Event::Tenant(_)
            | Event::Freeze(_)
            | Event::Reason(_)
            | Event::Remark(_)
            | Event::Retention(_) => Ok(()),
        }
    }

    fn action(
        &mut self,
        seen: &Seen<'_>,
        action: &Action,
        context: &mut Context<'_, '_>,
    ) -> Checked {
        match action {
            Action::Proposed(proposed) => self.proposed(seen, proposed),
            Action::Assessed(assessed) => self.assessed(assessed, context),
            Action::Approved(vote) => {
                let ballot = (&vote.action, vote.round, Decision::Approve);
                self.vote(seen, ballot, &vote.signed, context)
            }
            Action::Rejected(vote) => {
                let ballot = (&vote.action, vote.round, Decision::Deny);
                self.vote(seen, ballot, &vote.signed, context)
            }
            Action::ApprovalWithdrawn(vote) => {
                let ballot = (&vote.action, vote.round, Decision::Withdraw);
                self.vote(seen, ballot, &vote.signed, context)
            }
            Action::Authorized(authorized) => self.authorized(seen, authorized, context),
            Action::Delivered(delivered) => self.delivered(seen, delivered),
            Action::Accepted(said) => self.outcome(
                seen,
                &said.action,
                &said.envelope,
                OutcomeResult::Accepted,
                context,
            ),
            Action::Refused(said) => self.outcome(
                seen,
                &said.action,
                &said.envelope,
                OutcomeResult::Refused,
                context,
            ),
            Action::Succeeded(said) => self.outcome(
                seen,
                &said.action,
                &said.envelope,
                OutcomeResult::Succeeded,
                context,
            ),
            Action::Failed(said) => self.outcome(
                seen,
                &said.action,
                &said.envelope,
                OutcomeResult::Failed,
                context,
            ),
            Action::Undone(said) => self.outcome(
                seen,
                &said.action,
                &said.envelope,
                OutcomeResult::Undone,
                context,
            ),
            Action::Unresolved(said) => self.unresolved(&said.action),
            Action::Withdrawn(said) => self.close(&said.action, &[Stage::Open]),
            Action::Revoked(said) => self.close(&said.action, &[Stage::Open]),
            Action::Expired(said) => self.close(&said.action, &[Stage::Open, Stage::Authorized]),
        }
    }

    /// The order left and nothing was heard.
    fn unresolved(&mut self, action: &ActionId) -> Checked {
        let run = self.run(action)?;
        let left = matches!(run.stage, Stage::Delivered | Stage::Accepted);
        need(left, "action-stage", "unresolved without a delivery")?;
        run.stage = Stage::Unresolved;
        Ok(())
    }

    /// The action ends without an outcome of the connector.
    fn close(&mut self, action: &ActionId, from: &[Stage]) -> Checked {
        let run = self.run(action)?;
        let open = from.contains(&run.stage);
        run.stage = Stage::Over;
        self.free(action)?;
        need(
            open,
            "action-stage",
            "an action ends that had ended, or whose order had left",
        )
    }

    /// The action is over: its site is free for the next, and all that is needed of it is that it was.
    fn free(&mut self, action: &ActionId) -> Checked {
        let run = self.run(action)?;
        run.votes.clear();
        run.excluded.clear();
        let site = run.site.clone();
        self.site(&site)?.held_by.take_if(|by| by == action);
        Ok(())
    }

    fn registered(&mut self, site: &SiteId) -> Checked {
        let new = !self.sites.contains_key(site);
        self.sites.entry(site.clone()).or_default();
        need(new, "site", "the site was registered before")
    }

    fn site(&mut self, site: &SiteId) -> Checked<&mut Site> {
        self.sites
            .get_mut(site)
            .ok_or_else(|| bad("site", format!("site `{site}` is not registered")))
    }

    fn run(&mut self, action: &ActionId) -> Checked<&mut ActionRun> {
        self.actions
            .get_mut(action)
            .ok_or_else(|| bad("action", format!("action `{action}` was not proposed")))
    }

    fn pinned(
        &mut self,
        seen: &Seen<'_>,
        document: &PinnedDocument,
        context: &Context<'_, '_>,
    ) -> Checked {
        let malformed = |error: &dyn std::fmt::Display| bad("document", error);
        document.check().map_err(|error| malformed(&error))?;
        let here = document.ledger == self.ledger && document.chain == self.chain;
        need(
            here,
            "document",
            "the pinned document is of another ledger or chain",
        )?;
        need(
            context
                .platform
                .genesis()
                .is_none_or(|genesis| *genesis == document.genesis),
            "document",
            "the pinned document names another genesis key",
        )?;
        for credential in &document.approvers {
            context.pins.approver(&credential.key.0)?;
        }
        let digest = document.digest().map_err(|error| malformed(&error))?;
        let site = self.site(&document.site)?;
        let follows = match &site.document {
            Some((before, _)) => document.follows(before).map_err(|error| malformed(&error)),
            None => need(
                document.version == 1,
                "document",
                "the first pinned document is not version 1",
            ),
        };
        site.document = Some((document.clone(), digest));
        self.documents.insert(digest, document.version);
        if document.version > 1 {
            self.unnamed = Some((seen.header.commandid, digest));
        }
        follows
    }
}
