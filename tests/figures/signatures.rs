//! Signatures inside bodies, checked as the auditor checks them, beside the bare check of the same signatures.

use crate::Run;
use crate::corpus::random;
use crate::report::Figure;
use crate::writing::per_second;
use anyhow::{Result, bail};
use countersign_events::{Beat, Event, beat};
use countersign_evidence::action::Grade;
use countersign_evidence::message::{Head, Heartbeat, Readiness, Stream, TreeHead};
use countersign_evidence::wire::{OrDash, V1};
use countersign_evidence::{ConnectorMessage, Mode, PublicKey, VerifiedMessage, dsse};
use countersign_ids::{Digest, EventType, LedgerId, Nonce};
use ed25519_dalek::{Signature, SigningKey, VerifyingKey};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Heartbeats that are checked.
const BEATS: u64 = 4_000;
/// How often, in turns.
const ROUNDS: u64 = 5;

/// Signatures per second.
pub(crate) fn signatures(_: &Run) -> Result<Vec<Figure>> {
    let key = SigningKey::from_bytes(&random()?);
    let bodies = (0..BEATS)
        .map(|counter| body(&key, counter))
        .collect::<Result<Vec<_>>>()?;
    let bare = bodies
        .iter()
        .map(|body| message(body))
        .collect::<Result<Vec<_>>>()?;
    let (public, verifying) = (PublicKey::from(&key), key.verifying_key());
    let (mut ours, mut limit) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..ROUNDS {
        let began = Instant::now();
        for body in &bodies {
            let Event::Beat(Beat::Received(received)) = Event::decode(&received()?, body)? else {
                bail!("no heartbeat");
            };
            black_box(VerifiedMessage::verify(&received.envelope, &public)?);
        }
        ours += began.elapsed();
        limit += check(&verifying, &bare)?;
    }
    Ok(vec![
        Figure::plain("signatures in bodies", "signatures/s", per_second(BEATS * ROUNDS, ours))
            .beside("bare verify_strict of the same", per_second(BEATS * ROUNDS, limit))
            .at_least(0.8)
            .how(format!(
                "{BEATS} heartbeats: body decoded, envelope read, signature checked, payload read; {ROUNDS} turns, one thread"
            )),
    ])
}

fn received() -> Result<EventType> {
    Ok(EventType::new("beat", "received", 1)?)
}

/// The body of a heartbeat as it is stored.
fn body(key: &SigningKey, counter: u64) -> Result<Vec<u8>> {
    let tree = TreeHead {
        size: counter,
        root: Digest::from_bytes(random()?),
    };
    let head = Head {
        v: V1,
        ledger: LedgerId::from_bytes([7; 32]),
        chain: "acme.beats".parse()?,
        site: "shop".parse()?,
        connector: "shop".parse()?,
        generation: 1,
        document_digest: Digest::from_bytes(random()?),
        checkpoint: tree,
        keys_version: 1,
    };
    let beat = Heartbeat {
        head,
        stream: Stream::Beat,
        counter,
        boot: Nonce::from_bytes(random()?),
        instance: Nonce::from_bytes(random()?),
        previous: OrDash((counter > 0).then_some(Digest::from_bytes(random()?))),
        inventory: Digest::from_bytes(random()?),
        readiness: Readiness {
            grade: Grade::Exact,
            rollback_digest: OrDash(Some(Digest::from_bytes(random()?))),
        },
        mode: Mode::Normal,
    };
    let envelope = ConnectorMessage::Heartbeat(beat).sign(key)?;
    Ok(Event::from(beat::Received { envelope }).encode()?)
}

/// What was signed, and the signature.
fn message(body: &[u8]) -> Result<(Vec<u8>, Signature)> {
    let Event::Beat(Beat::Received(received)) = Event::decode(&received()?, body)? else {
        bail!("no heartbeat");
    };
    let envelope = received.envelope;
    let signed = dsse::pae(envelope.payload_type, envelope.unverified_payload());
    match envelope.signatures.as_slice() {
        [one] => Ok((signed, Signature::from_bytes(one.sig.as_bytes()))),
        _ => bail!("not one signature"),
    }
}

fn check(key: &VerifyingKey, messages: &[(Vec<u8>, Signature)]) -> Result<Duration> {
    let began = Instant::now();
    for (message, signature) in messages {
        key.verify_strict(black_box(message), signature)?;
    }
    Ok(began.elapsed())
}
