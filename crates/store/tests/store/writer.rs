//! What the writer takes and what it refuses.

use std::sync::Arc;

use crate::support::*;
use countersign_ids::{EventType, PlatformHead, Time};
use countersign_store::clock::SteppedBack;
use countersign_store::{
    Append, Error, HASH_TO_COME, Ledger, NewEvent, Options, Projections, Receipt, Stamp,
};

pub(crate) const HOUR: u64 = 60 * 60 * 1000;

fn at(hands: &Arc<Hands>) -> Options {
    Options {
        clock: Arc::clone(hands) as _,
        ..options()
    }
}

pub(crate) fn one(chain_id: &str, name: &str, event: NewEvent) -> Append {
    Append::new(chain(chain_id), actor(), key(name), vec![event])
}

pub(crate) fn of_type(family: &str, fact: &str) -> NewEvent {
    NewEvent {
        event_type: EventType::new(family, fact, 1).unwrap(),
        ..event("registered", "x", "{}")
    }
}

#[test]
fn times_never_fall_and_a_clock_that_steps_back_is_reported() {
    let (dir, hands) = (tempfile::tempdir().unwrap(), Arc::new(Hands::default()));
    hands.set(10 * HOUR, 0);
    let ledger = fresh(dir.path(), at(&hands));
    ledger.append_blocking(command("blog", "one")).unwrap();
    hands.set(9 * HOUR, 1);
    ledger.append_blocking(command("blog", "two")).unwrap();
    let times: Vec<u64> = ledger
        .read(&chain("blog"), 0, 9)
        .unwrap()
        .iter()
        .map(|entry| entry.header().time.unix_millis())
        .collect();
    assert_eq!(times, [10 * HOUR, 10 * HOUR]);
    let back = SteppedBack {
        from: Time::from_unix_millis(10 * HOUR),
        to: Time::from_unix_millis(9 * HOUR),
    };
    assert_eq!(
        (ledger.take_stepped_back(), ledger.take_stepped_back()),
        (Some(back), None)
    );
    ledger.audit(&Projections::none()).unwrap();
}

#[test]
fn a_clock_that_jumps_ahead_stops_appends_until_it_returns_or_is_confirmed() {
    let (dir, hands) = (tempfile::tempdir().unwrap(), Arc::new(Hands::default()));
    hands.set(10 * HOUR, 0);
    let ledger = fresh(dir.path(), at(&hands));
    ledger.append_blocking(command("blog", "one")).unwrap();
    hands.set(12 * HOUR, 1);
    assert!(matches!(
        ledger.append_blocking(command("blog", "two")),
        Err(Error::ClockJumped { .. })
    ));
    assert!(ledger.status().clock_jumped);
    let again = ledger.append_blocking(command("blog", "one")).unwrap();
    assert!(again.replayed, "what was accepted before is still answered");
    hands.set(10 * HOUR + 2, 2);
    ledger.append_blocking(command("blog", "two")).unwrap();
    assert!(!ledger.status().clock_jumped);
    hands.set(12 * HOUR, 3);
    assert!(ledger.append_blocking(command("blog", "three")).is_err());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(ledger.confirm_clock()).unwrap();
    ledger.append_blocking(command("blog", "three")).unwrap();
}

#[test]
fn an_event_is_refused_outside_its_times() {
    let (dir, hands) = (tempfile::tempdir().unwrap(), Arc::new(Hands::default()));
    hands.set(10 * HOUR, 0);
    let ledger = fresh(dir.path(), at(&hands));
    let window = |from: u64, until: u64| {
        let valid = Some((Time::from_unix_millis(from), Time::from_unix_millis(until)));
        one(
            "blog",
            &format!("{from}-{until}"),
            NewEvent {
                valid,
                ..event("registered", "x", "{}")
            },
        )
    };
    for (accepted, append) in [
        (false, window(10 * HOUR + 1, 11 * HOUR)),
        (false, window(9 * HOUR, 10 * HOUR - 1)),
        (true, window(10 * HOUR, 10 * HOUR)),
    ] {
        let outcome = ledger.append_blocking(append.clone());
        assert_eq!(outcome.is_ok(), accepted, "{append:?}");
        assert!(accepted || matches!(outcome, Err(Error::OutsideValidity { .. })));
    }
    // `not_before` is by the clock: chain time alone, which never falls, does not make a statement valid early.
    hands.set(10 * HOUR - 1000, 0);
    assert!(matches!(
        ledger.append_blocking(window(10 * HOUR, 11 * HOUR)),
        Err(Error::OutsideValidity { .. })
    ));
}

