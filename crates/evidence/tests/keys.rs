//! Key statements: who has to sign what, what never changes, and where a key holds.

#![expect(
    clippy::unwrap_used,
    reason = "tables and helpers of tests, outside of test functions"
)]

mod world;

use countersign_evidence::dsse::Envelope;
use countersign_evidence::keys::{EndReason, EndedKey, KeyError, KeyStatement, Role};
use countersign_evidence::ring::{KeyHistory, KeyRing, NotHeld};
use countersign_evidence::wire::{OrDash, V1};
use countersign_ids::{LedgerId, Sequence};
use world::*;

const NEXT: u8 = 40;
const SECOND: u8 = 41;
const WITNESS: u8 = 50;

fn next(ring: &KeyRing) -> KeyStatement {
    KeyStatement {
        v: V1,
        ledger: ledger(),
        version: ring.version() + 1,
        previous: OrDash::from(*ring.last()),
        origin: None,
        add: Vec::new(),
        end: Vec::new(),
        quorum: None,
    }
}

fn ended(role: Role, seed: u8, reason: EndReason) -> EndedKey {
    EndedKey {
        role,
        key: public(seed),
        reason,
    }
}

fn rotated(role: Role, seed: u8) -> EndedKey {
    ended(role, seed, EndReason::Rotated)
}

fn stolen(role: Role, seed: u8) -> EndedKey {
    ended(role, seed, EndReason::Stolen)
}

type Change = fn(&mut KeyStatement);

