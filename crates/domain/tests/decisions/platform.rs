//! The platform: tenants, approvers' keys, tokens and key statements, each refusal by name.

use countersign_domain::platform::{
    AnnounceTenant, ChangeKeys, EnrolApprover, IssueToken, RemoveApprover, RevokeToken,
};
use countersign_domain::words::TokenRole;
use countersign_domain::{Facts, Platform, PlatformCommand, Rejection, decide_platform};
use countersign_events as events;
use countersign_evidence::dsse::{Envelope, PayloadType};
use countersign_evidence::keys::{AddedKey, KeyStatement, Role};
use countersign_evidence::wire::{V1, canonical};
use countersign_evidence::{OrDash, PublicKey, enrolment};
use countersign_ids::{Actor, AuthType, Digest, EventHash, Time};
use ed25519_dalek::SigningKey;

use crate::world::{World, genesis_key, id, ledger, person};

type Case = (&'static str, fn(&mut Ledger) -> Result<(), Rejection>);

const CASES: &[Case] = &[
    ("LedgerUnknown", |ledger| {
        *ledger = Ledger::empty();
        ledger.say(announce("acme"))
    }),
    ("TenantExists", |ledger| {
        ledger.say(announce("acme"))?;
        ledger.say(announce("acme"))
    }),
    ("TenantUnknown", |ledger| {
        ledger.say(token("t1", Some("acme"), TokenRole::Owner))
    }),
    ("TokenExists", |ledger| {
        ledger.say(token("t1", None, TokenRole::Admin))?;
        ledger.say(token("t1", None, TokenRole::Admin))
    }),
    ("TokenUnknown", |ledger| {
        ledger.say(token("t1", None, TokenRole::Admin))?;
        ledger.say(RevokeToken { token: id("t1") })?;
        ledger.say(RevokeToken { token: id("t1") })
    }),
    ("RoleUnfit", |ledger| {
        ledger.say(token("t1", None, TokenRole::Owner))
    }),
    ("CredentialExists", |ledger| {
        ledger.say(enrol("alice", "laptop", "alice"))?;
        ledger.say(enrol("bob", "phone", "alice"))
    }),
    ("CredentialUnknown", |ledger| {
        ledger.say(enrol("alice", "laptop", "alice"))?;
        ledger.say(remove("alice", "laptop"))?;
        ledger.say(remove("alice", "laptop"))
    }),
    ("EnrolmentRefused", |ledger| {
        let mut forged = enrol("alice", "laptop", "alice");
        forged.credential.approver = id("mallory");
        ledger.say(forged)
    }),
    ("KeyStatementRefused", |ledger| {
        // Signed by nobody who may.
        let thief = SigningKey::from_bytes(&[66; 32]);
        ledger.say(ledger.addition(&[&thief]))
    }),
    ("HeadsSteppedBack", |ledger| {
        ledger.say(ChangeKeys {
            heads: heads(2),
            ..ledger.addition(&[&genesis_key(), &person("order-2")])
        })?;
        let mut less = ledger.addition(&[&genesis_key(), &person("order-3")]);
        less.heads = heads(1);
        ledger.say(less)
    }),
];

/// What is refused here.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    CASES.iter().map(|(name, _)| *name)
}

#[test]
fn the_platform_refuses_by_name() {
    for (name, case) in CASES {
        let rejection = case(&mut Ledger::begun()).expect_err(name);
        assert_eq!(rejection.name(), *name, "{rejection}");
    }
}

#[test]
fn chains_get_dense_numbers_and_tenants_two_of_them() {
    let mut ledger = Ledger::begun();
    for tenant in ["acme", "brick"] {
        ledger.say(announce(tenant)).unwrap();
    }
    let mut numbers: Vec<(String, u64)> = ledger
        .platform
        .chains()
        .iter()
        .map(|(chain, number)| (chain.to_string(), *number))
        .collect();
    numbers.sort_by_key(|(_, number)| *number);
    let wanted = [
        ("acme", 0),
        ("acme.beats", 1),
        ("brick", 2),
        ("brick.beats", 3),
    ];
    assert_eq!(
        numbers,
        wanted.map(|(chain, number)| (chain.to_owned(), number))
    );
}

