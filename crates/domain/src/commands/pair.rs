//! Pairing: a code that counts once and for minutes, and the connector that brings its own key with it.

use countersign_events::connector::{Invited, Paired};
use countersign_events::site::DocumentPinned;
use countersign_evidence::document::{Credential, FloorRule, KindOrAny};
use countersign_evidence::wire::{PublicKey, V1};
use countersign_evidence::{ConnectorMessage, Envelope, OrDash, PinnedDocument, VerifiedMessage};
use countersign_ids::{ConnectorId, Digest, SiteId, Time, limits};

use super::Facts;
use crate::decision::{Decision, Draft, Guard};
use crate::rejection::Rejection;
use crate::site::Site;
use crate::tenant::Tenant;

/// Gives out a pairing code; the one before it does not count any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InviteConnector {
    /// The site.
    pub site: SiteId,
    /// SHA-256 of the secret bytes of the code.
    pub code_digest: Digest,
    /// The code does not count after this: at most ten minutes from now.
    pub expires: Time,
}

impl InviteConnector {
    pub(super) fn decide(&self, tenant: &Tenant, facts: &Facts) -> Result<Decision, Rejection> {
        tenant.site(&self.site)?;
        if self.expires <= facts.now
            || self.expires > facts.now.plus_millis(limits::PAIRING_LIFETIME_MILLIS)
        {
            return Err(Rejection::InvitationWindow {
                expires: self.expires,
            });
        }
        if let Some(site) = tenant.codes.get(&self.code_digest) {
            return Err(Rejection::InvitationRepeated { site: site.clone() });
        }
        let (code_digest, expires) = (self.code_digest, self.expires);
        let invited = Invited {
            site: self.site.clone(),
            code_digest,
            expires,
        };
        Ok(
            Decision::of([Draft::new(invited, &self.site).at(&self.site)])
                .unless([Guard::site(&self.site)]),
        )
    }
}

/// What a connector is offered before it makes its key: it signs exactly this.
#[derive(Debug, Clone, PartialEq)]
pub struct PairingTerms {
    /// The name that the connector gets: a site has one connector at a time, so it is the site's.
    pub connector: ConnectorId,
    /// The generation that the pairing begins.
    pub generation: u64,
    /// The document that it pins.
    pub document: PinnedDocument,
    /// SHA-256 of the document.
    pub document_digest: Digest,
}

/// Most people whom a new document asks for when it is replaced.
const QUORUM: u64 = 2;

/// The terms on which a connector with this code pairs now.
///
/// Where the approvers of the tenant are those of the pinned document, it stays; otherwise the next version is offered, and
/// whoever types the code at the site reads its digest words.
pub fn pairing_terms(
    tenant: &Tenant,
    site: &SiteId,
    genesis: &PublicKey,
    code_digest: &Digest,
    now: Time,
) -> Result<PairingTerms, Rejection> {
    // Whoever has no code does not learn which tenants and sites there are.
    let unknown = || Rejection::PairingCodeUnknown { site: site.clone() };
    let (_, ledger) = tenant.created().map_err(|_| unknown())?;
    let found = tenant.site(site).map_err(|_| unknown())?;
    let invitation = found
        .invitation
        .filter(|one| one.code_digest == *code_digest)
        .ok_or_else(unknown)?;
    let site = found;
    let id = || site.id.clone();
    if invitation.used {
        return Err(Rejection::PairingCodeUsed { site: id() });
    }
    if now > invitation.expires {
        return Err(Rejection::PairingCodeExpired {
            expires: invitation.expires,
        });
    }
    let refused = || Rejection::DocumentRefused { site: id() };
    let connector = site.id.as_str().parse().map_err(|_| refused())?;
    let generation = site
        .connector
        .as_ref()
        .map_or(0, |paired| paired.generation)
        .saturating_add(1);
    let document = document(
        tenant,
        site,
        PinnedDocument {
            v: V1,
            ledger: *ledger,
            chain: tenant.chain.clone(),
            site: site.id.clone(),
            version: 1,
            previous: OrDash::NONE,
            approvers: tenant.credentials().cloned().collect(),
            floor: vec![FloorRule {
                kind: KindOrAny::Any,
                approvals: 1,
            }],
            break_glass: false,
            quorum: 1,
            genesis: *genesis,
        },
    );
    document.check().map_err(|_| refused())?;
    let document_digest = document.digest().map_err(|_| refused())?;
    Ok(PairingTerms {
        connector,
        generation,
        document,
        document_digest,
    })
}

