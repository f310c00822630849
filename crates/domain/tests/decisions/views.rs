//! What an approver is shown: the same bytes from the same chain, and every fact of it.

use countersign_domain::{Assess, Command, Facts, decide};
use countersign_evidence::ViewDocument;
use countersign_ids::{Actor, AuthType};
use serde_json::Value;

use crate::life::{PROPOSED, SITE, given};
use crate::world::id;

fn view(lines: &[&[&str]]) -> ViewDocument {
    let mut world = given(lines);
    let Command::Assess(assess) = world.assess("a1", "two").unwrap() else {
        panic!("an assessment")
    };
    let facts = Facts {
        now: world.time(),
        actor: Actor {
            kind: AuthType::Reactor,
            id: id("assess"),
        },
    };
    let again = Assess { ..assess.clone() };
    let decision = decide(&world.tenant, &assess.into(), &facts).unwrap();
    let blob = decision.blobs.first().unwrap();
    assert_eq!(blob.digest, countersign_chain::sha256(&blob.bytes));
    let repeated = decide(&world.tenant, &again.into(), &facts).unwrap();
    assert_eq!(repeated.blobs, decision.blobs, "the chain gives one view");
    ViewDocument::parse(&blob.bytes).unwrap()
}

fn text<'a>(view: &'a ViewDocument, member: &str) -> &'a Value {
    view.members()
        .0
        .get(member)
        .unwrap_or_else(|| panic!("no member `{member}`"))
}

#[test]
fn a_view_begins_with_a_sentence_and_holds_every_fact() {
    let view = view(&[SITE, PROPOSED]);
    let sentence = text(&view, "sentence").as_str().unwrap();
    for part in [
        "Publish release `2`",
        "Shop",
        "production",
        "reversible",
        "EXACT",
        "It needs 2 approvals",
        "expires at 20",
    ] {
        assert!(sentence.contains(part), "`{part}` in: {sentence}");
    }
    for member in [
        "v",
        "title",
        "ledger",
        "tenant",
        "site",
        "now_live",
        "plan",
        "risk",
        "reversibility",
        "blast_radius",
        "as_planned",
        "rollback",
        "policy",
        "round",
        "action_id",
        "proposed_at",
        "proposer",
        "proposer_owner",
        "reason_digest",
        "expires",
        "action",
    ] {
        text(&view, member);
    }
    assert_eq!(text(&view, "proposer_owner"), "owen");
    assert_eq!(text(&view, "plan").get("to_label"), Some(&Value::from("2")));
    assert_eq!(
        text(&view, "policy").get("freeze_active"),
        Some(&Value::from(false))
    );
}

#[test]
fn a_view_says_what_changed_since_the_proposal() {
    let drifted = view(&[
        SITE,
        PROPOSED,
        &["assess a1 one", "observe www 2 stale", "freeze f1 0 60"],
    ]);
    assert_eq!(text(&drifted, "as_planned"), &Value::from(false));
    assert_eq!(text(&drifted, "round"), &Value::from(2));
    assert_eq!(
        text(&drifted, "policy").get("freeze_active"),
        Some(&Value::from(true))
    );
    assert_eq!(
        text(&drifted, "rollback").get("readiness"),
        Some(&Value::from("STALE"))
    );
}
