//! One valid event of every type: for tests of whoever reads events, and the dictionary of fuzzers.
//!
//! Signatures in them are bytes of the right form, not signatures.

use countersign_chain::Base;
use countersign_evidence::action::{ActionObject, Grade, Reversibility, RollbackPlan};
use countersign_evidence::document::{Credential, FloorRule, KindOrAny, PinnedDocument};
use countersign_evidence::dsse::{Envelope, EnvelopeSignature, PayloadType};
use countersign_evidence::message::TreeHead;
use countersign_evidence::statement::{Alg, SignedStatement};
use countersign_evidence::wire::{
    Base64, JsonObject, OrDash, PublicKey, SignatureBytes, V1, WireError,
};
use countersign_ids::{AuthType, Digest, EventHash, LedgerId, PlatformHead, Salt, Sequence, Time};

use crate::evaluation::{EntityName, Evaluation, Ruling, Tally};
use crate::words::{ConnectorKind, Environment, ExpiredFrom, Risk, SiteOrAll, TokenRole, Verdict};
use crate::{
    Event, action, approver, beat, chain, clock, connector, deploy, freeze, heads, keys, platform,
};
use crate::{reason, remark, retention, site, tenant, token};

const GENESIS: [u8; 32] = [9; 32];
const NOON: Time = Time::from_unix_millis(1_790_000_000_000);

fn digest(byte: u8) -> Digest {
    Digest::from_bytes([byte; 32])
}

fn ledger() -> LedgerId {
    countersign_chain::ledger_id(&GENESIS)
}

fn envelope(payload_type: PayloadType) -> Envelope {
    Envelope {
        payload: Base64(b"{\"v\":1}".to_vec()),
        payload_type,
        signatures: vec![EnvelopeSignature {
            keyid: digest(1),
            sig: SignatureBytes::from_bytes([7; 64]),
        }],
    }
}

fn evaluation(tally: Tally, ruling: Ruling) -> Evaluation {
    let name = |kind: &str, id: &str| EntityName {
        kind: format!("Countersign::{kind}"),
        id: id.to_owned(),
    };
    Evaluation {
        tally,
        principal: name("Person", "petra"),
        action: name("Action", "dispatch"),
        resource: name("Change", "a1"),
        context: JsonObject::of_strings([("containment", "normal")]),
        ruling,
        policies: vec!["publish-needs-a-person".to_owned()],
        errors: Vec::new(),
    }
}

fn signed(decision: &str) -> SignedStatement {
    SignedStatement {
        alg: Alg::Ed25519,
        statement: format!("{{\"decision\":\"{decision}\"}}"),
        signature: Base64(vec![7; 64]),
        authenticator_data: None,
        client_data: None,
    }
}

/// One valid event of every type, in the order of the declarations.
///
/// # Errors
/// Never: the names are constants, checked by a test.
pub fn samples() -> Result<Vec<Event>, WireError> {
    let mut events = platform_events()?;
    events.extend(chain_events()?);
    events.extend(tenant_events()?);
    events.extend(action_events()?);
    events.extend(outcome_events()?);
    events.push(
        reason::Given {
            salt: Salt::from_bytes([3; 16]),
            reason: "the menu changes on Monday".to_owned(),
        }
        .into(),
    );
    events.extend(removal_events()?);
    events.push(
        beat::Received {
            envelope: envelope(PayloadType::Heartbeat),
        }
        .into(),
    );
    Ok(events)
}

fn removal_events() -> Result<Vec<Event>, WireError> {
    let chain = "bakery".parse::<countersign_ids::TenantId>()?.chain();
    let ranges = |from, to| {
        vec![retention::Range {
            chain: chain.clone(),
            from,
            to,
        }]
    };
    let rows = |byte| {
        vec![retention::RowsDigest {
            projection: "timeline".to_owned(),
            version: 1,
            digest: digest(byte),
        }]
    };
    Ok(vec![
        remark::Made {
            site: "shop".parse()?,
            text: "the delivery van blocks the door until noon".to_owned(),
        }
        .into(),
        retention::Set {
            operational_days: 30,
        }
        .into(),
        retention::BeatsSet { beats_days: 90 }.into(),
        retention::Expired {
            until: NOON,
            ranges: ranges(3, 40),
        }
        .into(),
        retention::Erased {
            datasubject: "d1".parse()?,
            ranges: ranges(7, 7),
        }
        .into(),
        retention::Removed {
            ordered: 41,
            bodies: 2,
            before: rows(4),
            after: rows(4),
        }
        .into(),
    ])
}

