//! Every read model on one sample of every event: the same rows however the fold is cut, and the same bytes for ever.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests; a failure is the test's"
)]

use std::collections::BTreeMap;

use countersign_chain::Header;
use countersign_events::{Event, samples::samples};
use countersign_ids::{
    Actor, AuthType, BodyHash, CommandId, EventHash, LedgerId, Retention, Sequence, Time,
};
use countersign_projections::{COUNTERS, Change, Counts, Folded, Projection, Rows, all, digest};
use proptest::prelude::*;

struct Kept<'a>(&'a BTreeMap<Vec<u8>, Vec<u8>>);

impl Rows for Kept<'_> {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.0.get(key).cloned()
    }
}

fn header(event: &Event, index: u64) -> Header {
    let spec = event.spec();
    Header {
        ledger: LedgerId::from_bytes([1; 32]),
        chain: "acme".parse().unwrap(),
        id: "01938e5e-8a51-7000-8000-000000000001".parse().unwrap(),
        event_type: spec.event_type.clone(),
        subject: "subject".parse().unwrap(),
        site: Some("site-1".parse().unwrap()),
        time: Time::from_unix_millis(1_700_000_000_000 + index),
        retention: Retention::Evidence,
        sequence: Sequence::new(index),
        familysequence: Sequence::new(0),
        prevhash: EventHash::from_bytes([0; 32]),
        bodyhash: BodyHash::from_bytes([0; 32]),
        bodykey: None,
        datasubject: None,
        actor: Actor {
            kind: AuthType::Person,
            id: "ann".parse().unwrap(),
        },
        commandid: CommandId::from_bytes([0; 16]),
        requestdigest: None,
        platformhead: None,
        correlationid: None,
        causationid: None,
        traceparent: None,
        ownerepoch: None,
    }
}

fn fold(
    projection: &dyn Projection,
    rows: &mut BTreeMap<Vec<u8>, Vec<u8>>,
    events: &[(u64, Option<Event>, Event)],
) {
    for (index, body, event) in events {
        let header = header(event, *index);
        let folded = Folded {
            header: &header,
            hash: EventHash::from_bytes([9; 32]),
            event: body.as_ref(),
        };
        for change in projection.fold(&Kept(rows), &folded).unwrap() {
            match change {
                Change::Put { key, value } => {
                    countersign_chain::json::parse_canonical(&value)
                        .expect("a row is canonical JSON");
                    rows.insert(key, value);
                }
                Change::Delete { key } => {
                    rows.remove(&key);
                }
            }
        }
    }
}

fn numbered(events: Vec<Event>) -> Vec<(u64, Option<Event>, Event)> {
    events
        .into_iter()
        .zip(0..)
        .map(|(event, index)| (index, Some(event.clone()), event))
        .collect()
}

/// The sample of family `action` with this fact.
fn of(events: &[Event], fact: &str) -> Event {
    let wanted = |event: &&Event| {
        let event_type = event.event_type();
        event_type.fact() == fact && event_type.family().as_str() == "action"
    };
    events.iter().find(wanted).cloned().unwrap()
}

#[test]
fn every_read_model_folds_every_event_with_and_without_its_body() {
    let events = numbered(samples().unwrap());
    let absent: Vec<_> = events
        .iter()
        .cloned()
        .map(|(index, _, event)| (index, None, event))
        .collect();
    for projection in all() {
        let (mut whole, mut empty) = (BTreeMap::new(), BTreeMap::new());
        fold(projection.as_ref(), &mut whole, &events);
        fold(projection.as_ref(), &mut empty, &absent);
        if projection.name() == "timeline" {
            assert_eq!(whole.len(), events.len());
            assert_eq!(
                empty.len(),
                events.len(),
                "what is absent happened all the same"
            );
        }
    }
}

#[test]
fn an_action_leaves_the_queue_when_it_ends() {
    let events = samples().unwrap();
    let of = |fact: &str| of(&events, fact);
    let queue = all()
        .into_iter()
        .find(|projection| projection.name() == "queue")
        .unwrap();
    for end in [
        "rejected",
        "withdrawn",
        "revoked",
        "refused",
        "succeeded",
        "failed",
        "undone",
        "expired",
    ] {
        let mut rows = BTreeMap::new();
        fold(
            queue.as_ref(),
            &mut rows,
            &numbered(vec![of("proposed"), of("assessed"), of("approved")]),
        );
        assert_eq!(rows.len(), 1);
        let row = String::from_utf8(rows.values().next().unwrap().clone()).unwrap();
        assert!(row.contains("\"votes\":1"), "{row}");
        fold(queue.as_ref(), &mut rows, &numbered(vec![of(end)]));
        assert!(rows.is_empty(), "after {end}");
    }
}

