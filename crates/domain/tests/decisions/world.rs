//! A tenant that is told what happens in words: real keys and signatures, no clock, no store.
//!
//! `say` decides one line and folds what it comes to, so a table of lines is a history.

use countersign_chain::{self as chain, Header};
use countersign_domain::manifest::{File, Manifest};
use countersign_domain::words::{ConnectorKind, Environment, SiteOrAll, Verdict};
use countersign_domain::{
    Assess, Command, Decision, DeclareFreeze, Deliver, Expire, Facts, InviteConnector, LiftFreeze,
    MarkUnresolved, Mint, NotePlatform, OpenTenant, PairConnector, PolicyOutcome, Propose,
    RecordObservation, RecordOutcome, RegisterSite, Rejection, Revoke, Source, Tenant, Withdraw,
    compose, decide, pairing_terms,
};
use countersign_domain::{Reason, Vote};
use countersign_events::platform::Noted;
use countersign_events::{self as events, Event};
use countersign_evidence::action::{Grade, RollbackPlan};
use countersign_evidence::message::{
    Head, Observation, Observed, Outcome, OutcomeResult, Paired, SiteState, Stream, TreeHead,
};
use countersign_evidence::statement::{Decision as Ballot, Scope};
use countersign_evidence::wire::V1;
use countersign_evidence::{
    ConnectorMessage, JsonObject, OrDash, PublicKey, Statement, VerifiedMessage, enrolment,
};
use countersign_ids::{
    ActionId, Actor, AuthType, BodyHash, CommandId, Digest, EventHash, LedgerId, Nonce, Retention,
    Salt, Sequence, SiteId, Time,
};
use ed25519_dalek::SigningKey;

mod connector;
mod people;

use people::spoiled;

pub(crate) const START: u64 = 1_700_000_000_000;
const GENESIS: [u8; 32] = [9; 32];

pub(crate) struct World {
    pub(crate) tenant: Tenant,
    pub(crate) now: u64,
    pub(crate) sequence: u64,
    platform: u64,
    nonce: u8,
    pub(crate) counter: u64,
    last_statement: Option<countersign_evidence::SignedStatement>,
    policy: u8,
    /// Everything that was folded, with bodies that a fold may read.
    pub(crate) history: Vec<(Header, Option<Event>)>,
}

pub(crate) fn id<T: std::str::FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    text.parse().unwrap()
}

pub(crate) fn person(name: &str) -> SigningKey {
    SigningKey::from_bytes(chain::sha256(name.as_bytes()).as_bytes())
}

pub(crate) fn genesis_key() -> SigningKey {
    SigningKey::from_bytes(&GENESIS)
}

pub(crate) fn genesis() -> PublicKey {
    PublicKey::from(&genesis_key())
}

pub(crate) fn ledger() -> LedgerId {
    chain::ledger_id(genesis().as_bytes())
}

