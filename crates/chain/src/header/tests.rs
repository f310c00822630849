//! Headers: what is written is read back, and what is not canonical is refused.

use super::*;

pub(crate) fn sample() -> Header {
    Header {
        ledger: LedgerId::from_bytes([1; 32]),
        chain: "acme".parse().unwrap(),
        id: "01938e5e-8a51-7000-8000-000000000001".parse().unwrap(),
        event_type: EventType::new("site", "registered", 1).unwrap(),
        subject: "www".parse().unwrap(),
        site: Some("www".parse().unwrap()),
        time: Time::from_unix_millis(1_700_000_000_000),
        retention: Retention::Evidence,
        sequence: Sequence::new(7),
        familysequence: Sequence::new(3),
        prevhash: EventHash::from_bytes([2; 32]),
        bodyhash: BodyHash::from_bytes([3; 32]),
        bodykey: None,
        datasubject: None,
        actor: Actor {
            kind: AuthType::Person,
            id: "ann".parse().unwrap(),
        },
        commandid: CommandId::from_bytes([4; 16]),
        requestdigest: None,
        platformhead: None,
        correlationid: Some("ticket 7".to_owned()),
        causationid: None,
        traceparent: None,
        ownerepoch: None,
    }
}

#[test]
fn names_are_sorted() {
    assert!(NAMES.is_sorted());
}

#[test]
fn what_is_written_is_read() {
    let mut personal = sample();
    personal.retention = Retention::Personal;
    personal.bodykey = Some(BodyKey::from_bytes([5; 32]));
    personal.datasubject = Some("d-1".parse().unwrap());
    personal.ownerepoch = Some(9);
    let mut authorized = sample();
    authorized.event_type = EventType::new("action", "authorized", 1).unwrap();
    authorized.platformhead = Some(PlatformHead {
        sequence: Sequence::new(1),
        hash: EventHash::from_bytes([9; 32]),
    });
    for header in [sample(), personal, authorized] {
        let bytes = header.to_bytes();
        assert_eq!(Header::parse(&bytes).unwrap(), header);
        let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(
            crate::json::canonical(&value).unwrap(),
            bytes,
            "E is RFC 8785"
        );
    }
}

#[track_caller]
fn refuses(from: &str, to: &str) {
    let text = String::from_utf8(sample().to_bytes()).unwrap();
    assert!(text.contains(from), "`{from}` is not in the sample");
    let text = text.replacen(from, to, 1);
    assert!(Header::parse(text.as_bytes()).is_err(), "{text}");
}

#[test]
fn anything_else_is_refused() {
    for (from, to) in [
        ("{\"authid\"", "{ \"authid\""),
        ("\",\"authtype", "\", \"authtype"),
        ("\"authid\":\"ann\",", ""),
        (
            "\"authid\":\"ann\",",
            "\"authid\":\"ann\",\"authid\":\"ann\",",
        ),
        (
            "\"authid\":\"ann\",\"authtype\":\"person\"",
            "\"authtype\":\"person\",\"authid\":\"ann\"",
        ),
        ("\"ann\"", "\"\""),
        ("\"ann\"", "\"a\\u006en\""),
        ("\"ann\"", "\"änn\""),
        ("\"ann\"", "7"),
        ("\"authid\"", "\"authid2\""),
        ("ticket 7", "ticket \t7"),
        ("\"1.0\"", "\"1.1\""),
        ("evidence", "forever"),
        ("application/json", SEALED),
        ("\"retention\":\"evidence\"", "\"retention\":\"personal\""),
        ("00000000000000000007", "7"),
        ("/chains/acme", "/chains/platform/x"),
        ("/ledgers/", "ledgers/"),
        ("2023-11-14T22:13:20.000Z", "2023-11-14T22:13:20Z"),
        ("registered.v1", "registered"),
        ("\"site\":\"www\"", "\"site\":\"WWW\""),
    ] {
        refuses(from, to);
    }
    let bytes = sample().to_bytes();
    for end in 0..bytes.len() {
        assert!(Header::parse(&bytes[..end]).is_err());
    }
    let mut long = sample();
    long.correlationid = Some("x".repeat(129));
    assert!(Header::parse(&long.to_bytes()).is_err());
    assert!(matches!(
        Header::parse(&vec![b'{'; limits::HEADER_BYTES_MAX + 1]),
        Err(Error::TooLarge(_))
    ));
}
