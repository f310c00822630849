//! Copies of a ledger: bundles of a period, and what two copies have in common.

#![cfg(test)]

mod support;

use std::path::{Path, PathBuf};

use countersign_ids::Time;
use countersign_replay::diff::{Diff, diff};
use countersign_replay::export::{Period, Scope};
use countersign_replay::open::open;
use countersign_replay::progress::Progress;
use support::zip::{lines, read, set_lines, write};
use support::{Twist, World, export, levels, story, verify};

fn of_period(world: &World, from: Option<Time>, until: Option<Time>, name: &str) -> PathBuf {
    let scope = Scope {
        period: Period { from, until },
        ..Scope::default()
    };
    let (source, out) = (open(&world.data()).unwrap(), world.path(name));
    countersign_replay::export::export(source.as_ref(), &scope, &out, &mut Progress::hidden())
        .unwrap();
    out
}

#[test]
fn a_period_leaves_out_bodies_that_are_no_evidence() {
    let world = story::tell(1, Twist::Sound);
    let whole = std::fs::read(export(&world, None, "whole.zip")).unwrap();
    let (past, future) = (
        Time::from_unix_millis(0),
        Time::from_unix_millis(4_000_000_000_000),
    );
    let all = of_period(&world, Some(past), Some(future), "all.zip");
    assert!(std::fs::read(all).unwrap() == whole, "nothing lies outside");
    for (from, until, name) in [
        (Some(future), None, "later.zip"),
        (None, Some(past), "before.zip"),
    ] {
        let verdict = verify(&of_period(&world, from, until, name));
        assert_eq!(verdict.exit, 0, "{}", verdict.to_text());
        // The two reasons that the story's proposals give are personal; everything else is evidence.
        assert_eq!(verdict.counts.absent["withheld"], 2, "{name}");
        assert_eq!(levels(&verdict)["evidence"], "verified");
    }
}

fn between(one: &Path, other: &Path) -> Diff {
    let (one, other) = (open(one).unwrap(), open(other).unwrap());
    diff(one.as_ref(), other.as_ref(), &mut Progress::hidden()).unwrap()
}

#[test]
fn copies_are_the_same_one_is_behind_or_they_fork() {
    let world = story::tell(1, Twist::Sound);
    let whole = export(&world, None, "whole.zip");
    let same = between(&world.data(), &whole);
    assert_eq!((same.exit(), same.to_text().as_str()), (0, "same\n"));

    let mut members = read(&whole);
    let mut all = lines(&members, "acme");
    all.truncate(all.len() - 3);
    set_lines(&mut members, "acme", &all);
    let shorter = world.path("shorter.zip");
    write(&shorter, members.clone());
    let behind = between(&world.data(), &shorter);
    assert_eq!(behind.exit(), 2);
    assert_eq!(
        behind.to_text(),
        "behind\nacme: 3 events only in the first\n"
    );
    assert_eq!(
        between(&shorter, &world.data()).chains["acme"].only_other,
        3
    );

    all[7] = all[7].replacen("\\\"subject\\\":\\\"", "\\\"subject\\\":\\\"x", 1);
    set_lines(&mut members, "acme", &all);
    let forked = world.path("forked.zip");
    write(&forked, members);
    let fork = between(&world.data(), &forked);
    assert_eq!((fork.exit(), fork.chains["acme"].fork), (1, Some(7)));

    let tenant = between(&world.data(), &export(&world, Some("acme"), "acme.zip"));
    assert_eq!(tenant.exit(), 2, "{}", tenant.to_text());
    assert!(tenant.chains.keys().all(|chain| chain == "platform"));

    let stranger = story::tell(2, Twist::Sound);
    let two = between(&world.data(), &stranger.data());
    assert_eq!((two.exit(), two.same_ledger), (1, false));
}