/// Statement 2 in words: what it changes, who signs it, and whether it stands.
const SECOND_STATEMENTS: &[(&str, Change, &[u8], bool)] = &[
    (
        "adds an order key, by genesis and the key",
        |s| s.add = vec![added(Role::Order, NEXT)],
        &[GENESIS, NEXT],
        true,
    ),
    (
        "adds an order key, by the key alone",
        |s| s.add = vec![added(Role::Order, NEXT)],
        &[NEXT],
        false,
    ),
    (
        "adds an order key, by genesis alone",
        |s| s.add = vec![added(Role::Order, NEXT)],
        &[GENESIS],
        false,
    ),
    (
        "adds an order key, by a third one too",
        |s| s.add = vec![added(Role::Order, NEXT)],
        &[GENESIS, NEXT, ORDER],
        false,
    ),
    (
        "adds an order key, genesis twice",
        |s| s.add = vec![added(Role::Order, NEXT)],
        &[GENESIS, GENESIS],
        false,
    ),
    (
        "rotates, by both",
        |s| {
            (s.add, s.end) = (
                vec![added(Role::Order, NEXT)],
                vec![rotated(Role::Order, ORDER)],
            )
        },
        &[ORDER, NEXT],
        true,
    ),
    (
        "rotates, the other way round",
        |s| {
            (s.add, s.end) = (
                vec![added(Role::Order, NEXT)],
                vec![rotated(Role::Order, ORDER)],
            )
        },
        &[NEXT, ORDER],
        true,
    ),
    (
        "rotates, without the old key",
        |s| {
            (s.add, s.end) = (
                vec![added(Role::Order, NEXT)],
                vec![rotated(Role::Order, ORDER)],
            )
        },
        &[GENESIS, NEXT],
        false,
    ),
    (
        "rotates into another role",
        |s| {
            (s.add, s.end) = (
                vec![added(Role::Order, NEXT)],
                vec![rotated(Role::Checkpoint, CHECKPOINT)],
            )
        },
        &[CHECKPOINT, NEXT],
        false,
    ),
    (
        "rotates and adds one more",
        |s| {
            s.add = vec![added(Role::Order, NEXT), added(Role::Order, SECOND)];
            s.end = vec![rotated(Role::Order, ORDER)];
        },
        &[ORDER, NEXT, SECOND],
        false,
    ),
    (
        "rotates two roles at once",
        |s| {
            s.add = vec![added(Role::Order, NEXT), added(Role::Checkpoint, SECOND)];
            s.end = vec![
                rotated(Role::Checkpoint, CHECKPOINT),
                rotated(Role::Order, ORDER),
            ];
        },
        &[ORDER, CHECKPOINT, NEXT, SECOND],
        true,
    ),
    (
        "rotates nothing in",
        |s| s.end = vec![rotated(Role::Order, ORDER)],
        &[ORDER],
        false,
    ),
    (
        "ends a stolen key, by genesis",
        |s| s.end = vec![stolen(Role::Order, ORDER)],
        &[GENESIS],
        true,
    ),
    (
        "ends a stolen key, by the thief",
        |s| s.end = vec![stolen(Role::Order, ORDER)],
        &[ORDER],
        false,
    ),
    (
        "ends a stolen key and adds one",
        |s| {
            (s.add, s.end) = (
                vec![added(Role::Order, NEXT)],
                vec![stolen(Role::Order, ORDER)],
            )
        },
        &[GENESIS],
        false,
    ),
    (
        "ends a stolen key and changes the quorum",
        |s| (s.end, s.quorum) = (vec![stolen(Role::Order, ORDER)], Some(0)),
        &[GENESIS],
        false,
    ),
    (
        "adds a witness, by genesis",
        |s| s.add = vec![added(Role::Witness, WITNESS)],
        &[GENESIS],
        true,
    ),
    (
        "adds a witness, by the witness too",
        |s| s.add = vec![added(Role::Witness, WITNESS)],
        &[GENESIS, WITNESS],
        false,
    ),
    (
        "sets the quorum, by genesis",
        |s| s.quorum = Some(2),
        &[GENESIS],
        true,
    ),
    (
        "sets the quorum, by the order key",
        |s| s.quorum = Some(2),
        &[ORDER],
        false,
    ),
    (
        "rotates and sets the quorum, by all three",
        |s| {
            (s.add, s.end) = (
                vec![added(Role::Order, NEXT)],
                vec![rotated(Role::Order, ORDER)],
            );
            s.quorum = Some(1);
        },
        &[GENESIS, ORDER, NEXT],
        true,
    ),
    (
        "ends genesis",
        |s| s.end = vec![stolen(Role::Genesis, GENESIS)],
        &[GENESIS],
        false,
    ),
    (
        "adds a second genesis",
        |s| s.add = vec![added(Role::Genesis, NEXT)],
        &[GENESIS, NEXT],
        false,
    ),
    (
        "moves the origin",
        |s| (s.origin, s.quorum) = (Some("elsewhere".to_owned()), Some(1)),
        &[GENESIS],
        false,
    ),
    ("changes nothing", |_| (), &[GENESIS], false),
    (
        "ends a key that is not there",
        |s| s.end = vec![stolen(Role::Order, NEXT)],
        &[GENESIS],
        false,
    ),
    (
        "ends a key under another role",
        |s| s.end = vec![stolen(Role::Order, CHECKPOINT)],
        &[GENESIS],
        false,
    ),
    (
        "adds a key again",
        |s| s.add = vec![added(Role::Order, ORDER)],
        &[GENESIS, ORDER],
        false,
    ),
    (
        "adds a key under a second role",
        |s| s.add = vec![added(Role::Order, CHECKPOINT)],
        &[GENESIS, CHECKPOINT],
        false,
    ),
    (
        "lets genesis sign orders",
        |s| s.add = vec![added(Role::Order, GENESIS)],
        &[GENESIS],
        false,
    ),
    (
        "adds a key twice",
        |s| s.add = vec![added(Role::Order, NEXT), added(Role::Checkpoint, NEXT)],
        &[GENESIS, NEXT],
        false,
    ),
    (
        "skips a version",
        |s| (s.version, s.quorum) = (3, Some(1)),
        &[GENESIS],
        false,
    ),
    (
        "repeats a version",
        |s| (s.version, s.quorum) = (1, Some(1)),
        &[GENESIS],
        false,
    ),
    (
        "follows another statement",
        |s| (s.previous, s.quorum) = (OrDash::from(digest(1)), Some(1)),
        &[GENESIS],
        false,
    ),
    (
        "follows nothing",
        |s| (s.previous, s.quorum) = (OrDash::NONE, Some(1)),
        &[GENESIS],
        false,
    ),
    (
        "is of another ledger",
        |s| (s.ledger, s.quorum) = (LedgerId::from_bytes([9; 32]), Some(1)),
        &[GENESIS],
        false,
    ),
    (
        "names a key with a space",
        |s| {
            s.add = vec![added(Role::Order, NEXT)];
            s.add.iter_mut().for_each(|key| key.name = "a b".to_owned());
        },
        &[GENESIS, NEXT],
        false,
    ),
];

