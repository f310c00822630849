//! Bodies and attachments that are absent.

use crate::support::zip::{Members, lines, read, set_lines, write};
use crate::support::{self, Twist, export, story, verify};
use crate::{Tamper, case, check, tampered};

/// Bodies that are rightly absent are counted; the rest is as if they were there.
const ABSENT: &[(&str, u8, &str, &str, Tamper)] = &[
    ("sealed body withheld", 0, "chain", "verified", |members| {
        absent(members, "withheld")
    }),
    (
        "sealed body expired, and no event says so",
        1,
        "chain",
        "violation",
        |members| absent(members, "expired"),
    ),
    (
        "sealed body absent for no known reason",
        1,
        "framing",
        "violation",
        |members| absent(members, "lost"),
    ),
];

fn absent(members: &mut Members, reason: &str) {
    let mut all = lines(members, "acme");
    let at = all
        .iter()
        .position(|line| line.contains("reason.given"))
        .unwrap();
    let line: serde_json::Value = serde_json::from_str(&all[at]).unwrap();
    all[at] = serde_json::json!({"absent": reason, "header": line["header"]}).to_string();
    set_lines(members, "acme", &all);
}

#[test]
fn absent_bodies() {
    let world = story::tell(7, Twist::Sound);
    let sound = read(&export(&world, None, "whole.zip"));
    tampered(&world, &sound, ABSENT);
    let mut members = sound;
    absent(&mut members, "withheld");
    write(&world.path("tampered.zip"), members);
    let verdict = verify(&world.path("tampered.zip"));
    assert_eq!(verdict.counts.absent["withheld"], 1);
    let strict = countersign_replay::verdict::Demands {
        strict: true,
        ..Default::default()
    };
    let verdict = support::verify_with(&world.path("tampered.zip"), &Default::default(), &strict);
    assert!(
        verdict
            .lacking
            .iter()
            .any(|lacking| lacking.contains("withheld")),
        "{:?}",
        verdict.lacking
    );
}

#[test]
fn attachments_may_be_absent_but_not_other_bytes() {
    let world = story::tell(8, Twist::Sound);
    let bundle = support::export_scope(&world, None, true, "with.zip");
    check(&case("attachments", 0, "evidence", "verified"), &bundle);
    let mut members = read(&bundle);
    let name = format!(
        "blobs/sha256/{}",
        countersign_chain::sha256(b"a page").hex()
    );
    assert_eq!(
        members.insert(name, b"another".to_vec()).unwrap(),
        b"a page"
    );
    write(&bundle, members);
    check(
        &case("attachment changed", 1, "evidence", "violation"),
        &bundle,
    );
}