fn chain_events() -> Result<Vec<Event>, WireError> {
    let tenant: countersign_ids::TenantId = "bakery".parse()?;
    Ok(vec![
        chain::Announced {
            chain: tenant.chain(),
            number: 0,
        }
        .into(),
        chain::Opened {
            chain: tenant.chain(),
            number: 0,
        }
        .into(),
        chain::Pruned {
            chain: tenant.beats(),
            policy: 12,
            until: NOON,
            heads: 40,
            base: Base {
                cut: 256,
                head: EventHash::from_bytes([6; 32]),
                time: NOON,
                families: [("beat".parse()?, 255), ("chain".parse()?, 1)].into(),
                platformhead: PlatformHead {
                    sequence: Sequence::new(7),
                    hash: EventHash::from_bytes([4; 32]),
                },
                tree: vec![digest(3)],
            },
        }
        .into(),
        chain::Cleared {
            chain: tenant.beats(),
            ordered: 41,
            events: 256,
        }
        .into(),
    ])
}

fn platform_events() -> Result<Vec<Event>, WireError> {
    let (mira, laptop) = ("mira".parse()?, "laptop".parse()?);
    let tenant: countersign_ids::TenantId = "bakery".parse()?;
    Ok(vec![
        keys::Created {
            envelope: envelope(PayloadType::Keys),
        }
        .into(),
        keys::Changed {
            envelope: envelope(PayloadType::Keys),
        }
        .into(),
        heads::Recorded {
            size: 1,
            root: digest(2),
            keys: heads::KeysHead {
                count: 1,
                last: EventHash::from_bytes([4; 32]),
            },
            blobs: vec![digest(5)],
        }
        .into(),
        approver::Enrolled::new(credential()?, Base64(vec![7; 64])).into(),
        approver::Removed {
            approver: mira,
            credential: laptop,
        }
        .into(),
        token::Issued {
            token: "t1".parse()?,
            secret_digest: digest(6),
            tenant: OrDash::from(tenant),
            role: TokenRole::Proposer,
            kind: AuthType::Agent,
            actor: "petra".parse()?,
            owner: OrDash(Some("mira".parse()?)),
        }
        .into(),
        token::Revoked {
            token: "t1".parse()?,
        }
        .into(),
        clock::SteppedBack {
            from: NOON,
            to: NOON.minus_millis(5000),
        }
        .into(),
    ])
}

fn credential() -> Result<Credential, WireError> {
    Ok(Credential {
        approver: "mira".parse()?,
        credential: "laptop".parse()?,
        alg: Alg::Ed25519,
        key: Base64(vec![8; 32]),
        origin: None,
        rp_id: None,
    })
}

fn document() -> Result<PinnedDocument, WireError> {
    Ok(PinnedDocument {
        v: V1,
        ledger: ledger(),
        chain: "bakery".parse()?,
        site: "shop".parse()?,
        version: 1,
        previous: OrDash::NONE,
        approvers: vec![credential()?],
        floor: vec![FloorRule {
            kind: KindOrAny::Any,
            approvals: 1,
        }],
        break_glass: false,
        quorum: 1,
        genesis: PublicKey::from_bytes(GENESIS),
    })
}

fn tenant_events() -> Result<Vec<Event>, WireError> {
    let tenant: countersign_ids::TenantId = "bakery".parse()?;
    let at: countersign_ids::SiteId = "shop".parse()?;
    Ok(vec![
        tenant::Named {
            tenant: tenant.clone(),
            name: "The Bakery".to_owned(),
        }
        .into(),
        tenant::Created {
            tenant,
            name: "The Bakery".to_owned(),
        }
        .into(),
        platform::Noted {
            header: "{}".to_owned(),
            salt: Salt::from_bytes([3; 16]),
            body: "{\"approver\":\"mira\",\"credential\":\"laptop\"}".to_owned(),
        }
        .into(),
        site::Registered {
            site: at.clone(),
            name: "The shop".to_owned(),
            connector: ConnectorKind::Static,
            environment: Environment::Production,
        }
        .into(),
        site::DocumentPinned {
            document: document()?,
        }
        .into(),
        site::Observed {
            envelope: envelope(PayloadType::Message),
        }
        .into(),
        connector::Invited {
            site: at.clone(),
            code_digest: digest(10),
            expires: NOON,
        }
        .into(),
        connector::Paired {
            envelope: envelope(PayloadType::Message),
        }
        .into(),
        deploy::ReleaseAdded {
            site: at.clone(),
            release: digest(11),
            label: "2".to_owned(),
            attachments: vec![digest(11), digest(12)],
        }
        .into(),
        freeze::Declared {
            freeze: "holidays".parse()?,
            site: SiteOrAll::All,
            from: NOON,
            until: NOON.plus_millis(86_400_000),
        }
        .into(),
        freeze::Lifted {
            freeze: "holidays".parse()?,
        }
        .into(),
    ])
}

