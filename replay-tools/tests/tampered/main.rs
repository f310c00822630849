//! One tampered variant per rule: each with the level that must notice it, and with what exit code; the independent
//! verifier in Python must say the same of each.

#![cfg(test)]

mod bodies;
mod bundles;
mod framing;
mod histories;
mod linked;
mod pruned;
#[path = "../support/mod.rs"]
mod support;

use support::zip::{Members, lines, set_lines, write};
use support::{Twist, World, export, levels, python, story, verify};

/// What must be said of a variant.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) exit: u8,
    pub(crate) level: &'static str,
    pub(crate) status: &'static str,
}

pub(crate) fn case(
    name: &'static str,
    exit: u8,
    level: &'static str,
    status: &'static str,
) -> Case {
    Case {
        name,
        exit,
        level,
        status,
    }
}

/// Checks one bundle with both verifiers.
pub(crate) fn check(case: &Case, bundle: &std::path::Path) {
    let ours = verify(bundle);
    let told = ours.to_text();
    assert_eq!(ours.exit, case.exit, "{}: exit\n{told}", case.name);
    let ours_levels = levels(&ours);
    assert_eq!(
        ours_levels[case.level], case.status,
        "{}: level {}\n{told}",
        case.name, case.level
    );
    let Some(interpreter) = python::interpreter() else {
        return;
    };
    let theirs = python::verify(interpreter, bundle, &["--allow", "policy"]);
    let mut expected = ours_levels;
    expected.insert("policy".to_owned(), theirs.levels["policy"].clone());
    assert_eq!(
        theirs.levels, expected,
        "{}: levels of the Python verifier\n{:#}\n{told}",
        case.name, theirs.found
    );
    // Python has no policy engine, so what policy alone notices passes it.
    if case.level != "policy" {
        assert_eq!(
            theirs.exit,
            i32::from(case.exit),
            "{}: exit of the Python verifier\n{:#}",
            case.name,
            theirs.found
        );
        let ours = ours.first_bad.map(|place| (place.chain, place.sequence));
        assert_eq!(
            theirs.first_bad, ours,
            "{}: first bad event\n{:#}\n{told}",
            case.name, theirs.found
        );
    }
}

#[test]
fn sound_bundles_pass_both_verifiers() {
    let world = story::tell(1, Twist::Sound);
    check(
        &case("whole", 0, "evidence", "verified"),
        &export(&world, None, "whole.zip"),
    );
    check(
        &case("tenant", 0, "evidence", "verified"),
        &export(&world, Some("acme"), "acme.zip"),
    );
}

pub(crate) type Tamper = fn(&mut Members);

/// The blob of the entity snapshot that a decision names.
pub(crate) fn entities(members: &Members) -> String {
    let text = String::from_utf8(members["events/acme.jsonl"].clone()).unwrap();
    let (_, rest) = text.split_once("entities_digest\\\":\\\"sha256:").unwrap();
    format!("blobs/sha256/{}", rest.split_once('\\').unwrap().0)
}

pub(crate) fn replace(members: &mut Members, chain: &str, at: usize, from: &str, to: &str) {
    let mut all = lines(members, chain);
    assert!(
        all[at].contains(from),
        "`{from}` is not in line {at}: {}",
        all[at]
    );
    all[at] = all[at].replacen(from, to, 1);
    set_lines(members, chain, &all);
}

pub(crate) fn edit(members: &mut Members, name: &str, from: &str, to: &str) {
    let text = String::from_utf8(members[name].clone()).unwrap();
    assert!(text.contains(from), "`{from}` is not in {name}");
    members.insert(name.to_owned(), text.replacen(from, to, 1).into_bytes());
}

pub(crate) fn first(members: &Members, prefix: &str) -> String {
    members
        .keys()
        .find(|name| name.starts_with(prefix))
        .unwrap()
        .clone()
}

pub(crate) fn last(members: &Members, prefix: &str) -> String {
    members
        .keys()
        .rfind(|name| name.starts_with(prefix))
        .unwrap()
        .clone()
}

pub(crate) fn tampered(
    world: &World,
    sound: &Members,
    table: &[(&'static str, u8, &'static str, &'static str, Tamper)],
) {
    let path = world.path("tampered.zip");
    for (name, exit, level, status, tamper) in table {
        let mut members = sound.clone();
        tamper(&mut members);
        write(&path, members);
        check(&case(name, *exit, level, status), &path);
    }
}