fn document(tenant: &Tenant, site: &Site, fresh: PinnedDocument) -> PinnedDocument {
    let people: std::collections::BTreeSet<_> =
        tenant.credentials().map(|held| &held.approver).collect();
    let quorum = u64::try_from(people.len())
        .unwrap_or(u64::MAX)
        .clamp(1, QUORUM);
    let Some(pinned) = &site.document else {
        return PinnedDocument { quorum, ..fresh };
    };
    let same = |held: &Credential| pinned.document.approvers.contains(held);
    if fresh.approvers.len() == pinned.document.approvers.len() && fresh.approvers.iter().all(same)
    {
        return pinned.document.clone();
    }
    PinnedDocument {
        version: pinned.document.version.saturating_add(1),
        previous: OrDash(Some(pinned.digest)),
        floor: pinned.document.floor.clone(),
        break_glass: pinned.document.break_glass,
        quorum: pinned.document.quorum,
        ..fresh
    }
}

/// Pairs a connector.
#[derive(Debug, Clone, PartialEq)]
pub struct PairConnector {
    /// Its message, verified by the key that it brings.
    pub message: VerifiedMessage,
    /// The same, as it is stored.
    pub envelope: Envelope,
    /// The ledger's genesis key, which the document names.
    pub genesis: PublicKey,
}

impl PairConnector {
    pub(super) fn decide(&self, tenant: &Tenant, facts: &Facts) -> Result<Decision, Rejection> {
        let head = self.message.message().head();
        let misdirected = || Rejection::MessageMisdirected {
            connector: head.connector.clone(),
        };
        let ConnectorMessage::Paired(paired) = self.message.message() else {
            return Err(misdirected());
        };
        let terms = pairing_terms(
            tenant,
            &head.site,
            &self.genesis,
            &paired.code_digest,
            facts.now,
        )?;
        let (_, ledger) = tenant.created()?;
        let site = tenant.site(&head.site)?;
        if head.ledger != *ledger || head.chain != tenant.chain || head.connector != terms.connector
        {
            return Err(misdirected());
        }
        if head.generation != terms.generation {
            return Err(Rejection::GenerationEnded {
                wanted: terms.generation,
                found: head.generation,
            });
        }
        if head.checkpoint.size > tenant.size {
            return Err(Rejection::CheckpointUnknown {
                size: tenant.size,
                found: head.checkpoint.size,
            });
        }
        if head.document_digest != terms.document_digest {
            return Err(Rejection::PairingDocument {
                wanted: terms.document_digest,
                found: head.document_digest,
            });
        }
        if let Some(site) = tenant.connector_keys.get(&paired.key) {
            return Err(Rejection::PairingKeyReused { site: site.clone() });
        }
        let is_pinned = site
            .document
            .as_ref()
            .is_some_and(|pinned| pinned.digest == terms.document_digest);
        let pinned = (!is_pinned).then(|| {
            Draft::new(
                DocumentPinned {
                    document: terms.document,
                },
                &site.id,
            )
            .at(&site.id)
        });
        let paired = Draft::new(
            Paired {
                envelope: self.envelope.clone(),
            },
            &site.id,
        )
        .at(&site.id);
        // A key, a code and the approvers of the document stand anywhere in the chain: nothing may have come between.
        Ok(Decision::of(pinned.into_iter().chain([paired])))
    }
}