/// A rollback plan: nothing stored holds one whole but a message, so it is no event.
pub fn rollback_plan() -> Result<RollbackPlan, WireError> {
    Ok(RollbackPlan {
        v: V1,
        site: "shop".parse()?,
        connector: "static".to_owned(),
        restore: OrDash::from(digest(13)),
        grade: Grade::Exact,
        lost: Vec::new(),
    })
}

fn proposed() -> Result<action::Proposed, WireError> {
    let plan = JsonObject::of_strings([
        ("from", digest(13).to_string()),
        ("to", digest(11).to_string()),
    ]);
    let action_object = ActionObject {
        v: V1,
        site: "shop".parse()?,
        kind: "release.publish".parse()?,
        parameters: JsonObject::of_strings([("release", digest(11).to_string())]),
        precondition: JsonObject::of_strings([("current", digest(13).to_string())]),
        plan_digest: plan.digest()?,
        reversibility: Reversibility::Reversible,
        rollback_digest: OrDash::from(rollback_plan()?.digest()?),
        expires: NOON,
    };
    Ok(action::Proposed {
        action: "a1".parse()?,
        action_digest: action_object.digest()?,
        action_object,
        plan,
        title: "Publish release 2".to_owned(),
        risk: Risk::Medium,
        blast_radius: 3,
        proposer_owner: OrDash::NONE,
        reason_digest: OrDash::from(digest(15)),
        attachments: vec![digest(11)],
    })
}

fn action_events() -> Result<Vec<Event>, WireError> {
    let id: countersign_ids::ActionId = "a1".parse()?;
    let action = || id.clone();
    let (policy_digest, entities_digest, view_digest) = (digest(16), digest(17), digest(18));
    let cedar_version = || "4.14.1".to_owned();
    let reasons = || vec!["publishing needs one person (publish-needs-a-person)".to_owned()];
    Ok(vec![
        proposed()?.into(),
        action::Assessed {
            action: action(),
            round: 1,
            verdict: Verdict::NeedsApproval,
            needed: 1,
            evaluations: vec![
                evaluation(Tally::Empty, Ruling::Deny),
                evaluation(Tally::Saturated, Ruling::Permit),
            ],
            policy_digest,
            cedar_version: cedar_version(),
            entities_digest,
            view_digest,
            rollback_digest: OrDash::from(digest(19)),
            reasons: reasons(),
            blobs: vec![policy_digest, entities_digest, view_digest],
        }
        .into(),
        action::Approved {
            action: action(),
            round: 1,
            signed: signed("approve"),
        }
        .into(),
        action::Rejected {
            action: action(),
            round: 1,
            signed: signed("deny"),
        }
        .into(),
        action::ApprovalWithdrawn {
            action: action(),
            round: 1,
            signed: signed("withdraw"),
        }
        .into(),
        action::Withdrawn {
            action: action(),
            reason_digest: OrDash::NONE,
        }
        .into(),
        action::Revoked {
            action: action(),
            reason_digest: OrDash::NONE,
        }
        .into(),
        action::Authorized {
            action: action(),
            round: 1,
            envelope: envelope(PayloadType::Order),
            evaluations: vec![evaluation(Tally::Votes, Ruling::Permit)],
            policy_digest,
            cedar_version: cedar_version(),
            entities_digest,
            reasons: reasons(),
            blobs: vec![policy_digest, entities_digest],
        }
        .into(),
    ])
}

