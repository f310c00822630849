//! Chains that were pruned: sound in every form, and each rule of what explains it broken once.

use countersign_chain::CUT_EVENTS;
use countersign_events::chain::{Cleared, Pruned};
use countersign_ids::{EventHash, Time};

use crate::support::story::BEATS;
use crate::support::story::pruned::tell_pruned;
use crate::support::zip::{Members, lines, read, set_lines};
use crate::support::{export, verify};
use crate::{Tamper, case, check, edit, first, tampered};

#[test]
fn a_pruned_chain_verifies_in_every_form_and_its_proofs_hold() {
    let world = tell_pruned(5, Some, Some, true);
    let directory = verify(&world.data());
    assert_eq!(directory.exit, 0, "{}", directory.to_text());
    assert_eq!(directory.counts.pruned, 2 * CUT_EVENTS);
    for (tenant, name) in [(None, "whole.zip"), (Some("acme"), "acme.zip")] {
        let bundle = export(&world, tenant, name);
        check(&case("sound", 0, "evidence", "verified"), &bundle);
        let told = verify(&bundle);
        assert_eq!(told.counts.pruned, 2 * CUT_EVENTS);
        assert!(told.to_text().contains("events pruned: 512"));
        for path in [&world.data(), &bundle] {
            let source = countersign_replay::open::open(path).unwrap();
            let proof = countersign_replay::prove::prove(source.as_ref(), BEATS, 520);
            assert_eq!(proof.unwrap().index, 520);
            let gone = countersign_replay::prove::prove(source.as_ref(), BEATS, 7);
            assert!(gone.is_err());
        }
    }
    // Exported again from a bundle, it is the same bundle.
    let again = world.path("again.zip");
    let source = countersign_replay::open::open(&world.path("whole.zip")).unwrap();
    let mut progress = countersign_replay::progress::Progress::hidden();
    let scope = countersign_replay::export::Scope::default();
    countersign_replay::export::export(source.as_ref(), &scope, &again, &mut progress).unwrap();
    let same = std::fs::read(&again).unwrap() == std::fs::read(world.path("whole.zip")).unwrap();
    assert!(same);
}

type Order = fn(Pruned) -> Option<Pruned>;
type Receipt = fn(Cleared) -> Option<Cleared>;

const ORDERS: &[(&str, &str, Order, Receipt)] = &[
    ("no order", "chain", |_| None, Some),
    (
        "another hash before the cut",
        "chain",
        |mut order| {
            order.base.head = EventHash::from_bytes([0; 32]);
            Some(order)
        },
        Some,
    ),
    (
        "another tree before the cut",
        "tree",
        |mut order| {
            order.base.tree[0] = countersign_chain::sha256(b"another");
            Some(order)
        },
        Some,
    ),
    (
        "other counts of families",
        "chain",
        |mut order| {
            let beats = order.base.families.values_mut().max().unwrap();
            *beats -= 1;
            Some(order)
        },
        Some,
    ),
    (
        "a later time before the cut",
        "chain",
        |mut order| {
            order.base.time = Time::from_unix_millis(order.base.time.unix_millis() + 1);
            Some(order)
        },
        Some,
    ),
    (
        "another cut",
        "chain",
        |mut order| {
            order.base.cut -= CUT_EVENTS;
            Some(order)
        },
        Some,
    ),
    (
        "heads that do not cover it",
        "chain",
        |mut order| {
            order.heads = 0;
            Some(order)
        },
        Some,
    ),
    (
        "no word of the tenant",
        "chain",
        |mut order| {
            order.policy = 0;
            Some(order)
        },
        Some,
    ),
    (
        "later than the tenant's time allows",
        "chain",
        |mut order| {
            order.until = Time::from_unix_millis(order.until.unix_millis() + 86_400_000);
            Some(order)
        },
        Some,
    ),
    (
        "a receipt that counts other events",
        "chain",
        Some,
        |mut receipt| {
            receipt.events += 1;
            Some(receipt)
        },
    ),
    (
        "a receipt of another order",
        "chain",
        Some,
        |mut receipt| {
            receipt.ordered -= 1;
            Some(receipt)
        },
    ),
];

#[test]
fn what_a_pruning_says_must_hold() {
    for (name, level, order, receipt) in ORDERS {
        let world = tell_pruned(6, order, receipt, true);
        let directory = verify(&world.data());
        let told = directory.to_text();
        assert_eq!(directory.exit, 1, "{name}: directory\n{told}");
        let levels = crate::support::levels(&directory);
        assert_eq!(levels[*level], "violation", "{name}\n{told}");
        if directory
            .first_bad
            .as_ref()
            .is_some_and(|bad| bad.chain == "platform")
        {
            let bundle = export(&world, None, "whole.zip");
            check(&case(name, 1, level, "violation"), &bundle);
        }
    }
    let kept = tell_pruned(7, Some, Some, false);
    let told = verify(&kept.data());
    assert_eq!(told.exit, 1, "receipted and not done\n{}", told.to_text());
    let pending = tell_pruned(8, Some, |_| None, false);
    let told = verify(&pending.data());
    assert_eq!(
        (told.exit, told.counts.pruned),
        (0, 0),
        "{}",
        told.to_text()
    );
    // What is ordered is not exported any more, whether or not it is gone.
    check(
        &case("ordered", 0, "evidence", "verified"),
        &export(&pending, None, "whole.zip"),
    );
}

fn tile(members: &Members) -> String {
    first(members, "tiles/acme.beats/")
}

const TAMPERED: &[(&str, u8, &str, &str, Tamper)] = &[
    (
        "a hash of the tree changed",
        1,
        "tree",
        "violation",
        |members| {
            let name = tile(members);
            members.get_mut(&name).unwrap()[7] ^= 1;
        },
    ),
    (
        "a hash of the tree missing",
        1,
        "tree",
        "violation",
        |members| {
            let name = tile(members);
            members.get_mut(&name).unwrap().truncate(32);
        },
    ),
    ("part of a hash", 1, "tree", "violation", |members| {
        let name = tile(members);
        members.get_mut(&name).unwrap().push(0);
    }),
    ("no hashes", 1, "tree", "violation", |members| {
        let name = tile(members);
        members.remove(&name).unwrap();
    }),
    (
        "the first event behind the cut removed",
        1,
        "chain",
        "violation",
        |members| {
            let all = lines(members, BEATS);
            set_lines(members, BEATS, &all[1..]);
        },
    ),
    ("said to be whole", 1, "framing", "violation", |members| {
        edit(
            members,
            "manifest.json",
            "\"acme.beats\":{\"form\":\"pruned\"",
            "\"acme.beats\":{\"form\":\"whole\"",
        );
    }),
    ("the order altered", 1, "chain", "violation", |members| {
        let mut all = lines(members, "platform");
        let at = all
            .iter()
            .position(|line| line.contains("chain.pruned.v1"))
            .unwrap();
        all[at] = all[at].replacen("\\\"cut\\\":512", "\\\"cut\\\":256", 1);
        set_lines(members, "platform", &all);
    }),
];

#[test]
fn bundles_of_pruned_chains_tampered_by_somebody_who_fixes_the_manifest() {
    let world = tell_pruned(9, Some, Some, true);
    tampered(&world, &read(&export(&world, None, "whole.zip")), TAMPERED);
    tampered(
        &world,
        &read(&export(&world, Some("acme"), "acme.zip")),
        &TAMPERED[..6],
    );
}
