//! Messages of connectors: each reads back to the byte, and one that contradicts itself is neither signed nor read.

#![expect(
    clippy::unwrap_used,
    reason = "tables and helpers of tests, outside of test functions"
)]

mod world;

use countersign_evidence::action::{Grade, RollbackPlan};
use countersign_evidence::dsse::PayloadType;
use countersign_evidence::message::*;
use countersign_evidence::wire::{JsonObject, OrDash, V1};
use countersign_ids::Nonce;
use world::*;

fn head(chain: &str) -> Head {
    Head {
        v: V1,
        ledger: ledger(),
        chain: chain.parse().unwrap(),
        site: "shop".parse().unwrap(),
        connector: "c1".parse().unwrap(),
        generation: 1,
        document_digest: digest(1),
        checkpoint: TreeHead {
            size: 0,
            root: digest(2),
        },
        keys_version: 1,
    }
}

fn outcome(result: OutcomeResult) -> Outcome {
    let (good, ends) = (
        matches!(result, OutcomeResult::Accepted | OutcomeResult::Succeeded),
        result.is_result(),
    );
    let state = || ends.then(|| JsonObject::of_strings([("current", "-")]));
    Outcome {
        head: head("bakery"),
        stream: Stream::Action,
        counter: 1,
        order_digest: digest(3),
        result,
        code: if good {
            OrDash::NONE
        } else {
            OrDash::from("order-expired".to_owned())
        },
        before: state(),
        after: state(),
        observations: ends.then(|| {
            vec![Observation {
                what: "live /".to_owned(),
                ok: true,
                detail: "200".to_owned(),
            }]
        }),
        duration_ms: ends.then_some(5),
    }
}

fn beat(counter: u64, previous: Option<u8>) -> Heartbeat {
    Heartbeat {
        head: head("bakery.beats"),
        stream: Stream::Beat,
        counter,
        boot: Nonce::from_bytes([1; 16]),
        instance: Nonce::from_bytes([2; 16]),
        previous: OrDash(previous.map(digest)),
        inventory: digest(4),
        readiness: Readiness {
            grade: Grade::None,
            rollback_digest: OrDash::NONE,
        },
        mode: Mode::Normal,
    }
}

fn paired(counter: u64, by: u8) -> Paired {
    Paired {
        head: head("bakery"),
        stream: Stream::Action,
        counter,
        key: public(by),
        code_digest: digest(5),
    }
}

fn messages() -> Vec<ConnectorMessage> {
    let rollback = RollbackPlan {
        v: V1,
        site: "shop".parse().unwrap(),
        connector: "static".to_owned(),
        restore: OrDash::NONE,
        grade: Grade::None,
        lost: Vec::new(),
    };
    let observed = SiteState {
        current: OrDash::NONE,
        releases: Vec::new(),
        rollback,
        checked_at: NOON,
    };
    vec![
        ConnectorMessage::Paired(paired(0, CONNECTOR)),
        ConnectorMessage::Observed(Observed {
            head: head("bakery"),
            stream: Stream::Action,
            counter: 1,
            observed,
        }),
        ConnectorMessage::Outcome(outcome(OutcomeResult::Accepted)),
        ConnectorMessage::Outcome(outcome(OutcomeResult::Refused)),
        ConnectorMessage::Outcome(outcome(OutcomeResult::Succeeded)),
        ConnectorMessage::Outcome(outcome(OutcomeResult::Failed)),
        ConnectorMessage::Outcome(outcome(OutcomeResult::Undone)),
        ConnectorMessage::Heartbeat(beat(0, None)),
        ConnectorMessage::Heartbeat(beat(1, Some(9))),
        ConnectorMessage::Poll(Poll {
            head: head("bakery"),
        }),
    ]
}

#[test]
fn every_message_reads_back_and_takes_no_other_member() {
    for message in messages() {
        let envelope = message.sign(&key(CONNECTOR)).unwrap();
        let verified = VerifiedMessage::verify(&envelope, &public(CONNECTOR)).unwrap();
        assert_eq!(*verified.message(), message);
        assert_eq!(verified.digest(), &envelope.payload_digest());
        assert!(VerifiedMessage::verify(&envelope, &public(MIRA)).is_err());
        let text = String::from_utf8(message.to_payload().unwrap()).unwrap();
        for changed in [
            text.replacen("\"v\":1}", "\"v\":1,\"w\":1}", 1),
            text.replacen("{\"", "{\"a\":1,\"", 1),
            text.replacen("{\"", "{ \"", 1),
            text.replacen("\"v\":1", "\"v\":2", 1),
            text.replacen("\"size\":0", "\"size\":0,\"x\":1", 1),
            text.replacen(",\"keys_version\":1", "", 1),
        ] {
            assert_ne!(changed, text);
            assert!(
                ConnectorMessage::parse(message.payload_type(), changed.as_bytes()).is_err(),
                "{changed}"
            );
        }
        for wrong in [PayloadType::Keys, PayloadType::Order] {
            assert!(ConnectorMessage::parse(wrong, text.as_bytes()).is_err());
        }
    }
}

#[test]
fn a_message_that_contradicts_itself_is_neither_signed_nor_read() {
    let elsewhere = |chain: &str| ConnectorMessage::Poll(Poll { head: head(chain) });
    let with = |result, change: fn(&mut Outcome)| {
        let mut outcome = outcome(result);
        change(&mut outcome);
        ConnectorMessage::Outcome(outcome)
    };
    let mut wrong_beat = beat(0, None);
    wrong_beat.head = head("bakery");
    let mut wrong_stream = beat(0, None);
    wrong_stream.stream = Stream::Action;
    let bad = [
        elsewhere("platform"),
        elsewhere("bakery.beats"),
        ConnectorMessage::Heartbeat(wrong_beat),
        ConnectorMessage::Heartbeat(wrong_stream),
        ConnectorMessage::Heartbeat(beat(0, Some(1))),
        ConnectorMessage::Heartbeat(beat(1, None)),
        ConnectorMessage::Paired(paired(1, CONNECTOR)),
        with(OutcomeResult::Accepted, |o| o.duration_ms = Some(1)),
        with(OutcomeResult::Succeeded, |o| o.before = None),
        with(OutcomeResult::Succeeded, |o| {
            o.code = OrDash::from("x".to_owned())
        }),
        with(OutcomeResult::Refused, |o| o.code = OrDash::NONE),
        with(OutcomeResult::Failed, |o| {
            o.code = OrDash::from("x".repeat(513))
        }),
    ];
    for message in bad {
        assert!(message.sign(&key(CONNECTOR)).is_err(), "{message:?}");
    }
}

#[test]
fn a_pairing_is_signed_by_the_key_that_it_brings() {
    let message = ConnectorMessage::Paired(paired(0, CONNECTOR));
    VerifiedMessage::verify_pairing(&message.sign(&key(CONNECTOR)).unwrap()).unwrap();
    let forged = message.sign(&key(MIRA)).unwrap();
    assert!(VerifiedMessage::verify_pairing(&forged).is_err());
    assert!(
        VerifiedMessage::verify(&forged, &public(MIRA)).is_err(),
        "of another key than it names"
    );
    let poll = ConnectorMessage::Poll(Poll {
        head: head("bakery"),
    })
    .sign(&key(CONNECTOR))
    .unwrap();
    assert!(VerifiedMessage::verify_pairing(&poll).is_err());
}