#[test]
fn a_second_statement_stands_when_those_sign_it_who_must_and_nobody_else() {
    for (name, change, signers, stands) in SECOND_STATEMENTS {
        let mut ring = ring();
        let before = ring.clone();
        let mut statement = next(&ring);
        change(&mut statement);
        let followed = ring.follow(&sign_keys(&statement, signers));
        assert_eq!(followed.is_ok(), *stands, "{name}: {followed:?}");
        if *stands {
            assert_eq!(ring.version(), 2, "{name}");
        } else {
            assert_eq!(ring, before, "{name}: a refused statement changes nothing");
        }
    }
}

#[test]
fn a_ledger_begins_with_its_own_genesis_key() {
    let begin = |change: Change, signers: &[u8]| {
        let mut statement = first_statement();
        change(&mut statement);
        KeyRing::begin(&ledger(), &sign_keys(&statement, signers))
    };
    let all = &[GENESIS, CHECKPOINT, ORDER];
    let ring = begin(|_| (), all).unwrap();
    assert_eq!(
        (ring.version(), ring.origin(), ring.quorum()),
        (1, "example.org/ledger", None)
    );
    assert_eq!(
        ring.current(Role::Order)
            .map(|held| held.key)
            .collect::<Vec<_>>(),
        [public(ORDER)]
    );
    let refused: [(Change, &[u8]); 8] = [
        (|_| (), &[GENESIS, CHECKPOINT]),
        (|s| s.version = 2, all),
        (|s| s.origin = None, all),
        (|s| s.previous = OrDash::from(digest(1)), all),
        (|s| drop(s.add.remove(0)), &[CHECKPOINT, ORDER]),
        (
            |s| s.add.push(added(Role::Genesis, NEXT)),
            &[GENESIS, CHECKPOINT, ORDER, NEXT],
        ),
        (|s| s.end = vec![rotated(Role::Order, ORDER)], all),
        (|s| s.ledger = LedgerId::from_bytes([9; 32]), all),
    ];
    for (at, (change, signers)) in refused.into_iter().enumerate() {
        assert!(begin(change, signers).is_err(), "case {at}");
    }
    // Somebody else's genesis, whole and well signed, is not this ledger's.
    let mut foreign = first_statement();
    foreign.add = vec![added(Role::Genesis, NEXT)];
    assert_eq!(
        KeyRing::begin(&ledger(), &sign_keys(&foreign, &[NEXT])),
        Err(KeyError::NotAGenesis)
    );
}

