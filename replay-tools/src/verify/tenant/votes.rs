//! Proposals, assessments and votes.

use countersign_events::action::{Assessed, Proposed};
use countersign_events::words::Verdict;
use countersign_evidence::{Decision, SignedStatement, Statement, ViewDocument};
use countersign_ids::ActionId;

use super::{ActionRun, Context, Round, Seen, Stage, Standing, Tenant};
use crate::verify::fault::{Checked, absent, bad, need};

impl Tenant {
    /// A proposal: its action object hashes to its digest and is for the site that the header names.
    pub(super) fn proposed(&mut self, seen: &Seen<'_>, proposed: &Proposed) -> Checked {
        const RULE: &str = "proposal";
        let digest = proposed
            .action_object
            .digest()
            .map_err(|error| bad(RULE, error))?;
        let mut excluded = std::collections::BTreeSet::from([seen.header.actor.id.to_string()]);
        excluded.extend(proposed.proposer_owner.get().map(ToString::to_string));
        let run = ActionRun {
            site: proposed.action_object.site.clone(),
            kind: proposed.action_object.kind.clone(),
            digest: proposed.action_digest,
            excluded,
            round: None,
            votes: std::collections::BTreeMap::new(),
            stage: Stage::Open,
            order: None,
        };
        let first = self.actions.insert(proposed.action.clone(), run).is_none();
        need(first, RULE, "the action was proposed before")?;
        need(
            digest == proposed.action_digest,
            RULE,
            "the action object does not hash to action_digest",
        )?;
        let plan = proposed.plan.digest().map_err(|error| bad(RULE, error))?;
        need(
            plan == proposed.action_object.plan_digest,
            RULE,
            "the plan does not hash to plan_digest",
        )?;
        let site = &proposed.action_object.site;
        need(
            seen.header.site.as_ref() == Some(site),
            RULE,
            "the header names another site than the action object",
        )?;
        self.site(site).map(drop)
    }

    /// An assessment: a new round, in which no vote stands, over a view document that shows this action.
    pub(super) fn assessed(
        &mut self,
        assessed: &Assessed,
        context: &mut Context<'_, '_>,
    ) -> Checked {
        const RULE: &str = "assessment";
        let run = self.run(&assessed.action)?;
        let last = run.round.as_ref().map_or(0, |round| round.number);
        let dense = assessed.round == last.saturating_add(1);
        let open = run.stage == Stage::Open;
        if assessed.verdict == Verdict::Deny {
            run.stage = Stage::Over;
        }
        run.votes.clear();
        run.round = Some(Round {
            number: assessed.round,
            view: assessed.view_digest,
            rollback: assessed.rollback_digest.get().copied(),
            policy: assessed.policy_digest,
        });
        need(dense, RULE, "rounds are dense from 1")?;
        need(open, RULE, "an action is assessed that is not open")?;
        need(
            assessed.blobs.contains(&assessed.view_digest),
            RULE,
            "the view document is not among the blobs",
        )?;
        let digest = run.digest;
        let view = context.blobs.get(&assessed.view_digest)?;
        ViewDocument::open(&view, &assessed.view_digest, &digest)
            .map(drop)
            .map_err(|error| bad("view", error))
    }

    /// A signed decision of one person, over exactly what this round shows.
    pub(super) fn vote(
        &mut self,
        seen: &Seen<'_>,
        (action, round, decision): (&ActionId, u64, Decision),
        signed: &SignedStatement,
        context: &mut Context<'_, '_>,
    ) -> Checked {
        context.counts.statements += 1;
        let statement = signed
            .unverified()
            .map_err(|error| unknown_or_bad(signed, &error))?;
        let person = (statement.approver.clone(), statement.credential.clone());
        let credential = self.people.get(&person);
        let credential = credential
            .ok_or_else(|| bad("statement", "a statement by a key that is not enrolled"))?;
        let verified = signed
            .verify(credential)
            .map_err(|error| unknown_or_bad(signed, &error))?;
        let fresh = self.nonces.insert(statement.nonce);
        self.check_statement(action, round, &statement, decision)?;
        need(
            fresh,
            "statement-nonce",
            "the nonce of a statement came before in this chain",
        )?;
        let run = self.run(action)?;
        let approver = &statement.approver;
        if decision == Decision::Withdraw {
            let stood = run.votes.remove(approver).is_some();
            return need(stood, "vote", "withdraws a vote that does not stand");
        }
        // A vote whose window is over does not stand any more, and its person may vote again.
        let stands = run
            .votes
            .get(approver)
            .is_some_and(|vote| seen.header.time <= vote.until);
        need(!stands, "vote", "a second vote of the same person")?;
        let vote = Standing {
            decision,
            statement: *verified.digest(),
            until: statement.not_after,
        };
        run.votes.insert(approver.clone(), vote);
        if decision == Decision::Deny {
            run.stage = Stage::Over;
        }
        Ok(())
    }

    fn check_statement(
        &mut self,
        action: &ActionId,
        round: u64,
        said: &Statement,
        decision: Decision,
    ) -> Checked {
        const RULE: &str = "statement";
        let here = said.ledger == self.ledger && said.chain == self.chain;
        need(here, RULE, "a statement for another ledger or chain")?;
        let run = self.run(action)?;
        need(
            said.decision == decision,
            RULE,
            "the statement says another decision than the event",
        )?;
        let over =
            said.action == *action && said.action_digest == run.digest && said.site == run.site;
        need(over, RULE, "a statement over another action")?;
        let seen = run
            .round
            .as_ref()
            .ok_or_else(|| bad(RULE, "a statement before any assessment"))?;
        need(
            said.round == round && round == seen.number,
            RULE,
            "a statement of another round",
        )?;
        need(
            said.view_digest == seen.view,
            RULE,
            "a statement over another view document",
        )?;
        need(
            said.rollback_digest.get() == seen.rollback.as_ref(),
            RULE,
            "a statement over another rollback plan",
        )?;
        need(
            said.policy_digest.get() == Some(&seen.policy),
            RULE,
            "a statement over another policy set",
        )?;
        let excluded = run.excluded.contains(said.approver.as_str());
        need(
            !excluded,
            "approved-by-proposer",
            "the proposer, or the owner of the proposing agent, votes",
        )
    }
}

/// An algorithm that is not built yet is unknown, not wrong.
pub(super) fn unknown_or_bad(
    signed: &SignedStatement,
    error: &countersign_evidence::statement::StatementError,
) -> crate::verify::fault::Fault {
    if signed.alg == countersign_evidence::Alg::Ed25519 {
        bad("statement", error)
    } else {
        absent("alg", error)
    }
}