/// The `platformhead` of the last event of a chain.
pub(crate) fn named(ledger: &Ledger, chain_id: &str) -> PlatformHead {
    let entries = ledger.read(&chain(chain_id), 0, 99).unwrap();
    entries.last().unwrap().header().platformhead.unwrap()
}

pub(crate) fn authorise(
    ledger: &Ledger,
    name: &str,
    platformhead: Stamp,
) -> Result<Receipt, Error> {
    ledger.append_blocking(one(
        "blog",
        name,
        NewEvent {
            platformhead,
            ..of_type("action", "authorized")
        },
    ))
}

#[test]
fn an_authorisation_names_the_newest_platform_event_of_keys_or_heads_and_is_refused_when_keys_changed()
 {
    let dir = tempfile::tempdir().unwrap();
    let ledger = fresh(dir.path(), options());
    let early = authorise(&ledger, "early", Stamp::Newest);
    assert!(
        matches!(early, Err(Error::Refused { .. })),
        "there is nothing to name yet"
    );
    assert!(
        authorise(&ledger, "none", Stamp::None).is_err(),
        "an authorisation names it"
    );
    let keys = ledger
        .append_blocking(one("platform", "keys", of_type("keys", "created")))
        .unwrap();
    ledger
        .append_blocking(one("platform", "tenant", of_type("token", "issued")))
        .unwrap();
    authorise(&ledger, "first", Stamp::Fresh { seen: 2 }).unwrap();
    assert_eq!(
        named(&ledger, "blog"),
        PlatformHead {
            sequence: keys.first,
            hash: keys.events[0].1
        }
    );
    let changed = ledger
        .append_blocking(one("platform", "changed", of_type("keys", "changed")))
        .unwrap();
    let stale = authorise(&ledger, "stale", Stamp::Fresh { seen: 2 });
    assert!(matches!(stale, Err(Error::StalePlatform { .. })));
    authorise(&ledger, "fresh", Stamp::Fresh { seen: 3 }).unwrap();
    assert_eq!(named(&ledger, "blog").sequence, changed.first);
    ledger.close().unwrap();
    drop(ledger);
    let ledger = Ledger::open(dir.path(), options()).unwrap();
    let stale = authorise(&ledger, "stale", Stamp::Fresh { seen: 2 });
    assert!(
        matches!(stale, Err(Error::StalePlatform { .. })),
        "this is known after a restart too"
    );
    ledger.audit(&Projections::none()).unwrap();
}

#[test]
fn a_restatement_names_the_event_that_it_restates_and_what_a_chain_names_never_falls() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = fresh(dir.path(), options());
    let keys = ledger
        .append_blocking(one("platform", "keys", of_type("keys", "created")))
        .unwrap();
    let enrolled = ledger
        .append_blocking(one("platform", "enrolled", of_type("approver", "enrolled")))
        .unwrap();
    let restated = PlatformHead {
        sequence: enrolled.first,
        hash: enrolled.events[0].1,
    };
    let noted = NewEvent {
        platformhead: Stamp::Restates(restated),
        ..of_type("platform", "noted")
    };
    ledger.append_blocking(one("blog", "noted", noted)).unwrap();
    assert_eq!(named(&ledger, "blog"), restated);
    authorise(&ledger, "later", Stamp::Newest).unwrap();
    assert_eq!(named(&ledger, "blog"), restated);
    let beat = NewEvent {
        platformhead: Stamp::Newest,
        ..of_type("beat", "received")
    };
    ledger
        .append_blocking(one("blog.beats", "beat", beat))
        .unwrap();
    assert_eq!(named(&ledger, "blog.beats").sequence, keys.first);
    ledger.audit(&Projections::none()).unwrap();
}

#[test]
fn malformed_commands_are_refused_and_leave_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = fresh(dir.path(), options());
    let bodies = [
        "",
        "[]",
        "{\"a\":1,\"a\":2}",
        "{\"a\":1.5}",
        "{\"a\":9007199254740993}",
        "{\"a\":\"\\ud800\"}",
        "{} ",
    ];
    for (number, body) in bodies.into_iter().enumerate() {
        let outcome = ledger.append_blocking(one(
            "blog",
            &number.to_string(),
            event("registered", "x", body),
        ));
        let white_space_after = body == "{} ";
        assert_eq!(outcome.is_ok(), white_space_after, "`{body}`: {outcome:?}");
    }
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(256 * 1024));
    assert!(matches!(
        ledger.append_blocking(one("blog", "large", event("registered", "x", &large))),
        Err(Error::Refused { .. })
    ));
    let mut empty = command("blog", "empty");
    empty.events.clear();
    assert!(ledger.append_blocking(empty).is_err());
    let mut traced = command("blog", "traced");
    traced.traceparent = Some("not \"plain\"".to_owned());
    assert!(ledger.append_blocking(traced).is_err());
    assert_eq!(ledger.head(&chain("blog")).unwrap().size, 1);
    ledger.audit(&Projections::none()).unwrap();
}

