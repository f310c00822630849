//! Everything that is signed is read in one way only: strict members, canonical bytes, the signature of the right key.

#![expect(
    clippy::unwrap_used,
    reason = "tables and helpers of tests, outside of test functions"
)]

mod world;

use countersign_evidence::action::{ActionKind, ViewError};
use countersign_evidence::document::{DocumentError, FloorRule, KindOrAny};
use countersign_evidence::dsse::{DsseError, Envelope, PayloadType, pae};
use countersign_evidence::enrolment;
use countersign_evidence::statement::{Alg, StatementError};
use countersign_evidence::wire::{self, Base64, JsonObject, OrDash, PublicKey, SignatureBytes};
use countersign_evidence::{PinnedDocument, SignedStatement, Statement, ViewDocument, codes};
use countersign_ids::LedgerId;
use world::*;

#[test]
fn the_pre_authentication_encoding_counts_bytes() {
    let encoded = pae(PayloadType::Keys, "ü".as_bytes());
    assert_eq!(
        encoded,
        "DSSEv1 40 application/vnd.countersign.keys.v1+json 2 ü".as_bytes()
    );
}

#[test]
fn an_envelope_has_one_signature_per_required_key_and_no_other() {
    let sign = |seeds: &[u8]| {
        let keys: Vec<_> = seeds.iter().map(|seed| key(*seed)).collect();
        Envelope::sign(PayloadType::Order, b"{}".to_vec(), &keys)
    };
    let verify = |envelope: &Envelope, seeds: &[u8]| {
        let keys: Vec<PublicKey> = seeds.iter().map(|seed| public(*seed)).collect();
        envelope
            .verify(PayloadType::Order, &keys)
            .map(<[u8]>::to_vec)
    };
    for (signed, required, good) in [
        (&[1_u8][..], &[1_u8][..], true),
        (&[1, 2], &[2, 1], true),
        (&[1], &[2], false),
        (&[1], &[1, 2], false),
        (&[1, 2], &[1], false),
        (&[1, 1], &[1, 2], false),
        (&[1, 1], &[1], false),
        (&[], &[], false),
    ] {
        assert_eq!(
            verify(&sign(signed), required).is_ok(),
            good,
            "{signed:?} for {required:?}"
        );
    }
    let mut other = sign(&[1]);
    other.payload_type = PayloadType::Outcome;
    let found = other.verify(PayloadType::Order, &[public(1)]).unwrap_err();
    assert!(matches!(found, DsseError::WrongType { .. }));
    assert!(
        other.verify(PayloadType::Outcome, &[public(1)]).is_err(),
        "the type is signed"
    );
    let mut hint = sign(&[1]);
    hint.signatures
        .iter_mut()
        .for_each(|signature| signature.keyid = digest(0));
    assert!(verify(&hint, &[1]).is_ok(), "a hint is read by no verdict");
    let mut changed = sign(&[1]);
    changed.payload.0.push(b' ');
    assert!(verify(&changed, &[1]).is_err());
}

