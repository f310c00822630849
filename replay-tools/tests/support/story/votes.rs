//! One action up to its approval: proposed, assessed, voted on.

use std::collections::BTreeSet;

use countersign_chain::sha256;
use countersign_events::action::{Approved, Assessed, Proposed};
use countersign_events::reason;
use countersign_events::words::Risk;
use countersign_evidence::statement::reason_digest;
use countersign_evidence::{
    ActionObject, Decision, JsonObject, OrDash, OutcomeResult, Reversibility, Scope,
    SignedStatement, Statement, ViewDocument, wire,
};
use countersign_ids::{Actor, AuthType, Digest, Salt};

use super::super::{Fact, TENANT, Twist, at_site, chain, nonce, person, policy, service};
use super::{SITE, Story};

impl Story {
    /// One action from proposal to success.
    pub(crate) fn publish(&mut self, action: &str, release: &[u8], number: u64) {
        let object = self.propose(action, release);
        let digest = object.digest().unwrap();
        let (view, decision) = self.assess(action, &object);
        let statements = self.approve(action, digest, &view, &decision, number);
        let order = self.authorize(action, &object, statements, &decision, number);
        self.deliver(action, &order);
        if number == 2 {
            // Nothing was heard for long; the order is handed out again, and the connector settles it.
            self.unresolved(action);
            self.deliver(action, &order);
        } else if self.twisted(Twist::OrderWhileSiteHeld) {
            return;
        }
        self.answer(action, &order, OutcomeResult::Accepted);
        self.answer(action, &order, OutcomeResult::Succeeded);
    }

    fn propose(&mut self, action: &str, release: &[u8]) -> ActionObject {
        let plan = JsonObject::of_strings([("to", sha256(release).to_string())]);
        let object = ActionObject {
            v: wire::V1,
            site: SITE.parse().unwrap(),
            kind: "release.publish".parse().unwrap(),
            parameters: JsonObject::of_strings([("release", sha256(release).to_string())]),
            precondition: JsonObject::of_strings([("current", "-")]),
            plan_digest: plan.digest().unwrap(),
            reversibility: Reversibility::Reversible,
            rollback_digest: OrDash(Some(Self::rollback_plan().digest().unwrap())),
            expires: self.world.now().plus_millis(3_600_000),
        };
        let salt = [7; 16];
        let proposed = Proposed {
            action: action.parse().unwrap(),
            action_digest: object.digest().unwrap(),
            action_object: object.clone(),
            plan,
            title: format!("publish {action}"),
            risk: Risk::Medium,
            blast_radius: 3,
            proposer_owner: OrDash(Some(
                if self.twisted(Twist::ApprovedByOwner) {
                    "mira"
                } else {
                    "petra"
                }
                .parse()
                .unwrap(),
            )),
            reason_digest: OrDash(Some(reason_digest(&salt, "because"))),
            attachments: Vec::new(),
        };
        let given = reason::Given {
            salt: Salt::from_bytes(salt),
            reason: "because".to_owned(),
        };
        let proposer = match self.world.twist {
            Twist::ApprovedByProposer => person("mira"),
            _ => Actor {
                kind: AuthType::Agent,
                id: "agent-7".parse().unwrap(),
            },
        };
        let sealed = Fact {
            seal: Some("subject-1".parse().unwrap()),
            ..at_site(given, action, SITE)
        };
        self.world.append(
            TENANT,
            proposer,
            vec![at_site(proposed, action, SITE), sealed],
        );
        object
    }

