//! Policy at work: assessing an action, and minting its order.
//!
//! Policy is evaluated away from the writer, on facts that the domain computed; the domain then checks that the answer is
//! one to the question which the chain asks at that moment. Blobs are stored before the event that names them.

use std::collections::BTreeMap;
use std::sync::Arc;

use countersign_domain::{
    Assess, Blob, Command as TenantCommand, Decision, Facts, Mint, PolicyInput, Rejection, Tenant,
    compose,
};
use countersign_events::{self as events, Event};
use countersign_ids::{ActionId, Actor, ChainId, Nonce, Sequence, TenantId, Time};
use countersign_policy::{Assessment, PolicySet};
use countersign_store::Receipt;
use tokio::task::JoinError;

use crate::engine::{ATTEMPTS, Command, Committed, Decided, accepted, commit, decode, own_receipt};
use crate::keyfiles::Signers;
use crate::model::GivenReason;
use crate::service::{Inner, told};
use crate::together::Together;
use crate::{Error, secrets};

impl Inner {
    /// The policies in force, read without holding up the runtime.
    pub(crate) async fn policy_set(self: &Arc<Self>) -> Result<Arc<PolicySet>, Error> {
        let inner = Arc::clone(self);
        tokio::task::spawn_blocking(move || inner.policies.current())
            .await
            .map_err(Error::internal)
    }

    /// Puts a question to the policies in force.
    pub(crate) async fn evaluate(
        self: &Arc<Self>,
        question: PolicyInput,
    ) -> Result<(Arc<PolicySet>, Assessment), Error> {
        let inner = Arc::clone(self);
        let evaluate = move || {
            let set = inner.policies.current();
            let assessment = set.assess(&question)?;
            Ok((set, assessment))
        };
        tokio::task::spawn_blocking(evaluate)
            .await
            .map_err(Error::internal)?
    }

    /// Opens the next rounds of actions with the verdict of policy: asked together, each a command of its own.
    pub(crate) async fn assess_all(
        self: &Arc<Self>,
        tenant: &TenantId,
        actions: Vec<ActionId>,
        commands: &[Command],
    ) -> Vec<Result<Option<Receipt>, Error>> {
        let chain = tenant.chain();
        let mut together = Together::begin(&self.ledger, &chain, commands);
        let actions = Arc::new(actions);
        for _ in 0..ATTEMPTS {
            let open = together.open();
            if open.is_empty() {
                break;
            }
            let actors = commands
                .iter()
                .map(|command| command.actor.clone())
                .collect();
            let rounds = Rounds {
                tenant: tenant.clone(),
                actions: Arc::clone(&actions),
                actors,
                open: open.clone(),
            };
            let inner = Arc::clone(self);
            let decided = tokio::task::spawn_blocking(move || inner.rounds(&rounds)).await;
            let failed = |error: JoinError| {
                let each = |place| (place, Err(Error::internal(&error)));
                open.into_iter().map(each).collect()
            };
            together.commit(decided.unwrap_or_else(failed)).await;
        }
        let results = together.end_all();
        for (command, result) in commands.iter().zip(&results) {
            told(&chain, command, result);
        }
        results
    }

    /// Asks policy about each, and decides on its answers. What the chain moved under meanwhile is left out.
    fn rounds(&self, rounds: &Rounds) -> Vec<(usize, Result<Decided, Error>)> {
        if self.stop.is_cancelled() {
            let stopping = |place: &usize| (*place, Err(Error::Stopping));
            return rounds.open.iter().map(stopping).collect();
        }
        let (set, now) = (self.policies.current(), self.now());
        let asked = self.tenant(&rounds.tenant, |fold| {
            let ask = |place: &usize| {
                let action = rounds.actions.get(*place)?;
                Some((*place, fold.tenant.question(action, now)))
            };
            rounds.open.iter().filter_map(ask).collect::<Vec<_>>()
        });
        let mut decided = Vec::with_capacity(rounds.open.len());
        let mut answers = BTreeMap::new();
        // Where the state cannot be had, deciding says so of each.
        for (place, question) in asked.unwrap_or_default() {
            let answer = question.map_err(Error::from);
            match answer.and_then(|question| Ok(set.assess(&question)?)) {
                Ok(answer) => drop(answers.insert(place, answer)),
                Err(error) => decided.push((place, Err(error))),
            }
        }
        let places: Vec<usize> = rounds
            .open
            .iter()
            .copied()
            .filter(|place| !decided.iter().any(|(other, _)| other == place))
            .collect();
        let chain = rounds.tenant.chain();
        let mut rest = self.decide_on(&rounds.tenant, &places, |state, place| {
            let (action, actor) = rounds.actions.get(place).zip(rounds.actors.get(place))?;
            let facts = Facts {
                now,
                actor: actor.clone(),
            };
            let decision = Question::Round(action).decide(state, &facts, answers.get(&place)?);
            match decision {
                Err(Rejection::AssessmentStale { .. }) => None,
                other => Some(other),
            }
        });
        for (place, one) in &mut rest {
            if let (Ok(one), Some(answer)) = (one, answers.remove(place)) {
                self.add_evidence(&chain, &set, answer, one);
            }
        }
        decided.append(&mut rest);
        decided
    }

    /// The blobs of an answer, as far as they are not durable already.
    fn add_evidence(
        &self,
        chain: &ChainId,
        set: &PolicySet,
        answer: Assessment,
        decided: &mut Decided,
    ) {
        let blobs = &mut decided.decision.blobs;
        if !self.ledger.blobs().is_durable(chain, set.digest()) {
            blobs.push(Blob {
                digest: *set.digest(),
                bytes: set.blob().to_vec(),
            });
        }
        blobs.push(Blob {
            digest: answer.outcome.entities_digest,
            bytes: answer.entities,
        });
    }

