//! One tenant: the fold of its chain. Everything that a command of the tenant is decided on stands here.
//!
//! It reads headers and evidence bodies only, so a replay years later folds the same state (bodies of other classes may be
//! gone by then). What each event does is `evolve`; what it is decided into are the modules of the commands.

use std::collections::{BTreeMap, BTreeSet};

use countersign_chain::Header;
use countersign_events::Event;
use countersign_evidence::document::Credential;
use countersign_evidence::wire::PublicKey;
use countersign_ids::{
    ActionId, ApproverId, ChainId, CredentialId, Digest, FreezeId, LedgerId, Nonce, Sequence,
    SiteId, TenantId, Time,
};

use crate::action::{Action, Vote};
use crate::decision::Aggregate;
use crate::keeping::Keeping;
use crate::policy::{ApproverEntity, Exclusion, PolicyInput};
use crate::rejection::Rejection;
use crate::site::Site;
use crate::words::{Containment, SiteOrAll};

/// A tenant.
#[derive(Debug, Clone, PartialEq)]
pub struct Tenant {
    pub(crate) chain: ChainId,
    pub(crate) ledger: Option<LedgerId>,
    pub(crate) size: u64,
    pub(crate) time: Time,
    pub(crate) id: Option<TenantId>,
    pub(crate) name: String,
    pub(crate) sites: BTreeMap<SiteId, Site>,
    pub(crate) actions: BTreeMap<ActionId, Action>,
    // INVARIANT: exactly those of `actions` that are in no final state, so that finding what is due costs what is open.
    pub(crate) unsettled: BTreeSet<ActionId>,
    pub(crate) freezes: BTreeMap<FreezeId, Freeze>,
    pub(crate) enrolled: BTreeMap<(ApproverId, CredentialId), Enrolled>,
    pub(crate) noted: Option<Sequence>,
    pub(crate) nonces: BTreeSet<Nonce>,
    /// Statements that stand in an order.
    pub(crate) spent: BTreeSet<Digest>,
    /// Pairing codes that were ever given, and where.
    pub(crate) codes: BTreeMap<Digest, SiteId>,
    /// Connector keys that were ever paired, and where.
    pub(crate) connector_keys: BTreeMap<PublicKey, SiteId>,
    pub(crate) keeping: Keeping,
}

/// A declared freeze.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freeze {
    /// What it covers.
    pub site: SiteOrAll,
    /// It begins here.
    pub from: Time,
    /// It ends here.
    pub until: Time,
    /// Whether it was lifted.
    pub lifted: bool,
}

impl Freeze {
    /// Whether it is in force at a site at a time; its end does not belong to it.
    #[must_use]
    pub fn covers(&self, site: &SiteId, at: Time) -> bool {
        !self.lifted && self.site.covers(site) && self.from <= at && at < self.until
    }
}

/// A key of an approver, as restated from the platform chain.
#[derive(Debug, Clone, PartialEq)]
pub struct Enrolled {
    /// The key.
    pub credential: Credential,
    /// Whether it was removed; what it signed does not count from there.
    pub removed: bool,
}

impl Aggregate for Tenant {
    fn chain(&self) -> &ChainId {
        &self.chain
    }

    fn size(&self) -> u64 {
        self.size
    }
}

impl Tenant {
    /// A tenant's chain before its first event.
    #[must_use]
    pub fn new(chain: ChainId) -> Self {
        Self {
            chain,
            ledger: None,
            size: 0,
            time: Time::MIN,
            id: None,
            name: String::new(),
            sites: BTreeMap::new(),
            actions: BTreeMap::new(),
            unsettled: BTreeSet::new(),
            freezes: BTreeMap::new(),
            enrolled: BTreeMap::new(),
            noted: None,
            nonces: BTreeSet::new(),
            spent: BTreeSet::new(),
            codes: BTreeMap::new(),
            connector_keys: BTreeMap::new(),
            keeping: Keeping::default(),
        }
    }

