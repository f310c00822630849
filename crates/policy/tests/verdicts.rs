//! The default policies, case by case: kind, risk, readiness, freeze, containment, proposer, people -> verdict and reason.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests; a failure is the test's"
)]

use std::collections::BTreeSet;

use countersign_domain::words::{Containment, Environment, Grade, Risk, Verdict};
use countersign_domain::{ApproverEntity, Exclusion, PolicyInput};
use countersign_events::{Evaluation, Ruling, Tally};
use countersign_evidence::Reversibility;
use countersign_ids::{Actor, ApproverId, AuthType};
use countersign_policy::{Assessment, PolicySet, people as counted, reevaluate, verdict_of};

fn facts() -> PolicyInput {
    PolicyInput {
        tenant: "acme".parse().unwrap(),
        site: "shop".parse().unwrap(),
        environment: Environment::Production,
        action: "a1".parse().unwrap(),
        kind: "release.publish".to_owned(),
        risk: Risk::Medium,
        reversibility: Reversibility::Reversible,
        blast_radius: 12,
        readiness: Grade::Exact,
        freeze_active: false,
        containment: Containment::Normal,
        floor: 0,
        proposer: Actor {
            kind: AuthType::Agent,
            id: "bot".parse().unwrap(),
        },
        proposer_owner: Some("olga".parse().unwrap()),
        round: 1,
        tally: BTreeSet::new(),
        approvers: Vec::new(),
    }
}

fn people(names: &str) -> BTreeSet<ApproverId> {
    names
        .split_whitespace()
        .map(|name| name.parse().unwrap())
        .collect()
}

/// One line of the table: the facts that differ from a medium publish by olga's agent with alice, bob and olga enrolled.
fn with(changes: &str) -> PolicyInput {
    let mut facts = facts();
    let mut enrolled = people("alice bob olga");
    for change in changes.split_whitespace() {
        let (name, value) = change.split_once('=').unwrap();
        match name {
            "kind" => facts.kind = value.to_owned(),
            "risk" => facts.risk = Risk::parse(value).unwrap(),
            "ready" => facts.readiness = serde_json::from_value(value.into()).unwrap(),
            "undo" if value == "never" => facts.reversibility = Reversibility::Irreversible,
            "undo" => facts.reversibility = Reversibility::Partial,
            "freeze" => facts.freeze_active = value == "yes",
            "contain" => {
                facts.containment = *Containment::ALL
                    .iter()
                    .find(|step| step.as_str() == value)
                    .unwrap()
            }
            "floor" => facts.floor = value.parse().unwrap(),
            "people" => enrolled = people(&value.replace(',', " ")),
            "by" => {
                let (kind, id) = value.split_once(':').unwrap();
                facts.proposer = Actor {
                    kind: kind.parse().unwrap(),
                    id: id.parse().unwrap(),
                };
                facts.proposer_owner = None;
            }
            other => panic!("`{other}` is not a fact"),
        }
    }
    facts.approvers = enrolled
        .into_iter()
        .map(|id| ApproverEntity {
            excluded: excluded(&facts, &id),
            id,
        })
        .collect();
    facts
}

fn excluded(facts: &PolicyInput, approver: &ApproverId) -> Option<Exclusion> {
    if approver.as_str() == facts.proposer.id.as_str() {
        Some(Exclusion::Proposer)
    } else {
        (facts.proposer_owner.as_ref() == Some(approver)).then_some(Exclusion::Owner)
    }
}

fn check(cases: &[(&str, &str, u64, &str)]) {
    let set = PolicySet::defaults().unwrap();
    for (changes, verdict, needed, reason) in cases {
        let assessment = set.assess(&with(changes)).unwrap();
        let outcome = &assessment.outcome;
        assert_eq!(
            (outcome.verdict.as_str(), outcome.needed),
            (*verdict, *needed),
            "{changes}: {:#?}",
            outcome.reasons
        );
        let said = outcome.reasons.iter().any(|line| line.contains(reason));
        assert!(
            said,
            "{changes}: `{reason}` is not among {:#?}",
            outcome.reasons
        );
        assert_eq!(
            outcome.permitted,
            outcome.verdict == Verdict::Allow,
            "nobody has approved: {changes}"
        );
        audit(&set, &assessment);
    }
}