#[test]
fn counters_tell_where_actions_stand() {
    let events = samples().unwrap();
    let of = |fact: &str| of(&events, fact);
    let mut rows = BTreeMap::new();
    for (fact, state, open) in [
        ("proposed", "proposed", 1),
        ("assessed", "waiting", 1),
        ("approved", "waiting", 1),
        ("assessed", "waiting", 1),
        ("authorized", "authorized", 1),
        ("delivered", "delivered", 1),
        ("unresolved", "unresolved", 1),
        ("delivered", "unresolved", 1),
        ("succeeded", "succeeded", 0),
    ] {
        fold(&Counts, &mut rows, &numbered(vec![of(fact)]));
        let count = |counter: &str| {
            let row = rows.get(format!("{COUNTERS}{counter}").as_bytes());
            let row: Option<serde_json::Value> =
                row.map(|row| serde_json::from_slice(row).unwrap());
            row.and_then(|row| row.get("count")?.as_i64())
                .unwrap_or_default()
        };
        assert_eq!(count("actions.open"), open, "after {fact}");
        assert_eq!(count(&format!("actions.{state}")), 1, "after {fact}");
        let states = countersign_domain::State::ALL.iter();
        let all: i64 = states.map(|state| count(&format!("actions.{state}"))).sum();
        assert_eq!(all, 1, "an action stands in one place, after {fact}");
    }
}

/// The digests of every read model over one sample of every event. They change with a version of the read model only.
#[test]
fn digests_of_rows_are_stable() {
    // Every end is among the samples, so something has to begin after them to be seen in the queue.
    let mut history = samples().unwrap();
    for fact in ["proposed", "assessed", "approved"] {
        history.push(of(&samples().unwrap(), fact));
    }
    let found: Vec<(String, u32, String)> = all()
        .iter()
        .map(|projection| {
            let mut rows = BTreeMap::new();
            fold(projection.as_ref(), &mut rows, &numbered(history.clone()));
            let digest = digest(&rows).to_string();
            (projection.name().to_owned(), projection.version(), digest)
        })
        .collect();
    let golden = [
        (
            "timeline",
            1,
            "sha256:2f90ef4f46cbb0848ed0ce6ef042c44bf8a9ac238fdc5de075b95a475448e2c1",
        ),
        (
            "queue",
            1,
            "sha256:3e32c1bbbb1e21a2d91f1d75991017c6bbf797fdfa32961dfefad8aa0313ac3d",
        ),
        (
            "sites",
            1,
            "sha256:bd86ae0058859b08df4d9632125ffa7f540248e5921ccee9dce0702235dc6400",
        ),
        (
            "counts",
            2,
            "sha256:467c325c0d04958498f26efd5a4479dc2e0ba9f22f3505c8e1a39e14699b9390",
        ),
    ]
    .map(|(name, version, digest)| (name.to_owned(), version, digest.to_owned()));
    assert_eq!(
        found, golden,
        "a row changed, so the version of the read model has to"
    );
}

#[test]
fn a_digest_covers_keys_and_values_and_where_they_part() {
    let rows = |key: &str, value: &str| BTreeMap::from([(key.into(), value.into())]);
    let digests = [("ab", "c"), ("a", "bc"), ("ab", "d"), ("", "")];
    let digests: std::collections::BTreeSet<_> = digests
        .iter()
        .map(|(key, value)| digest(&rows(key, value)))
        .chain([digest(&BTreeMap::new())])
        .collect();
    assert_eq!(digests.len(), 5);
}

proptest! {
    #[test]
    fn a_fold_in_two_parts_is_the_fold_at_once(order in prop::collection::vec(any::<prop::sample::Index>(), 1..60), cut in any::<prop::sample::Index>()) {
        let samples = samples().unwrap();
        let events = numbered(order.iter().map(|index| index.get(&samples).clone()).collect());
        let cut = cut.index(events.len());
        for projection in all() {
            let (mut once, mut parts) = (BTreeMap::new(), BTreeMap::new());
            fold(projection.as_ref(), &mut once, &events);
            fold(projection.as_ref(), &mut parts, &events[..cut]);
            fold(projection.as_ref(), &mut parts, &events[cut..]);
            prop_assert_eq!(once, parts);
        }
    }
}
