//! Properties of any history, said in the words of the tables: whatever is said in whatever order.

use std::collections::{BTreeMap, BTreeSet};

use countersign_domain::{Due, Platform, State, Tenant, due, obstacle};
use countersign_events::{Action, Event, samples::samples};
use countersign_evidence::Order;
use countersign_ids::{ActionId, Digest};
use proptest::prelude::*;

use crate::life::{SITE, given};
use crate::world::{World, id};

/// What may be said after the site is there; most of it is refused most of the time.
const LINES: &[&str] = &[
    "propose a1 www release.publish 2 by bot",
    "propose a2 www release.publish 3 by bot",
    "propose a3 www release.rollback 1 by bot",
    "release www 3",
    "assess a1 one",
    "assess a1 allow",
    "assess a2 one",
    "assess a2 two",
    "assess a3 one",
    "assess a3 deny",
    "approve a1 alice",
    "approve a1 bob",
    "approve a2 alice",
    "approve a2 bob",
    "approve a3 alice",
    "unvote a1 alice",
    "deny a2 bob",
    "withdraw a1 by bot",
    "revoke a2",
    "mint a1",
    "mint a2",
    "mint a3",
    "deliver a1",
    "deliver a2",
    "deliver a3",
    "outcome a1 accepted",
    "outcome a2 accepted",
    "outcome a3 accepted",
    "outcome a1 refused",
    "outcome a2 refused",
    "outcome a1 succeeded",
    "outcome a2 undone",
    "outcome a3 failed",
    "expire a1",
    "expire a2",
    "unresolved a1",
    "unresolved a2",
    "observe www 1",
    "observe www 2",
    "observe www 1 stale",
    "later 60",
    "later 200",
    "later 1801",
    "policy changes",
    "remove alice",
    "freeze f1 0 60",
    "lift f1",
    "invite www code2",
];

/// Lines that belong together: a random one of them alone would seldom get anywhere.
const STORIES: &[&[&str]] = &[
    &[
        "propose a1 www release.publish 2 by bot",
        "assess a1 one",
        "approve a1 alice",
        "mint a1",
        "deliver a1",
    ],
    &[
        "release www 3",
        "propose a2 www release.publish 3 by bot",
        "assess a2 two",
        "approve a2 alice",
        "approve a2 bob",
        "mint a2",
    ],
    &["deliver a2", "outcome a2 accepted", "outcome a2 undone"],
    &[
        "outcome a1 accepted",
        "outcome a1 succeeded",
        "observe www 2",
    ],
    &[
        "later 200",
        "unresolved a1",
        "deliver a1",
        "outcome a1 refused",
    ],
];

fn said() -> impl Strategy<Value = Vec<&'static str>> {
    let line = prop::sample::select(LINES).prop_map(|line| vec![line]);
    let story = prop::sample::select(STORIES).prop_map(<[&str]>::to_vec);
    prop::collection::vec(prop_oneof![3 => line, 2 => story], 0..25)
        .prop_map(|parts| parts.concat())
}

fn states(tenant: &Tenant) -> BTreeMap<ActionId, State> {
    tenant
        .actions()
        .map(|action| (action.id().clone(), action.state()))
        .collect()
}

/// Tells a history, and checks after each line what is always true.
fn tell(lines: &[&str]) -> Result<World, TestCaseError> {
    let mut world = given(&[SITE]);
    let mut before = states(&world.tenant);
    for line in lines {
        let was = world.tenant.clone();
        if world.say(line).is_err() {
            prop_assert_eq!(
                &was,
                &world.tenant,
                "`{}` was refused and changed something",
                line
            );
        }
        let after = states(&world.tenant);
        for (action, state) in &after {
            let from = before.get(action).copied().unwrap_or(State::Proposed);
            prop_assert!(
                from == *state || from.leads_to(*state),
                "`{}`: {} to {}",
                line,
                from,
                state
            );
        }
        let open = after.iter().filter(|(_, state)| !state.is_final());
        let unsettled = world.tenant.unsettled().map(countersign_domain::Action::id);
        prop_assert!(open.map(|(id, _)| id).eq(unsettled), "`{}`", line);
        let out: Vec<&ActionId> = after
            .iter()
            .filter(|(_, state)| state.holds_site())
            .map(|(action, _)| action)
            .collect();
        prop_assert!(out.len() <= 1, "`{}`: orders of {:?} are out", line, out);
        let held = world.tenant.site(&id("www")).unwrap().held_by.as_ref();
        prop_assert_eq!(held, out.first().copied(), "`{}`", line);
        before = after;
    }
    Ok(world)
}

