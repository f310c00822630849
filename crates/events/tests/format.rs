//! docs/format.md checks itself: every test vector is made again, from the page and by the code, and compared.
//!
//! The vectors and the golden ledger were made by another implementation; nothing here writes them.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::panic,
    reason = "helpers of tests, outside of test functions"
)]

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use countersign_chain::checkpoint::{self, Checkpoint, TlogProof, TreeHead};
use countersign_chain::{self as chain, Body, ChainState, CommandKey, Record, merkle};
use countersign_events::Event;
use countersign_evidence::checks::{self, Facts, SiteNow};
use countersign_evidence::document::Credential;
use countersign_evidence::message::{ConnectorMessage, Mode};
use countersign_evidence::statement::{Alg, reason_digest};
use countersign_evidence::wire::{self, Base64, PublicKey, SignatureBytes};
use countersign_evidence::{
    ActionObject, Delivery, Envelope, KeyHistory, KeyRing, Order, PayloadType, PinnedDocument,
    SignedStatement, Statement, VerifiedMessage, VerifiedOrder, ViewDocument, enrolment,
};
use countersign_ids::{Actor, ChainId, Digest, EventId, LedgerId, Salt, Sequence};
use ed25519_dalek::SigningKey;

const PAGE: &str = include_str!("../../../docs/format.md");
const PLATFORM: &str = include_str!("../../../tests/golden/formats/platform.jsonl");
const BAKERY: &str = include_str!("../../../tests/golden/formats/bakery.jsonl");
const NOTE: &str = include_str!("../../../tests/golden/formats/bakery-3.note");
const DELIVERY: &[u8] = include_bytes!("../../../tests/golden/formats/delivery.json");
const DOCUMENT: &[u8] = include_bytes!("../../../tests/golden/formats/document.json");

/// The vectors of the page, and which of them a test has made again.
struct Page {
    vectors: BTreeMap<&'static str, &'static str>,
    seen: RefCell<BTreeSet<&'static str>>,
}

impl Page {
    fn read() -> Self {
        let vectors = PAGE.split_once("## 7. Test vectors").unwrap().1;
        let (mut inside, mut found) = (false, BTreeMap::new());
        for line in vectors.lines() {
            if line.starts_with("```") {
                inside = !inside;
            } else if let (true, Some((name, value))) = (inside, line.split_once(" = ")) {
                assert!(found.insert(name, value).is_none(), "`{name}` stands twice");
            }
        }
        Self {
            vectors: found,
            seen: RefCell::new(BTreeSet::new()),
        }
    }

