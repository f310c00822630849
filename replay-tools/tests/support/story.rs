//! The story that every test ledger tells: a site, a connector, people, and two releases published one after the other.

use std::collections::BTreeSet;

use countersign_chain::{CommandKey, sha256};
use countersign_events::action::{
    Accepted, Approved, Assessed, Authorized, Delivered, Proposed, Succeeded,
};
use countersign_events::words::{ConnectorKind, Environment, Risk};
use countersign_events::{
    Event, approver, beat, connector, deploy, platform, reason, site, tenant,
};
use countersign_evidence::action::{Grade, RollbackPlan};
use countersign_evidence::document::KindOrAny;
use countersign_evidence::enrolment::enrol;
use countersign_evidence::message::{
    Head, Heartbeat, Mode, Observed, Paired, Readiness, SiteState, Stream, TreeHead,
};
use countersign_evidence::statement::reason_digest;
use countersign_evidence::wire::Base64;
use countersign_evidence::{
    ActionObject, ConnectorMessage, Credential, Decision, Envelope, FloorRule, JsonObject, OrDash,
    Order, Outcome, OutcomeResult, PinnedDocument, PublicKey, Reversibility, Scope,
    SignedStatement, Statement, ViewDocument, wire,
};
use countersign_ids::{Actor, ApproverId, AuthType, Digest, PlatformHead, Salt, Sequence, Time};
use countersign_store::{Receipt, Stamp};
use ed25519_dalek::SigningKey;

use super::{Fact, TENANT, Twist, World, at_site, chain, fact, nonce, person, policy, service};

pub(crate) const SITE: &str = "www";
const BEATS: &str = "acme.beats";

/// What the story has told so far.
pub(crate) struct Story {
    pub world: World,
    people: Vec<Credential>,
    document: Digest,
    counter: u64,
    beats: (u64, Option<Digest>),
    used: Option<SignedStatement>,
    orders: u64,
}

/// A whole history with at most one thing wrong, stopped cleanly.
pub(crate) fn tell(seed: u8, twist: Twist) -> World {
    let mut story = Story::begin(seed, twist);
    story.publish("act-1", b"release one", 1);
    story.beat();
    story.world.record_heads();
    story.publish("act-2", b"release two", 2);
    story.beat();
    story.end()
}

impl Story {
    pub(crate) fn begin(seed: u8, twist: Twist) -> Self {
        let mut world = World::new(seed, twist);
        world.open_chain(TENANT);
        world.open_chain(BEATS);
        let created = tenant::Created {
            tenant: TENANT.parse().unwrap(),
            name: "Acme".to_owned(),
        };
        world.append(TENANT, person("owner"), vec![fact(created, TENANT)]);
        let document = Digest::from_bytes([0; 32]);
        let mut story = Self {
            world,
            people: Vec::new(),
            document,
            counter: 0,
            beats: (0, None),
            used: None,
            orders: 0,
        };
        story.enrol("mira");
        story.enrol("theo");
        story.register();
        story.pair();
        story.world.checkpoint(TENANT);
        story.world.record_heads();
        story
    }

    pub(crate) fn end(mut self) -> World {
        self.world.checkpoint(TENANT);
        self.world.checkpoint(BEATS);
        self.world.record_heads();
        self.world.stop();
        self.world
    }

    fn twisted(&self, twist: Twist) -> bool {
        self.world.twist == twist
    }

    fn key_of(&self, name: &str) -> SigningKey {
        let keys = &self.world.keys;
        if name == "mira" {
            keys.mira.clone()
        } else {
            keys.theo.clone()
        }
    }

    /// Enrols a person on platform and restates it in the tenant's chain.
    fn enrol(&mut self, name: &str) {
        let key = self.key_of(name);
        let (credential, mut proof) = enrol(
            &self.world.id,
            name.parse().unwrap(),
            format!("{name}-key").parse().unwrap(),
            &key,
        )
        .unwrap();
        if self.twisted(Twist::EnrolmentForged) && name == "theo" {
            proof = Base64(vec![1; 64]);
        }
        let event: Event = approver::Enrolled::new(credential.clone(), proof).into();
        let receipt = self
            .world
            .append("platform", person("admin"), vec![fact(event, name)]);
        self.restate(&receipt, name);
        self.people.push(credential);
    }