fn orders(world: &World) -> Vec<Order> {
    let order = |event: &Event| match event {
        Event::Action(Action::Authorized(minted)) => {
            Order::parse(minted.envelope.unverified_payload()).ok()
        }
        _ => None,
    };
    world
        .history
        .iter()
        .filter_map(|(_, event)| event.as_ref().and_then(order))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn actions_move_along_edges_and_a_site_has_one_order_at_a_time(lines in said()) {
        tell(&lines)?;
    }

    #[test]
    fn a_statement_stands_in_one_order_and_a_nonce_in_one_event(lines in said()) {
        let world = tell(&lines)?;
        let orders = orders(&world);
        let statements: Vec<Digest> = orders.iter().flat_map(|order| &order.statements).map(|one| one.digest()).collect();
        prop_assert_eq!(statements.iter().collect::<BTreeSet<_>>().len(), statements.len());
        let mut nonces: Vec<_> = orders.iter().map(|order| order.nonce).collect();
        nonces.extend(world.history.iter().filter_map(|(_, event)| match event {
            Some(Event::Action(Action::Approved(vote))) => Some(vote.signed.unverified().unwrap().nonce),
            Some(Event::Action(Action::Rejected(vote))) => Some(vote.signed.unverified().unwrap().nonce),
            Some(Event::Action(Action::ApprovalWithdrawn(vote))) => Some(vote.signed.unverified().unwrap().nonce),
            _ => None,
        }));
        prop_assert_eq!(nonces.iter().collect::<BTreeSet<_>>().len(), nonces.len());
        prop_assert!(orders.windows(2).all(|pair| pair[0].sequence < pair[1].sequence), "orders of a site are numbered upwards");
    }

    #[test]
    fn folding_a_history_again_gives_the_same_tenant(lines in said()) {
        let world = tell(&lines)?;
        let mut again = Tenant::new(id("acme"));
        for (header, event) in &world.history {
            again.evolve(header, event.as_ref());
        }
        prop_assert_eq!(again, world.tenant);
    }

    #[test]
    fn what_is_due_can_be_done(lines in said()) {
        let mut world = tell(&lines)?;
        let policy = world.policy_digest();
        for todo in due(&world.tenant, &policy, world.time()) {
            let action = todo.action().clone();
            let done = match todo {
                Due::Assess(action) => world.say(&format!("assess {action} one")).map(drop),
                Due::Mint(action) => world.say(&format!("mint {action}")).map(drop),
                Due::Write(_, _, command) => world.command(command).map(drop),
            };
            // Two that wait for the same site are both due; the second one then waits for the first.
            if let Err(rejection) = done {
                prop_assert_eq!(rejection.name(), "SiteLocked", "{}", action);
            }
        }
    }

    #[test]
    fn what_waits_says_why_and_what_nothing_stands_before_is_minted(lines in said()) {
        let mut world = tell(&lines)?;
        let now = world.time();
        let waiting: Vec<_> = world.tenant.actions().filter(|action| action.state() == State::Waiting).collect();
        let told: Vec<_> = waiting.iter().map(|action| (action.id().clone(), obstacle(&world.tenant, action, now))).collect();
        for (action, obstacle) in told {
            let before = (world.tenant.clone(), world.sequence);
            let minted = world.say(&format!("mint {action}"));
            match (obstacle, minted) {
                (Some(_), Err(_)) | (None, Ok(_)) => {}
                // Policy may have changed in between: the next round is due.
                (None, Err(rejection)) => prop_assert_eq!(rejection.name(), "PolicyChanged", "{}", action),
                (Some(obstacle), Ok(_)) => prop_assert!(false, "{} was minted in spite of {}", action, obstacle),
            }
            (world.tenant, world.sequence) = before;
        }
    }

    #[test]
    fn folds_never_panic_on_any_order_of_events(order in prop::collection::vec(any::<prop::sample::Index>(), 0..60)) {
        let samples = samples().unwrap();
        let world = World::new();
        let actor = countersign_ids::Actor { kind: countersign_ids::AuthType::Person, id: id("olga") };
        let (mut tenant, mut platform) = (Tenant::new(id("acme")), Platform::new());
        for index in order {
            let event = index.get(&samples);
            let header = world.header(&actor);
            tenant.evolve(&header, Some(event));
            tenant.evolve(&header, None);
            platform.evolve(&header, Some(event));
            platform.evolve(&header, None);
        }
        drop(due(&tenant, &Digest::from_bytes([1; 32]), world.time()));
    }
}
