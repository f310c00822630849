//! What the connector says: heartbeats, observations, outcomes and polls, signed, counted and repeated byte for byte.
//!
//! A message is in the journal before its first byte leaves, and stays there until it was answered. Whether the control
//! plane saw it the first time is therefore no question: it gets the same bytes again and gives the same answer.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use countersign_evidence::{
    ConnectorMessage, Envelope, KeyRing, Outcome,
    message::{Head, Heartbeat, Observed, Poll, Readiness, Stream, TreeHead},
    wire::{self, V1},
};
use countersign_ids::{ChainId, Digest, Time, limits};
use countersign_transport::{BeatAnswer, Containment, Error::Refused, Refusal};

use crate::{
    Error,
    agent::{Agent, Lease, now, pairing, ring},
    checkpoint,
    report::Report,
    state::{Entry, Quiet, State},
    unsaid,
};

/// How an attempt to send ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// Nothing more waits.
    Done,
    /// Not now: try again.
    Later,
}

/// What becomes of a message that was not taken.
enum Failure {
    Later,
    Drop(String),
}

/// A refusal of the message itself is final; anything else may pass.
///
/// A checkpoint that the ledger does not have any more is no fault of the message: it waits, as what it says must not be
/// lost. An observation that is too old by the server's clock is made again.
fn failure(error: &countersign_transport::Error, message: &ConnectorMessage) -> Failure {
    let Refused(refusal) = error else {
        return later(error);
    };
    let code = refusal.code().to_owned();
    match (refusal, message) {
        (Refusal::ClockSkew { .. }, ConnectorMessage::Observed(_)) => Failure::Drop(code),
        (Refusal::Other { status, .. }, _) if is_final(*status, &code) => {
            tracing::error!(%error, "the control plane refused a message for good");
            Failure::Drop(code)
        }
        _ => later(error),
    }
}

/// Malformed, too large, or refused by the domain. A conflict is only final if the action has ended some other way.
fn is_final(status: u16, code: &str) -> bool {
    matches!(status, 400 | 413 | 422) || (status == 409 && code == WRONG_STATE)
}

fn later(error: &countersign_transport::Error) -> Failure {
    tracing::warn!(%error, "a message was not taken; it is repeated");
    Failure::Later
}

/// The server's code for an action that such an outcome cannot follow.
const WRONG_STATE: &str = "wrong-state";

impl Agent {
    fn head(state: &State, chain: ChainId, document: Digest) -> Result<Head, Error> {
        let pairing = pairing(state)?;
        Ok(Head {
            v: V1,
            ledger: pairing.ledger,
            chain,
            site: pairing.site.clone(),
            connector: pairing.connector.clone(),
            generation: pairing.generation,
            document_digest: document,
            checkpoint: state.checkpoint,
            keys_version: ring(state)?.version(),
        })
    }

    /// A signed question for orders, or for a blob: it changes nothing, so it has no counter.
    pub(crate) fn poll(&self) -> Result<Envelope, Error> {
        let state = self.state();
        let head = Self::head(&state, pairing(&state)?.tenant.chain(), document(&state)?)?;
        Ok(ConnectorMessage::Poll(Poll { head }).sign(&self.key)?)
    }

    /// Sends what waits on stream `action`, the oldest first.
    pub(crate) async fn flush(&self) -> Result<Sent, Error> {
        let (_sending, stream) = (self.sending.lock().await, Stream::Action);
        while let Some(envelope) = self.next_report()? {
            match self.client.message(&envelope).await {
                Ok(()) => self.journal().write(vec![Entry::Answered { stream }])?,
                Err(error) => {
                    let message = message_of(&envelope)?;
                    let Failure::Drop(code) = failure(&error, &message) else {
                        return Ok(Sent::Later);
                    };
                    // What happened here is never dropped unheard: it is a file before the journal forgets it.
                    if let Some(outcome) = Report::of_outcome(&envelope) {
                        unsaid::keep(&self.layout, &outcome, Some(&envelope), &code, now())?;
                    }
                    self.journal()
                        .write(vec![Entry::Dropped { stream, code }])?;
                    if matches!(message, ConnectorMessage::Observed(_)) {
                        self.report_again();
                    }
                }
            }
        }
        Ok(Sent::Done)
    }

