//! An action's life as people and agents drive it: propose, preview, vote, withdraw, revoke.

use std::collections::BTreeMap;
use std::sync::Arc;

use countersign_domain::commands::{Propose, Revoke, Vote, Withdraw, blobs_wanted};
use countersign_domain::{Facts, Reason, Rejection, Site};
use countersign_ids::{ActionId, ActorId, Digest, Salt};
use countersign_store::Receipt;

use crate::model::{Ballot, Preview, Proposal, Proposed, Request, SaltedReason};
use crate::{Error, Service, TenantAccess, secrets};

/// How long an action waits when nobody says otherwise.
const LIFETIME_MILLIS: u64 = 24 * 60 * 60 * 1000;

/// How often a site may move on while one proposal is made.
const MOVES_MAX: u32 = 8;

impl Service {
    /// Proposes a change. Policy is asked right after, by what follows from the proposal.
    ///
    /// # Errors
    /// The domain refuses it: see its rejections.
    pub async fn propose(
        &self,
        access: &TenantAccess,
        request: &Request,
        proposal: Proposal,
    ) -> Result<Proposed, Error> {
        let reason = self.own_reason(access, proposal.reason.clone())?;
        let mut what = self.proposal(access, proposal, reason).await?;
        let action = what.action.clone();
        let mut moves = 0;
        let receipt = loop {
            match self.write(access, request, what.clone()).await {
                Ok(receipt) => break receipt,
                Err(_) if moves < MOVES_MAX && self.moved_on(access, &mut what).await? => {
                    moves += 1;
                }
                Err(error) => return Err(error),
            }
        };
        let action = if receipt.replayed {
            self.inner.subject_of(&receipt)?.parse()?
        } else {
            action
        };
        Ok(Proposed { action, receipt })
    }

    /// What would happen to a proposal; nothing of it is written.
    ///
    /// # Errors
    /// The domain would refuse it, or policy cannot be asked.
    pub async fn preview(
        &self,
        access: &TenantAccess,
        proposal: Proposal,
    ) -> Result<Preview, Error> {
        // Nobody becomes a data subject by asking: the subject is made up and forgotten.
        let reason = proposal.reason.clone().map(imagined_reason).transpose()?;
        let what = self.proposal(access, proposal, reason).await?;
        let facts = Facts {
            now: self.inner.now(),
            actor: access.actor().clone(),
        };
        let (action, question) = self.inner.tenant(access.tenant(), |fold| {
            let imagined = countersign_domain::imagine(&fold.tenant, &what, &facts)?;
            let action = imagined.action(&what.action)?.clone();
            let question = imagined.question(&what.action, facts.now)?;
            Ok::<_, Rejection>((action, question))
        })??;
        let approvers = question
            .approvers
            .iter()
            .map(|one| (one.id.clone(), one.excluded))
            .collect();
        let (_, answer) = self.inner.evaluate(question).await?;
        Ok(Preview {
            object: action.proposal.object,
            title: action.proposal.title,
            risk: action.proposal.risk,
            blast_radius: action.proposal.blast_radius,
            plan: action.proposal.plan,
            verdict: answer.outcome.verdict,
            needed: answer.outcome.needed,
            approvers,
            reasons: answer.outcome.reasons,
            policy_digest: answer.outcome.policy_digest,
        })
    }

    /// Casts a vote, or takes one back: a statement that the approver signed.
    ///
    /// # Errors
    /// The statement is not about this action as it stands, not by a key that counts, or not the person's to give.
    pub async fn vote(
        &self,
        access: &TenantAccess,
        request: &Request,
        action: ActionId,
        ballot: Ballot,
    ) -> Result<Receipt, Error> {
        self.inner.note_platform(access.tenant()).await?;
        let statement = ballot
            .signed
            .unverified()
            .map_err(|why| Rejection::StatementRefused { why })?;
        let person: ActorId = statement.approver.as_str().parse()?;
        // Only a person whose key signed this is a data subject; the domain refuses anybody else before it asks for a reason.
        let is_theirs = self.inner.tenant(access.tenant(), |fold| {
            fold.tenant
                .credential(&statement.approver, &statement.credential)
                .is_some_and(|held| !held.removed && ballot.signed.verify(&held.credential).is_ok())
        })?;
        let reason = ballot
            .reason
            .filter(|_| is_theirs)
            .map(|reason| self.reason(access, &person, reason))
            .transpose()?;
        self.write(
            access,
            request,
            Vote {
                action,
                signed: ballot.signed,
                reason,
            },
        )
        .await
    }

