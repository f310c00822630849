//! What connectors ask: pairing, heartbeats, observations and outcomes, blobs. Orders are [`crate::delivery`].
//!
//! A connector has no token: every message is verified against the key that its site's chain names, and its counter is the
//! name of the command for ever, so a repeated message gets the first answer and no other message gets any.

use std::sync::Arc;

use countersign_chain::request_digest;
use countersign_domain::{
    Command as TenantCommand, PairConnector, RecordObservation, RecordOutcome, Rejection,
    pairing_terms,
};
use countersign_evidence::dsse::DsseError;
use countersign_evidence::message::{MessageError, TreeHead};
use countersign_evidence::wire::ProofHash;
use countersign_evidence::{ConnectorMessage, Envelope, PublicKey, VerifiedMessage};
use countersign_ids::{ConnectorId, Digest, TenantId, Time, limits};
use countersign_transport::{
    Accepted, BeatAnswer, Containment, PairReceipt, PairingCode, PairingInfo,
};

use crate::beats::BeatsFold;
use crate::engine::Decided;
use crate::service::{Inner, connector_actor, counted, written};
use crate::{Error, Service};

/// How long a connector may go on fetching orders after a heartbeat.
pub const LEASE_MILLIS: u64 = 90_000;

/// A message whose signature is the paired connector's, and where it belongs.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) tenant: TenantId,
    pub(crate) message: VerifiedMessage,
}

impl Service {
    /// What a pairing code is for; the code stays usable.
    ///
    /// # Errors
    /// The code is not one of this ledger, was used, or is too old.
    pub async fn pairing(&self, code: &str) -> Result<PairingInfo, Error> {
        let code = self.inner.code(code)?;
        let (inner, now) = (&self.inner, self.inner.now());
        let terms = || {
            inner.tenant(code.tenant(), |fold| {
                pairing_terms(
                    &fold.tenant,
                    code.site(),
                    &inner.genesis,
                    &code.digest(),
                    now,
                )
            })
        };
        // Nothing is written for a code that was never given.
        if let Err(unknown @ Rejection::PairingCodeUnknown { .. }) = terms()? {
            return Err(unknown.into());
        }
        inner.note_platform(code.tenant()).await?;
        let terms = terms()??;
        Ok(PairingInfo {
            ledger: *inner.id(),
            genesis_key: inner.genesis,
            keys: inner.key_statements(0)?,
            tenant: code.tenant().clone(),
            site: code.site().clone(),
            document: terms.document,
            connector: terms.connector,
            generation: terms.generation,
        })
    }

    /// Pairs the connector that proves a new key; the code is used up by the append that says so.
    ///
    /// # Errors
    /// The code does not count, the message is not what the terms ask for, or somebody else was faster.
    pub async fn pair(&self, code: &str, envelope: &Envelope) -> Result<PairReceipt, Error> {
        let code = self.inner.code(code)?;
        let message = VerifiedMessage::verify_pairing(envelope)?;
        let ConnectorMessage::Paired(paired) = message.message().clone() else {
            return Err(Error::UnknownKey);
        };
        let fits =
            paired.code_digest == code.digest() && paired.head.chain == code.tenant().chain();
        if !fits || paired.head.site != *code.site() {
            return Err(Rejection::PairingCodeUnknown {
                site: code.site().clone(),
            }
            .into());
        }
        let command = counted(
            connector_actor(&paired.head.connector)?,
            paired.head.generation,
            paired.stream.as_str(),
            paired.counter,
            request_digest(envelope.unverified_payload()),
        );
        let what = PairConnector {
            message,
            envelope: envelope.clone(),
            genesis: self.inner.genesis,
        };
        match self
            .inner
            .decide(code.tenant(), &command, &TenantCommand::from(what))
            .await
        {
            // Another key took this generation's first counter: the code is gone.
            Err(Error::Store(countersign_store::Error::Mismatch { .. })) => {
                return Err(Rejection::PairingCodeUsed {
                    site: code.site().clone(),
                }
                .into());
            }
            other => other?,
        };
        let checkpoint = self.inner.checkpoint(&code.tenant().chain()).await?;
        Ok(PairReceipt {
            connector: paired.head.connector,
            generation: paired.head.generation,
            checkpoint: checkpoint.note,
        })
    }