/// Platform 0: order key 3. Platform 7: rotated to 40. Platform 12: 40 stolen. Witness 50 with quorum 1 at 4.
fn history() -> KeyHistory {
    let mut history = KeyHistory::begin(&ledger(), &first_envelope()).unwrap();
    let mut follow = |at: u64, change: Change, signers: &[u8]| {
        let mut statement = next(history.ring());
        change(&mut statement);
        let envelope: Envelope = sign_keys(&statement, signers);
        history.follow(Sequence::new(at), &envelope).unwrap();
    };
    follow(
        4,
        |s| (s.add, s.quorum) = (vec![added(Role::Witness, WITNESS)], Some(1)),
        &[GENESIS],
    );
    follow(
        7,
        |s| {
            s.add = vec![added(Role::Order, NEXT), added(Role::Checkpoint, SECOND)];
            s.end = vec![
                rotated(Role::Order, ORDER),
                rotated(Role::Checkpoint, CHECKPOINT),
            ];
        },
        &[ORDER, CHECKPOINT, NEXT, SECOND],
    );
    follow(12, |s| s.end = vec![stolen(Role::Order, NEXT)], &[GENESIS]);
    history
}

/// The sizes of chain `bakery` in the recorded heads after each end.
fn sizes(statement: Sequence) -> Option<u64> {
    match statement.get() {
        7 => Some(100),
        12 => Some(200),
        _ => None,
    }
}

#[test]
fn an_order_key_holds_from_its_addition_to_its_end() {
    let history = history();
    for (seed, head, sequence, held) in [
        (ORDER, 0, 0, true),
        (ORDER, 0, 99, true),
        (ORDER, 7, 99, true),
        (ORDER, 0, 100, false),
        (NEXT, 6, 50, false),
        (NEXT, 7, 100, true),
        (NEXT, 7, 199, true),
        (NEXT, 12, 200, false),
        (CHECKPOINT, 0, 0, false),
        (MIRA, 0, 0, false),
    ] {
        let found = history.holds_for_order(
            &public(seed),
            Sequence::new(head),
            Sequence::new(sequence),
            sizes,
        );
        assert_eq!(
            found.is_ok(),
            held,
            "key {seed} at {sequence} on {head}: {found:?}"
        );
    }
    let unknown = history.holds_for_order(&public(ORDER), Sequence::ZERO, Sequence::ZERO, |_| None);
    assert_eq!(
        unknown,
        Err(NotHeld::EndUnknown),
        "an end that nobody recorded proves nothing"
    );
}

#[test]
fn a_checkpoint_key_holds_for_sizes_up_to_its_end_and_a_witness_likewise() {
    let history = history();
    for (role, seed, size, held) in [
        (Role::Checkpoint, CHECKPOINT, 1, true),
        (Role::Checkpoint, CHECKPOINT, 100, true),
        (Role::Checkpoint, CHECKPOINT, 101, false),
        (Role::Checkpoint, SECOND, 1000, true),
        (Role::Witness, WITNESS, 5, true),
        (Role::Checkpoint, ORDER, 1, false),
        (Role::Order, CHECKPOINT, 1, false),
    ] {
        let found = history.holds_for_size(role, &public(seed), size, sizes);
        assert_eq!(found.is_ok(), held, "key {seed} for size {size}: {found:?}");
    }
    for (seed, size, held) in [
        (CHECKPOINT, 0, false),
        (CHECKPOINT, 1, true),
        (CHECKPOINT, 7, true),
        (CHECKPOINT, 8, false),
        (SECOND, 7, false),
        (SECOND, 8, true),
    ] {
        let found = history.holds_for_platform_size(Role::Checkpoint, &public(seed), size);
        assert_eq!(
            found.is_ok(),
            held,
            "key {seed} for platform size {size}: {found:?}"
        );
    }
}

#[test]
fn the_history_tells_its_ends_and_its_quorum_by_version() {
    let history = history();
    let mut ends: Vec<u64> = history.ends().map(Sequence::get).collect();
    ends.sort_unstable();
    assert_eq!(ends, [7, 7, 12]);
    assert_eq!(history.ring().quorum_at(1), None);
    assert_eq!(history.ring().quorum_at(2), Some(1));
    assert_eq!(history.ring().quorum(), Some(1));
    assert_eq!(history.position(3), Some(Sequence::new(7)));
    assert_eq!((history.position(0), history.position(9)), (None, None));
}