    /// Folds one event. Personal bodies are not read: hand over `None` where a body is sealed, absent or of another class.
    pub fn evolve(&mut self, header: &Header, event: Option<&Event>) {
        self.ledger = Some(header.ledger);
        self.size = header.sequence.get().saturating_add(1);
        self.time = self.time.max(header.time);
        self.keeping.note(header);
        if let Some(event) = event {
            crate::evolve::apply(self, header, event);
        }
    }

    /// The tenant, once it was created.
    #[must_use]
    pub const fn id(&self) -> Option<&TenantId> {
        self.id.as_ref()
    }

    /// What people call it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it keeps, and for how long.
    #[must_use]
    pub const fn keeping(&self) -> &Keeping {
        &self.keeping
    }

    /// The time of its last event.
    #[must_use]
    pub const fn time(&self) -> Time {
        self.time
    }

    /// The ledger, once there is an event.
    #[must_use]
    pub const fn ledger(&self) -> Option<&LedgerId> {
        self.ledger.as_ref()
    }

    /// The platform event that was restated last.
    #[must_use]
    pub const fn noted(&self) -> Option<Sequence> {
        self.noted
    }

    /// All sites.
    pub fn sites(&self) -> impl Iterator<Item = &Site> {
        self.sites.values()
    }

    /// A site.
    pub fn site(&self, site: &SiteId) -> Result<&Site, Rejection> {
        self.created()?;
        self.sites
            .get(site)
            .ok_or_else(|| Rejection::SiteUnknown { site: site.clone() })
    }

    /// All actions, ended ones too.
    pub fn actions(&self) -> impl Iterator<Item = &Action> {
        self.actions.values()
    }

    /// The actions of which something is still to come.
    pub fn unsettled(&self) -> impl Iterator<Item = &Action> {
        self.unsettled.iter().filter_map(|id| self.actions.get(id))
    }

    /// An action.
    pub fn action(&self, action: &ActionId) -> Result<&Action, Rejection> {
        self.created()?;
        self.actions
            .get(action)
            .ok_or_else(|| Rejection::ActionUnknown {
                action: action.clone(),
            })
    }

    /// All freezes, by name.
    pub fn freezes(&self) -> impl Iterator<Item = (&FreezeId, &Freeze)> {
        self.freezes.iter()
    }

    /// The enrolled key that a statement names, removed or not.
    #[must_use]
    pub fn credential(
        &self,
        approver: &ApproverId,
        credential: &CredentialId,
    ) -> Option<&Enrolled> {
        // A tuple of references has no order of its own with a tuple of owned names, so the key is built.
        self.enrolled.get(&(approver.clone(), credential.clone()))
    }

    /// All keys of approvers that were not removed, in order of person and key.
    pub fn credentials(&self) -> impl Iterator<Item = &Credential> {
        self.enrolled
            .values()
            .filter(|held| !held.removed)
            .map(|held| &held.credential)
    }

    /// The tenant and its ledger, or that there is none.
    pub(crate) fn created(&self) -> Result<(&TenantId, &LedgerId), Rejection> {
        match (&self.id, &self.ledger) {
            (Some(id), Some(ledger)) => Ok((id, ledger)),
            _ => Err(Rejection::TenantUnknown {
                chain: self.chain.clone(),
            }),
        }
    }

    /// Whether a freeze covers a site at a time.
    #[must_use]
    pub fn is_frozen(&self, site: &SiteId, at: Time) -> bool {
        self.freezes.values().any(|freeze| freeze.covers(site, at))
    }

    /// Votes of this round that count at a time: signed for now, by a key that is enrolled and pinned, by nobody excluded.
    #[must_use]
    pub fn tally<'a>(&'a self, action: &'a Action, at: Time) -> BTreeMap<ApproverId, &'a Vote> {
        let counts = |vote: &&Vote| {
            let statement = &vote.statement;
            statement.counts_at(at)
                && self
                    .credential(&statement.approver, &statement.credential)
                    .is_some_and(|held| !held.removed)
                && self.exclusion(action, &statement.approver).is_none()
                && self.is_pinned(action.site(), &statement.approver, &statement.credential)
                && !self.spent.contains(&vote.digest)
        };
        action
            .votes
            .values()
            .filter(counts)
            .map(|vote| (vote.statement.approver.clone(), vote))
            .collect()
    }

