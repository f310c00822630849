//! The verdict: `dispatch` evaluated with nobody's approval, with everybody's, and with those that stand.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::{Authorizer, Entities};
use countersign_domain::{PolicyInput, PolicyOutcome};
use countersign_events::{EntityName, Evaluation, Ruling, Tally, words::Verdict};
use countersign_evidence::JsonObject;
use countersign_ids::{ApproverId, Digest};

use crate::{
    Error, PolicySet,
    evaluation::answer,
    facts::Facts,
    term::{self, Kind, Uid},
};

/// An answer, and the one blob of it that the policy set does not hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Assessment {
    /// The answer, as the domain puts it into events.
    pub outcome: PolicyOutcome,
    /// The entity snapshot: an evidence blob, to be stored before the event that names it.
    pub entities: Vec<u8>,
}

impl PolicySet {
    /// Judges a change: the verdict, what it still takes, and whether the approvals that stand are enough.
    ///
    /// # Errors
    /// The question cannot be put to Cedar; nothing was decided.
    pub fn assess(&self, input: &PolicyInput) -> Result<Assessment, Error> {
        let mut bench = Bench::new(self, input)?;
        let eligible = input.eligible();
        let empty = bench.evaluate(Tally::Empty, &BTreeSet::new())?;
        let saturated = bench.evaluate(Tally::Saturated, &eligible)?;
        let votes = bench.evaluate(
            Tally::Votes,
            &input.tally.intersection(&eligible).cloned().collect(),
        )?;
        let permitted = votes.ruling == Ruling::Permit;
        let (verdict, needed, reasons, sufficient) = match (empty.ruling, saturated.ruling) {
            (Ruling::Permit, _) => (Verdict::Allow, 0, self.reasons(&empty), None),
            (Ruling::Deny, Ruling::Deny) => (
                Verdict::Deny,
                0,
                self.denial(&saturated, eligible.len()),
                None,
            ),
            (Ruling::Deny, Ruling::Permit) => {
                let (needed, sufficient) = bench.sufficient(&eligible)?;
                let reasons = self.missing(&empty, &sufficient, needed, eligible.len());
                (Verdict::NeedsApproval, needed, reasons, Some(sufficient))
            }
        };
        let evaluations = [empty]
            .into_iter()
            .chain(sufficient)
            .chain([saturated, votes])
            .collect();
        let entities_digest = countersign_chain::sha256(&bench.snapshot);
        let outcome = PolicyOutcome {
            question: input.clone(),
            verdict,
            needed,
            permitted,
            reasons,
            evaluations,
            policy_digest: *self.digest(),
            cedar_version: crate::cedar_version(),
            entities_digest,
            blobs: sorted([*self.digest(), entities_digest]),
        };
        Ok(Assessment {
            outcome,
            entities: bench.snapshot,
        })
    }

    fn reasons(&self, evaluation: &Evaluation) -> Vec<String> {
        let said = evaluation
            .policies
            .iter()
            .map(|policy| match self.reason(policy) {
                Some(reason) => format!("{reason} ({policy})"),
                None => format!("decided by {policy}"),
            });
        said.chain(
            evaluation
                .errors
                .iter()
                .map(|error| format!("not evaluated: {error}")),
        )
        .collect()
    }

    /// Why nobody's approval is enough: what forbids it, or that nothing permits it.
    fn denial(&self, saturated: &Evaluation, eligible: usize) -> Vec<String> {
        let mut reasons = self.reasons(saturated);
        if reasons.is_empty() {
            reasons.push("no policy permits this change, whoever approves it".to_owned());
        }
        reasons.push(format!("{} may approve it", people(eligible)));
        reasons
    }

    /// What is still needed: how many people, by which policy, and what stands in the way until then.
    fn missing(
        &self,
        empty: &Evaluation,
        sufficient: &Evaluation,
        needed: u64,
        eligible: usize,
    ) -> Vec<String> {
        let approvals = if needed == 1 {
            "1 approval is".to_owned()
        } else {
            format!("{needed} approvals are")
        };
        let mut reasons = vec![format!(
            "{approvals} needed; {} may approve it",
            people(eligible)
        )];
        reasons.extend(self.reasons(sufficient));
        reasons.extend(self.reasons(empty));
        reasons
    }
}

fn people(count: usize) -> String {
    match count {
        0 => "nobody who is enrolled".to_owned(),
        1 => "1 person".to_owned(),
        more => format!("{more} people"),
    }
}

fn sorted(digests: [Digest; 2]) -> Vec<Digest> {
    BTreeSet::from(digests).into_iter().collect()
}

/// Evaluates one change under one policy set.
struct Bench<'a> {
    set: &'a PolicySet,
    facts: Facts<'a>,
    principal: Uid,
    action: Uid,
    resource: Uid,
    entities: Entities,
    snapshot: Vec<u8>,
    authorizer: Authorizer,
    /// What was asked already, by whose approval counted: nothing else tells two requests of one question apart.
    asked: BTreeMap<BTreeSet<ApproverId>, Evaluation>,
}

impl<'a> Bench<'a> {
    fn new(set: &'a PolicySet, input: &'a PolicyInput) -> Result<Self, Error> {
        let facts = Facts(input);
        let things = facts.things()?;
        let snapshot = Facts::snapshot(&things)?;
        let entities = set.fitting.entities(&things)?;
        let (principal, resource) = (facts.principal(), facts.change());
        let action = Uid::new(Kind::Action, &"dispatch");
        Ok(Self {
            set,
            facts,
            principal,
            action,
            resource,
            entities,
            snapshot,
            authorizer: Authorizer::new(),
            asked: BTreeMap::new(),
        })
    }

    /// The evaluation with the approvals of these people; the same request has the same answer, and is put once.
    fn evaluate(
        &mut self,
        tally: Tally,
        people: &BTreeSet<ApproverId>,
    ) -> Result<Evaluation, Error> {
        if let Some(asked) = self.asked.get(people) {
            return Ok(Evaluation {
                tally,
                ..asked.clone()
            });
        }
        let evaluation = self.ask(tally, people)?;
        self.asked.insert(people.clone(), evaluation.clone());
        Ok(evaluation)
    }

    fn ask(&self, tally: Tally, people: &BTreeSet<ApproverId>) -> Result<Evaluation, Error> {
        let members = self.facts.context(people)?;
        let names = [&self.principal, &self.action, &self.resource];
        let request = self.set.fitting.request(names, &members)?;
        let response = self
            .authorizer
            .is_authorized(&request, &self.set.policies, &self.entities);
        let (ruling, policies, errors) = answer(&response);
        Ok(Evaluation {
            tally,
            principal: name(&self.principal),
            action: name(&self.action),
            resource: name(&self.resource),
            context: JsonObject(term::members_json(&members)?),
            ruling,
            policies,
            errors,
        })
    }

    /// The smallest number of people whose approval is enough. Policies count people; they do not name them.
    fn sufficient(&mut self, eligible: &BTreeSet<ApproverId>) -> Result<(u64, Evaluation), Error> {
        let mut people = BTreeSet::new();
        let mut needed = 0;
        for person in eligible {
            people.insert(person.clone());
            needed += 1;
            let evaluation = self.evaluate(Tally::Sufficient, &people)?;
            if evaluation.ruling == Ruling::Permit {
                return Ok((needed, evaluation));
            }
        }
        Ok((needed, self.evaluate(Tally::Sufficient, eligible)?))
    }
}

fn name(uid: &Uid) -> EntityName {
    EntityName {
        kind: uid.full().to_owned(),
        id: uid.id.clone(),
    }
}
