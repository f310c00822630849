//! What an action waits for, as a table: given these lines, action `a1` names this obstacle, and whether waiting helps.

use countersign_domain::{State, due, obstacle};
use countersign_ids::ActionId;

use crate::life::{Lines, MINTED, PROPOSED, SITE, WAITING};
use crate::world::World;

/// Whether it is proposed again, or waiting may help.
const AGAIN: bool = true;
const LATER: bool = false;

const STALE: &[&str] = &["approve a1 alice", "observe www 2", "assess a1 one"];

const WAITS: &[(Lines, Option<(&str, bool)>)] = &[
    (&[SITE, PROPOSED], None),
    (&[SITE, WAITING], Some(("ApprovalsMissing", LATER))),
    (&[SITE, WAITING, &["approve a1 alice"]], None),
    (
        &[SITE, WAITING, &["approve a1 alice", "observe www 2"]],
        Some(("PreconditionChanged", AGAIN)),
    ),
    // Assessed again, its approvals are gone; the site is named before them, because no vote helps.
    (
        &[SITE, WAITING, STALE],
        Some(("PreconditionChanged", AGAIN)),
    ),
    (
        &[SITE, WAITING, &["observe www 1 stale", "assess a1 one"]],
        Some(("ReadinessChanged", AGAIN)),
    ),
    // The site came back to what was planned against: a new round is due, and its votes.
    (
        &[
            SITE,
            WAITING,
            &["observe www 1 stale", "assess a1 one", "observe www 1"],
        ],
        Some(("AssessmentStale", LATER)),
    ),
    (
        &[SITE, WAITING, STALE, &["observe www 1", "assess a1 one"]],
        Some(("ApprovalsMissing", LATER)),
    ),
    (
        &[
            SITE,
            WAITING,
            &["invite www code2", "pair www code2 second"],
        ],
        Some(("SiteUnobserved", LATER)),
    ),
    (
        &[SITE, WAITING, &["later 3601"]],
        Some(("ActionExpired", LATER)),
    ),
    (&[SITE, MINTED], None),
    (&[SITE, WAITING, &["deny a1 alice"]], None),
];

fn waits_for(world: &World, action: &str) -> Option<(&'static str, bool)> {
    let id: ActionId = action.parse().unwrap();
    let action = world.tenant.action(&id).unwrap();
    obstacle(&world.tenant, action, world.time())
        .map(|obstacle| (obstacle.name(), obstacle.asks_for_new_proposal()))
}

fn given(lines: Lines) -> World {
    World::given(&lines.concat())
}

#[test]
fn an_action_says_what_it_waits_for() {
    for (lines, expected) in WAITS {
        assert_eq!(waits_for(&given(lines), "a1"), *expected, "{lines:?}");
    }
}

#[test]
fn an_action_behind_another_one_names_it() {
    let mut world = given(&[SITE, MINTED]);
    for line in [
        "release www 3",
        "propose a2 www release.publish 3",
        "assess a2 one",
        "approve a2 alice",
    ] {
        world.say(line).unwrap();
    }
    assert_eq!(waits_for(&world, "a2"), Some(("SiteLocked", LATER)));
}

#[test]
fn an_action_that_went_stale_holds_nothing() {
    let mut world = given(&[SITE, WAITING, STALE]);
    let policy = world.policy_digest();
    assert_eq!(due(&world.tenant, &policy, world.time()), []);
    assert_eq!(
        world.tenant.sites().find_map(|site| site.held_by.as_ref()),
        None
    );
    // The same change, planned against what is live now, goes its way past it.
    for line in [
        "release www 3",
        "propose a2 www release.publish 3",
        "assess a2 one",
        "approve a2 alice",
        "mint a2",
        "deliver a2",
        "outcome a2 accepted",
        "outcome a2 succeeded",
        "observe www 3",
    ] {
        world
            .say(line)
            .unwrap_or_else(|rejection| panic!("{line}: {rejection}"));
    }
    let state = |action: &str| {
        world
            .tenant
            .action(&action.parse().unwrap())
            .unwrap()
            .state()
    };
    assert_eq!(
        (state("a1"), state("a2")),
        (State::Waiting, State::Succeeded)
    );
    assert_eq!(
        waits_for(&world, "a1"),
        Some(("PreconditionChanged", AGAIN))
    );
}
