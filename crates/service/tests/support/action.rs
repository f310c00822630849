//! The life of an action as people, agents and the connector drive it, and what its chain says of it.

use super::*;

impl Plane {
    pub fn publish(&self, release: Digest) -> Proposal {
        self.proposal("release.publish", release)
    }

    pub fn proposal(&self, kind: &str, release: Digest) -> Proposal {
        Proposal {
            action: None,
            site: self.site.clone(),
            kind: kind.parse().unwrap(),
            parameters: JsonObject::of_strings([("release", release.to_string())]),
            title: None,
            reason: Some("spring menu".to_owned()),
            expires: None,
        }
    }

    pub async fn propose(&self, proposal: Proposal) -> ActionId {
        self.service
            .propose(&self.agent, &Request::default(), proposal)
            .await
            .unwrap()
            .action
    }

    pub fn detail(&self, action: &ActionId) -> ActionDetail {
        self.service.action(&self.owner, action).unwrap()
    }

    /// Waits until the action is in one of these states.
    pub async fn until(&self, action: &ActionId, states: &[State]) -> Action {
        self.wait(action, |action| states.contains(&action.state()))
            .await
    }

    pub async fn wait(&self, action: &ActionId, holds: impl Fn(&Action) -> bool) -> Action {
        let wait = async {
            let mut follow = self.service.follow(&self.owner, Sequence::ZERO);
            loop {
                let action = self.detail(action).action;
                if holds(&action) {
                    return action;
                }
                follow.next().await.unwrap();
            }
        };
        match tokio::time::timeout(BOUND, wait).await {
            Ok(action) => action,
            Err(_) => panic!("the action stays {:?}", self.detail(action).action),
        }
    }

    /// A statement of alice about the action as it is shown to her now.
    pub fn statement(&self, action: &ActionId, decision: Decision, nonce: u8) -> Statement {
        let detail = self.detail(action);
        let assessment = detail.action.assessment.clone().unwrap();
        let now = self.service.now();
        Statement {
            v: V1,
            ledger: detail.ledger,
            chain: detail.chain,
            site: self.site.clone(),
            action: action.clone(),
            action_digest: detail.action.proposal.digest,
            decision,
            scope: Scope::Action,
            round: detail.action.round,
            approver: "alice".parse().unwrap(),
            credential: "alice-1".parse().unwrap(),
            reason_digest: OrDash::NONE,
            policy_digest: OrDash(Some(assessment.policy_digest)),
            view_digest: assessment.view_digest,
            rollback_digest: OrDash(assessment.rollback_digest),
            not_before: now.minus_millis(1000),
            not_after: now.plus_millis(600_000),
            nonce: Nonce::from_bytes([nonce; 16]),
        }
    }

    pub fn signed(&self, action: &ActionId, decision: Decision, nonce: u8) -> SignedStatement {
        self.statement(action, decision, nonce)
            .sign(&self.alice)
            .unwrap()
    }

    /// Alice's vote; a denial with a reason.
    pub async fn vote(
        &self,
        action: &ActionId,
        decision: Decision,
        nonce: u8,
    ) -> Result<(), Error> {
        let mut statement = self.statement(action, decision, nonce);
        let reason = (decision == Decision::Deny).then(|| SaltedReason {
            salt: Salt::from_bytes([nonce; 16]),
            reason: "not on a Friday".to_owned(),
        });
        statement.reason_digest = OrDash(reason.as_ref().map(|given| {
            countersign_evidence::statement::reason_digest(given.salt.as_bytes(), &given.reason)
        }));
        let signed = statement.sign(&self.alice).unwrap();
        let ballot = Ballot { signed, reason };
        self.service
            .vote(&self.approver, &Request::default(), action.clone(), ballot)
            .await
            .map(drop)
    }

    /// Polls until there is an order.
    pub async fn order(&self, connector: &Connector) -> Delivery {
        self.service
            .poll_for(&connector.poll(), BOUND)
            .await
            .unwrap()
            .expect("an order within the bound")
    }

    /// The whole way of one publish, up to its success.
    pub async fn publish_whole(
        &self,
        connector: &mut Connector,
        release: Digest,
        nonce: u8,
    ) -> ActionId {
        let action = self.propose(self.publish(release)).await;
        self.until(&action, &[State::Waiting]).await;
        self.vote(&action, Decision::Approve, nonce).await.unwrap();
        let delivery = self.order(connector).await;
        let order = order_of(&delivery);
        assert_eq!(order.1.action, action);
        self.outcome(connector, order.0, OutcomeResult::Accepted)
            .await;
        connector.switch(release);
        self.outcome(connector, order.0, OutcomeResult::Succeeded)
            .await;
        self.observe(connector).await;
        action
    }

    pub async fn outcome(&self, connector: &mut Connector, order: Digest, result: OutcomeResult) {
        let envelope = connector.outcome(order, result);
        self.service.message(&envelope).await.unwrap();
    }

    /// The facts of all events of the tenant's chain, in order.
    pub fn facts(&self) -> Vec<String> {
        let mut facts = Vec::new();
        loop {
            let from = Sequence::new(facts.len().try_into().unwrap());
            let page = self.service.events(&self.owner, from, 1000).unwrap();
            let done = page.events.is_empty();
            facts.extend(page.events.iter().map(|entry| {
                let of = &entry.header().event_type;
                format!("{}.{}", of.family(), of.fact())
            }));
            if done {
                return facts;
            }
        }
    }

    /// How often a fact stands in the tenant's chain.
    pub fn count(&self, fact: &str) -> usize {
        self.facts().iter().filter(|one| *one == fact).count()
    }

    /// No command id stands twice in the chain but for consecutive events of one command.
    pub fn audit(&self) {
        let page = self
            .service
            .events(&self.owner, Sequence::ZERO, 1000)
            .unwrap();
        let mut seen = BTreeSet::new();
        let mut last = None;
        for entry in &page.events {
            let command = entry.header().commandid;
            assert!(
                last == Some(command) || seen.insert(command),
                "command {command} came twice"
            );
            last = Some(command);
        }
    }
}

/// The order in a delivery, and its digest.
pub fn order_of(delivery: &Delivery) -> (Digest, Order) {
    let envelope = envelope_of(delivery);
    (
        envelope.payload_digest(),
        Order::parse(envelope.unverified_payload()).unwrap(),
    )
}

/// The signed order in a delivery.
pub fn envelope_of(delivery: &Delivery) -> Envelope {
    let body: JsonObject = serde_json::from_str(&delivery.event.body).unwrap();
    serde_json::from_value(body.0.get("envelope").unwrap().clone()).unwrap()
}
