//! How a source is read: on how many threads, how far, and what is still read behind damage.

#![cfg(test)]

mod support;

use std::fs;
use std::path::PathBuf;

use countersign_events::site;
use countersign_events::words::{ConnectorKind, Environment};
use countersign_replay::report::Verdict;
use countersign_replay::verdict::{Demands, Level, Status};
use support::{Twist, World, at_site, export, levels, person, story, verify, verify_with};

fn told(verdict: &Verdict) -> serde_json::Value {
    let mut told: serde_json::Value = serde_json::from_str(&verdict.to_json()).unwrap();
    told["peak_memory_bytes"] = serde_json::Value::Null;
    told
}

#[test]
fn the_verdict_is_the_same_on_any_number_of_threads() {
    for twist in [Twist::Sound, Twist::SplitView, Twist::CounterSkips] {
        let world = story::tell(1, twist);
        for source in [world.data(), export(&world, Some("acme"), "acme.zip")] {
            let on = |threads| {
                let demands = Demands {
                    threads,
                    ..Demands::default()
                };
                told(&verify_with(&source, &Default::default(), &demands))
            };
            let one = on(1);
            for threads in [2, 5] {
                assert_eq!(on(threads), one, "{threads} threads, {twist:?}");
            }
        }
    }
}

#[test]
fn levels_that_were_not_asked_for_are_unchecked_and_what_is_wrong_in_them_is_not_found() {
    let world = story::tell(1, Twist::OutcomeOfOtherOrder);
    let through = |level, allow: &[Level]| {
        let demands = Demands {
            through: Some(level),
            allow: allow.iter().copied().collect(),
            ..Demands::default()
        };
        verify_with(&world.data(), &Default::default(), &demands)
    };
    let verdict = through(Level::Tree, &[]);
    assert_eq!(verdict.exit, 2, "{}", verdict.to_text());
    for (level, status) in &verdict.levels {
        let expected = if *level <= Level::Tree {
            Status::Verified
        } else {
            Status::Unchecked
        };
        assert_eq!(*status, expected, "{level}");
    }
    assert_eq!(verdict.notes[&Level::Evidence], "not asked for");
    let rest: Vec<Level> = Level::ALL
        .into_iter()
        .filter(|level| *level > Level::Tree)
        .collect();
    assert_eq!(through(Level::Tree, &rest).exit, 0);
    assert_eq!(through(Level::Evidence, &[]).exit, 1);
}

fn register(world: &mut World, number: u32) {
    let name = format!("site-{number}");
    let registered = site::Registered {
        site: name.parse().unwrap(),
        name: format!("{number} ").repeat(240_000 / 4),
        connector: ConnectorKind::Static,
        environment: Environment::Staging,
    };
    world.append(
        "acme",
        person("owner"),
        vec![at_site(registered, &name, &name)],
    );
}

/// A ledger of several segments, and the files of its journal.
fn segments() -> (World, Vec<PathBuf>) {
    let mut story = story::Story::begin(1, Twist::Sound);
    for number in 0..28 {
        register(&mut story.world, number);
    }
    let world = story.end();
    let mut segments: Vec<PathBuf> = fs::read_dir(world.data().join("journal"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "seg"))
        .collect();
    segments.sort();
    assert!(segments.len() >= 4, "{segments:?}");
    (world, segments)
}

#[test]
fn behind_damage_reading_goes_on_and_every_bad_range_is_listed() {
    let (world, segments) = segments();
    let whole = verify(&world.data());
    assert_eq!(whole.exit, 0, "{}", whole.to_text());
    for segment in [&segments[0], &segments[2]] {
        let mut bytes = fs::read(segment).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(segment, bytes).unwrap();
    }
    let verdict = verify(&world.data());
    let text = verdict.to_text();
    assert_eq!(verdict.exit, 1, "{text}");
    assert_eq!(levels(&verdict)["framing"], "violation", "{text}");
    let damage = verdict.bad.iter().filter(|range| range.rule == "journal");
    assert_eq!(damage.count(), 2, "{text}");
    // Each gap is one bad event: the first behind it. What follows that links is not condemned with it.
    let gaps: Vec<_> = verdict
        .bad
        .iter()
        .filter(|range| range.level == Level::Chain)
        .map(|range| {
            (
                range.chain.as_deref().unwrap(),
                range.to.unwrap() - range.from.unwrap(),
            )
        })
        .collect();
    assert!(gaps.iter().any(|(chain, _)| *chain == "acme"), "{text}");
    assert!(gaps.iter().all(|(_, width)| *width == 0), "{text}");
    // At most what stood in the damaged segments is lost: a compressed one by the block, a plain one from the damage on.
    for segment in [&segments[0], &segments[2]] {
        fs::remove_file(segment).unwrap();
    }
    let without = verify(&world.data()).counts.events;
    assert!(verdict.counts.events < whole.counts.events, "{text}");
    assert!(
        verdict.counts.events >= without,
        "{without} events without the damaged segments\n{text}"
    );
}

#[test]
fn a_segment_that_is_missing_loses_its_own_events_only() {
    let (world, segments) = segments();
    let whole = verify(&world.data());
    fs::remove_file(&segments[1]).unwrap();
    let verdict = verify(&world.data());
    let text = verdict.to_text();
    assert_eq!(verdict.exit, 1, "{text}");
    let lost = whole.counts.events - verdict.counts.events;
    assert!((1..10).contains(&lost), "{lost} events lost\n{text}");
}