    /// Takes a heartbeat and says what the connector may count on until the next.
    ///
    /// # Errors
    /// It is not signed by the paired connector, not the next one, or names a checkpoint that this chain never had.
    pub async fn beat(&self, envelope: &Envelope) -> Result<BeatAnswer, Error> {
        let heard = self.inner.hear(envelope)?;
        let ConnectorMessage::Heartbeat(beat) = heard.message.message() else {
            return Err(Error::request("a heartbeat is wanted here"));
        };
        let inner = &self.inner;
        inner.check_witness(&heard.tenant, &beat.head.checkpoint)?;
        let command = counted(
            connector_actor(&beat.head.connector)?,
            beat.head.generation,
            beat.stream.as_str(),
            beat.counter,
            request_digest(envelope.unverified_payload()),
        );
        let decide = || {
            let platform_seen = inner.platform_size();
            inner.beats(&heard.tenant, |fold| {
                let decision = fold.decide(beat, envelope)?;
                Ok(Decided {
                    decision,
                    seen: crate::engine::Fold::size(fold),
                    platform_seen,
                })
            })?
        };
        written(
            inner
                .run(&heard.tenant.beats(), &command, decide)
                .await
                .map_err(replayed(beat.counter))?,
        )?;
        // Held to the end, so that the key statements in the answer name the key of its checkpoint.
        let signing = inner.signing().await;
        let checkpoint = inner.checkpoint_by(&signing, &heard.tenant.chain()).await?;
        let now = inner.now();
        Ok(BeatAnswer {
            time: now,
            containment: Containment::Normal,
            consistency: inner.consistency(
                &heard.tenant,
                &beat.head.checkpoint,
                checkpoint.size,
            )?,
            checkpoint: checkpoint.note,
            keys: inner.key_statements(beat.head.keys_version)?,
            lease_until: now.plus_millis(LEASE_MILLIS),
        })
    }

    /// Takes an observation or an outcome; the same bytes again get the same answer.
    ///
    /// # Errors
    /// It is not signed by the paired connector, not the next one, or not what the chain can take now.
    pub async fn message(&self, envelope: &Envelope) -> Result<Accepted, Error> {
        let heard = self.inner.hear(envelope)?;
        let head = heard.message.message().head().clone();
        self.inner.check_witness(&heard.tenant, &head.checkpoint)?;
        let Some((stream, counter)) = heard.message.message().counter() else {
            return Err(Error::request("a poll is not a message"));
        };
        let command = counted(
            connector_actor(&head.connector)?,
            head.generation,
            stream.as_str(),
            counter,
            request_digest(envelope.unverified_payload()),
        );
        let what = match heard.message.message() {
            ConnectorMessage::Observed(observed) => {
                if crate::engine::accepted(&self.inner.ledger, &head.chain, &command)
                    .map_err(replayed(counter))?
                    .is_none()
                {
                    check_clock(self.inner.now(), observed.observed.checked_at)?;
                }
                TenantCommand::from(RecordObservation {
                    message: heard.message,
                    envelope: envelope.clone(),
                })
            }
            ConnectorMessage::Outcome(_) => TenantCommand::from(RecordOutcome {
                message: heard.message,
                envelope: envelope.clone(),
            }),
            ConnectorMessage::Paired(_)
            | ConnectorMessage::Heartbeat(_)
            | ConnectorMessage::Poll(_) => {
                return Err(Error::request(
                    "an observation or an outcome is wanted here",
                ));
            }
        };
        let receipt = self
            .inner
            .decide(&heard.tenant, &command, &what)
            .await
            .map_err(replayed(counter))?;
        let receipt = written(receipt)?;
        Ok(Accepted {
            chain: receipt.chain,
            sequence: receipt.first,
        })
    }

    /// A blob of the tenant, for the connector that shows a signed poll.
    ///
    /// # Errors
    /// The proof is not the connector's, or the tenant has no such blob.
    pub async fn connector_blob(
        &self,
        connector: &ConnectorId,
        proof: &Envelope,
        digest: Digest,
    ) -> Result<Vec<u8>, Error> {
        let heard = self.inner.hear(proof)?;
        let poll = heard.message.message();
        if !matches!(poll, ConnectorMessage::Poll(_)) || poll.head().connector != *connector {
            return Err(Error::UnknownKey);
        }
        let (inner, chain) = (Arc::clone(&self.inner), heard.tenant.chain());
        let read = move || inner.ledger.blobs().get(&chain, &digest);
        Ok(tokio::task::spawn_blocking(read)
            .await
            .map_err(Error::internal)??)
    }
}