#[test]
fn a_key_that_was_removed_is_not_enrolled_again_under_another_name() {
    let mut ledger = Ledger::begun();
    ledger.say(enrol("alice", "laptop", "alice")).unwrap();
    ledger.say(remove("alice", "laptop")).unwrap();
    let again = ledger.say(enrol("bob", "phone", "alice")).unwrap_err();
    assert_eq!(again.name(), "CredentialExists");
}

struct Ledger {
    platform: Platform,
    world: World,
    sequence: u64,
}

impl Ledger {
    fn empty() -> Self {
        Self {
            platform: Platform::new(),
            world: World::new(),
            sequence: 0,
        }
    }

    /// A ledger with its first key statement.
    fn begun() -> Self {
        let mut ledger = Self::empty();
        let (genesis, order) = (genesis_key(), person("order"));
        let statement = KeyStatement {
            v: V1,
            ledger: crate::world::ledger(),
            version: 1,
            previous: OrDash::NONE,
            origin: Some("example.org/ledger".to_owned()),
            add: vec![
                added(Role::Genesis, "genesis", &genesis),
                added(Role::Order, "order", &order),
            ],
            end: Vec::new(),
            quorum: None,
        };
        let envelope = Envelope::sign(
            PayloadType::Keys,
            canonical(&statement).unwrap(),
            [&genesis, &order],
        );
        ledger.fold(&events::keys::Created { envelope }.into());
        assert!(ledger.platform.keys().is_some());
        ledger
    }

    /// A statement that adds an order key, signed by these.
    fn addition(&self, signers: &[&SigningKey]) -> ChangeKeys {
        let ring = self.platform.keys().unwrap().ring();
        let new = signers.last().unwrap();
        let statement = KeyStatement {
            v: V1,
            ledger: ledger(),
            version: ring.version() + 1,
            previous: OrDash(Some(*ring.last())),
            origin: None,
            add: vec![added(Role::Order, "order", new)],
            end: Vec::new(),
            quorum: None,
        };
        let envelope = Envelope::sign(
            PayloadType::Keys,
            canonical(&statement).unwrap(),
            signers.iter().copied(),
        );
        ChangeKeys {
            envelope,
            heads: heads(0),
        }
    }

    fn say(&mut self, command: impl Into<PlatformCommand>) -> Result<(), Rejection> {
        let actor = Actor {
            kind: AuthType::Person,
            id: id("root"),
        };
        let facts = Facts {
            now: Time::MIN,
            actor,
        };
        let decision = decide_platform(&self.platform, &command.into(), &facts)?;
        for draft in decision.drafts {
            self.fold(&draft.event);
        }
        Ok(())
    }

    fn fold(&mut self, event: &events::Event) {
        let actor = Actor {
            kind: AuthType::Service,
            id: id("plane"),
        };
        let mut header = self.world.header(&actor);
        header.sequence = countersign_ids::Sequence::new(self.sequence);
        self.sequence += 1;
        self.platform.evolve(&header, Some(event));
    }
}

fn added(role: Role, name: &str, key: &SigningKey) -> AddedKey {
    AddedKey {
        role,
        name: name.to_owned(),
        key: PublicKey::from(key),
    }
}

fn heads(size: u64) -> events::heads::Recorded {
    events::heads::Recorded {
        size,
        root: Digest::from_bytes([0; 32]),
        keys: events::heads::KeysHead {
            count: 1,
            last: EventHash::from_bytes([0; 32]),
        },
        blobs: Vec::new(),
    }
}

fn announce(tenant: &str) -> AnnounceTenant {
    AnnounceTenant {
        tenant: id(tenant),
        name: tenant.to_owned(),
    }
}

fn enrol(approver: &str, credential: &str, key: &str) -> EnrolApprover {
    let (credential, proof) =
        enrolment::enrol(&ledger(), id(approver), id(credential), &person(key)).unwrap();
    EnrolApprover { credential, proof }
}

fn remove(approver: &str, credential: &str) -> RemoveApprover {
    RemoveApprover {
        approver: id(approver),
        credential: id(credential),
    }
}

fn token(token: &str, tenant: Option<&str>, role: TokenRole) -> IssueToken {
    IssueToken {
        token: id(token),
        secret_digest: Digest::from_bytes([1; 32]),
        tenant: tenant.map(id),
        role,
        kind: AuthType::Person,
        actor: id("olga"),
        owner: None,
    }
}