/// A release of one page, named by its label.
pub(crate) fn release(label: &str) -> (Digest, Vec<u8>) {
    let manifest = Manifest {
        v: V1,
        label: label.to_owned(),
        pages: vec!["index.html".to_owned()],
        files: vec![File {
            path: "index.html".to_owned(),
            digest: chain::sha256(label.as_bytes()),
            bytes: 7,
            media_type: "text/html".to_owned(),
        }],
        base_path: "/".to_owned(),
    };
    let bytes = manifest.to_bytes().unwrap();
    (chain::sha256(&bytes), bytes)
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            tenant: Tenant::new(id("acme")),
            now: START,
            sequence: 0,
            platform: 0,
            nonce: 0,
            counter: 0,
            last_statement: None,
            policy: 1,
            history: Vec::new(),
        }
    }

    /// A world in which all of these lines were accepted.
    pub(crate) fn given(lines: &[&str]) -> Self {
        let mut world = Self::new();
        for line in lines {
            world
                .say(line)
                .unwrap_or_else(|rejection| panic!("given `{line}`: {rejection}"));
        }
        world
    }

    /// Decides a line and folds what it comes to; the facts that were written.
    pub(crate) fn say(&mut self, line: &str) -> Result<Vec<String>, Rejection> {
        let words: Vec<&str> = line.split(' ').collect();
        if let ["later", seconds] = words[..] {
            self.now += seconds.parse::<u64>().unwrap() * 1000;
            return Ok(Vec::new());
        }
        if words == ["policy", "changes"] {
            self.policy += 1;
            return Ok(Vec::new());
        }
        let (words, actor) = match words.iter().position(|word| *word == "by") {
            Some(at) => (
                words.iter().copied().take(at).collect(),
                words.iter().copied().nth(at + 1).unwrap(),
            ),
            None => (words, "olga"),
        };
        let facts = Facts {
            now: self.time(),
            actor: Actor {
                kind: AuthType::Person,
                id: id(actor),
            },
        };
        let decision = self.decide(&words, &facts)?;
        Ok(self.fold(decision, &facts.actor))
    }

    /// The policy set in force.
    pub(crate) fn policy_digest(&self) -> Digest {
        Digest::from_bytes([self.policy; 32])
    }

    pub(crate) fn time(&self) -> Time {
        Time::from_unix_millis(self.now)
    }

    #[expect(
        clippy::too_many_lines,
        reason = "the vocabulary of the tables, a line a word"
    )]
    fn decide(&mut self, words: &[&str], facts: &Facts) -> Result<Decision, Rejection> {
        let command = match *words {
            ["open"] => OpenTenant {
                tenant: id("acme"),
                name: "Acme".to_owned(),
                number: 0,
            }
            .into(),
            ["enrol", name] => NotePlatform {
                noted: self.enrolment(name, false),
            }
            .into(),
            ["remove", name] => NotePlatform {
                noted: self.enrolment(name, true),
            }
            .into(),
            ["site", site] => RegisterSite {
                site: id(site),
                name: "Shop".to_owned(),
                connector: ConnectorKind::Static,
                environment: Environment::Production,
            }
            .into(),
            ["invite", site, code] => self.invite(site, code, 600).into(),
            ["invite", site, code, seconds] => {
                self.invite(site, code, seconds.parse().unwrap()).into()
            }
            ["pair", site, code, key] => self.pair(site, code, key, facts.now)?,
            ["observe", site, live] => self.observe(site, live, Grade::Exact, None)?,
            ["observe", site, live, "stale"] => self.observe(site, live, Grade::Stale, None)?,
            ["observe", site, live, "counter", counter] => {
                self.observe(site, live, Grade::Exact, counter.parse().ok())?
            }
            ["release", site, label] => {
                let (digest, manifest) = release(label);
                countersign_domain::AddRelease {
                    site: id(site),
                    release: digest,
                    label: label.to_owned(),
                    manifest,
                }
                .into()
            }
            ["propose", action, site, kind, label] => {
                self.propose(action, site, kind, label, 3600).into()
            }
            ["propose", action, site, kind, label, seconds] => self
                .propose(action, site, kind, label, seconds.parse().unwrap())
                .into(),
            ["assess", action, verdict] => self.assess(action, verdict)?,
            ["approve", action, name] => self.vote(action, name, Ballot::Approve, |_| {})?,
            ["deny", action, name] => self.vote(action, name, Ballot::Deny, |_| {})?,
            ["unvote", action, name] => self.vote(action, name, Ballot::Withdraw, |_| {})?,
            ["approve", action, name, "but", what] => {
                self.vote(action, name, Ballot::Approve, spoiled(what))?
            }
            ["approve-again", action] => Vote {
                action: id(action),
                signed: self.last_statement.clone().unwrap(),
                reason: None,
            }
            .into(),
            ["withdraw", action] => Withdraw {
                action: id(action),
                reason: None,
            }
            .into(),
            ["revoke", action] => Revoke {
                action: id(action),
                reason: None,
            }
            .into(),
            ["mint", action] => self.mint(action, |_| {})?,
            ["mint", action, "denied"] => {
                self.mint(action, |mint| mint.outcome.permitted = false)?
            }
            ["mint", action, "stale"] => {
                self.mint(action, |mint| mint.outcome.question.blast_radius += 1)?
            }
            ["mint", action, "altered"] => self.mint_altered(action)?,
            ["deliver", action] => self.deliver(action, 0).into(),
            ["deliver", action, "other"] => self.deliver(action, 1).into(),
            ["expire", action] => Expire { action: id(action) }.into(),
            ["unresolved", action] => MarkUnresolved { action: id(action) }.into(),
            ["freeze", name, from, until] => DeclareFreeze {
                freeze: id(name),
                site: SiteOrAll::All,
                from: Time::from_unix_millis(self.now + from.parse::<u64>().unwrap() * 1000),
                until: Time::from_unix_millis(self.now + until.parse::<u64>().unwrap() * 1000),
            }
            .into(),
            ["lift", name] => LiftFreeze { freeze: id(name) }.into(),
            ["outcome", action, result] => self.outcome(action, result)?,
            ["body", ref words @ ..] => crate::keeping::command(words),
            _ => panic!("no such line: {words:?}"),
        };
        decide(&self.tenant, &command, facts)
    }

    /// Decides a command that no line says, and folds what it comes to.
    pub(crate) fn command(
        &mut self,
        command: impl Into<Command>,
    ) -> Result<Vec<String>, Rejection> {
        let facts = Facts {
            now: self.time(),
            actor: Actor {
                kind: AuthType::Person,
                id: id("olga"),
            },
        };
        let decision = decide(&self.tenant, &command.into(), &facts)?;
        Ok(self.fold(decision, &facts.actor))
    }

    fn fold(&mut self, decision: Decision, actor: &Actor) -> Vec<String> {
        let mut facts = Vec::new();
        for draft in decision.drafts {
            let spec = draft.event.spec();
            facts.push(format!(
                "{}.{}",
                spec.event_type.family(),
                spec.event_type.fact()
            ));
            let header = Header {
                event_type: draft.event.event_type(),
                subject: draft.subject,
                site: draft.site,
                retention: spec.retention,
                datasubject: draft.seal.clone(),
                ..self.header(actor)
            };
            let event = draft.seal.is_none().then_some(draft.event);
            self.tenant.evolve(&header, event.as_ref());
            self.history.push((header, event));
            self.sequence += 1;
        }
        facts
    }

    pub(crate) fn header(&self, actor: &Actor) -> Header {
        Header {
            ledger: ledger(),
            chain: id("acme"),
            id: id("01938e5e-8a51-7000-8000-000000000001"),
            event_type: countersign_ids::EventType::new("site", "registered", 1).unwrap(),
            subject: id("subject"),
            site: None,
            time: self.time(),
            retention: Retention::Evidence,
            sequence: Sequence::new(self.sequence),
            familysequence: Sequence::ZERO,
            prevhash: EventHash::from_bytes([0; 32]),
            bodyhash: BodyHash::from_bytes([0; 32]),
            bodykey: None,
            datasubject: None,
            actor: actor.clone(),
            commandid: CommandId::from_bytes([0; 16]),
            requestdigest: None,
            platformhead: None,
            correlationid: None,
            causationid: None,
            traceparent: None,
            ownerepoch: None,
        }
    }

    /// An event of the platform chain, as it would be restated.
    pub(crate) fn noted(&mut self, event: &Event) -> Noted {
        let body = event.encode().unwrap();
        let salt = Salt::from_bytes([4; 16]);
        self.platform += 1;
        let actor = Actor {
            kind: AuthType::Service,
            id: id("plane"),
        };
        let header = Header {
            chain: id("platform"),
            event_type: event.spec().event_type.clone(),
            sequence: Sequence::new(self.platform),
            bodyhash: chain::body_hash(&salt, &body),
            ..self.header(&actor)
        };
        Noted {
            header: String::from_utf8(header.to_bytes()).unwrap(),
            salt,
            body: String::from_utf8(body).unwrap(),
        }
    }

    pub(crate) fn invite(&self, site: &str, code: &str, seconds: u64) -> InviteConnector {
        InviteConnector {
            site: id(site),
            code_digest: chain::sha256(code.as_bytes()),
            expires: Time::from_unix_millis(self.now + seconds * 1000),
        }
    }

    pub(crate) fn propose(
        &self,
        action: &str,
        site: &str,
        kind: &str,
        label: &str,
        seconds: u64,
    ) -> Propose {
        let release_source = |label| {
            let (digest, bytes) = release(label);
            (digest, Source::new(bytes))
        };
        let blobs = ["1", "2", "3"].map(release_source).into();
        let parameters = match kind {
            "release.publish" | "release.rollback" => {
                JsonObject::of_strings([("release", release(label).0.to_string())])
            }
            _ => JsonObject::of_strings([("what", label)]),
        };
        Propose {
            action: id(action),
            site: id(site),
            kind: id(kind),
            parameters,
            title: "Autumn hours".to_owned(),
            expires: Time::from_unix_millis(self.now + seconds * 1000),
            owner: Some(id("owen")),
            reason: None,
            blobs,
        }
    }

    fn answer(
        &self,
        question: countersign_domain::PolicyInput,
        verdict: Verdict,
        needed: u64,
    ) -> PolicyOutcome {
        PolicyOutcome {
            question,
            verdict,
            needed,
            permitted: verdict != Verdict::Deny,
            reasons: vec!["because the table says so".to_owned()],
            evaluations: Vec::new(),
            policy_digest: self.policy_digest(),
            cedar_version: "4.14.1".to_owned(),
            entities_digest: Digest::from_bytes([8; 32]),
            blobs: Vec::new(),
        }
    }

    pub(crate) fn assess(&mut self, action: &str, verdict: &str) -> Result<Command, Rejection> {
        let question = self.tenant.question(&id(action), self.time())?;
        let mut outcome = match verdict {
            "allow" => self.answer(question, Verdict::Allow, 0),
            "deny" => self.answer(question, Verdict::Deny, 0),
            "two" => self.answer(question, Verdict::NeedsApproval, 2),
            _ => self.answer(question, Verdict::NeedsApproval, 1),
        };
        match verdict {
            "stale" => outcome.question.floor += 1,
            "other-round" => outcome.question.round += 1,
            _ => {}
        }
        Ok(Assess {
            action: id(action),
            outcome,
        }
        .into())
    }
}
