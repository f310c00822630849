//! Asks for a change: the kind is parsed, the plan computed, and everything that an order will repeat is fixed.

use std::collections::BTreeMap;

use countersign_events::Payload;
use countersign_events::{action::Proposed, connector::Paired, deploy::ReleaseAdded, site};
use countersign_evidence::wire::V1;
use countersign_evidence::{ActionKind, ActionObject, JsonObject, OrDash, PinnedDocument};
use countersign_ids::{ActionId, ApproverId, Digest, SiteId, Time};

use super::Facts;
use crate::action::{Action, Proposal};
use crate::decision::{Decision, Draft, Guard};
use crate::kinds::{Kind, NoKind};
use crate::manifest::Manifest;
use crate::plan::{PLAN_BYTES_MAX, Plan};
use crate::rejection::Rejection;
use crate::site::{Observed, Site};
use crate::source::Source;
use crate::tenant::Tenant;
use crate::text::{self, Reason, Sealed};

/// The shortest life of an action.
pub const ACTION_LIFETIME_MILLIS_MIN: u64 = 60 * 1000;
/// The longest.
pub const ACTION_LIFETIME_MILLIS_MAX: u64 = 14 * 24 * 60 * 60 * 1000;

/// Asks for a change.
#[derive(Debug, Clone, PartialEq)]
pub struct Propose {
    /// The name of the new action.
    pub action: ActionId,
    /// The site that it changes.
    pub site: SiteId,
    /// What kind of change.
    pub kind: ActionKind,
    /// Exactly the parameters of the kind.
    pub parameters: JsonObject,
    /// One line for people.
    pub title: String,
    /// Nothing is authorised for it after this.
    pub expires: Time,
    /// The person for whom a proposing agent acts.
    pub owner: Option<ApproverId>,
    /// Why.
    pub reason: Option<Reason>,
    /// The blobs that [`blobs_wanted`] names.
    pub blobs: BTreeMap<Digest, Source>,
}

/// The blobs that the plan of a proposal is computed from.
pub fn blobs_wanted(
    tenant: &Tenant,
    site: &SiteId,
    kind: &ActionKind,
    parameters: &JsonObject,
) -> Result<Vec<Digest>, Rejection> {
    let site = tenant.site(site)?;
    let kind = parse(kind, parameters)?;
    Ok(match kind {
        Kind::Publish { release } | Kind::Rollback { release } => {
            let live = site.observed.as_ref().and_then(|observed| observed.current);
            let known = |release: &Digest| site.releases.contains_key(release);
            [Some(release), live]
                .into_iter()
                .flatten()
                .filter(known)
                .collect()
        }
        Kind::ReplaceDocument { document } => vec![document],
    })
}

fn parse(kind: &ActionKind, parameters: &JsonObject) -> Result<Kind, Rejection> {
    Kind::parse(kind, parameters).map_err(|why| match why {
        NoKind::Unknown => Rejection::KindUnknown { kind: kind.clone() },
        NoKind::Parameters => Rejection::ParametersMalformed { kind: kind.clone() },
    })
}

impl Propose {
    pub(super) fn decide(&self, tenant: &Tenant, facts: &Facts) -> Result<Decision, Rejection> {
        let (proposal, sealed) = self.proposal(tenant, facts)?;
        let proposed = Proposed {
            action: proposal.id,
            action_object: proposal.object,
            action_digest: proposal.digest,
            plan: proposal.plan,
            title: proposal.title,
            risk: proposal.risk,
            blast_radius: proposal.blast_radius,
            proposer_owner: OrDash(proposal.owner),
            reason_digest: OrDash(proposal.reason_digest),
            attachments: proposal.attachments,
        };
        let site = Guard {
            types: [
                site::Observed::SPEC,
                site::DocumentPinned::SPEC,
                Paired::SPEC,
                ReleaseAdded::SPEC,
            ]
            .map(|spec| spec.event_type.clone())
            .to_vec(),
            ..Guard::site(&self.site)
        };
        let draft = Draft::new(proposed, &self.action).at(&self.site);
        let guards = [Guard::about(&self.action), site];
        Ok(sealed.behind(draft).unless(guards))
    }

