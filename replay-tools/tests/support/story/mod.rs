//! The story that every test ledger tells: a site, a connector, people, and two releases published one after the other.

use countersign_chain::{CommandKey, sha256};
use countersign_events::words::{ConnectorKind, Environment};
use countersign_events::{Event, approver, beat, connector, deploy, platform, site, tenant};
use countersign_evidence::action::{Grade, RollbackPlan};
use countersign_evidence::document::KindOrAny;
use countersign_evidence::enrolment::enrol;
use countersign_evidence::message::{
    Head, Heartbeat, Mode, Observed, Paired, Readiness, SiteState, Stream, TreeHead,
};
use countersign_evidence::wire::Base64;
use countersign_evidence::{
    ConnectorMessage, Credential, FloorRule, OrDash, PinnedDocument, PublicKey, SignedStatement,
    wire,
};
use countersign_ids::{Digest, PlatformHead};
use countersign_store::{Receipt, Stamp};
use ed25519_dalek::SigningKey;

use super::{Fact, TENANT, Twist, World, at_site, chain, fact, nonce, person, service};

mod orders;
pub(crate) mod pruned;
mod votes;

pub(crate) const SITE: &str = "www";
pub(crate) const BEATS: &str = "acme.beats";

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
    story.world.rotate_order_key();
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
}

/// A command key that no helper uses.
pub(crate) fn own_key(name: &str) -> CommandKey {
    CommandKey::Key(format!("own-{name}"))
}