/// Every evaluation comes out the same from the bytes that an event and its blobs would keep.
fn audit(set: &PolicySet, assessment: &Assessment) {
    let outcome = &assessment.outcome;
    assert_eq!(outcome.policy_digest, *set.digest());
    assert_eq!(
        outcome.entities_digest,
        countersign_chain::sha256(&assessment.entities)
    );
    assert!(
        outcome.blobs.contains(&outcome.policy_digest)
            && outcome.blobs.contains(&outcome.entities_digest)
    );
    for kept in &outcome.evaluations {
        let kept: Evaluation = serde_json::from_slice(&serde_json::to_vec(kept).unwrap()).unwrap();
        assert_eq!(
            kept,
            reevaluate(set.blob(), &assessment.entities, &kept).unwrap()
        );
    }
    assert_eq!(verdict_of(&outcome.evaluations), Some(outcome.verdict));
}

#[expect(clippy::too_many_lines, reason = "a table, one line a case")]
#[test]
fn default_policies() {
    check(&[
        (
            "",
            "needs-approval",
            1,
            "1 approval is needed; 2 people may approve it",
        ),
        (
            "",
            "needs-approval",
            1,
            "publishing at low or medium risk takes one approval (publish.one-approval)",
        ),
        ("risk=low", "needs-approval", 1, "(publish.one-approval)"),
        (
            "risk=high",
            "needs-approval",
            2,
            "publishing at high or critical risk takes two approvals (publish.two-approvals)",
        ),
        (
            "risk=critical",
            "needs-approval",
            2,
            "2 approvals are needed; 2 people may approve it",
        ),
        (
            "risk=high people=alice,olga",
            "deny",
            0,
            "no policy permits this change, whoever approves it",
        ),
        (
            "risk=high people=alice,olga",
            "deny",
            0,
            "1 person may approve it",
        ),
        (
            "kind=database.drop risk=low",
            "deny",
            0,
            "no policy knows this kind of change (kind.unknown)",
        ),
        (
            "people=olga",
            "deny",
            0,
            "nobody who is enrolled may approve it",
        ),
        (
            "by=person:alice people=alice",
            "deny",
            0,
            "nobody who is enrolled may approve it",
        ),
        (
            "by=person:alice people=alice,bob",
            "needs-approval",
            1,
            "1 person may approve it",
        ),
        (
            "by=service:scanner people=alice",
            "needs-approval",
            1,
            "(publish.one-approval)",
        ),
        (
            "ready=STALE",
            "needs-approval",
            1,
            "the way back is not tested as exact, so a person has to approve",
        ),
        (
            "ready=NONE undo=never",
            "deny",
            0,
            "this cannot be undone and no way back was tested (readiness.irreversible)",
        ),
        (
            "ready=NONE undo=partly",
            "needs-approval",
            1,
            "(readiness.unready-needs-person)",
        ),
        (
            "ready=EXACT undo=never",
            "needs-approval",
            1,
            "(readiness.irreversible-needs-person)",
        ),
        (
            "freeze=yes",
            "deny",
            0,
            "a freeze window is open; only rolling back is possible (freeze.window)",
        ),
        (
            "freeze=yes kind=release.rollback",
            "needs-approval",
            1,
            "(rollback.one-approval)",
        ),
        (
            "kind=release.rollback risk=low by=person:carol",
            "allow",
            0,
            "a person may roll back alone at low risk",
        ),
        (
            "kind=release.rollback risk=low by=person:carol freeze=yes",
            "allow",
            0,
            "(rollback.exact-low)",
        ),
        (
            "kind=release.rollback risk=low by=person:carol floor=1",
            "needs-approval",
            1,
            "the document that is pinned at the site asks",
        ),
        (
            "kind=release.rollback risk=low by=person:carol contain=ask-for-all",
            "needs-approval",
            1,
            "(containment.ask)",
        ),
        (
            "kind=release.rollback risk=low by=person:carol ready=STALE",
            "needs-approval",
            1,
            "(readiness.unready-needs-person)",
        ),
        (
            "kind=release.rollback risk=medium by=person:carol",
            "needs-approval",
            1,
            "(rollback.one-approval)",
        ),
        (
            "kind=release.rollback risk=low",
            "needs-approval",
            1,
            "(rollback.one-approval)",
        ),
        (
            "contain=hold",
            "deny",
            0,
            "everything is held while the site is contained (containment.hold)",
        ),
        (
            "contain=hold kind=release.rollback",
            "deny",
            0,
            "(containment.hold)",
        ),
        (
            "contain=rollback-only",
            "deny",
            0,
            "the site is contained; only rolling back is possible",
        ),
        (
            "contain=rollback-only kind=release.rollback",
            "needs-approval",
            1,
            "(rollback.one-approval)",
        ),
        (
            "contain=dark kind=release.rollback",
            "deny",
            0,
            "(containment.dark)",
        ),
        ("floor=2", "needs-approval", 2, "(floor.site)"),
        ("floor=3", "deny", 0, "(floor.site)"),
        (
            "kind=document.replace",
            "needs-approval",
            1,
            "(document.one-approval)",
        ),
        (
            "kind=document.replace floor=2",
            "needs-approval",
            2,
            "(floor.site)",
        ),
    ]);
}