/// A counter that is taken by other bytes, or is not the next, in the words that connectors act on.
fn replayed(found: u64) -> impl FnOnce(Error) -> Error {
    move |error| match error {
        Error::Store(countersign_store::Error::Mismatch { .. }) => Error::Replayed {
            wanted: found.saturating_add(1),
            found,
        },
        Error::Rejected(rejection) => match *rejection {
            Rejection::CounterGap { wanted, found } => Error::Replayed { wanted, found },
            Rejection::GenerationEnded { .. } => Error::UnknownKey,
            other => Error::from(other),
        },
        other => other,
    }
}

/// Refuses what a connector saw at a time that cannot be.
fn check_clock(ours: Time, theirs: Time) -> Result<(), Error> {
    let behind = ours.millis_since(theirs) > limits::CLOCK_SKEW_PAST_MILLIS_MAX;
    let ahead = theirs.millis_since(ours) > limits::CLOCK_SKEW_FUTURE_MILLIS_MAX;
    if behind || ahead {
        Err(Error::ClockSkew { ours, theirs })
    } else {
        Ok(())
    }
}

impl Inner {
    /// Reads a pairing code of this ledger.
    fn code(&self, code: &str) -> Result<PairingCode, Error> {
        let code: PairingCode = code.parse().map_err(Error::request)?;
        if code.is_of(self.id()) && self.ledger.head(&code.tenant().chain()).is_some() {
            Ok(code)
        } else {
            Err(Rejection::PairingCodeUnknown {
                site: code.site().clone(),
            }
            .into())
        }
    }

    /// Verifies a message against the key of the connector that is paired with the site which it names.
    pub(crate) fn hear(&self, envelope: &Envelope) -> Result<Heard, Error> {
        let unverified =
            ConnectorMessage::parse(envelope.payload_type, envelope.unverified_payload())?;
        let head = unverified.head();
        let tenant = head
            .chain
            .tenant()
            .filter(|tenant| self.ledger.head(&tenant.chain()).is_some())
            .cloned();
        let tenant = tenant
            .filter(|_| head.ledger == *self.id())
            .ok_or(Error::UnknownKey)?;
        let key: Option<PublicKey> = self.tenant(&tenant, |fold| {
            let connector = fold.tenant.site(&head.site).ok()?.connector.as_ref()?;
            let current = connector.id == head.connector && connector.generation == head.generation;
            current.then_some(connector.key)
        })?;
        let message =
            VerifiedMessage::verify(envelope, &key.ok_or(Error::UnknownKey)?).map_err(|error| {
                match error {
                    MessageError::Envelope(DsseError::NotSigned(_)) => Error::UnknownKey,
                    other => other.into(),
                }
            })?;
        Ok(Heard { tenant, message })
    }

    /// Every connector is a witness: what it says that the chain was, the chain must have been.
    pub(crate) fn check_witness(&self, tenant: &TenantId, seen: &TreeHead) -> Result<(), Error> {
        let chain = tenant.chain();
        let size = self.ledger.head(&chain).map_or(0, |head| head.size);
        let ours = if seen.size <= size {
            Some(self.ledger.root_at(&chain, seen.size)?)
        } else {
            None
        };
        if ours == Some(*seen.root.as_bytes()) {
            return Ok(());
        }
        tracing::error!(%chain, size, seen = seen.size, root = %seen.root, "a connector saw another history of this chain");
        Err(Rejection::CheckpointUnknown {
            size,
            found: seen.size,
        }
        .into())
    }

    /// The consistency proof from what a connector saw to a checkpoint.
    pub(crate) fn consistency(
        &self,
        tenant: &TenantId,
        seen: &TreeHead,
        size: u64,
    ) -> Result<Vec<ProofHash>, Error> {
        if seen.size == 0 || seen.size >= size {
            return Ok(Vec::new());
        }
        let hashes = self.ledger.consistency(&tenant.chain(), seen.size, size)?;
        Ok(hashes.into_iter().map(ProofHash::from_bytes).collect())
    }

    /// Looks at a tenant's heartbeats as everything durable has them.
    pub(crate) fn beats<T>(
        &self,
        tenant: &TenantId,
        look: impl FnOnce(&BeatsFold) -> T,
    ) -> Result<T, Error> {
        self.beats
            .look(&self.ledger, &tenant.beats(), BeatsFold::default, look)
    }

    /// When the site's connector was last heard, and its counter.
    pub(crate) fn last_beat(
        &self,
        tenant: &TenantId,
        site: &countersign_domain::Site,
    ) -> Result<Option<(Time, u64)>, Error> {
        let Some(connector) = &site.connector else {
            return Ok(None);
        };
        self.beats(tenant, |fold| {
            let last = fold
                .last(&connector.id)
                .filter(|last| last.generation == connector.generation);
            last.map(|last| (last.at, last.counter))
        })
    }
}
