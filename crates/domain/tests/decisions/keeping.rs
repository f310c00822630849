//! What is kept and what is removed, as tables; and what is pending after each line.

use countersign_domain::{
    Command, Erase, ExpireBodies, KeepBeats, ReceiptRemoval, Remark, Removal, SetRetention,
};
use countersign_events::{Event, Retention};
use countersign_ids::Sequence;

use crate::life::{SITE, WAITING, given};
use crate::world::{World, id};

/// A day, as a line.
const DAY: &str = "later 86400";

/// The words after `body`.
pub(crate) fn command(words: &[&str]) -> Command {
    match *words {
        ["remark", site] => remark(site, "the door is open"),
        ["remark", site, text] => remark(site, text),
        ["keep", days] => SetRetention {
            operational_days: days.parse().unwrap(),
        }
        .into(),
        ["beats", days] => KeepBeats {
            beats_days: days.parse().unwrap(),
        }
        .into(),
        ["expire"] => ExpireBodies.into(),
        ["erase", subject] => Erase {
            subject: id(subject),
        }
        .into(),
        ["removed", ordered] => ReceiptRemoval {
            ordered: Sequence::new(ordered.parse().unwrap()),
            bodies: 1,
            before: Vec::new(),
            after: Vec::new(),
        }
        .into(),
        _ => panic!("no such line: body {words:?}"),
    }
}

fn remark(site: &str, text: &str) -> Command {
    Remark {
        site: id(site),
        text: text.to_owned(),
    }
    .into()
}

type Lines = &'static [&'static [&'static str]];

/// Lines, the last one, the facts that it writes, and what is pending then.
const ACCEPTED: &[(Lines, &str, &str, &[&str])] = &[
    (&[SITE], "body remark www", "remark.made", &[]),
    (&[SITE], "body keep 0", "retention.set", &[]),
    (&[SITE], "body keep 400", "retention.set", &[]),
    (&[SITE], "body beats 0", "retention.beats-set", &[]),
    (&[SITE], "body beats 4000", "retention.beats-set", &[]),
    (
        &[SITE, &["body remark www", "body keep 1", DAY]],
        "body expire",
        "retention.expired",
        &["expired 11-11"],
    ),
    (
        &[
            SITE,
            &[
                "body remark www",
                "site w2",
                "body remark www",
                "body keep 1",
                DAY,
                "body remark www",
            ],
        ],
        "body expire",
        "retention.expired",
        &["expired 11-13"],
    ),
    (
        &[
            SITE,
            &[
                "body remark www",
                "body keep 0",
                "body expire",
                "body remark www",
            ],
        ],
        "body expire",
        "retention.expired",
        &["expired 11-11", "expired 14-14"],
    ),
    (
        &[SITE, &["body remark www", "body keep 0", "body expire"]],
        "body removed 13",
        "retention.removed",
        &[],
    ),
    (
        &[SITE, WAITING, &["approve a1 alice"]],
        "body erase d1",
        "retention.erased",
        &["erased d1 14-14"],
    ),
    (
        &[
            SITE,
            WAITING,
            &["approve a1 alice", "unvote a1 alice", "body erase d1"],
        ],
        "body removed 17",
        "retention.removed",
        &[],
    ),
];

const REFUSED: &[(Lines, &str, &str)] = &[
    (&[], "body keep 1", "TenantUnknown"),
    (&[SITE], "body remark wwww", "SiteUnknown"),
    (&[SITE], "body remark www \u{7}", "TextUnfit"),
    (&[SITE], "body keep 401", "RetentionTooLong"),
    (&[SITE], "body beats 4001", "RetentionTooLong"),
    (&[SITE], "body expire", "NothingExpired"),
    (
        &[SITE, &["body remark www", "body keep 1"]],
        "body expire",
        "NothingExpired",
    ),
    (
        &[SITE, &["body remark www", DAY]],
        "body expire",
        "NothingExpired",
    ),
    (
        &[SITE, &["body remark www", "body keep 0", "body expire"]],
        "body expire",
        "NothingExpired",
    ),
    (&[SITE], "body erase d1", "SubjectUnknown"),
    (
        &[SITE, WAITING, &["approve a1 alice"]],
        "body erase d2",
        "SubjectUnknown",
    ),
    (
        &[SITE, WAITING, &["approve a1 alice", "body erase d1"]],
        "body erase d1",
        "SubjectErased",
    ),
    // Whatever is sealed under that name would go with its key, and no event would say so.
    (
        &[SITE, WAITING, &["approve a1 alice", "body erase d1"]],
        "unvote a1 alice",
        "SubjectErased",
    ),
    (
        &[
            SITE,
            WAITING,
            &["approve a1 alice", "body erase d1", "body removed 15"],
        ],
        "unvote a1 alice",
        "SubjectErased",
    ),
    (&[SITE], "body removed 3", "RemovalUnknown"),
    (
        &[
            SITE,
            &[
                "body remark www",
                "body keep 0",
                "body expire",
                "body removed 13",
            ],
        ],
        "body removed 13",
        "RemovalUnknown",
    ),
];

/// The refusals that have a case here.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    REFUSED.iter().map(|(_, _, name)| *name)
}

fn pending(world: &World) -> Vec<String> {
    let ranges = |ranges: &[countersign_events::retention::Range]| {
        let one = ranges
            .iter()
            .map(|range| format!("{}-{}", range.from, range.to));
        one.collect::<Vec<_>>().join(",")
    };
    let pending = world.tenant.keeping().pending().values();
    pending
        .map(|removal| match removal {
            Removal::Expired(of) => format!("expired {}", ranges(of)),
            Removal::Erased(subject, of) => format!("erased {subject} {}", ranges(of)),
        })
        .collect()
}

#[test]
fn what_is_ordered_stays_pending_until_its_receipt() {
    for (lines, when, facts, left) in ACCEPTED {
        let mut world = given(lines);
        let written = world
            .say(when)
            .unwrap_or_else(|rejection| panic!("`{when}` after {lines:?}: {rejection}"));
        assert_eq!(written.join(" "), *facts, "`{when}` after {lines:?}");
        assert_eq!(pending(&world), *left, "`{when}` after {lines:?}");
    }
}

#[test]
fn what_cannot_be_removed_is_refused_by_name() {
    for (lines, when, name) in REFUSED {
        let mut world = given(lines);
        let before = world.tenant.clone();
        let rejection = world.say(when).expect_err(when);
        assert_eq!(rejection.name(), *name, "`{when}` after {lines:?}");
        assert_eq!(world.tenant, before);
    }
}

#[test]
fn an_expiry_names_no_body_that_is_young() {
    let world = given(&[
        SITE,
        &[
            "body remark www",
            "body keep 1",
            DAY,
            "body remark www",
            "body expire",
        ],
    ]);
    let young = world.time();
    let expired = world.history.iter().find_map(|(_, event)| match event {
        Some(Event::Retention(Retention::Expired(expired))) => Some(expired),
        _ => None,
    });
    assert!(expired.unwrap().until < young);
    assert_eq!(world.tenant.keeping().operational(), 1);
}

#[test]
fn a_chain_without_its_operational_bodies_folds_to_the_same_tenant() {
    let world = given(&[
        SITE,
        &[
            "body remark www",
            "body keep 0",
            "body expire",
            "body remark www",
        ],
    ]);
    let mut again = countersign_domain::Tenant::new(id("acme"));
    for (header, event) in &world.history {
        let operational = header.retention == countersign_ids::Retention::Operational;
        again.evolve(header, event.as_ref().filter(|_| !operational));
    }
    assert_eq!(again, world.tenant);
}