#[test]
fn votes_are_counted_without_the_proposer_and_the_owner() {
    let set = PolicySet::defaults().unwrap();
    for (changes, votes, permitted) in [
        ("", "alice", true),
        ("", "", false),
        ("", "olga", false),
        ("", "mallory", false),
        ("risk=high", "alice olga", false),
        ("risk=high", "alice bob", true),
        ("by=person:alice", "alice", false),
        ("freeze=yes", "alice bob", false),
    ] {
        let assessment = set
            .assess(&PolicyInput {
                tally: people(votes),
                ..with(changes)
            })
            .unwrap();
        assert_eq!(
            assessment.outcome.permitted, permitted,
            "{changes} votes {votes}"
        );
        let votes = assessment
            .outcome
            .evaluations
            .iter()
            .find(|evaluation| evaluation.tally == Tally::Votes)
            .unwrap();
        assert_eq!(votes.ruling == Ruling::Permit, permitted);
        assert!(!counted(votes).contains(&"olga") && !counted(votes).contains(&"mallory"));
    }
}

#[test]
fn a_tally_that_counts_the_proposer_is_forbidden_by_name() {
    let set = PolicySet::defaults().unwrap();
    let mut assessment = set.assess(&with("by=person:alice")).unwrap();
    let saturated = assessment
        .outcome
        .evaluations
        .iter_mut()
        .find(|evaluation| evaluation.tally == Tally::Saturated)
        .unwrap();
    let forged = serde_json::to_string(&saturated.context)
        .unwrap()
        .replace("\"bob\"", "\"alice\"");
    saturated.context = serde_json::from_str(&forged).unwrap();
    let again = reevaluate(set.blob(), &assessment.entities, saturated).unwrap();
    assert_eq!(
        (again.ruling, again.policies.as_slice()),
        (Ruling::Deny, &["duties.proposer".to_owned()][..])
    );
    assert_ne!(*saturated, again);
}

#[test]
fn another_policy_set_is_run_over_a_recorded_request() {
    let set = PolicySet::defaults().unwrap();
    let assessment = set.assess(&with("")).unwrap();
    let only_two = r#"@id("two") @reason("always two")
        permit (principal, action, resource) when { context.tally.approvals >= 2 };"#;
    let candidate =
        PolicySet::load([("two.cedar".to_owned(), only_two.to_owned())].into()).unwrap();
    let sufficient = assessment
        .outcome
        .evaluations
        .iter()
        .find(|evaluation| evaluation.tally == Tally::Sufficient)
        .unwrap();
    assert_eq!(sufficient.ruling, Ruling::Permit);
    assert_eq!(
        candidate
            .reevaluate(&assessment.entities, sufficient)
            .unwrap()
            .ruling,
        Ruling::Deny
    );
}

#[test]
fn the_same_facts_give_the_same_bytes() {
    let (one, two) = (
        PolicySet::defaults().unwrap(),
        PolicySet::defaults().unwrap(),
    );
    assert_eq!(one.digest(), two.digest());
    assert_eq!(
        one.assess(&with("")).unwrap(),
        two.assess(&with("")).unwrap()
    );
    let restored = PolicySet::from_blob(one.blob()).unwrap();
    assert_eq!(restored.blob(), one.blob());
}