    /// Mints the order of an action, if policy permits it on the votes that stand.
    pub(crate) async fn mint(
        self: &Arc<Self>,
        tenant: &TenantId,
        action: &ActionId,
        command: &Command,
    ) -> Result<Option<Receipt>, Error> {
        let nonce = secrets::nonce()?;
        let (inner, tenant) = (Arc::clone(self), tenant.clone());
        let (action, command) = (action.clone(), command.clone());
        // A task of its own, so that nobody who stops waiting lets go of the signers before the order is durable.
        let minting = self.tasks.spawn(async move {
            let signing = inner.signing().await;
            let question = Question::Mint(&action, nonce, &signing);
            let receipt = inner.judge(&tenant, &command, question).await?;
            // Whoever verifies the order needs a checkpoint that covers it.
            inner.checkpoint_by(&signing, &tenant.chain()).await?;
            Ok(receipt)
        });
        minting.await.map_err(Error::internal)?
    }

    /// Asks policy, and decides on its answer once that is an answer to what the chain asks now.
    async fn judge(
        self: &Arc<Self>,
        tenant: &TenantId,
        command: &Command,
        question: Question<'_>,
    ) -> Result<Option<Receipt>, Error> {
        self.open_for_work()?;
        let chain = tenant.chain();
        if let Some(receipt) = accepted(&self.ledger, &chain, command)? {
            return Ok(Some(receipt));
        }
        for _ in 0..ATTEMPTS {
            let facts = Facts {
                now: self.now(),
                actor: command.actor.clone(),
            };
            let asked = self.tenant(tenant, |fold| question.ask(&fold.tenant, facts.now))?;
            let asked = match asked {
                Ok(asked) => asked,
                Err(rejection) => {
                    return own_receipt(&self.ledger, &chain, command, rejection.into());
                }
            };
            let (set, answer) = self.evaluate(asked).await?;
            let mut decided =
                match self.decide_once(tenant, |state| question.decide(state, &facts, &answer)) {
                    Ok(decided) => decided,
                    Err(Error::Rejected(rejection))
                        if matches!(*rejection, Rejection::AssessmentStale { .. }) =>
                    {
                        continue;
                    }
                    Err(error) => return own_receipt(&self.ledger, &chain, command, error),
                };
            self.add_evidence(&chain, &set, answer, &mut decided);
            if let Committed::Done(receipt) = commit(&self.ledger, &chain, command, decided).await?
            {
                return Ok(receipt);
            }
        }
        Err(Error::Contended { chain })
    }

    /// The reasons that stand at these places of a chain, opened.
    pub(crate) fn given(
        &self,
        chain: &ChainId,
        places: &[Sequence],
    ) -> Result<Vec<GivenReason>, Error> {
        let open = |sequence: &Sequence| {
            let entry = self.ledger.event(chain, *sequence)?;
            let text = match self.ledger.unseal(&entry) {
                Ok(body) => match Event::decode(&entry.header().event_type, &body) {
                    Ok(Event::Reason(events::Reason::Given(given))) => Some(given.reason),
                    _ => None,
                },
                Err(countersign_store::Error::KeyDestroyed { .. }) => None,
                Err(error) => return Err(error.into()),
            };
            Ok(GivenReason {
                sequence: *sequence,
                actor: entry.header().actor.clone(),
                text,
            })
        };
        places.iter().map(open).collect()
    }

    /// Why the newest verdict on an action is what it is.
    pub(crate) fn reasons(
        &self,
        tenant: &TenantId,
        action: &ActionId,
    ) -> Result<Vec<String>, Error> {
        let newest = self.tenant(tenant, |fold| {
            fold.newest(action, "assessed").map(|trace| trace.sequence)
        })?;
        let Some(sequence) = newest else {
            return Ok(Vec::new());
        };
        let entry = self.ledger.event(&tenant.chain(), sequence)?;
        Ok(match decode(&entry) {
            Ok(Some(Event::Action(events::Action::Assessed(assessed)))) => assessed.reasons,
            _ => Vec::new(),
        })
    }
}

/// Actions of a tenant whose next rounds are asked for together.
struct Rounds {
    tenant: TenantId,
    actions: Arc<Vec<ActionId>>,
    /// Who asks about each.
    actors: Vec<Actor>,
    /// The places of those that are still to be decided.
    open: Vec<usize>,
}

/// What policy is asked for.
#[derive(Debug, Clone, Copy)]
enum Question<'a> {
    /// The next round of an action.
    Round(&'a ActionId),
    /// Its order, with the nonce that it would have and the key that signs it.
    Mint(&'a ActionId, Nonce, &'a Signers),
}

impl Question<'_> {
    fn ask(self, state: &Tenant, now: Time) -> Result<PolicyInput, Rejection> {
        match self {
            Self::Round(action) => state.question(action, now),
            Self::Mint(action, _, _) => state.question_at_mint(action, now),
        }
    }

    fn decide(
        self,
        state: &Tenant,
        facts: &Facts,
        answer: &Assessment,
    ) -> Result<Decision, Rejection> {
        let outcome = answer.outcome.clone();
        let what = match self {
            Self::Round(action) => TenantCommand::from(Assess {
                action: action.clone(),
                outcome,
            }),
            Self::Mint(action, nonce, signers) => {
                let order = compose(state, action, nonce, facts.now)?;
                let envelope =
                    order
                        .sign(&signers.order)
                        .map_err(|_| Rejection::OrderMismatch {
                            member: "signature",
                        })?;
                TenantCommand::from(Mint {
                    action: action.clone(),
                    envelope,
                    outcome,
                })
            }
        };
        countersign_domain::decide(state, &what, facts)
    }
}
