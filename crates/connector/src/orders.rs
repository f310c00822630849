//! An order comes: every check before any effect, in the order of the format, then the journal, then the site.
//!
//! What is refused is said and remembered, so that the same order handed out again is neither executed nor refused twice.
//! Nonce, sequence and statements of an order that passed are in `Prepared` before the first effect; a refusal keeps only
//! the nonce. Only what the order's own signature covers can end it: a delivery that is not authentic, or whose event, proofs
//! or key statements were spoiled on the way, is neither answered nor remembered, but asked for again.

use std::time::Duration;

use countersign_evidence::{
    Delivery, Envelope, JsonObject, OrDash, Order, OutcomeResult,
    checks::{self, Facts, Opened, PassedOrder, RELEASE_ROLLBACK, Refused, SiteNow, check_order},
    document::DOCUMENT_REPLACE,
    message::TreeHead,
    refusal::Refusal,
};
use countersign_ids::{Code, Digest, Time};

use crate::{
    Error,
    agent::{Agent, now, pairing, ring, survivable},
    checkpoint,
    error::{KIND_NOT_EXECUTED, SITE_IO},
    observe::precondition,
    report::Report,
    speak::{Sent, document, follow},
    state::{Change, Entry, Execution, State, Step},
};

/// The kind that makes a release live.
const RELEASE_PUBLISH: &str = "release.publish";
/// How long a clock here that is a little behind the server's is waited for.
const CLOCK_WAIT_MILLIS_MAX: u64 = 5_000;
/// How long the acceptance is tried to be said before the change begins; it is said afterwards otherwise.
const ACCEPTED_WAIT: Duration = Duration::from_secs(5);

impl Agent {
    /// Takes a delivery: refuses its order, or executes it.
    ///
    /// Its proof is about the checkpoint that the poll named. If another was accepted since, the order is asked for again.
    pub(crate) async fn deliver(
        &self,
        delivery: &Delivery,
        named: &TreeHead,
    ) -> Result<Sent, Error> {
        let _working = self.working.lock().await;
        if self.state().checkpoint != *named {
            return Ok(Sent::Done);
        }
        if let Ok(opened) = Opened::open(delivery) {
            let order = opened.envelope.payload_digest();
            if self.state().orders.contains_key(&order) {
                tracing::warn!(%order, "an order was handed out again; it was answered before");
                return Ok(Sent::Later);
            }
            wait_until(begins(&opened.order), now()).await;
        }
        match self.judge(delivery).await? {
            Ok(passed) => match change(passed.order()) {
                Some(change) => self.accept(delivery, &passed, change).await,
                None => self.refuse(KIND_NOT_EXECUTED, *passed.order_digest(), passed.order()),
            },
            Err(Refused {
                refusal,
                order: Some(order),
            }) => {
                tracing::warn!(code = refusal.code().id, %refusal, "an order is refused");
                self.refuse(refusal.code(), *order.digest(), order.order())
            }
            Err(Refused {
                refusal,
                order: None,
            }) => {
                // Nobody knows that the plane said this: bytes spoiled on the way must not end an approved order.
                tracing::warn!(code = refusal.code().id, %refusal, "a delivery is left alone; its order is asked for again");
                if checkpoint::is_unproven(&refusal) {
                    let (_, ring) = follow(&self.state(), &delivery.keys)?;
                    self.suspect(&ring, &delivery.checkpoint, &refusal)?;
                }
                Ok(Sent::Later)
            }
        }
    }

    /// Makes every check, in order; the site is looked at last, and only if everything else passed.
    pub(crate) async fn judge(
        &self,
        delivery: &Delivery,
    ) -> Result<Result<PassedOrder, Refused>, Error> {
        let state = self.state();
        let (pairing, ring) = (pairing(&state)?, ring(&state)?);
        // A server that has not heard of it sends statements again that are followed already.
        let delivery = Delivery {
            keys: new_keys(&state, delivery),
            ..delivery.clone()
        };
        let facts = Facts {
            mode: self.mode(&state),
            connector: &pairing.connector,
            generation: pairing.generation,
            document: state.document.as_ref().ok_or(Error::NotPaired)?,
            ring: &ring,
            accepted: state.checkpoint,
            nonces: &state.nonces.keys().copied().collect(),
            last_sequence: state.sequence,
            executed: &state.statements.keys().copied().collect(),
            now: now(),
        };
        let checked = match check_order(&delivery, &facts) {
            Ok(checked) => checked,
            Err(refused) => return Ok(Err(refused)),
        };
        let seen = match self.look().await {
            Ok(seen) => seen,
            Err(error) => {
                survivable(error)?;
                // A site that cannot be looked at is in no state that an action was planned against.
                let nothing = SiteNow {
                    current: &JsonObject::default(),
                    rollback_digest: OrDash::NONE,
                };
                return Ok(checked.check_site(&nothing));
            }
        };
        let current = precondition(seen.current.get().copied());
        let site = SiteNow {
            current: &current,
            rollback_digest: OrDash(seen.rollback.digest().ok()),
        };
        Ok(checked.check_site(&site))
    }

