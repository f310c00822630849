//! Policy decisions, made again from the event and its blobs by the same engine.
//!
//! A verdict that comes out differently is a violation; under another version of Cedar it cannot be called one, so it is
//! reported as not checked.

use std::collections::{BTreeMap, BTreeSet};

use countersign_events::action::{Action, Assessed, Authorized};
use countersign_events::{Evaluation, Event, Ruling, Tally};
use countersign_evidence::Order;
use countersign_ids::Digest;
use countersign_policy::{PolicySet, cedar_version, people, verdict_of};

use super::blobs::Blobs;
use super::fault::{Checked, absent, bad, need};
use crate::report::Counts;

const RULE: &str = "policy-decision";
/// Policy sets kept parsed; a ledger changes its policies seldom.
const SETS_MAX: usize = 8;

/// The policy sets read so far.
#[derive(Debug, Default)]
pub(super) struct Reevaluation {
    sets: BTreeMap<Digest, PolicySet>,
}

/// The policy evidence of one event.
struct Evidence<'e> {
    evaluations: &'e [Evaluation],
    policy: &'e Digest,
    entities: &'e Digest,
    version: &'e str,
    blobs: &'e [Digest],
}

impl Reevaluation {
    /// Evaluates every decision of an event again.
    pub(super) fn check(
        &mut self,
        event: &Event,
        blobs: &mut Blobs<'_>,
        counts: &mut Counts,
    ) -> Checked {
        match event {
            Event::Action(Action::Assessed(assessed)) => {
                counts.decisions += 1;
                let evidence = Evidence {
                    evaluations: &assessed.evaluations,
                    policy: &assessed.policy_digest,
                    entities: &assessed.entities_digest,
                    version: &assessed.cedar_version,
                    blobs: &assessed.blobs,
                };
                self.again(&evidence, blobs)?;
                follows_assessment(assessed)
            }
            Event::Action(Action::Authorized(authorized)) => {
                counts.decisions += 1;
                let evidence = Evidence {
                    evaluations: &authorized.evaluations,
                    policy: &authorized.policy_digest,
                    entities: &authorized.entities_digest,
                    version: &authorized.cedar_version,
                    blobs: &authorized.blobs,
                };
                self.again(&evidence, blobs)?;
                follows_authorisation(authorized)
            }
            _ => Ok(()),
        }
    }

    fn again(&mut self, evidence: &Evidence<'_>, blobs: &mut Blobs<'_>) -> Checked {
        let named =
            evidence.blobs.contains(evidence.policy) && evidence.blobs.contains(evidence.entities);
        need(
            named,
            RULE,
            "policy set or entity snapshot is not among the blobs",
        )?;
        let entities = blobs.get(evidence.entities)?;
        let set = self.set(evidence.policy, blobs)?;
        for recorded in evidence.evaluations {
            let differs = |what: &dyn std::fmt::Display| {
                let message = format!(
                    "the evaluation on {:?} approvals does not come out as recorded: {what}",
                    recorded.tally
                );
                if evidence.version == cedar_version() {
                    bad(RULE, message)
                } else {
                    absent(
                        RULE,
                        format!(
                            "{message} (recorded by Cedar {}, this is {})",
                            evidence.version,
                            cedar_version()
                        ),
                    )
                }
            };
            let now = set
                .reevaluate(&entities, recorded)
                .map_err(|error| differs(&error))?;
            if now != *recorded {
                return Err(differs(&format!(
                    "{:?} by {:?}, recorded {:?} by {:?}",
                    now.ruling, now.policies, recorded.ruling, recorded.policies
                )));
            }
        }
        Ok(())
    }

    fn set(&mut self, digest: &Digest, blobs: &mut Blobs<'_>) -> Checked<&PolicySet> {
        if !self.sets.contains_key(digest) {
            let blob = blobs.get(digest)?;
            let set = PolicySet::from_blob(&blob).map_err(|error| bad(RULE, error))?;
            if self.sets.len() >= SETS_MAX {
                self.sets.clear();
            }
            self.sets.insert(*digest, set);
        }
        self.sets
            .get(digest)
            .ok_or_else(|| bad(RULE, "no policy set"))
    }
}

/// The verdict is what the evaluations amount to.
fn follows_assessment(assessed: &Assessed) -> Checked {
    let verdict = verdict_of(&assessed.evaluations);
    let verdict = verdict.ok_or_else(|| {
        bad(
            RULE,
            "the evaluations on nobody's and on everybody's approvals are not both there",
        )
    })?;
    need(
        verdict == assessed.verdict,
        RULE,
        &format!(
            "the evaluations amount to `{verdict}`, the event says `{}`",
            assessed.verdict
        ),
    )
}

/// The mint was permitted on exactly the approvals that the order holds.
fn follows_authorisation(authorized: &Authorized) -> Checked {
    let votes = authorized
        .evaluations
        .iter()
        .find(|evaluation| evaluation.tally == Tally::Votes);
    let votes = votes.ok_or_else(|| bad(RULE, "no evaluation on the approvals that stood"))?;
    need(
        votes.ruling == Ruling::Permit,
        RULE,
        "authorised although policy did not permit it",
    )?;
    let order =
        Order::parse(authorized.envelope.unverified_payload()).map_err(|error| bad(RULE, error))?;
    let mut approvers = BTreeSet::new();
    for signed in &order.statements {
        let statement = signed.unverified().map_err(|error| bad(RULE, error))?;
        approvers.insert(statement.approver.to_string());
    }
    let counted: BTreeSet<String> = people(votes).into_iter().map(ToOwned::to_owned).collect();
    need(
        counted.is_subset(&approvers),
        RULE,
        "policy counted approvals that the order does not hold",
    )
}