#[test]
fn an_envelope_that_stands_alone_is_canonical_and_has_no_other_member() {
    let bytes = Envelope::sign(PayloadType::Order, b"{}".to_vec(), [&key(1)])
        .to_bytes()
        .unwrap();
    Envelope::parse(&bytes).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    for bad in [
        text.replace("{\"payload\"", "{ \"payload\""),
        text.replace("{\"payload\"", "{\"extra\":1,\"payload\""),
        text.replace("e30=", "e30"),
        text.replace("e30=", "e31="),
        text.replace("order.v1", "order.v2"),
        text.replace("{\"payload\":\"e30=\",", "{"),
        text.replace("==\"", "=\""),
    ] {
        assert_ne!(bad, text);
        assert!(Envelope::parse(bad.as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn weak_keys_and_malleable_signatures_verify_nothing() {
    let mut identity = [0; 32];
    identity[0] = 1;
    let mut signature = [0; 64];
    signature[0] = 1;
    let weak = PublicKey::from_bytes(identity);
    assert!(!weak.verifies(b"anything", &SignatureBytes::from_bytes(signature)));
    let good = SignatureBytes::sign(&key(1), b"m");
    assert!(public(1).verifies(b"m", &good));
    // S + L is the same point with another encoding.
    let order: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut malleable = *good.as_bytes();
    let mut carry = 0_u16;
    for (byte, more) in malleable.iter_mut().skip(32).zip(order) {
        let sum = u16::from(*byte) + u16::from(more) + carry;
        (*byte, carry) = (u8::try_from(sum & 0xff).unwrap(), sum >> 8);
    }
    assert!(!public(1).verifies(b"m", &SignatureBytes::from_bytes(malleable)));
}

fn signed() -> SignedStatement {
    statement("mira", &object()).sign(&key(MIRA)).unwrap()
}

#[test]
fn a_statement_verifies_against_the_credential_that_it_names() {
    let mira = credential("mira", MIRA);
    let verified = signed().verify(&mira).unwrap();
    assert_eq!(*verified.digest(), signed().digest());
    let with = |change: fn(&mut SignedStatement)| {
        let mut signed = signed();
        change(&mut signed);
        signed.verify(&credential("mira", MIRA)).unwrap_err().code()
    };
    assert_eq!(with(|s| s.alg = Alg::Ssh), codes::STATEMENT_CREDENTIAL);
    assert_eq!(
        with(|s| s.statement = s.statement.replace("approve\"", "deny\"")),
        codes::STATEMENT_SIGNATURE
    );
    assert_eq!(
        with(|s| s.signature = Base64(vec![0; 64])),
        codes::STATEMENT_SIGNATURE
    );
    assert_eq!(
        with(|s| s.signature = Base64(vec![0; 63])),
        codes::STATEMENT_SIGNATURE
    );
    assert_eq!(
        with(|s| s.client_data = Some(Base64(vec![]))),
        codes::STATEMENT_MALFORMED
    );
    assert_eq!(
        with(|s| s.statement = s.statement.replace("{\"action\"", "{ \"action\"")),
        codes::STATEMENT_MALFORMED
    );
    assert_eq!(
        signed()
            .verify(&credential("noor", NOOR))
            .unwrap_err()
            .code(),
        codes::STATEMENT_CREDENTIAL
    );
    let mut short = mira.clone();
    short.key = Base64(vec![1; 31]);
    assert!(matches!(
        signed().verify(&short),
        Err(StatementError::Key(_))
    ));
    for alg in [Alg::Ssh, Alg::Webauthn] {
        let (mut other, mut enrolled) = (signed(), mira.clone());
        (other.alg, enrolled.alg) = (alg, alg);
        assert_eq!(
            other.verify(&enrolled).unwrap_err().code(),
            codes::ALG_UNSUPPORTED
        );
    }
    // The context stands between an approval and everything else that the same key signs.
    let mut bare = signed();
    bare.signature = Base64(
        SignatureBytes::sign(&key(MIRA), bare.statement.as_bytes())
            .as_bytes()
            .to_vec(),
    );
    assert_eq!(
        bare.verify(&mira).unwrap_err().code(),
        codes::STATEMENT_SIGNATURE
    );
}

#[test]
fn a_statement_is_strict_to_the_byte() {
    let text = signed().statement;
    Statement::parse(text.as_bytes()).unwrap();
    for (from, to) in [
        ("\"v\":1", "\"v\":2"),
        ("\"v\":1", "\"v\":\"1\""),
        ("\"v\":1", "\"v\":1.0"),
        ("\"round\":1", "\"round\":0"),
        ("\"round\":1", "\"round\":-1"),
        ("\"round\":1", "\"round\":01"),
        ("\"round\":1", "\"round\":9007199254740992"),
        ("\"decision\":\"approve\"", "\"decision\":\"Approve\""),
        ("\"decision\":\"approve\"", "\"decision\":\"-\""),
        ("\"scope\":\"action\"", "\"scope\":\"tenant\""),
        ("\"reason_digest\":\"-\",", ""),
        ("\"reason_digest\":\"-\"", "\"reason_digest\":null"),
        ("\"reason_digest\":\"-\"", "\"reason_digest\":\"\""),
        ("{\"action\":", "{\"Action\":1,\"action\":"),
        ("{\"action\":\"a1\"", "{\"action\":\"a1\",\"action\":\"a1\""),
        ("{\"action\":\"a1\"", "{\"action\":\"A1\""),
        ("{\"action\":\"a1\"", "{\"action\":\"\\u0061\\u0031\""),
        (",\"view_digest\"", ",\"va\":1,\"view_digest\""),
        ("\"}", "\"}\n"),
        ("0707", "0A07"),
        (".000Z", "Z"),
        (".000Z", ".000+00:00"),
    ] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "`{from}` is not in the statement");
        assert!(
            Statement::parse(changed.as_bytes()).is_err(),
            "`{from}` as `{to}`"
        );
    }
    assert!(Statement::parse(&[b"\xef\xbb\xbf", text.as_bytes()].concat()).is_err());
    assert!(matches!(
        Statement::parse(&[b' '; 5000]),
        Err(StatementError::TooLarge(5000))
    ));
}

#[test]
fn a_statement_counts_for_a_day_at_most() {
    let day = 24 * 3_600_000;
    for (until, good) in [
        (NOON, true),
        (NOON.plus_millis(day), true),
        (NOON.plus_millis(day + 1), false),
        (NOON.minus_millis(1), false),
    ] {
        let mut statement = statement("mira", &object());
        statement.not_after = until;
        assert_eq!(statement.sign(&key(MIRA)).is_ok(), good, "{until}");
        let bytes = wire::canonical(&statement).unwrap();
        assert_eq!(
            Statement::parse(&bytes).is_ok(),
            good,
            "a reader checks what a writer does: {until}"
        );
    }
}

#[test]
fn an_enrolment_is_proved_by_its_own_key_for_its_own_person_and_ledger() {
    let (credential, proof) = enrolment::enrol(
        &ledger(),
        "mira".parse().unwrap(),
        "laptop".parse().unwrap(),
        &key(MIRA),
    )
    .unwrap();
    let verify = enrolment::verify_enrolment;
    verify(&ledger(), &credential, &proof).unwrap();
    assert!(verify(&LedgerId::from_bytes([9; 32]), &credential, &proof).is_err());
    for change in [
        (|c| c.approver = "noor".parse().unwrap()) as fn(&mut countersign_evidence::Credential),
        |c| c.credential = "phone".parse().unwrap(),
        |c| c.key = Base64(public(NOOR).as_bytes().to_vec()),
        |c| c.key = Base64(vec![1; 33]),
        |c| c.origin = Some("https://example.org".to_owned()),
        |c| c.alg = Alg::Webauthn,
    ] {
        let mut other = credential.clone();
        change(&mut other);
        assert!(verify(&ledger(), &other, &proof).is_err(), "{other:?}");
    }
    let statement = signed();
    assert!(
        verify(&ledger(), &credential, &statement.signature).is_err(),
        "an approval enrols nothing"
    );
}

#[test]
fn a_pinned_document_breaks_no_rule_of_its_own() {
    let bytes = document().to_bytes().unwrap();
    assert_eq!(PinnedDocument::parse(&bytes).unwrap(), document());
    type Change = fn(&mut PinnedDocument);
    let cases: [(&str, Change, DocumentError); 7] = [
        ("version 0", |d| d.version = 0, DocumentError::Version(0)),
        (
            "a first one with a previous",
            |d| d.previous = OrDash::from(digest(1)),
            DocumentError::Version(1),
        ),
        (
            "a second one without",
            |d| d.version = 2,
            DocumentError::Version(2),
        ),
        ("quorum 0", |d| d.quorum = 0, DocumentError::QuorumZero),
        (
            "another genesis",
            |d| d.genesis = public(MIRA),
            DocumentError::Genesis,
        ),
        (
            "a credential twice",
            |d| d.approvers.push(credential("mira", 60)),
            DocumentError::Repeated("mira-key".parse().unwrap()),
        ),
        (
            "one key for two people",
            |d| d.approvers.push(credential("otto", MIRA)),
            DocumentError::Repeated("otto-key".parse().unwrap()),
        ),
    ];
    for (name, change, error) in cases {
        let mut other = document();
        change(&mut other);
        assert_eq!(other.check(), Err(error.clone()), "{name}");
        assert_eq!(
            PinnedDocument::parse(&wire::canonical(&other).unwrap()),
            Err(error),
            "{name}"
        );
    }
}

#[test]
fn a_document_follows_the_one_that_it_names() {
    let first = document();
    let mut second = PinnedDocument {
        version: 2,
        previous: OrDash::from(first.digest().unwrap()),
        ..document()
    };
    second.follows(&first).unwrap();
    assert!(first.follows(&second).is_err());
    second.quorum = 1;
    second.follows(&first).unwrap();
    type Change = fn(&mut PinnedDocument);
    let changes: [Change; 4] = [
        |d| d.version = 3,
        |d| d.previous = OrDash::from(digest(1)),
        |d| d.site = "blog".parse().unwrap(),
        |d| d.chain = "brewery".parse().unwrap(),
    ];
    for change in changes {
        let mut other = second.clone();
        change(&mut other);
        assert_eq!(other.follows(&first), Err(DocumentError::DoesNotFollow));
    }
}

#[test]
fn of_two_floors_the_larger_counts_and_none_is_one() {
    let floor = |rules: &[(&str, u64)]| {
        let rule = |(kind, approvals): &(&str, u64)| FloorRule {
            kind: if *kind == "*" {
                KindOrAny::Any
            } else {
                KindOrAny::Kind(kind.parse().unwrap())
            },
            approvals: *approvals,
        };
        PinnedDocument {
            floor: rules.iter().map(rule).collect(),
            quorum: 3,
            ..document()
        }
    };
    let kind = |kind: &str| kind.parse::<ActionKind>().unwrap();
    for (rules, of, wanted) in [
        (&[][..], "release.publish", 1),
        (&[("*", 0)], "release.publish", 0),
        (&[("*", 2)], "release.publish", 2),
        (&[("*", 2), ("release.publish", 1)], "release.publish", 2),
        (&[("*", 1), ("release.publish", 2)], "release.publish", 2),
        (&[("release.publish", 0)], "release.rollback", 1),
        (&[("*", 1)], "document.replace", 3),
        (&[("*", 4)], "document.replace", 4),
    ] {
        assert_eq!(
            floor(rules).approvals_for(&kind(of)),
            wanted,
            "{rules:?} for {of}"
        );
    }
}

#[test]
fn a_view_document_shows_the_action_that_was_meant() {
    let others = JsonObject::of_strings([("title", "Publish")]);
    let view = ViewDocument::build(&object(), others).unwrap();
    assert_eq!(
        ViewDocument::parse(view.bytes()).unwrap(),
        view,
        "it reads as what was built"
    );
    let action = object().digest().unwrap();
    let open = ViewDocument::open(view.bytes(), &view.digest(), &action).unwrap();
    assert_eq!(
        (open.action(), open.members().text("title")),
        (&object(), Some("Publish"))
    );
    let wrong = ViewDocument::open(view.bytes(), &digest(1), &action);
    assert!(matches!(wrong, Err(ViewError::Digest { .. })));
    let wrong = ViewDocument::open(view.bytes(), &view.digest(), &digest(1));
    assert!(matches!(wrong, Err(ViewError::Action { .. })));
    assert!(ViewDocument::parse(b"{\"title\":\"x\"}").is_err());
    assert!(ViewDocument::parse(b"{\"action\":{}}").is_err());
}

#[test]
fn kinds_of_actions_are_labels_joined_by_dots() {
    for (kind, good) in [
        ("release.publish", true),
        ("x", true),
        ("a.b-2.c", true),
        ("", false),
        ("a..b", false),
        (".a", false),
        ("a.", false),
        ("A", false),
        ("2.a", false),
        ("a b", false),
        ("*", false),
    ] {
        assert_eq!(kind.parse::<ActionKind>().is_ok(), good, "`{kind}`");
    }
    assert!("a".repeat(64).parse::<ActionKind>().is_err());
}
