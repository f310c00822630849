//! An action's life as people and agents drive it after it was proposed: preview, vote, withdraw, revoke.

use countersign_domain::commands::{Revoke, Vote, Withdraw};
use countersign_domain::{Facts, Reason, Rejection};
use countersign_ids::{ActionId, ActorId, Salt};
use countersign_store::Receipt;

use crate::model::{Ballot, Preview, Proposal, Request, SaltedReason};
use crate::{Error, Service, TenantAccess, secrets};

impl Service {
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

    /// A reason of the caller, salted here.
    pub(crate) fn own_reason(
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