    /// Why a person cannot approve an action, whatever they sign.
    pub(crate) fn exclusion(&self, action: &Action, approver: &ApproverId) -> Option<Exclusion> {
        if action.proposal.proposer.id.as_str() == approver.as_str() {
            return Some(Exclusion::Proposer);
        }
        if action.proposal.owner.as_ref() == Some(approver) {
            return Some(Exclusion::Owner);
        }
        let named = |held: &Credential| {
            held.approver == *approver && self.is_pinned(action.site(), approver, &held.credential)
        };
        if self.credentials().any(named) {
            None
        } else {
            Some(Exclusion::NotAtSite)
        }
    }

    /// Whether the document of a site names this key, as it was enrolled.
    pub(crate) fn is_pinned(
        &self,
        site: &SiteId,
        approver: &ApproverId,
        credential: &CredentialId,
    ) -> bool {
        let pinned = self.sites.get(site).and_then(|site| site.document.as_ref());
        let pinned = pinned.and_then(|pinned| pinned.document.credential(approver, credential));
        let held = self.credential(approver, credential);
        matches!((pinned, held), (Some(pinned), Some(held)) if *pinned == held.credential)
    }

    /// How many approvals the site's document asks for, for this action.
    #[must_use]
    pub fn floor(&self, action: &Action) -> u64 {
        let document = self
            .sites
            .get(action.site())
            .and_then(|site| site.document.as_ref());
        document.map_or(1, |pinned| {
            pinned.document.approvals_for(&action.proposal.object.kind)
        })
    }

    /// Whether the site is as the action was planned against.
    #[must_use]
    pub fn is_as_planned(&self, action: &Action) -> bool {
        let observed = self
            .sites
            .get(action.site())
            .and_then(|site| site.observed.as_ref());
        observed
            .is_some_and(|observed| observed.precondition() == action.proposal.object.precondition)
    }

    /// The question to policy that opens the next round of an action: nobody voted in it yet.
    pub fn question(&self, action: &ActionId, now: Time) -> Result<PolicyInput, Rejection> {
        let action = self.action(action)?;
        self.ask(action, now, action.round.saturating_add(1), BTreeSet::new())
    }

    /// The question to policy at the mint: with the votes that count now.
    pub fn question_at_mint(&self, action: &ActionId, now: Time) -> Result<PolicyInput, Rejection> {
        let action = self.action(action)?;
        let tally = self.tally(action, now).into_keys().collect();
        self.ask(action, now, action.round, tally)
    }

    pub(crate) fn ask(
        &self,
        action: &Action,
        now: Time,
        round: u64,
        tally: BTreeSet<ApproverId>,
    ) -> Result<PolicyInput, Rejection> {
        let (tenant, _) = self.created()?;
        let site = self.site(action.site())?;
        let observed = site
            .observed
            .as_ref()
            .ok_or_else(|| Rejection::SiteUnobserved {
                site: site.id.clone(),
            })?;
        let people: BTreeSet<&ApproverId> = self.credentials().map(|held| &held.approver).collect();
        let entity = |id: &ApproverId| ApproverEntity {
            id: id.clone(),
            excluded: self.exclusion(action, id),
        };
        Ok(PolicyInput {
            tenant: tenant.clone(),
            site: site.id.clone(),
            environment: site.environment,
            action: action.id().clone(),
            kind: action.proposal.object.kind.to_string(),
            risk: action.proposal.risk,
            reversibility: action.proposal.object.reversibility,
            blast_radius: action.proposal.blast_radius,
            readiness: observed.rollback.grade,
            freeze_active: self.is_frozen(&site.id, now),
            containment: Containment::Normal,
            floor: self.floor(action),
            proposer: action.proposal.proposer.clone(),
            proposer_owner: action.proposal.owner.clone(),
            round,
            tally,
            approvers: people.into_iter().map(entity).collect(),
        })
    }
}