    fn restate(&mut self, receipt: &Receipt, subject: &str) {
        let entry = self
            .world
            .ledger()
            .event(&chain("platform"), receipt.first)
            .unwrap();
        let record = entry.record().clone();
        let countersign_chain::Body::Present { salt, bytes } = record.body else {
            panic!("absent")
        };
        let mut body = String::from_utf8(bytes).unwrap();
        if self.twisted(Twist::RestatesOtherBody) && subject == "theo" {
            body = body.replace("theo", "thea");
        }
        let noted = platform::Noted {
            header: String::from_utf8(record.header).unwrap(),
            salt,
            body,
        };
        let head = PlatformHead {
            sequence: receipt.first,
            hash: receipt.events[0].1,
        };
        self.world.append(
            TENANT,
            service(),
            vec![Fact {
                stamp: Stamp::Restates(head),
                ..fact(noted, subject)
            }],
        );
    }

    fn register(&mut self) {
        let registered = site::Registered {
            site: SITE.parse().unwrap(),
            name: "The site".to_owned(),
            connector: ConnectorKind::Static,
            environment: Environment::Production,
        };
        let genesis = if self.twisted(Twist::DocumentOfOtherGenesis) {
            &self.world.keys.stranger
        } else {
            &self.world.keys.genesis
        };
        let document = PinnedDocument {
            v: wire::V1,
            ledger: self.world.id,
            chain: chain(TENANT),
            site: SITE.parse().unwrap(),
            version: 1,
            previous: OrDash::NONE,
            approvers: self.people.clone(),
            floor: vec![FloorRule {
                kind: KindOrAny::Any,
                approvals: 1,
            }],
            break_glass: false,
            quorum: 1,
            genesis: PublicKey::from(genesis),
        };
        self.document = document.digest().unwrap();
        let mut next = document.clone();
        self.world.append(
            TENANT,
            person("owner"),
            vec![at_site(registered, SITE, SITE)],
        );
        self.world.append(
            TENANT,
            person("owner"),
            vec![at_site(site::DocumentPinned { document }, SITE, SITE)],
        );
        let release = self.world.blob(TENANT, b"a page");
        let added = deploy::ReleaseAdded {
            site: SITE.parse().unwrap(),
            release,
            label: "one".to_owned(),
            attachments: vec![release],
        };
        self.world
            .append(TENANT, person("owner"), vec![at_site(added, SITE, SITE)]);
        if self.twisted(Twist::DocumentPinnedAlone) {
            (next.version, next.previous) = (2, OrDash(Some(self.document)));
            self.document = next.digest().unwrap();
            let pinned = site::DocumentPinned { document: next };
            self.world
                .append(TENANT, person("owner"), vec![at_site(pinned, SITE, SITE)]);
        }
    }

    fn pair(&mut self) {
        let secret = [9_u8; 16];
        let code_digest = sha256(&secret);
        if !self.twisted(Twist::PairedWithoutInvitation) {
            let expires = self.world.now().plus_millis(600_000);
            let invited = connector::Invited {
                site: SITE.parse().unwrap(),
                code_digest,
                expires,
            };
            self.world
                .append(TENANT, person("owner"), vec![at_site(invited, SITE, SITE)]);
        }
        let message = ConnectorMessage::Paired(Paired {
            head: self.head(TENANT),
            stream: Stream::Action,
            counter: 0,
            key: PublicKey::from(&self.world.keys.connector),
            code_digest,
        });
        let envelope = message.sign(&self.world.keys.connector).unwrap();
        self.counter = 1;
        let paired = at_site(
            connector::Paired {
                envelope: envelope.clone(),
            },
            SITE,
            SITE,
        );
        self.world
            .append_message(TENANT, (1, "action", 0), &envelope, vec![paired]);
        self.observe();
    }

    /// What every message says; the checkpoint is the last one that the tenant's chain has.
    fn head(&self, on: &str) -> Head {
        let last = self.world.ledger().last_checkpoint(&chain(TENANT));
        let (size, mut root) = last.map_or_else(
            || (0, countersign_chain::merkle::empty_root()),
            |last| (last.size, last.root),
        );
        if self.twisted(Twist::SplitView) && size > 0 {
            root[5] ^= 1;
        }
        Head {
            v: wire::V1,
            ledger: self.world.id,
            chain: chain(on),
            site: SITE.parse().unwrap(),
            connector: "con-1".parse().unwrap(),
            generation: 1,
            document_digest: self.document,
            checkpoint: TreeHead {
                size,
                root: Digest::from_bytes(root),
            },
            keys_version: 1,
        }
    }

    fn rollback_plan() -> RollbackPlan {
        RollbackPlan {
            v: wire::V1,
            site: SITE.parse().unwrap(),
            connector: "static".to_owned(),
            restore: OrDash::NONE,
            grade: Grade::Exact,
            lost: Vec::new(),
        }
    }

