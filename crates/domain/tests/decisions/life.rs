//! The life of an action, of sites and connectors, as a table: given these lines, when this one is said, then that.

use countersign_domain::State;

use crate::world::World;

/// A tenant with an enrolled approver, a paired and observed site, and two releases.
pub(crate) const SITE: &[&str] = &[
    "open",
    "enrol alice",
    "enrol bob",
    "site www",
    "invite www code1",
    "pair www code1 connector",
    "observe www 1",
    "release www 1",
    "release www 2",
];
pub(crate) const PROPOSED: &[&str] = &["propose a1 www release.publish 2 by bot"];
pub(crate) const WAITING: &[&str] = &["propose a1 www release.publish 2 by bot", "assess a1 one"];
pub(crate) const MINTED: &[&str] = &[
    "propose a1 www release.publish 2 by bot",
    "assess a1 one",
    "approve a1 alice",
    "mint a1",
];

pub(crate) type Lines = &'static [&'static [&'static str]];

/// Cases that are accepted: more lines, the last one, the facts that it writes, the state of `a1` afterwards.
const ACCEPTED: &[(Lines, &str, &str, Option<State>)] = &[
    (&[], "open", "chain.opened tenant.created", None),
    (
        &[SITE],
        "propose a1 www release.publish 2 by bot",
        "action.proposed",
        Some(State::Proposed),
    ),
    (
        &[SITE, PROPOSED],
        "assess a1 one",
        "action.assessed",
        Some(State::Waiting),
    ),
    (
        &[SITE, PROPOSED],
        "assess a1 deny",
        "action.assessed",
        Some(State::Denied),
    ),
    (
        &[SITE, PROPOSED],
        "withdraw a1 by bot",
        "action.withdrawn",
        Some(State::Withdrawn),
    ),
    (
        &[SITE, PROPOSED],
        "revoke a1",
        "action.revoked",
        Some(State::Revoked),
    ),
    (
        &[SITE, WAITING],
        "approve a1 alice",
        "action.approved reason.given",
        Some(State::Waiting),
    ),
    (
        &[SITE, WAITING],
        "deny a1 alice",
        "action.rejected reason.given",
        Some(State::Rejected),
    ),
    (
        &[SITE, WAITING, &["approve a1 alice"]],
        "unvote a1 alice",
        "action.approval-withdrawn reason.given",
        Some(State::Waiting),
    ),
    (
        &[SITE, WAITING, &["approve a1 alice"]],
        "mint a1",
        "action.authorized",
        Some(State::Authorized),
    ),
    (
        &[SITE, MINTED],
        "deliver a1",
        "action.delivered",
        Some(State::Delivered),
    ),
    (
        &[SITE, MINTED, &["deliver a1"]],
        "deliver a1",
        "action.delivered",
        Some(State::Delivered),
    ),
    (
        &[SITE, MINTED, &["deliver a1"]],
        "outcome a1 accepted",
        "action.accepted",
        Some(State::Accepted),
    ),
    (
        &[SITE, MINTED, &["deliver a1"]],
        "outcome a1 refused",
        "action.refused",
        Some(State::Refused),
    ),
    (
        &[SITE, MINTED, &["deliver a1", "outcome a1 accepted"]],
        "outcome a1 succeeded",
        "action.succeeded",
        Some(State::Succeeded),
    ),
    (
        &[SITE, MINTED, &["deliver a1", "outcome a1 accepted"]],
        "outcome a1 failed",
        "action.failed",
        Some(State::Failed),
    ),
    (
        &[SITE, MINTED, &["deliver a1", "outcome a1 accepted"]],
        "outcome a1 undone",
        "action.undone",
        Some(State::Undone),
    ),
    (
        &[SITE, MINTED, &["later 121"]],
        "expire a1",
        "action.expired",
        Some(State::Expired),
    ),
    (
        &[SITE, WAITING, &["later 3601"]],
        "expire a1",
        "action.expired",
        Some(State::Expired),
    ),
    (
        &[SITE, MINTED, &["deliver a1", "later 200"]],
        "unresolved a1",
        "action.unresolved",
        Some(State::Unresolved),
    ),
    (
        &[SITE, MINTED, &["deliver a1", "later 200", "unresolved a1"]],
        "deliver a1",
        "action.delivered",
        Some(State::Unresolved),
    ),
    (
        &[SITE, MINTED, &["deliver a1", "later 200", "unresolved a1"]],
        "outcome a1 refused",
        "action.refused",
        Some(State::Refused),
    ),
    (
        &[SITE, MINTED, &["deliver a1", "later 200", "unresolved a1"]],
        "outcome a1 succeeded",
        "action.succeeded",
        Some(State::Succeeded),
    ),
    (
        &[SITE, &["observe www 2"]],
        "propose a1 www release.rollback 1 by bot",
        "action.proposed",
        Some(State::Proposed),
    ),
    (&[SITE], "freeze f1 0 60", "freeze.declared", None),
    (
        &[SITE, &["freeze f1 0 60"]],
        "lift f1",
        "freeze.lifted",
        None,
    ),
    (
        &[SITE, &["invite www code2"]],
        "pair www code2 connector2",
        "connector.paired",
        None,
    ),
    (
        &[SITE, WAITING, &["observe www 1 stale"]],
        "assess a1 one",
        "action.assessed",
        Some(State::Waiting),
    ),
];

pub(crate) fn given(lines: &[&[&str]]) -> World {
    World::given(&lines.concat())
}

#[test]
fn what_is_accepted_writes_these_facts() {
    for (lines, when, facts, state) in ACCEPTED {
        let mut world = given(lines);
        let written = world
            .say(when)
            .unwrap_or_else(|rejection| panic!("`{when}` after {lines:?}: {rejection}"));
        assert_eq!(written.join(" "), *facts, "`{when}` after {lines:?}");
        let found = world
            .tenant
            .action(&"a1".parse().unwrap())
            .ok()
            .map(countersign_domain::Action::state);
        assert_eq!(found, *state, "`{when}` after {lines:?}");
    }
}

#[test]
fn an_action_moves_along_the_drawn_edges_only() {
    for from in State::ALL {
        for to in State::ALL {
            if from.is_final() {
                assert!(!from.leads_to(*to), "{from} is final");
            }
        }
        assert!(
            !from.leads_to(State::Proposed),
            "nothing leads back to the proposal"
        );
    }
}

#[test]
fn a_statement_stands_in_at_most_one_order() {
    let world = given(&[SITE, MINTED, &["later 121", "expire a1"]]);
    let again = world.tenant.action(&"a1".parse().unwrap()).unwrap();
    assert_eq!(again.state(), State::Expired);
    assert!(
        world
            .tenant
            .site(&"www".parse().unwrap())
            .unwrap()
            .held_by
            .is_none(),
        "the site is free again"
    );
    assert!(
        world.tenant.tally(again, world.time()).is_empty(),
        "its votes are consumed"
    );
}