fn outcome_events() -> Result<Vec<Event>, WireError> {
    let id: countersign_ids::ActionId = "a1".parse()?;
    let outcome = || envelope(PayloadType::Outcome);
    let action = || id.clone();
    Ok(vec![
        action::Delivered {
            action: action(),
            order_digest: digest(20),
            checkpoint: TreeHead {
                size: 12,
                root: digest(21),
            },
        }
        .into(),
        action::Accepted {
            action: action(),
            envelope: outcome(),
        }
        .into(),
        action::Refused {
            action: action(),
            envelope: outcome(),
        }
        .into(),
        action::Succeeded {
            action: action(),
            envelope: outcome(),
        }
        .into(),
        action::Failed {
            action: action(),
            envelope: outcome(),
        }
        .into(),
        action::Undone {
            action: action(),
            envelope: outcome(),
        }
        .into(),
        action::Expired {
            action: action(),
            from: ExpiredFrom::Waiting,
        }
        .into(),
        action::Unresolved { action: action() }.into(),
    ])
}

/// The body of the sample of every type, with its bytes: what fuzzers start from.
pub fn dictionary() -> Result<Vec<(String, Vec<u8>)>, WireError> {
    samples()?
        .into_iter()
        .map(|event| Ok((event.event_type().to_string(), event.encode()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DecodeError, all, generate};
    use std::collections::BTreeSet;

    #[test]
    fn there_is_one_sample_of_every_type_and_each_is_read_back_as_it_was_written() {
        let events = samples().unwrap();
        let sampled: Vec<String> = events
            .iter()
            .map(|event| event.event_type().to_string())
            .collect();
        let declared: BTreeSet<String> = all().map(|spec| spec.event_type.to_string()).collect();
        assert_eq!(sampled.iter().cloned().collect::<BTreeSet<_>>(), declared);
        assert_eq!(sampled.len(), declared.len(), "one sample of each");
        for event in events {
            let bytes = event.encode().unwrap();
            assert_eq!(Event::decode(&event.event_type(), &bytes).unwrap(), event);
            countersign_chain::json::check(&bytes).unwrap();
        }
    }

    #[test]
    fn every_sample_fits_its_schema_and_no_schema_takes_an_unknown_member() {
        for event in samples().unwrap() {
            let schema = generate::schema(event.spec());
            let validator = jsonschema::draft202012::new(&schema).unwrap();
            let mut body: serde_json::Value =
                serde_json::from_slice(&event.encode().unwrap()).unwrap();
            let fits = validator.validate(&body).map_err(|error| error.to_string());
            assert_eq!(fits, Ok(()), "{}", event.event_type());
            body["surprise"] = 1.into();
            assert!(
                !validator.is_valid(&body),
                "{} takes an unknown member",
                event.event_type()
            );
            let bytes = serde_json::to_vec(&body).unwrap();
            assert!(matches!(
                Event::decode(&event.event_type(), &bytes),
                Err(DecodeError::Malformed { .. })
            ));
        }
    }

    #[test]
    fn a_missing_member_is_refused_by_schema_and_decoder_alike() {
        for event in samples().unwrap() {
            let validator = jsonschema::draft202012::new(&generate::schema(event.spec())).unwrap();
            let body: serde_json::Value = serde_json::from_slice(&event.encode().unwrap()).unwrap();
            for name in body.as_object().unwrap().keys() {
                let mut less = body.clone();
                less.as_object_mut().unwrap().remove(name);
                let bytes = serde_json::to_vec(&less).unwrap();
                let decoded = Event::decode(&event.event_type(), &bytes).is_ok();
                assert_eq!(
                    decoded,
                    validator.is_valid(&less),
                    "{} without `{name}`",
                    event.event_type()
                );
                assert!(!decoded, "{} without `{name}`", event.event_type());
            }
        }
    }

    #[test]
    fn unknown_types_and_bodies_that_are_no_strict_json_are_told_apart() {
        let unknown = "dev.countersign.action.dreamed.v1".parse().unwrap();
        assert!(matches!(
            Event::decode(&unknown, b"{}"),
            Err(DecodeError::Unknown(_))
        ));
        let later = "dev.countersign.action.unresolved.v2".parse().unwrap();
        assert!(matches!(
            Event::decode(&later, b"{}"),
            Err(DecodeError::Unknown(_))
        ));
        let known = "dev.countersign.action.unresolved.v1".parse().unwrap();
        for body in [
            &b"{\"action\":\"a\",\"action\":\"b\"}"[..],
            b"{\"action\":\"A\"}",
            b"[]",
            b"",
            b"{\"action\":1}",
            b"\xef\xbb\xbf{\"action\":\"a\"}",
        ] {
            assert!(
                matches!(
                    Event::decode(&known, body),
                    Err(DecodeError::Malformed { .. })
                ),
                "{body:?}"
            );
        }
        assert!(Event::decode(&known, b"{\"action\":\"a\"}").is_ok());
    }
}