    /// The message that was not answered, or the next one, sealed; `None` if nothing waits.
    fn next_report(&self) -> Result<Option<Envelope>, Error> {
        let state = self.state();
        if let Some(envelope) = state.unanswered.action {
            return Ok(Some(envelope));
        }
        let Some(report) = state.outbox.front().cloned() else {
            return Ok(None);
        };
        let (stream, counter) = (Stream::Action, state.counters.action);
        let chain = pairing(&state)?.tenant.chain();
        let message = match report {
            Report::Observed { document, observed } => ConnectorMessage::Observed(Observed {
                head: Self::head(&state, chain, document)?,
                stream,
                counter,
                observed,
            }),
            Report::Outcome {
                document,
                order_digest,
                result,
                code,
                ended,
            } => {
                let (before, after, observations, duration_ms) = match ended {
                    Some(ended) => (
                        Some(ended.before),
                        Some(ended.after),
                        Some(ended.observations),
                        Some(ended.duration_ms),
                    ),
                    None => (None, None, None, None),
                };
                let head = Self::head(&state, chain, document)?;
                ConnectorMessage::Outcome(Outcome {
                    head,
                    stream,
                    counter,
                    order_digest,
                    result,
                    code,
                    before,
                    after,
                    observations,
                    duration_ms,
                })
            }
        };
        let envelope = message.sign(&self.key)?;
        self.journal().write(vec![Entry::Sealed {
            stream,
            envelope: envelope.clone(),
        }])?;
        Ok(Some(envelope))
    }

    /// Sends a heartbeat and takes its answer in.
    pub(crate) async fn beat(&self) -> Result<Sent, Error> {
        let envelope = self.next_beat()?;
        match self.client.beat(&envelope).await {
            Ok(answer) => {
                self.journal().write(vec![Entry::Answered {
                    stream: Stream::Beat,
                }])?;
                self.take_answer(&answer, &named(&envelope)?)?;
                self.journal().compact(now())?;
                Ok(Sent::Done)
            }
            Err(error) => match failure(&error, &message_of(&envelope)?) {
                Failure::Later => Ok(Sent::Later),
                Failure::Drop(code) => {
                    self.journal().write(vec![Entry::Dropped {
                        stream: Stream::Beat,
                        code,
                    }])?;
                    Ok(Sent::Later)
                }
            },
        }
    }

    fn next_beat(&self) -> Result<Envelope, Error> {
        let state = self.state();
        if let Some(envelope) = &state.unanswered.beat {
            return Ok(envelope.clone());
        }
        let seen = self.last_seen().ok_or(Error::Task)?;
        let mut releases = seen
            .releases
            .iter()
            .map(Digest::to_string)
            .collect::<Vec<_>>();
        releases.sort();
        let heartbeat = Heartbeat {
            head: Self::head(&state, pairing(&state)?.tenant.beats(), document(&state)?)?,
            stream: Stream::Beat,
            counter: state.counters.beat,
            boot: self.boot,
            instance: self.instance,
            previous: state.last_beat,
            inventory: wire::canonical_digest(&serde_json::json!({ "releases": releases }))
                .map_err(wrong)?,
            readiness: Readiness {
                grade: seen.rollback.grade,
                rollback_digest: seen.rollback.digest().map_err(wrong)?.into(),
            },
            mode: self.mode(&state),
        };
        let envelope = ConnectorMessage::Heartbeat(heartbeat).sign(&self.key)?;
        self.journal().write(vec![Entry::Sealed {
            stream: Stream::Beat,
            envelope: envelope.clone(),
        }])?;
        Ok(envelope)
    }

    /// Keys, checkpoint and lease of a heartbeat's answer. One that does not verify brings no lease.
    ///
    /// The proof is about the checkpoint that the heartbeat named. If another was accepted since, or an order is being
    /// judged by the one in force, this one is left alone: the next heartbeat asks again.
    fn take_answer(&self, answer: &BeatAnswer, named: &TreeHead) -> Result<(), Error> {
        let state = self.state();
        let working = self.working.try_lock();
        if working.is_err() || state.checkpoint != *named {
            self.take_lease(answer, now());
            return Ok(());
        }
        let (keys, ring) = match follow(&state, &answer.keys) {
            Ok(followed) => followed,
            Err(error) => {
                tracing::error!(%error, "the key statements of a heartbeat's answer are refused");
                return Ok(());
            }
        };
        let chain = pairing(&state)?.tenant.chain();
        match checkpoint::check(
            &ring,
            &chain,
            &answer.checkpoint,
            &answer.consistency,
            named,
        ) {
            Ok(checkpoint) => {
                self.unproven.store(0, Ordering::Relaxed);
                let mut entries = Vec::new();
                if !keys.is_empty() {
                    entries.push(Entry::KeysFollowed { keys });
                }
                if checkpoint != state.checkpoint {
                    entries.push(Entry::CheckpointAccepted { checkpoint });
                }
                if !entries.is_empty() {
                    self.journal().write(entries)?;
                }
                self.take_lease(answer, now());
            }
            Err(error) => {
                tracing::error!(%error, "the checkpoint of a heartbeat's answer is refused");
                if checkpoint::is_unproven(&error) {
                    self.suspect(&ring, &answer.checkpoint, &error)?;
                }
            }
        }
        Ok(())
    }