    fn assess(&mut self, action: &str, object: &ActionObject) -> (Digest, policy::Decision) {
        let decision = policy::decide(&self.world, action, &BTreeSet::new());
        let mut shown = object.clone();
        if self.twisted(Twist::ViewShowsOtherAction) {
            shown.expires = shown.expires.plus_millis(1);
        }
        let others = JsonObject::of_strings([("title", format!("publish {action}"))]);
        let view = ViewDocument::build(&shown, others).unwrap();
        let view_digest = self.world.blob(TENANT, view.bytes());
        let mut blobs = vec![
            decision.policy_digest,
            decision.entities_digest,
            view_digest,
        ];
        blobs.sort();
        blobs.dedup();
        let mut evaluations = decision.evaluations.clone();
        let verdict = if self.twisted(Twist::PolicyVerdictChanged) {
            countersign_events::words::Verdict::Allow
        } else {
            decision.verdict
        };
        if self.twisted(Twist::PolicyEvaluationChanged)
            && let Some(first) = evaluations.first_mut()
        {
            first.policies = vec!["made-up".to_owned()];
        }
        let assessed = Assessed {
            action: action.parse().unwrap(),
            round: 1,
            verdict,
            needed: decision.needed,
            evaluations,
            policy_digest: decision.policy_digest,
            cedar_version: decision.cedar_version.clone(),
            entities_digest: decision.entities_digest,
            view_digest,
            rollback_digest: self.rollback(),
            reasons: decision.reasons.clone(),
            blobs,
        };
        self.world
            .append(TENANT, service(), vec![at_site(assessed, action, SITE)]);
        (view_digest, decision)
    }

    fn statement(
        &self,
        action: &str,
        digest: Digest,
        view: &Digest,
        decision: &policy::Decision,
        number: u64,
    ) -> Statement {
        let now = self.world.now();
        let (from, until) = match self.world.twist {
            Twist::StatementExpired => (now.minus_millis(7_200_000), now.minus_millis(3_600_000)),
            _ => (now.minus_millis(60_000), now.plus_millis(3_600_000)),
        };
        let twisted = |twist, digest: Digest| {
            if self.twisted(twist) {
                sha256(b"another")
            } else {
                digest
            }
        };
        let reused = self.twisted(Twist::StatementNonceReused);
        Statement {
            v: wire::V1,
            ledger: self.world.id,
            chain: chain(TENANT),
            site: SITE.parse().unwrap(),
            action: action.parse().unwrap(),
            action_digest: twisted(Twist::StatementOverOtherDigest, digest),
            decision: Decision::Approve,
            scope: Scope::Action,
            round: 1,
            approver: "mira".parse().unwrap(),
            credential: "mira-key".parse().unwrap(),
            reason_digest: OrDash::NONE,
            policy_digest: OrDash(Some(decision.policy_digest)),
            view_digest: twisted(Twist::StatementOverOtherView, *view),
            rollback_digest: self.rollback(),
            not_before: from,
            not_after: until,
            nonce: nonce(if reused { 77 } else { 100 + number }),
        }
    }

    fn approve(
        &mut self,
        action: &str,
        digest: Digest,
        view: &Digest,
        decision: &policy::Decision,
        number: u64,
    ) -> Vec<SignedStatement> {
        let mut statement = self.statement(action, digest, view, decision, number);
        let mut key = self.world.keys.mira.clone();
        match self.world.twist {
            Twist::StatementByStranger => {
                statement.approver = "nobody".parse().unwrap();
                key = self.world.keys.stranger.clone();
            }
            Twist::StatementForged => key = self.world.keys.stranger.clone(),
            _ => {}
        }
        let signed = statement.sign(&key).unwrap();
        self.vote(action, &signed);
        if self.twisted(Twist::SecondVoteOfOnePerson) {
            statement.nonce = nonce(900 + number);
            let again = statement.sign(&key).unwrap();
            self.vote(action, &again);
        }
        match self.world.twist {
            Twist::OrderWithoutApproval => Vec::new(),
            Twist::StatementReused if number == 2 => self.used.clone().into_iter().collect(),
            _ => {
                self.used = Some(signed.clone());
                vec![signed]
            }
        }
    }

    fn vote(&mut self, action: &str, signed: &SignedStatement) {
        let approved = Approved {
            action: action.parse().unwrap(),
            round: 1,
            signed: signed.clone(),
        };
        self.world.append(
            TENANT,
            person("mira"),
            vec![at_site(approved, action, SITE)],
        );
    }
}