    /// Says no; the site was not touched.
    fn refuse(&self, code: Code, order_digest: Digest, order: &Order) -> Result<Sent, Error> {
        let report = self.answer(order_digest, OutcomeResult::Refused, Some(code))?;
        self.write(vec![
            Entry::Refused {
                order_digest,
                nonce: order.nonce.into(),
                until: order.expires,
            },
            Entry::Queued { report },
        ])?;
        Ok(Sent::Done)
    }

    /// An acceptance or a refusal.
    fn answer(
        &self,
        order_digest: Digest,
        result: OutcomeResult,
        code: Option<Code>,
    ) -> Result<Report, Error> {
        let code = OrDash(code.map(|code| code.id.to_owned()));
        Ok(Report::Outcome {
            document: document(&self.state())?,
            order_digest,
            result,
            code,
            ended: None,
        })
    }

    /// Says yes, and executes. Everything that must not come again is durable before the first effect.
    async fn accept(
        &self,
        delivery: &Delivery,
        passed: &PassedOrder,
        change: Change,
    ) -> Result<Sent, Error> {
        let (order, order_digest) = (passed.order(), *passed.order_digest());
        // Looking at the site takes its time: what ended meanwhile is over.
        let started = now();
        if let Err(refusal) = still_counts(passed, started) {
            tracing::warn!(code = refusal.code().id, %refusal, "an order is refused");
            return self.refuse(refusal.code(), order_digest, order);
        }
        let action = order.action.clone();
        let execution = Execution {
            action,
            order_digest,
            change,
            step: Step::Prepared,
            started,
        };
        let consumed = passed.statements().iter();
        let prepared = Entry::Prepared {
            execution: execution.clone(),
            nonce: order.nonce,
            until: order.expires,
            sequence: order.sequence,
            statements: consumed
                .map(|one| (*one.digest(), one.statement().not_after))
                .collect(),
            checkpoint: passed.checkpoint(),
        };
        let report = self.answer(order_digest, OutcomeResult::Accepted, None)?;
        let mut entries = vec![prepared, Entry::Queued { report }];
        let keys = new_keys(&self.state(), delivery);
        if !keys.is_empty() {
            entries.insert(0, Entry::KeysFollowed { keys });
        }
        self.write(entries)?;
        // The journal has the acceptance; whether it is heard before the change or after it decides nothing.
        if let Ok(said) = tokio::time::timeout(ACCEPTED_WAIT, self.flush()).await {
            said?;
        }
        // The result and what the site looks like afterwards are said one right after the other: whoever plans the next
        // action on the result finds the site as it is.
        let sending = self.sending.lock().await;
        match self.execute().await {
            // What fails later than this is brought to its end by the next start.
            Err(Error::Release(error)) if self.is_untouched() => {
                tracing::error!(%error, "the site cannot be worked on");
                self.give_up(&execution, SITE_IO, Vec::new())?;
            }
            ended => ended?,
        }
        self.look().await.map(drop).or_else(survivable)?;
        drop(sending);
        Ok(Sent::Done)
    }

    fn is_untouched(&self) -> bool {
        self.state()
            .execution
            .is_some_and(|execution| execution.step == Step::Prepared)
    }
}

/// The times of the order and of each statement once more, by a clock read after everything else was checked.
pub(crate) fn still_counts(passed: &PassedOrder, now: Time) -> Result<(), Refusal> {
    checks::time(passed.order(), now)?;
    for one in passed.statements() {
        let statement = one.statement();
        if !statement.counts_at(now) {
            return Err(Refusal::StatementTime {
                credential: statement.credential.clone(),
                now,
            });
        }
    }
    Ok(())
}

/// What an order of a known kind changes; the precondition was checked, so it says what is live now.
fn change(order: &Order) -> Option<Change> {
    let action = &order.action_object;
    let digest = |object: &JsonObject, member: &str| object.text(member)?.parse::<Digest>().ok();
    let alone = action.parameters.0.len() == 1;
    match action.kind.as_str() {
        RELEASE_PUBLISH | RELEASE_ROLLBACK if alone => Some(Change::Release {
            before: OrDash(digest(&action.precondition, "current")),
            after: digest(&action.parameters, "release")?,
        }),
        DOCUMENT_REPLACE if alone => Some(Change::Document {
            document: digest(&action.parameters, "document")?,
        }),
        _ => None,
    }
}

/// From when on the order and everything in it counts, as it says itself.
fn begins(order: &Order) -> Time {
    let statements = order
        .statements
        .iter()
        .filter_map(|signed| signed.unverified().ok());
    statements
        .map(|statement| statement.not_before)
        .fold(order.not_before, Time::max)
}

/// Waits for a clock that is a little behind the server's or an approver's; anything more is refused as not counting yet.
async fn wait_until(not_before: Time, now: Time) {
    let ahead = not_before.millis_since(now);
    if ahead > 0 && ahead <= CLOCK_WAIT_MILLIS_MAX {
        tokio::time::sleep(Duration::from_millis(ahead)).await;
    }
}

fn new_keys(state: &State, delivery: &Delivery) -> Vec<Envelope> {
    delivery
        .keys
        .iter()
        .filter(|envelope| !state.keys.contains(envelope))
        .cloned()
        .collect()
}
