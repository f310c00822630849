//! Deliveries through everything that the connector does with them, one after another and by hand.

mod after;
mod spoiled;
mod tables;
mod taken;

use std::collections::BTreeMap;

use countersign_chain::sha256;
use countersign_evidence::{
    Alg, CODES, Credential, Decision, Delivery, EndReason, FloorRule, Order, OutcomeResult, Scope,
    Statement,
    document::KindOrAny,
    message::Stream,
    wire::{Base64, ProofHash},
};
use countersign_ids::{ActionId, Digest, Nonce, Sequence, Time};
use countersign_transport::Containment;

use crate::{
    Config,
    agent::{Agent, now},
    config::Layout,
    pair,
    plane::{
        Inner, Plane,
        chain::note,
        ledger::{ORIGIN, key},
    },
    report::Report,
    site::{
        Releases,
        tests::{install_files, sample_files},
    },
    speak::Sent,
    state::{Entry, State},
};

/// A paired connector with one release live, and a control plane that would publish another.
struct Scene {
    _directory: tempfile::TempDir,
    config: Config,
    plane: Plane,
    agent: Agent,
    one: Digest,
    two: Digest,
}

impl Scene {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let plane = Plane::start().await;
        let local = ([127, 0, 0, 1], 0).into();
        let config = Config::new(directory.path(), local, local, &plane.url());
        pair(&config, &plane.code()).await.unwrap();
        let layout = Layout::new(directory.path());
        let releases = Releases::open(&layout.site()).unwrap();
        let one = install_files(&releases, "one", &sample_files("one"));
        let two = install_files(&releases, "two", &sample_files("two"));
        releases.switch(Some(&one)).unwrap();
        let agent = Agent::start(&config, layout).await.unwrap();
        let scene = Self {
            _directory: directory,
            config,
            plane,
            agent,
            one,
            two,
        };
        scene.catch_up().await;
        scene
    }

    /// Delivers as if it had just been asked for.
    async fn take(&self, delivery: &Delivery) -> Result<Sent, crate::Error> {
        self.agent
            .deliver(delivery, &self.agent.state().checkpoint)
            .await
    }

    /// A heartbeat, and everything that waits to be said.
    async fn catch_up(&self) {
        assert_eq!(self.agent.flush().await.unwrap(), Sent::Done);
        assert_eq!(self.agent.beat().await.unwrap(), Sent::Done);
    }

    /// A good order that publishes release two; `number` is its sequence and its nonces.
    fn order(&self, inner: &Inner, number: u64) -> Order {
        let action: ActionId = format!("publish-{number}").parse().unwrap();
        let rollback = self.agent.last_seen().unwrap().rollback.digest().unwrap();
        let object = inner
            .ledger
            .publish(&self.two, Some(self.one), rollback, now());
        inner.ledger.order(&action, &object, number, now())
    }

    /// The delivery of an order, with honest proofs.
    fn deliver(&self, inner: &mut Inner, order: &Order) -> Delivery {
        inner.authorize(order);
        let at = inner.chain.size() - 1;
        let state = self.agent.state();
        inner.delivery(
            at,
            state.checkpoint.size,
            u64::try_from(state.keys.len()).unwrap(),
        )
    }
}

/// The refusals that wait to be said, and everything else that waits but observations.
fn said(state: &State) -> Vec<(Digest, OutcomeResult, String)> {
    let outcomes = state.outbox.iter().filter_map(|report| match report {
        Report::Outcome {
            order_digest,
            result,
            code,
            ..
        } => Some((*order_digest, *result, code.to_string())),
        Report::Observed { .. } => None,
    });
    outcomes.collect()
}

/// Has the approver sign the order's statement again, changed.
fn restate(inner: &Inner, order: &mut Order, change: impl FnOnce(&mut Statement)) {
    let mut statement = order.statements[0].unverified().unwrap();
    change(&mut statement);
    order.statements[0] = statement.sign(&inner.ledger.approver).unwrap();
}

/// Changes the document that is pinned here, as if it had been pinned so.
fn repin(scene: &Scene, change: impl FnOnce(&mut countersign_evidence::PinnedDocument)) -> Digest {
    let state = scene.agent.state();
    let mut document = state.document.clone().unwrap();
    change(&mut document);
    let pinned = State {
        document: Some(document.clone()),
        ..state
    };
    scene
        .agent
        .write(vec![Entry::Snapshot {
            state: Box::new(pinned),
        }])
        .unwrap();
    document.digest().unwrap()
}

/// Changes what the connector remembers.
fn remember(scene: &Scene, change: impl FnOnce(&mut State)) {
    let mut state = scene.agent.state();
    change(&mut state);
    scene
        .agent
        .write(vec![Entry::Snapshot {
            state: Box::new(state),
        }])
        .unwrap();
}