    fn observe(&mut self) {
        let observed = SiteState {
            current: OrDash::NONE,
            releases: Vec::new(),
            rollback: Self::rollback_plan(),
            checked_at: self.world.now(),
        };
        let message = ConnectorMessage::Observed(Observed {
            head: self.head(TENANT),
            stream: Stream::Action,
            counter: self.counter,
            observed,
        });
        let envelope = message.sign(&self.world.keys.connector).unwrap();
        let observed = at_site(
            site::Observed {
                envelope: envelope.clone(),
            },
            SITE,
            SITE,
        );
        self.world.append_message(
            TENANT,
            (1, "action", self.counter),
            &envelope,
            vec![observed],
        );
        self.counter += 1;
    }

    pub(crate) fn beat(&mut self) {
        let (counter, previous) = self.beats;
        let message = ConnectorMessage::Heartbeat(Heartbeat {
            head: self.head(BEATS),
            stream: Stream::Beat,
            counter,
            boot: nonce(1),
            instance: nonce(2),
            previous: OrDash(previous),
            inventory: sha256(b"[]"),
            readiness: Readiness {
                grade: Grade::Exact,
                rollback_digest: OrDash(None),
            },
            mode: Mode::Normal,
        });
        let envelope = message.sign(&self.world.keys.connector).unwrap();
        self.beats = (counter + 1, Some(envelope.payload_digest()));
        let received = beat::Received {
            envelope: envelope.clone(),
        };
        let fact = Fact {
            stamp: Stamp::Newest,
            ..at_site(received, SITE, SITE)
        };
        self.world
            .append_message(BEATS, (1, "beat", counter), &envelope, vec![fact]);
    }

    /// One action from proposal to success.
    pub(crate) fn publish(&mut self, action: &str, release: &[u8], number: u64) {
        let object = self.propose(action, release);
        let digest = object.digest().unwrap();
        let (view, decision) = self.assess(action, &object);
        let statements = self.approve(action, digest, &view, &decision, number);
        let order = self.authorize(action, &object, statements, &decision, number);
        self.deliver(action, &order);
        self.answer(action, &order, OutcomeResult::Accepted);
        self.answer(action, &order, OutcomeResult::Succeeded);
        if self.twisted(Twist::OrderByEndedKey) && number == 1 {
            self.world.rotate_order_key();
        }
    }

    fn propose(&mut self, action: &str, release: &[u8]) -> ActionObject {
        let plan = JsonObject::of_strings([("to", sha256(release).to_string())]);
        let object = ActionObject {
            v: wire::V1,
            site: SITE.parse().unwrap(),
            kind: "release.publish".parse().unwrap(),
            parameters: JsonObject::of_strings([("release", sha256(release).to_string())]),
            precondition: JsonObject::of_strings([("current", "-")]),
            plan_digest: plan.digest().unwrap(),
            reversibility: Reversibility::Reversible,
            rollback_digest: OrDash(Some(Self::rollback_plan().digest().unwrap())),
            expires: self.world.now().plus_millis(3_600_000),
        };
        let salt = [7; 16];
        let proposed = Proposed {
            action: action.parse().unwrap(),
            action_digest: object.digest().unwrap(),
            action_object: object.clone(),
            plan,
            title: format!("publish {action}"),
            risk: Risk::Medium,
            blast_radius: 3,
            proposer_owner: OrDash(Some(
                if self.twisted(Twist::ApprovedByOwner) {
                    "mira"
                } else {
                    "petra"
                }
                .parse()
                .unwrap(),
            )),
            reason_digest: OrDash(Some(reason_digest(&salt, "because"))),
            attachments: Vec::new(),
        };
        let given = reason::Given {
            salt: Salt::from_bytes(salt),
            reason: "because".to_owned(),
        };
        let proposer = match self.world.twist {
            Twist::ApprovedByProposer => person("mira"),
            _ => Actor {
                kind: AuthType::Agent,
                id: "agent-7".parse().unwrap(),
            },
        };
        let sealed = Fact {
            seal: Some("subject-1".parse().unwrap()),
            ..at_site(given, action, SITE)
        };
        self.world.append(
            TENANT,
            proposer,
            vec![at_site(proposed, action, SITE), sealed],
        );
        object
    }

