//! What the connector of a site says: pairing, what it sees, what became of an order.

use super::*;

impl World {
    pub(crate) fn head(&self, site: &SiteId, document_digest: Digest, generation: u64) -> Head {
        Head {
            v: V1,
            ledger: ledger(),
            chain: id("acme"),
            site: site.clone(),
            connector: id(site.as_str()),
            generation,
            document_digest,
            checkpoint: TreeHead {
                size: 0,
                root: Digest::from_bytes(chain::merkle::empty_root()),
            },
            keys_version: 1,
        }
    }

    pub(crate) fn pair(
        &mut self,
        site: &str,
        code: &str,
        key: &str,
        now: Time,
    ) -> Result<Command, Rejection> {
        let site: SiteId = id(site);
        let code_digest = chain::sha256(code.as_bytes());
        let terms = pairing_terms(&self.tenant, &site, &genesis(), &code_digest, now)?;
        let key = person(key);
        let message = Paired {
            head: self.head(&site, terms.document_digest, terms.generation),
            stream: Stream::Action,
            counter: 0,
            key: PublicKey::from(&key),
            code_digest,
        };
        let envelope = ConnectorMessage::Paired(message).sign(&key).unwrap();
        self.counter = 1;
        let message = VerifiedMessage::verify_pairing(&envelope).unwrap();
        Ok(PairConnector {
            message,
            envelope,
            genesis: genesis(),
        }
        .into())
    }

    pub(crate) fn message(
        &mut self,
        message: &ConnectorMessage,
    ) -> (VerifiedMessage, countersign_evidence::Envelope) {
        let key = person("connector");
        let envelope = message.sign(&key).unwrap();
        self.counter += 1;
        (
            VerifiedMessage::verify(&envelope, &PublicKey::from(&key)).unwrap(),
            envelope,
        )
    }

    pub(crate) fn paired_head(&self, site: &SiteId) -> Result<Head, Rejection> {
        let known = self.tenant.site(site)?;
        let document = known
            .document
            .as_ref()
            .map_or(Digest::from_bytes([0; 32]), |pinned| pinned.digest);
        Ok(self.head(
            site,
            document,
            known
                .connector
                .as_ref()
                .map_or(1, |paired| paired.generation),
        ))
    }

    pub(crate) fn observe(
        &mut self,
        site: &str,
        live: &str,
        grade: Grade,
        counter: Option<u64>,
    ) -> Result<Command, Rejection> {
        let site: SiteId = id(site);
        let current = (live != "-").then(|| release(live).0);
        let message = Observed {
            head: self.paired_head(&site)?,
            stream: Stream::Action,
            counter: counter.unwrap_or(self.counter),
            observed: SiteState {
                current: OrDash(current),
                releases: vec![release("1").0, release("2").0],
                rollback: RollbackPlan {
                    v: V1,
                    site: site.clone(),
                    connector: "static".to_owned(),
                    restore: OrDash(current),
                    grade,
                    lost: Vec::new(),
                },
                checked_at: self.time(),
            },
        };
        let (message, envelope) = self.message(&ConnectorMessage::Observed(message));
        Ok(RecordObservation { message, envelope }.into())
    }

    pub(crate) fn deliver(&self, action: &str, beyond: u64) -> Deliver {
        let order_digest = if beyond > 0 {
            Digest::from_bytes([0; 32])
        } else {
            self.order(action)
        };
        let checkpoint = TreeHead {
            size: self.sequence,
            root: Digest::from_bytes([1; 32]),
        };
        Deliver {
            action: id(action),
            order_digest,
            checkpoint,
        }
    }

    pub(crate) fn outcome(&mut self, action: &str, result: &str) -> Result<Command, Rejection> {
        let site = self.tenant.action(&id(action))?.site().clone();
        let (result, good) = match result {
            "accepted" => (OutcomeResult::Accepted, true),
            "refused" => (OutcomeResult::Refused, false),
            "succeeded" => (OutcomeResult::Succeeded, true),
            "failed" => (OutcomeResult::Failed, false),
            _ => (OutcomeResult::Undone, false),
        };
        let ends = result.is_result();
        let message = Outcome {
            head: self.paired_head(&site)?,
            stream: Stream::Action,
            counter: self.counter,
            order_digest: self.order(action),
            result,
            code: OrDash((!good).then(|| "probe-failed".to_owned())),
            before: ends.then(JsonObject::default),
            after: ends.then(JsonObject::default),
            observations: ends.then(|| {
                vec![Observation {
                    what: "live /".to_owned(),
                    ok: good,
                    detail: "200".to_owned(),
                }]
            }),
            duration_ms: ends.then_some(7),
        };
        let (message, envelope) = self.message(&ConnectorMessage::Outcome(message));
        Ok(RecordOutcome { message, envelope }.into())
    }
}
