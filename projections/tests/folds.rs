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
use countersign_projections::{Change, Folded, Projection, Rows, all};
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
    let of = |fact: &str| {
        let wanted = |event: &&Event| {
            event.spec().event_type.fact() == fact
                && event.spec().event_type.family().as_str() == "action"
        };
        events.iter().find(wanted).cloned().unwrap()
    };
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