    fn assess(&mut self, action: &str, object: &ActionObject) -> (Digest, policy::Decision) {
        let decision = policy::decide(&self.world, action, &BTreeSet::new());
        let mut shown = object.clone();
        if self.twisted(Twist::ViewShowsOtherAction) {
            shown.expires = shown.expires.plus_millis(1);
        }
        let others = JsonObject::of_strings([("title", format!("publish {action}"))]);
        let view = ViewDocument::build(&shown, others).unwrap();
        let view_digest = self.world.blob(TENANT, view.bytes());
        let mut blobs = vec![
            decision.policy_digest,
            decision.entities_digest,
            view_digest,
        ];
        blobs.sort();
        blobs.dedup();
        let mut evaluations = decision.evaluations.clone();
        let verdict = if self.twisted(Twist::PolicyVerdictChanged) {
            countersign_events::words::Verdict::Allow
        } else {
            decision.verdict
        };
        if self.twisted(Twist::PolicyEvaluationChanged)
            && let Some(first) = evaluations.first_mut()
        {
            first.policies = vec!["made-up".to_owned()];
        }
        let assessed = Assessed {
            action: action.parse().unwrap(),
            round: 1,
            verdict,
            needed: decision.needed,
            evaluations,
            policy_digest: decision.policy_digest,
            cedar_version: decision.cedar_version.clone(),
            entities_digest: decision.entities_digest,
            view_digest,
            rollback_digest: object.rollback_digest,
            reasons: decision.reasons.clone(),
            blobs,
        };
        self.world
            .append(TENANT, service(), vec![at_site(assessed, action, SITE)]);
        (view_digest, decision)
    }

    fn statement(
        &self,
        action: &str,
        digest: Digest,
        view: &Digest,
        decision: &policy::Decision,
        number: u64,
    ) -> Statement {
        let now = self.world.now();
        let (from, until) = match self.world.twist {
            Twist::StatementExpired => (now.minus_millis(7_200_000), now.minus_millis(3_600_000)),
            _ => (now.minus_millis(60_000), now.plus_millis(3_600_000)),
        };
        let twisted = |twist, digest: Digest| {
            if self.twisted(twist) {
                sha256(b"another")
            } else {
                digest
            }
        };
        let reused = self.twisted(Twist::StatementNonceReused);
        Statement {
            v: wire::V1,
            ledger: self.world.id,
            chain: chain(TENANT),
            site: SITE.parse().unwrap(),
            action: action.parse().unwrap(),
            action_digest: twisted(Twist::StatementOverOtherDigest, digest),
            decision: Decision::Approve,
            scope: Scope::Action,
            round: 1,
            approver: "mira".parse().unwrap(),
            credential: "mira-key".parse().unwrap(),
            reason_digest: OrDash::NONE,
            policy_digest: OrDash(Some(decision.policy_digest)),
            view_digest: twisted(Twist::StatementOverOtherView, *view),
            rollback_digest: OrDash(Some(Self::rollback_plan().digest().unwrap())),
            not_before: from,
            not_after: until,
            nonce: nonce(if reused { 77 } else { 100 + number }),
        }
    }

    fn approve(
        &mut self,
        action: &str,
        digest: Digest,
        view: &Digest,
        decision: &policy::Decision,
        number: u64,
    ) -> Vec<SignedStatement> {
        let mut statement = self.statement(action, digest, view, decision, number);
        let mut key = self.world.keys.mira.clone();
        match self.world.twist {
            Twist::StatementByStranger => {
                statement.approver = "nobody".parse().unwrap();
                key = self.world.keys.stranger.clone();
            }
            Twist::StatementForged => key = self.world.keys.stranger.clone(),
            _ => {}
        }
        let signed = statement.sign(&key).unwrap();
        self.vote(action, &signed);
        if self.twisted(Twist::SecondVoteOfOnePerson) {
            statement.nonce = nonce(900 + number);
            let again = statement.sign(&key).unwrap();
            self.vote(action, &again);
        }
        match self.world.twist {
            Twist::OrderWithoutApproval => Vec::new(),
            Twist::StatementReused if number == 2 => self.used.clone().into_iter().collect(),
            _ => {
                self.used = Some(signed.clone());
                vec![signed]
            }
        }
    }

    fn vote(&mut self, action: &str, signed: &SignedStatement) {
        let approved = Approved {
            action: action.parse().unwrap(),
            round: 1,
            signed: signed.clone(),
        };
        self.world.append(
            TENANT,
            person("mira"),
            vec![at_site(approved, action, SITE)],
        );
    }

    fn order_key(&self, number: u64) -> SigningKey {
        let keys = &self.world.keys;
        match self.world.twist {
            Twist::OrderByUnknownKey => keys.stranger.clone(),
            Twist::OrderByEndedKey if number > 1 => keys.order.clone(),
            _ => keys.order.clone(),
        }
    }

