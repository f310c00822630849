//! What is hashed or signed: headers, bodies, notes, proofs, statements, documents, orders, deliveries.

use super::refused;
use countersign_chain::checkpoint::{Checkpoint, TlogProof};
use countersign_chain::note::{Note, Verifier};
use countersign_chain::{Header, json, merkle};
use countersign_events::Event;
use countersign_evidence::checks::Opened;
use countersign_evidence::{
    ConnectorMessage, Delivery, Envelope, Order, PinnedDocument, SignedStatement, Statement,
};
use countersign_ids::EventType;

/// E: what is read is written again byte for byte.
pub(super) fn header(bytes: &[u8]) -> String {
    match Header::parse(bytes) {
        Ok(header) => {
            assert_eq!(
                header.to_bytes(),
                bytes,
                "a header is read that is not canonical"
            );
            format!("header of {}", header.event_type.family())
        }
        Err(error) => refused(&error),
    }
}

/// A type on the first line, B behind it. What is decoded and encoded again means the same.
pub(super) fn body(bytes: &[u8]) -> String {
    let (first, body) = match bytes.iter().position(|byte| *byte == b'\n') {
        Some(end) => (bytes.get(..end), bytes.get(end + 1..)),
        None => (None, Some(bytes)),
    };
    let body = body.unwrap_or_default();
    if let Err(error) = json::check(body) {
        assert!(json::parse(body).is_err(), "parsed, but refused by check");
        return refused(&error);
    }
    assert!(json::parse(body).is_ok(), "checked, but not parsed");
    let event_type: Option<EventType> = first
        .and_then(|first| std::str::from_utf8(first).ok())
        .and_then(|first| first.parse().ok());
    let Some(event_type) = event_type else {
        return "an object of no type".to_owned();
    };
    match Event::decode(&event_type, body) {
        Ok(event) => {
            let encoded = event.encode();
            assert!(encoded.is_ok(), "decoded, but not encoded");
            let again = Event::decode(&event_type, &encoded.unwrap_or_default());
            assert!(
                again.is_ok_and(|again| again == event),
                "another event after encoding"
            );
            format!("event {event_type}")
        }
        Err(error) => refused(&error),
    }
}

/// A signed note, the checkpoint in it, or a verifier's key.
pub(super) fn note(bytes: &[u8]) -> String {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(verifier) = Verifier::parse(text)
    {
        assert_eq!(
            verifier.to_string(),
            text,
            "a key is read that is not written so"
        );
        return "verifier".to_owned();
    }
    match Note::parse(bytes) {
        Ok(note) => match Checkpoint::parse(note.text()) {
            Ok(checkpoint) => {
                assert_eq!(
                    checkpoint.to_string(),
                    note.text(),
                    "a checkpoint is read that is not written so"
                );
                "checkpoint".to_owned()
            }
            Err(error) => format!("note, {}", refused(&error)),
        },
        Err(error) => refused(&error),
    }
}

/// An inclusion proof with its checkpoint.
pub(super) fn proof(bytes: &[u8]) -> String {
    match TlogProof::parse(bytes) {
        Ok(proof) => {
            assert_eq!(
                proof.to_string().as_bytes(),
                bytes,
                "a proof is read that is not written so"
            );
            let note = Note::parse(proof.checkpoint.as_bytes());
            let opened = note
                .ok()
                .and_then(|note| Checkpoint::parse(note.text()).ok());
            let Some(checkpoint) = opened else {
                return "proof without a checkpoint".to_owned();
            };
            let leaf = merkle::leaf_hash(b"leaf");
            let (size, root) = (checkpoint.head.size, checkpoint.head.root);
            match merkle::verify_inclusion(&leaf, proof.index, size, &proof.hashes, &root) {
                Ok(()) => "proof that holds".to_owned(),
                Err(error) => format!("proof, {}", refused(&error)),
            }
        }
        Err(error) => refused(&error),
    }
}

/// A statement, alone or with its signature.
pub(super) fn statement(bytes: &[u8]) -> String {
    if let Ok(signed) = serde_json::from_slice::<SignedStatement>(bytes) {
        return match signed.unverified() {
            Ok(_) => "signed statement".to_owned(),
            Err(error) => format!("signed, {}", refused(&error)),
        };
    }
    match Statement::parse(bytes) {
        Ok(statement) => {
            let written = statement.to_bytes();
            assert!(
                written.is_ok_and(|written| written == bytes),
                "a statement is read that is not written so"
            );
            "statement".to_owned()
        }
        Err(error) => refused(&error),
    }
}

/// A document that a site pins.
pub(super) fn document(bytes: &[u8]) -> String {
    match PinnedDocument::parse(bytes) {
        Ok(document) => {
            let written = document.to_bytes();
            assert!(
                written.is_ok_and(|written| written == bytes),
                "a document is read that is not written so"
            );
            assert!(
                document.check().is_ok(),
                "a document is read that does not hold"
            );
            "document".to_owned()
        }
        Err(error) => refused(&error),
    }
}

/// An envelope with what is in it, or an order alone.
pub(super) fn order(bytes: &[u8]) -> String {
    if let Ok(envelope) = Envelope::parse(bytes) {
        let payload = envelope.unverified_payload();
        let message = ConnectorMessage::parse(envelope.payload_type, payload);
        return match (Order::parse(payload), message) {
            (Ok(_), _) => "envelope of an order".to_owned(),
            (Err(_), Ok(_)) => format!("envelope of {}", envelope.payload_type.as_str()),
            (Err(order), Err(message)) => format!("{}; {}", refused(&order), refused(&message)),
        };
    }
    match Order::parse(bytes) {
        Ok(order) => {
            let written = json::to_canonical(&order);
            assert!(
                written.is_ok_and(|written| written == bytes),
                "an order is read that is not written so"
            );
            "order".to_owned()
        }
        Err(error) => refused(&error),
    }
}

/// What a poll is answered with.
pub(super) fn delivery(bytes: &[u8]) -> String {
    match serde_json::from_slice::<Delivery>(bytes) {
        Ok(delivery) => match Opened::open(&delivery) {
            Ok(_) => "delivery".to_owned(),
            Err(refusal) => refused(&refusal),
        },
        Err(error) => refused(&error),
    }
}
