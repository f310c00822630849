//! Casts a vote, or takes one back: a statement that the approver signed, over exactly the action and round as they stand.

use countersign_events::Payload;
use countersign_events::action::{ApprovalWithdrawn, Approved, Authorized, Rejected};
use countersign_events::platform::Noted;
use countersign_evidence::{Decision as Ballot, Scope, SignedStatement, Statement};
use countersign_ids::{ActionId, Time};

use super::Facts;
use crate::action::Action;
use crate::decision::{Decision, Draft, Guard};
use crate::policy::Exclusion;
use crate::rejection::Rejection;
use crate::state::State;
use crate::tenant::Tenant;
use crate::text::{self, Reason};

/// Casts a vote, or takes one back.
#[derive(Debug, Clone, PartialEq)]
pub struct Vote {
    /// The action.
    pub action: ActionId,
    /// The signed statement.
    pub signed: SignedStatement,
    /// The reason that the statement commits to.
    pub reason: Option<Reason>,
}

impl Vote {
    pub(super) fn decide(&self, tenant: &Tenant, facts: &Facts) -> Result<Decision, Rejection> {
        let action = tenant.action(&self.action)?;
        if action.state() != State::Waiting {
            return Err(Rejection::WrongState {
                action: self.action.clone(),
                state: action.state(),
            });
        }
        if facts.now > action.expires() {
            return Err(Rejection::ActionExpired {
                action: self.action.clone(),
                expires: action.expires(),
            });
        }
        let statement = self
            .signed
            .unverified()
            .map_err(|why| Rejection::StatementRefused { why })?;
        about(tenant, action, &statement)?;
        if statement.scope != Scope::Action {
            return Err(Rejection::ScopeUnsupported);
        }
        if !statement.counts_at(facts.now) {
            return Err(Rejection::StatementNotNow {
                from: statement.not_before,
                until: statement.not_after,
            });
        }
        if tenant.nonces.contains(&statement.nonce) {
            return Err(Rejection::NonceReused {
                nonce: statement.nonce,
            });
        }
        self.by_whom(tenant, action, &statement, facts.now)?;
        self.check_reason(&statement)?;
        let (_, sealed) = text::given(tenant, self.reason.as_ref(), &self.action, action.site())?;
        let draft = self.draft(&statement)?.at(action.site());
        // A nonce is unseen in the whole chain, whatever action it was signed for.
        let anywhere = [
            Noted::SPEC,
            Approved::SPEC,
            Rejected::SPEC,
            ApprovalWithdrawn::SPEC,
            Authorized::SPEC,
        ];
        let anywhere = Guard {
            types: anywhere.map(|spec| spec.event_type.clone()).to_vec(),
            ..Guard::default()
        };
        let guards = [Guard::about(&self.action), anywhere];
        Ok(sealed.behind(draft).unless(guards))
    }

    /// Who signed, and whether they may.
    fn by_whom(
        &self,
        tenant: &Tenant,
        action: &Action,
        statement: &Statement,
        now: Time,
    ) -> Result<(), Rejection> {
        let approver = || statement.approver.clone();
        let held = tenant
            .credential(&statement.approver, &statement.credential)
            .ok_or_else(|| Rejection::ApproverUnknown {
                approver: approver(),
            })?;
        if held.removed {
            return Err(Rejection::ApproverRemoved {
                approver: approver(),
            });
        }
        self.signed
            .verify(&held.credential)
            .map_err(|why| Rejection::StatementRefused { why })?;
        match tenant.exclusion(action, &statement.approver) {
            Some(Exclusion::Proposer) => {
                return Err(Rejection::ApproverIsProposer {
                    approver: approver(),
                });
            }
            Some(Exclusion::Owner) => {
                return Err(Rejection::ApproverIsOwner {
                    approver: approver(),
                });
            }
            Some(Exclusion::NotAtSite) => {
                return Err(Rejection::ApproverNotAtSite {
                    approver: approver(),
                });
            }
            None => {}
        }
        if !tenant.is_pinned(action.site(), &statement.approver, &statement.credential) {
            return Err(Rejection::ApproverNotAtSite {
                approver: approver(),
            });
        }
        let vote = action.votes.get(&statement.approver);
        // A vote whose window is over does not stand any more: the same person may vote again.
        let stands = vote.is_some_and(|vote| vote.statement.counts_at(now));
        match statement.decision {
            Ballot::Approve | Ballot::Deny if stands => Err(Rejection::VoteStands {
                approver: approver(),
            }),
            Ballot::Withdraw if vote.is_none() => Err(Rejection::VoteMissing {
                approver: approver(),
            }),
            Ballot::Approve | Ballot::Deny | Ballot::Withdraw => Ok(()),
        }
    }

    fn check_reason(&self, statement: &Statement) -> Result<(), Rejection> {
        let given = self.reason.as_ref().map(Reason::digest);
        if given.is_none()
            && statement.decision == Ballot::Deny
            && statement.reason_digest.get().is_none()
        {
            return Err(Rejection::ReasonRequired);
        }
        if given == statement.reason_digest.0 {
            Ok(())
        } else {
            Err(Rejection::ReasonMismatch)
        }
    }

    fn draft(&self, statement: &Statement) -> Result<Draft, Rejection> {
        let (action, round, signed) = (self.action.clone(), statement.round, self.signed.clone());
        Ok(match statement.decision {
            Ballot::Approve => Draft::new(
                Approved {
                    action,
                    round,
                    signed,
                },
                &self.action,
            ),
            Ballot::Deny => Draft::new(
                Rejected {
                    action,
                    round,
                    signed,
                },
                &self.action,
            ),
            Ballot::Withdraw => Draft::new(
                ApprovalWithdrawn {
                    action,
                    round,
                    signed,
                },
                &self.action,
            ),
        })
    }
}

/// Whether a statement is about this action, in this round, as it was shown.
fn about(tenant: &Tenant, action: &Action, statement: &Statement) -> Result<(), Rejection> {
    let (_, ledger) = tenant.created()?;
    let shown = action.assessment.as_ref();
    if statement.round != action.round {
        return Err(Rejection::RoundMismatch {
            wanted: action.round,
            found: statement.round,
        });
    }
    for (member, same) in [
        ("ledger", statement.ledger == *ledger),
        ("chain", statement.chain == tenant.chain),
        ("site", statement.site == *action.site()),
        ("action", statement.action == *action.id()),
        (
            "action_digest",
            statement.action_digest == action.proposal.digest,
        ),
        (
            "view_digest",
            shown.is_some_and(|shown| shown.view_digest == statement.view_digest),
        ),
        (
            "policy_digest",
            shown.is_some_and(|shown| statement.policy_digest.get() == Some(&shown.policy_digest)),
        ),
        (
            "rollback_digest",
            shown.is_some_and(|shown| shown.rollback_digest == statement.rollback_digest.0),
        ),
    ] {
        if !same {
            return Err(Rejection::StatementMisdirected { member });
        }
    }
    Ok(())
}