    /// An input, as it stands.
    fn get(&self, name: &'static str) -> &'static str {
        self.seen.borrow_mut().insert(name);
        self.vectors
            .get(name)
            .unwrap_or_else(|| panic!("the page has no vector `{name}`"))
    }

    fn bytes(&self, name: &'static str) -> &'static [u8] {
        self.get(name).as_bytes()
    }

    fn lines(&self, name: &'static str) -> String {
        self.get(name).replace("\\n", "\n")
    }

    fn parse<T: std::str::FromStr<Err: std::fmt::Debug>>(&self, name: &'static str) -> T {
        self.get(name).parse().unwrap()
    }

    /// A result, made again.
    #[track_caller]
    fn check(&self, name: &'static str, made: impl std::fmt::Display) {
        assert_eq!(made.to_string(), self.get(name), "`{name}`");
    }
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn base64(node: &merkle::Node) -> String {
    Base64(node.to_vec()).to_string()
}

fn chain_id(name: &str) -> ChainId {
    name.parse().unwrap()
}

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct EventLine {
    body: String,
    header: String,
    salt: Salt,
}

/// The records of one chain of the golden ledger, in the form of a bundle's lines.
fn records(lines: &str) -> Vec<Record> {
    let record = |line: &str| {
        let line: EventLine = wire::parse(line.as_bytes()).unwrap();
        let body = Body::Present {
            salt: line.salt,
            bytes: line.body.into_bytes(),
        };
        Record {
            header: line.header.into_bytes(),
            body,
        }
    };
    lines.lines().map(record).collect()
}

fn keys_and_ledger(page: &Page) -> LedgerId {
    let names = [
        "key.genesis",
        "key.checkpoint",
        "key.order",
        "key.connector",
        "key.mira",
    ];
    for (name, seed) in names.into_iter().zip(1..) {
        page.check(name, PublicKey::from(&key(seed)));
    }
    let ledger = chain::ledger_id(PublicKey::from(&key(1)).as_bytes());
    page.check("ledger", ledger);
    page.check(
        "genesis-hash.platform",
        chain::genesis_hash(&ledger, &chain_id("platform")),
    );
    page.check(
        "genesis-hash.bakery",
        chain::genesis_hash(&ledger, &chain_id("bakery")),
    );
    ledger
}

fn commands(page: &Page) {
    let id = |kind: &str, actor: &str, command: &CommandKey| {
        let actor = Actor {
            kind: kind.parse().unwrap(),
            id: actor.parse().unwrap(),
        };
        chain::command_id(&chain_id("bakery"), &actor, command)
    };
    let cause: EventId = "019aab00-0000-7000-8000-000000000001".parse().unwrap();
    page.check(
        "command.key",
        id("person", "mira", &CommandKey::Key("publish-2".to_owned())),
    );
    page.check(
        "command.event",
        id("reactor", "mint", &CommandKey::Event(cause)),
    );
    let counter = CommandKey::Counter {
        generation: 1,
        stream: "action".to_owned(),
        counter: 0,
    };
    page.check("command.counter", id("connector", "c1", &counter));
    page.check(
        "request.digest",
        chain::request_digest(page.bytes("request")),
    );
}

fn event(page: &Page) {
    let salt: Salt = page.parse("event.salt");
    let header = chain::Header::parse(page.bytes("event.header")).unwrap();
    assert_eq!(header.to_bytes(), page.bytes("event.header"));
    assert_eq!(
        header.bodyhash,
        chain::body_hash(&salt, page.bytes("event.body"))
    );
    page.check("event.bodyhash", header.bodyhash);
    page.check("event.hash", chain::event_hash(page.bytes("event.header")));
    assert_eq!(page.bytes("event.header"), records(BAKERY)[1].header);
}

fn tree(page: &Page) {
    let leaves: Vec<merkle::Node> = records(BAKERY)
        .iter()
        .map(|record| merkle::leaf_hash(&record.header))
        .collect();
    let mut frontier = merkle::Frontier::new();
    let mut roots = vec![frontier.root()];
    for leaf in &leaves {
        frontier.push(*leaf);
        roots.push(frontier.root());
    }
    page.check("root.0", base64(&roots[0]));
    page.check("root.1", base64(&roots[1]));
    page.check("root.3", base64(&roots[3]));
    let node = |text: &str| <[u8; 32]>::try_from(text.parse::<Base64>().unwrap().0).unwrap();
    let inclusion = vec![node(page.get("inclusion.2.3"))];
    merkle::verify_inclusion(&leaves[2], 2, 3, &inclusion, &roots[3]).unwrap();
    let consistency: Vec<merkle::Node> = page.get("consistency.1.3").split(' ').map(node).collect();
    merkle::verify_consistency(1, 3, &roots[1], &roots[3], &consistency).unwrap();

    let head = TreeHead {
        size: 3,
        root: roots[3],
    };
    let bakery = Checkpoint {
        origin: checkpoint::origin("ledger.example", &chain_id("bakery")),
        head,
    };
    let note = page.lines("note");
    assert_eq!(bakery.sign(&key(2)).unwrap(), note);
    assert_eq!(note, NOTE);
    let verifier = chain::note::Verifier::parse(page.get("note.key")).unwrap();
    assert_eq!(
        Checkpoint::open(note.as_bytes(), &[verifier]).unwrap(),
        bakery
    );
    let proof = TlogProof {
        index: 2,
        hashes: inclusion,
        checkpoint: note,
    };
    assert_eq!(proof.to_string(), page.lines("tlog-proof"));
    assert_eq!(
        TlogProof::parse(page.lines("tlog-proof").as_bytes()).unwrap(),
        proof
    );

    let last = chain::event_hash(&records(BAKERY)[2].header);
    let leaf = checkpoint::head_leaf("bakery", &head, Some(&last));
    assert_eq!(leaf, page.lines("head.leaf").as_bytes());
    page.check("head.root", base64(&merkle::leaf_hash(&leaf)));
}

fn key_statement(page: &Page, ledger: &LedgerId) -> KeyRing {
    let payload = page.bytes("keys.payload").to_vec();
    let envelope = Envelope::sign(PayloadType::Keys, payload, &[key(1), key(2), key(3)]);
    page.check("keys.digest", envelope.payload_digest());
    let names = [
        "keys.signature.genesis",
        "keys.signature.checkpoint",
        "keys.signature.order",
    ];
    for (name, signature) in names.into_iter().zip(&envelope.signatures) {
        page.check(name, signature.sig);
    }
    let ring = KeyRing::begin(ledger, &envelope).unwrap();
    assert_eq!(ring.last(), &page.parse::<Digest>("keys.digest"));
    ring
}

fn objects(page: &Page, ledger: &LedgerId) {
    let salt: Salt = page.parse("reason.salt");
    page.check(
        "reason.digest",
        reason_digest(salt.as_bytes(), page.get("reason")),
    );
    let plan: countersign_evidence::action::RollbackPlan =
        wire::parse(page.bytes("rollback")).unwrap();
    page.check("rollback.digest", plan.digest().unwrap());
    let action: ActionObject = wire::parse(page.bytes("action")).unwrap();
    page.check("action.digest", action.digest().unwrap());
    let (view, shown) = (page.parse("view.digest"), page.parse("action.digest"));
    assert_eq!(
        ViewDocument::open(page.bytes("view"), &view, &shown)
            .unwrap()
            .action(),
        &action
    );
    let document = PinnedDocument::parse(page.bytes("document")).unwrap();
    page.check("document.digest", document.digest().unwrap());
    assert_eq!(page.bytes("document"), DOCUMENT);
    let credential = &document.approvers[0];
    assert_eq!(
        enrolment::enrolment_bytes(ledger, credential).unwrap(),
        page.bytes("enrolment")
    );
    let (made, proof): (Credential, Base64) = enrolment::enrol(
        ledger,
        "mira".parse().unwrap(),
        "laptop".parse().unwrap(),
        &key(5),
    )
    .unwrap();
    assert_eq!(&made, credential);
    page.check("enrolment.proof", &proof);
    enrolment::verify_enrolment(ledger, credential, &proof).unwrap();
}

fn statement_and_order(page: &Page, ring: &KeyRing) {
    let statement = Statement::parse(page.bytes("statement")).unwrap();
    let signed: SignedStatement = statement.sign(&key(5)).unwrap();
    assert_eq!(signed.alg, Alg::Ed25519);
    assert_eq!(signed.statement, page.get("statement"));
    page.check("statement.digest", signed.digest());
    page.check("statement.signature", &signed.signature);
    let document = PinnedDocument::parse(page.bytes("document")).unwrap();
    signed.verify(&document.approvers[0]).unwrap();

    let envelope = Envelope::sign(PayloadType::Order, page.bytes("order").to_vec(), [&key(3)]);
    page.check("order.signature", envelope.signatures[0].sig);
    page.check("order.digest", envelope.payload_digest());
    let order: Order = Order::parse(page.bytes("order")).unwrap();
    assert_eq!(order.statements, [signed]);
    assert_eq!(checks::signature(&envelope, ring).unwrap().order(), &order);
    VerifiedOrder::verify(&envelope, &PublicKey::from(&key(3))).unwrap();
}

fn messages(page: &Page) {
    let code = page.get("code");
    let secret = code
        .split('.')
        .nth(1)
        .unwrap()
        .replace('-', "+")
        .replace('_', "/")
        + "==";
    page.check(
        "code.digest",
        chain::sha256(&secret.parse::<Base64>().unwrap().0),
    );
    let names = [
        (
            "message.paired",
            "message.paired.digest",
            "message.paired.signature",
            PayloadType::Message,
        ),
        (
            "message.observed",
            "message.observed.digest",
            "message.observed.signature",
            PayloadType::Message,
        ),
        (
            "message.poll",
            "message.poll.digest",
            "message.poll.signature",
            PayloadType::Message,
        ),
        (
            "message.heartbeat",
            "message.heartbeat.digest",
            "message.heartbeat.signature",
            PayloadType::Heartbeat,
        ),
        (
            "message.accepted",
            "message.accepted.digest",
            "message.accepted.signature",
            PayloadType::Outcome,
        ),
        (
            "message.succeeded",
            "message.succeeded.digest",
            "message.succeeded.signature",
            PayloadType::Outcome,
        ),
    ];
    for (payload, digest, signature, payload_type) in names {
        let message = ConnectorMessage::parse(payload_type, page.bytes(payload)).unwrap();
        let envelope = message.sign(&key(4)).unwrap();
        assert_eq!(envelope.payload.0, page.bytes(payload), "{payload}");
        page.check(digest, envelope.payload_digest());
        page.check(signature, envelope.signatures[0].sig);
        let verified = VerifiedMessage::verify(&envelope, &PublicKey::from(&key(4))).unwrap();
        assert_eq!(verified.message(), &message);
    }
    let pairing = Envelope::sign(
        PayloadType::Message,
        page.bytes("message.paired").to_vec(),
        [&key(4)],
    );
    VerifiedMessage::verify_pairing(&pairing).unwrap();
}

/// Frames are the store's, and so is sealing, but for the commitment to the key; their tests read the page too.
const OF_THE_STORE: [&str; 5] = [
    "frame.head",
    "frame.payload.sha256",
    "sealed.body",
    "sealed.id",
    "sealed.plain",
];

#[test]
fn every_vector_of_the_page_is_made_again() {
    let page = Page::read();
    let ledger = keys_and_ledger(&page);
    commands(&page);
    event(&page);
    tree(&page);
    let ring = key_statement(&page, &ledger);
    objects(&page, &ledger);
    statement_and_order(&page, &ring);
    messages(&page);
    page.check(
        "platform.head",
        chain::event_hash(&records(PLATFORM)[0].header),
    );
    let secret = <[u8; 32]>::try_from(hex(page.get("sealed.key"))).unwrap();
    page.check("sealed.bodykey", chain::body_key_commitment(&secret));
    let mut seen = page.seen.borrow().clone();
    seen.extend(OF_THE_STORE);
    let all: BTreeSet<&str> = page.vectors.keys().copied().collect();
    assert_eq!(
        seen, all,
        "a vector that nothing makes again proves nothing"
    );
}

fn hex(text: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digit).collect()
}

fn follow(lines: &str, chain: &str, ledger: &LedgerId) -> Vec<Event> {
    let mut state = ChainState::genesis(ledger, &chain_id(chain));
    let event = |record: &Record| {
        let verified = state.follow(record).unwrap();
        Event::decode(&verified.header().event_type, verified.body().unwrap()).unwrap()
    };
    records(lines).iter().map(event).collect()
}

#[test]
fn the_golden_ledger_verifies_and_its_order_passes_every_check() {
    let ledger = chain::ledger_id(PublicKey::from(&key(1)).as_bytes());
    let platform = follow(PLATFORM, "platform", &ledger);
    let [
        Event::Keys(countersign_events::Keys::Created(created)),
        Event::Chain(_),
    ] = platform.as_slice()
    else {
        panic!("not the platform chain that was made: {platform:?}");
    };
    let history = KeyHistory::begin(&ledger, &created.envelope).unwrap();
    let bakery = follow(BAKERY, "bakery", &ledger);
    let Some(Event::Action(countersign_events::Action::Authorized(authorized))) = bakery.last()
    else {
        panic!("not the chain that was made: {bakery:?}");
    };
    let order = checks::signature(&authorized.envelope, history.ring()).unwrap();
    history
        .holds_for_order(
            &PublicKey::from(&key(3)),
            Sequence::ZERO,
            Sequence::new(2),
            |_| None,
        )
        .unwrap();

    let delivery: Delivery = wire::parse(DELIVERY).unwrap();
    let document = PinnedDocument::parse(DOCUMENT).unwrap();
    let first = merkle::leaf_hash(&records(BAKERY)[0].header);
    let facts = Facts {
        mode: Mode::Normal,
        connector: &"c1".parse().unwrap(),
        generation: 1,
        document: &document,
        ring: history.ring(),
        accepted: countersign_evidence::message::TreeHead {
            size: 1,
            root: Digest::from_bytes(first),
        },
        nonces: &BTreeSet::new(),
        last_sequence: None,
        executed: &BTreeSet::new(),
        now: "2026-11-22T12:00:30.000Z".parse().unwrap(),
    };
    let object = &order.order().action_object;
    let site = SiteNow {
        current: &object.precondition,
        rollback_digest: object.rollback_digest,
    };
    let passed = checks::check_order(&delivery, &facts)
        .unwrap()
        .check_site(&site)
        .unwrap();
    assert_eq!(passed.order(), order.order());
    assert_eq!(passed.checkpoint().size, 3);
}

#[test]
fn a_signature_of_the_page_is_no_other_payloads() {
    let page = Page::read();
    let changed = page
        .get("order")
        .replace("\"generation\":1", "\"generation\":2");
    let signature: SignatureBytes = page.parse("order.signature");
    let public = PublicKey::from(&key(3));
    let pae =
        |payload: &str| countersign_evidence::dsse::pae(PayloadType::Order, payload.as_bytes());
    assert!(public.verifies(&pae(page.get("order")), &signature));
    assert!(!public.verifies(&pae(&changed), &signature));
}