#[test]
fn an_event_can_name_the_hash_of_the_one_before_it_in_its_append() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = fresh(dir.path(), options());
    let body = format!("{{\"last\":\"{HASH_TO_COME}\"}}");
    let naming = |name: &str, bodies: [&str; 2], backlink| Append {
        backlink: Some(backlink),
        ..Append::new(
            chain("blog"),
            actor(),
            key(name),
            bodies
                .map(|body| event("registered", "site-a", body))
                .into(),
        )
    };
    ledger.append_blocking(command("blog", "first")).unwrap();
    let receipt = ledger
        .append_blocking(naming("two", ["{}", &body], 1))
        .unwrap();
    let named = ledger.event(&chain("blog"), receipt.last).unwrap();
    let before = ledger.event(&chain("blog"), receipt.first).unwrap();
    assert_eq!(
        named.body(),
        Some(format!("{{\"last\":\"{}\"}}", before.hash()).as_bytes())
    );
    let twice = format!("{{\"a\":\"{HASH_TO_COME}\",\"b\":\"{HASH_TO_COME}\"}}");
    for (bodies, backlink) in [
        (["{}", "{}"], 1),
        (["{}", &twice], 1),
        ([&*body, "{}"], 0),
        (["{}", &body], 2),
    ] {
        let refused = ledger.append_blocking(naming("refused", bodies, backlink));
        assert!(
            matches!(refused, Err(Error::Refused { .. })),
            "{bodies:?} {refused:?}"
        );
    }
    ledger.audit(&Projections::none()).unwrap();
}

#[test]
fn large_commands_and_small_segments_go_together() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = fresh(dir.path(), options());
    let large = |size: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(size));
    for number in 0..8 {
        let mut append = command("blog", &number.to_string());
        append
            .events
            .push(event("registered", "x", &large(number * 35_000)));
        append
            .events
            .push(event("registered", "x", &large(200_000)));
        ledger.append_blocking(append).unwrap();
    }
    ledger.audit(&Projections::none()).unwrap();
    ledger.close().unwrap();
    drop(ledger);
    std::fs::remove_dir_all(dir.path().join("sled")).unwrap();
    let ledger = Ledger::open(dir.path(), options()).unwrap();
    assert_eq!(ledger.audit(&Projections::none()).unwrap().events, 24);
}

#[test]
fn many_writers_meet_in_groups_and_each_gets_its_own_receipt() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = fresh(dir.path(), options());
    std::thread::scope(|scope| {
        for writer in 0..16 {
            let ledger = &ledger;
            scope.spawn(move || {
                for number in 0..50 {
                    let name = format!("{writer}-{number}");
                    let receipt = ledger.append_blocking(command("blog", &name)).unwrap();
                    let entry = ledger.event(&receipt.chain, receipt.first).unwrap();
                    assert_eq!(
                        entry.body().unwrap(),
                        format!("{{\"name\":\"{name}\"}}").as_bytes()
                    );
                    assert_eq!(
                        ledger.receipt_at(&receipt.chain, receipt.first).unwrap(),
                        receipt
                    );
                    assert_eq!(
                        ledger
                            .find(&receipt.events.first().unwrap().0)
                            .unwrap()
                            .unwrap()
                            .hash(),
                        entry.hash()
                    );
                }
            });
        }
    });
    assert_eq!(ledger.audit(&Projections::none()).unwrap().commands, 800);
    assert!(
        ledger.status().log_notices.is_empty(),
        "nothing had to be healed"
    );
}

#[test]
fn past_the_bound_of_the_lag_appends_are_refused_until_the_log_has_caught_up() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = fresh(
        dir.path(),
        Options {
            lag_bytes_max: 1,
            ..options()
        },
    );
    ledger.append_blocking(command("blog", "one")).unwrap();
    let start = std::time::Instant::now();
    let mut refused = 0;
    // The log is made durable about a second later.
    while let Err(error) = ledger.append_blocking(command("blog", "two")) {
        assert!(matches!(error, Error::Overloaded { .. }), "{error}");
        assert!(start.elapsed().as_secs() < 60, "it never catches up");
        refused += 1;
        std::thread::yield_now();
    }
    assert!(refused > 0);
    assert_eq!(ledger.head(&chain("blog")).unwrap().size, 2);
}
