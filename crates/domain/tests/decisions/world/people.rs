//! What people and the order key sign: enrolments, votes, orders, and votes that are not what was asked for.

use super::*;

impl World {
    pub(crate) fn enrolment(&mut self, name: &str, removed: bool) -> Noted {
        let (credential, proof) = enrolment::enrol(
            &ledger(),
            id(name),
            id(&format!("{name}-key")),
            &person(name),
        )
        .unwrap();
        let event: Event = if removed {
            events::approver::Removed {
                approver: id(name),
                credential: id(&format!("{name}-key")),
            }
            .into()
        } else {
            events::approver::Enrolled::new(credential, proof).into()
        };
        self.noted(&event)
    }

    pub(crate) fn vote(
        &mut self,
        action: &str,
        name: &str,
        decision: Ballot,
        spoil: impl FnOnce(&mut Statement),
    ) -> Result<Command, Rejection> {
        let id_of: ActionId = id(action);
        let known = self.tenant.action(&id_of)?;
        let assessment = known.assessment.clone();
        let shown = |digest: fn(&countersign_domain::action::Assessment) -> Digest| {
            assessment
                .as_ref()
                .map_or(Digest::from_bytes([0; 32]), digest)
        };
        self.nonce += 1;
        let reason = Reason {
            salt: Salt::from_bytes([6; 16]),
            text: "as agreed".to_owned(),
            person: id("d1"),
        };
        let mut statement = Statement {
            v: V1,
            ledger: ledger(),
            chain: id("acme"),
            site: known.site().clone(),
            action: id_of.clone(),
            action_digest: known.proposal.digest,
            decision,
            scope: Scope::Action,
            round: known.round.max(1),
            approver: id(name),
            credential: id(&format!("{name}-key")),
            reason_digest: OrDash(Some(reason.digest())),
            policy_digest: OrDash(Some(shown(|one| one.policy_digest))),
            view_digest: shown(|one| one.view_digest),
            rollback_digest: OrDash(assessment.as_ref().and_then(|one| one.rollback_digest)),
            not_before: self.time(),
            not_after: Time::from_unix_millis(self.now + 1_800_000),
            nonce: Nonce::from_bytes([self.nonce; 16]),
        };
        spoil(&mut statement);
        let key = if statement.nonce == Nonce::from_bytes([0xee; 16]) {
            person("mallory")
        } else {
            person(name)
        };
        let signed = statement.sign(&key).unwrap();
        self.last_statement = Some(signed.clone());
        let reason = statement.reason_digest.get().map(|_| reason);
        Ok(Vote {
            action: id_of,
            signed,
            reason,
        }
        .into())
    }

    pub(crate) fn minting(
        &mut self,
        action: &str,
    ) -> Result<(Mint, countersign_evidence::Order), Rejection> {
        self.nonce += 1;
        let nonce = Nonce::from_bytes([self.nonce; 16]);
        let order = compose(&self.tenant, &id(action), nonce, self.time())?;
        let outcome = self.answer(
            self.tenant.question_at_mint(&id(action), self.time())?,
            Verdict::NeedsApproval,
            1,
        );
        let envelope = order.sign(&person("order")).unwrap();
        Ok((
            Mint {
                action: id(action),
                envelope,
                outcome,
            },
            order,
        ))
    }

    pub(crate) fn mint(
        &mut self,
        action: &str,
        change: impl FnOnce(&mut Mint),
    ) -> Result<Command, Rejection> {
        let (mut mint, _) = self.minting(action)?;
        change(&mut mint);
        Ok(mint.into())
    }

    pub(crate) fn mint_altered(&mut self, action: &str) -> Result<Command, Rejection> {
        let (mint, mut order) = self.minting(action)?;
        order.statements.clear();
        Ok(Mint {
            envelope: order.sign(&person("order")).unwrap(),
            ..mint
        }
        .into())
    }

    pub(crate) fn order(&self, action: &str) -> Digest {
        let known = self
            .tenant
            .action(&id(action))
            .ok()
            .and_then(|action| action.order);
        known.map_or(Digest::from_bytes([0; 32]), |order| order.digest)
    }
}

/// One way in which a statement is not the one that was asked for.
pub(super) fn spoiled(what: &str) -> fn(&mut Statement) {
    match what {
        "another-digest" => |statement| statement.action_digest = Digest::from_bytes([0; 32]),
        "another-view" => |statement| statement.view_digest = Digest::from_bytes([0; 32]),
        "another-policy" => |statement| statement.policy_digest = OrDash(None),
        "another-site" => |statement| statement.site = "elsewhere".parse().unwrap(),
        "another-chain" => |statement| statement.chain = "other".parse().unwrap(),
        "another-round" => |statement| statement.round += 1,
        "break-glass" => |statement| statement.scope = Scope::BreakGlass,
        "too-early" => |statement| statement.not_before = statement.not_before.plus_millis(1000),
        "no-reason" => |statement| statement.reason_digest = OrDash(None),
        "another-reason" => {
            |statement| statement.reason_digest = OrDash(Some(Digest::from_bytes([0; 32])))
        }
        "another-key" => |statement| statement.nonce = Nonce::from_bytes([0xee; 16]),
        other => panic!("nothing is spoiled by `{other}`"),
    }
}