    /// What the chain would say of the action, and the sealed reason.
    fn proposal(&self, tenant: &Tenant, facts: &Facts) -> Result<(Proposal, Sealed), Rejection> {
        let site = tenant.site(&self.site)?;
        if tenant.actions.contains_key(&self.action) {
            return Err(Rejection::ActionExists {
                action: self.action.clone(),
            });
        }
        text::line("title", &self.title, text::TITLE_BYTES_MAX)?;
        let kind = parse(&self.kind, &self.parameters)?;
        let observed = site
            .observed
            .as_ref()
            .ok_or_else(|| Rejection::SiteUnobserved {
                site: site.id.clone(),
            })?;
        let plan = self.plan(site, observed, kind)?;
        let earliest = facts.now.plus_millis(ACTION_LIFETIME_MILLIS_MIN);
        let latest = facts.now.plus_millis(ACTION_LIFETIME_MILLIS_MAX);
        if self.expires < earliest || self.expires > latest {
            return Err(Rejection::ExpiryOutOfBounds { earliest, latest });
        }
        let too_large = || Rejection::PlanTooLarge {
            bytes_max: PLAN_BYTES_MAX,
        };
        let plan_digest = plan.digest().ok().flatten().ok_or_else(too_large)?;
        let (reason_digest, sealed) =
            text::given(tenant, self.reason.as_ref(), &self.action, &self.site)?;
        let object = ActionObject {
            v: V1,
            site: self.site.clone(),
            kind: self.kind.clone(),
            parameters: self.parameters.clone(),
            precondition: observed.precondition(),
            plan_digest,
            reversibility: kind.reversibility(),
            rollback_digest: OrDash(Some(observed.rollback_digest)),
            expires: self.expires,
        };
        let malformed = |_| Rejection::ParametersMalformed {
            kind: self.kind.clone(),
        };
        let proposal = Proposal {
            id: self.action.clone(),
            digest: object.digest().map_err(malformed)?,
            object,
            title: self.title.clone(),
            risk: kind.risk(&plan),
            blast_radius: plan.pages_changed,
            plan: plan.object,
            proposer: facts.actor.clone(),
            owner: self.owner.clone(),
            reason_digest: reason_digest.0,
            attachments: kind.release().into_iter().collect(),
            at: facts.now,
        };
        Ok((proposal, sealed))
    }

    fn plan(&self, site: &Site, observed: &Observed, kind: Kind) -> Result<Plan, Rejection> {
        let unchanged = || Rejection::NothingToChange {
            site: site.id.clone(),
        };
        match kind {
            Kind::Publish { release } | Kind::Rollback { release } => {
                if !site.releases.contains_key(&release) {
                    return Err(Rejection::ReleaseUnknown { release });
                }
                if matches!(kind, Kind::Rollback { .. }) && !observed.releases.contains(&release) {
                    return Err(Rejection::ReleaseNotAtSite { release });
                }
                if observed.current == Some(release) {
                    return Err(unchanged());
                }
                let to = self.manifest(&release)?;
                let live = observed
                    .current
                    .filter(|live| site.releases.contains_key(live));
                let from = live.as_ref().map(|live| self.manifest(live)).transpose()?;
                Ok(Plan::release(from, to))
            }
            Kind::ReplaceDocument { document } => {
                let refused = || Rejection::DocumentRefused {
                    site: site.id.clone(),
                };
                let pinned = site.document.as_ref().ok_or_else(refused)?;
                if pinned.digest == document {
                    return Err(unchanged());
                }
                let bytes = self.blobs.get(&document).ok_or_else(refused)?.bytes();
                let next = PinnedDocument::parse(bytes).map_err(|_| refused())?;
                next.follows(&pinned.document).map_err(|_| refused())?;
                if countersign_chain::sha256(bytes) != document {
                    return Err(refused());
                }
                Ok(Plan::document(
                    (&pinned.digest, &pinned.document),
                    (&document, &next),
                ))
            }
        }
    }

    fn manifest(&self, release: &Digest) -> Result<(&Digest, &Manifest), Rejection> {
        let source = self
            .blobs
            .get(release)
            .ok_or(Rejection::ReleaseUnknown { release: *release })?;
        let (digest, manifest) = source.manifest().ok_or(Rejection::ManifestMalformed)?;
        if digest == release {
            Ok((digest, manifest))
        } else {
            Err(Rejection::ReleaseMismatch { release: *release })
        }
    }
}

/// The tenant as it would be after a proposal, for a preview: nothing of it is written.
///
/// # Errors
/// What the proposal would be refused for.
pub fn imagine(tenant: &Tenant, what: &Propose, facts: &Facts) -> Result<Tenant, Rejection> {
    let (proposal, _) = what.proposal(tenant, facts)?;
    let mut imagined = tenant.clone();
    imagined
        .actions
        .insert(what.action.clone(), Action::new(proposal));
    Ok(imagined)
}