    fn authorize(
        &mut self,
        action: &str,
        object: &ActionObject,
        statements: Vec<SignedStatement>,
        decision: &policy::Decision,
        number: u64,
    ) -> Envelope {
        let votes: BTreeSet<ApproverId> = std::iter::once("mira".parse().unwrap()).collect();
        let now = self.world.now();
        let (from, until) = self.order_times(now);
        self.orders = if self.twisted(Twist::OrderSequenceFalls) {
            10 - number
        } else {
            self.orders + 1
        };
        let order = Order {
            v: wire::V1,
            ledger: self.world.id,
            chain: chain(TENANT),
            site: SITE.parse().unwrap(),
            connector: "con-1".parse().unwrap(),
            generation: if self.twisted(Twist::OrderForOtherGeneration) {
                2
            } else {
                1
            },
            action: action.parse().unwrap(),
            action_object: object.clone(),
            statements,
            rollback_digest: object.rollback_digest,
            document_digest: self.document,
            not_before: from,
            expires: until,
            nonce: nonce(500 + number),
            sequence: Sequence::new(self.orders),
        };
        let envelope = order.sign(&self.order_key(number)).unwrap();
        let mint = policy::decide(&self.world, action, &votes);
        let mut blobs = vec![mint.policy_digest, mint.entities_digest];
        blobs.sort();
        blobs.dedup();
        let authorized = Authorized {
            action: action.parse().unwrap(),
            round: 1,
            envelope: envelope.clone(),
            evaluations: mint.evaluations,
            policy_digest: decision.policy_digest,
            cedar_version: mint.cedar_version,
            entities_digest: mint.entities_digest,
            reasons: mint.reasons,
            blobs,
        };
        let fact = Fact {
            stamp: Stamp::Newest,
            ..at_site(authorized, action, SITE)
        };
        self.world.append(TENANT, service(), vec![fact]);
        self.world.checkpoint(TENANT);
        envelope
    }

    fn order_times(&self, now: Time) -> (Time, Time) {
        if self.twisted(Twist::OrderOutsideItsTimes) {
            (now.minus_millis(600_000), now.minus_millis(480_000))
        } else {
            (now.minus_millis(1_000), now.plus_millis(119_000))
        }
    }

    fn deliver(&mut self, action: &str, order: &Envelope) {
        let last = self.world.ledger().last_checkpoint(&chain(TENANT)).unwrap();
        let delivered = Delivered {
            action: action.parse().unwrap(),
            order_digest: order.payload_digest(),
            checkpoint: TreeHead {
                size: last.size,
                root: Digest::from_bytes(last.root),
            },
        };
        self.world
            .append(TENANT, service(), vec![at_site(delivered, action, SITE)]);
    }

    fn answer(&mut self, action: &str, order: &Envelope, result: OutcomeResult) {
        if self.twisted(Twist::CounterSkips) {
            self.counter += 1;
        }
        let is_result = result.is_result();
        let state = || is_result.then(|| JsonObject::of_strings([("current", "-")]));
        let said = match self.world.twist {
            Twist::OutcomeSaysOtherResult if is_result => OutcomeResult::Undone,
            _ => result,
        };
        let order_digest = match self.world.twist {
            Twist::OutcomeOfOtherOrder => sha256(b"another order"),
            _ => order.payload_digest(),
        };
        let message = ConnectorMessage::Outcome(Outcome {
            head: self.head(TENANT),
            stream: Stream::Action,
            counter: self.counter,
            order_digest,
            result: said,
            code: OrDash((said == OutcomeResult::Undone).then(|| "probe-failed".to_owned())),
            before: state(),
            after: state(),
            observations: is_result.then(Vec::new),
            duration_ms: is_result.then_some(12),
        });
        let key = match self.world.twist {
            Twist::OutcomeByOtherKey => self.world.keys.stranger.clone(),
            _ => self.world.keys.connector.clone(),
        };
        let envelope = message.sign(&key).unwrap();
        let action_id = action.parse().unwrap();
        let event: Event = if result == OutcomeResult::Accepted {
            Accepted {
                action: action_id,
                envelope: envelope.clone(),
            }
            .into()
        } else {
            Succeeded {
                action: action_id,
                envelope: envelope.clone(),
            }
            .into()
        };
        let place = (1, "action", self.counter);
        self.world
            .append_message(TENANT, place, &envelope, vec![at_site(event, action, SITE)]);
        self.counter += 1;
    }
}

/// A command key that no helper uses.
pub(crate) fn own_key(name: &str) -> CommandKey {
    CommandKey::Key(format!("own-{name}"))
}