    /// A signed checkpoint was not shown to extend the accepted one: quiet at once where the two contradict each other, and
    /// otherwise only if asking again does not help.
    pub(crate) fn suspect(
        &self,
        ring: &KeyRing,
        note: &str,
        refusal: &countersign_evidence::refusal::Refusal,
    ) -> Result<(), Error> {
        let state = self.state();
        let chain = pairing(&state)?.tenant.chain();
        let times = self.unproven.fetch_add(1, Ordering::Relaxed);
        let contradicts = checkpoint::contradicts(ring, &chain, note, &state.checkpoint);
        if contradicts || times.saturating_add(1) >= checkpoint::UNPROVEN_MAX {
            self.go_quiet(refusal.code().id, &refusal.to_string())?;
        }
        Ok(())
    }

    /// No more orders until somebody pairs again; heartbeats go on, and say so.
    pub(crate) fn go_quiet(&self, code: &str, detail: &str) -> Result<(), Error> {
        if self.state().quiet.is_none() {
            let quiet = Quiet {
                code: code.to_owned(),
                detail: detail.to_owned(),
            };
            self.journal().write(vec![Entry::WentQuiet { quiet }])?;
        }
        Ok(())
    }

    fn take_lease(&self, answer: &BeatAnswer, now: Time) {
        let skewed = answer.time.millis_since(now) > limits::CLOCK_SKEW_PAST_MILLIS_MAX
            || now.millis_since(answer.time) > limits::CLOCK_SKEW_FUTURE_MILLIS_MAX;
        if skewed {
            tracing::warn!(server = %answer.time, here = %now, "the clock here is far from the server's: orders will be refused");
        }
        let until = now.plus_millis(answer.lease_until.millis_since(answer.time));
        let lease = Lease {
            until,
            mode: mode(answer.containment),
        };
        let _ = self.lease.send_replace(Some(lease));
    }

    /// Asks for an order once, and does what it says.
    pub(crate) async fn fetch(&self) -> Result<Sent, Error> {
        let envelope = self.poll()?;
        let (named, asked) = (named(&envelope)?, Instant::now());
        match self.client.poll(&envelope).await {
            Ok(Some(delivery)) => self.deliver(&delivery, &named).await,
            Ok(None) => {
                // A server that does not hold the question, because it is stopping, is not asked in a tight loop.
                if asked.elapsed() < POLL_EVERY {
                    tokio::time::sleep(POLL_EVERY).await;
                }
                Ok(Sent::Done)
            }
            Err(error) => {
                tracing::warn!(%error, "orders could not be asked for");
                Ok(Sent::Later)
            }
        }
    }
}

/// The least time between two questions that were both answered with nothing.
const POLL_EVERY: Duration = Duration::from_millis(200);

fn wrong(error: wire::WireError) -> Error {
    Error::Message(error.into())
}

/// The checkpoint that a message of our own names: what its answer has to be consistent with.
fn named(envelope: &Envelope) -> Result<TreeHead, Error> {
    Ok(message_of(envelope)?.head().checkpoint)
}

fn message_of(envelope: &Envelope) -> Result<ConnectorMessage, Error> {
    Ok(ConnectorMessage::parse(
        envelope.payload_type,
        envelope.unverified_payload(),
    )?)
}

/// The digest of the document in force.
pub(crate) fn document(state: &State) -> Result<Digest, Error> {
    Ok(state.document.as_ref().ok_or(Error::NotPaired)?.digest()?)
}

/// Follows the key statements that are new; gives those and the ring after them.
pub(crate) fn follow(state: &State, keys: &[Envelope]) -> Result<(Vec<Envelope>, KeyRing), Error> {
    let (mut new, mut ring) = (Vec::new(), ring(state)?);
    for envelope in keys
        .iter()
        .filter(|envelope| !state.keys.contains(envelope))
    {
        ring.follow(envelope)?;
        new.push(envelope.clone());
    }
    Ok((new, ring))
}

const fn mode(containment: Containment) -> countersign_evidence::Mode {
    use countersign_evidence::Mode;
    match containment {
        Containment::Normal => Mode::Normal,
        Containment::AskForAll => Mode::AskForAll,
        Containment::Hold => Mode::Hold,
        Containment::RollbackOnly => Mode::RollbackOnly,
        Containment::Dark => Mode::Dark,
    }
}