    /// Takes the caller's own proposal back.
    ///
    /// # Errors
    /// It is not the caller's, or too late.
    pub async fn withdraw(
        &self,
        access: &TenantAccess,
        request: &Request,
        action: ActionId,
        reason: Option<String>,
    ) -> Result<Receipt, Error> {
        let reason = self.own_reason(access, reason)?;
        self.write(access, request, Withdraw { action, reason })
            .await
    }

    /// Takes somebody's proposal back.
    ///
    /// # Errors
    /// It is too late.
    pub async fn revoke(
        &self,
        access: &TenantAccess,
        request: &Request,
        action: ActionId,
        reason: Option<String>,
    ) -> Result<Receipt, Error> {
        let reason = self.own_reason(access, reason)?;
        self.write(access, request, Revoke { action, reason }).await
    }

    /// The command of a proposal, with the manifests that its plan is made from.
    async fn proposal(
        &self,
        access: &TenantAccess,
        proposal: Proposal,
        reason: Option<Reason>,
    ) -> Result<Propose, Error> {
        let action = match proposal.action.clone() {
            Some(action) => action,
            None => secrets::name('a')?.parse()?,
        };
        let expires = proposal
            .expires
            .unwrap_or_else(|| self.inner.now().plus_millis(LIFETIME_MILLIS));
        let (wanted, title) = self.inner.tenant(access.tenant(), |fold| {
            let wanted = blobs_wanted(
                &fold.tenant,
                &proposal.site,
                &proposal.kind,
                &proposal.parameters,
            )?;
            let title = title(fold.tenant.site(&proposal.site)?, &proposal);
            Ok::<_, Rejection>((wanted, title))
        })??;
        Ok(Propose {
            action,
            site: proposal.site,
            kind: proposal.kind,
            parameters: proposal.parameters,
            title: proposal.title.unwrap_or(title),
            expires,
            owner: access.owner().cloned(),
            reason,
            blobs: self.read_blobs(access, wanted).await?,
        })
    }

    /// Whether the site moved on since the manifests of a plan were read, so that it needs another one; that is read now.
    async fn moved_on(&self, access: &TenantAccess, what: &mut Propose) -> Result<bool, Error> {
        let wanted = self.inner.tenant(access.tenant(), |fold| {
            blobs_wanted(&fold.tenant, &what.site, &what.kind, &what.parameters)
        })?;
        let mut unread = wanted.unwrap_or_default();
        unread.retain(|digest| !what.blobs.contains_key(digest));
        let moved = !unread.is_empty();
        what.blobs.extend(self.read_blobs(access, unread).await?);
        Ok(moved)
    }

    async fn read_blobs(
        &self,
        access: &TenantAccess,
        wanted: Vec<Digest>,
    ) -> Result<BTreeMap<Digest, Vec<u8>>, Error> {
        let (inner, chain) = (Arc::clone(&self.inner), access.tenant().chain());
        let read = move || {
            let read = |digest: Digest| Ok((digest, inner.ledger.blobs().get(&chain, &digest)?));
            wanted.into_iter().map(read).collect::<Result<_, Error>>()
        };
        tokio::task::spawn_blocking(read)
            .await
            .map_err(Error::internal)?
    }

    /// A reason of the caller, salted here.
    fn own_reason(
        &self,
        access: &TenantAccess,
        reason: Option<String>,
    ) -> Result<Option<Reason>, Error> {
        let salted = |reason| {
            Ok::<_, Error>(SaltedReason {
                salt: Salt::from_bytes(secrets::random()?),
                reason,
            })
        };
        let Some(reason) = reason else {
            return Ok(None);
        };
        self.reason(access, &access.actor().id, salted(reason)?)
            .map(Some)
    }

    fn reason(
        &self,
        access: &TenantAccess,
        person: &ActorId,
        reason: SaltedReason,
    ) -> Result<Reason, Error> {
        let subject = self.inner.subjects.of(access.tenant(), person)?;
        Ok(Reason {
            salt: reason.salt,
            text: reason.reason,
            person: subject,
        })
    }
}

/// A reason that nobody keeps, of a person whom nobody knows.
fn imagined_reason(text: String) -> Result<Reason, Error> {
    Ok(Reason {
        salt: Salt::from_bytes(secrets::random()?),
        text,
        person: secrets::name('d')?.parse()?,
    })
}

/// One line for people, from the kind and the release that it is about.
fn title(site: &Site, proposal: &Proposal) -> String {
    let release = proposal
        .parameters
        .text("release")
        .and_then(|text| text.parse().ok());
    let label = release.map_or("unknown", |release| site.label(&release));
    match proposal.kind.as_str() {
        "release.publish" => format!("Publish release {label} on {}", site.name),
        "release.rollback" => format!("Return to release {label} on {}", site.name),
        "document.replace" => format!("Replace the pinned document of {}", site.name),
        other => format!("{other} on {}", site.name),
    }
}
