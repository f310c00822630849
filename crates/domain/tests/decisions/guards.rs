//! Refusals that no line of the tables says: what is wrong with them is in the bytes, not in the words.

use countersign_chain as chain;
use countersign_domain::manifest::{File, Manifest};
use countersign_domain::words::{ConnectorKind, Environment};
use countersign_domain::{
    AddRelease, Command, NotePlatform, OpenTenant, PairConnector, RecordObservation, RegisterSite,
    Rejection, Tenant, Vote,
};
use countersign_events as events;
use countersign_evidence::action::{Grade, RollbackPlan};
use countersign_evidence::message::{Head, Observed, Paired, SiteState, Stream};
use countersign_evidence::statement::Decision as Ballot;
use countersign_evidence::wire::V1;
use countersign_evidence::{ConnectorMessage, JsonObject, OrDash, PublicKey, VerifiedMessage};
use countersign_ids::Digest;

use crate::life::{SITE, WAITING, given};
use crate::world::{World, genesis, id, person, release};

type Case = (&'static str, fn() -> Result<Vec<String>, Rejection>);

const CASES: &[Case] = &[
    ("WrongChain", wrong_chain),
    ("TextUnfit", text_unfit),
    ("NoteMalformed", note_malformed),
    ("NoteIrrelevant", note_irrelevant),
    ("NoteRepeated", note_repeated),
    ("PairingDocument", pairing_document),
    ("DocumentRefused", document_refused),
    ("GenerationEnded", generation_ended),
    ("CheckpointSteppedBack", checkpoint_stepped_back),
    ("CheckpointUnknown", checkpoint_unknown),
    ("ManifestMalformed", manifest_malformed),
    ("ReleaseMismatch", release_mismatch),
    ("ParametersMalformed", parameters_malformed),
    ("PlanTooLarge", plan_too_large),
    ("ReasonRequired", reason_required),
];

/// What is refused here.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    CASES.iter().map(|(name, _)| *name)
}

#[test]
fn what_is_wrong_in_the_bytes_is_refused_by_name() {
    for (name, case) in CASES {
        let rejection = case().expect_err(name);
        assert_eq!(rejection.name(), *name, "{rejection}");
    }
}

fn wrong_chain() -> Result<Vec<String>, Rejection> {
    World::new().command(OpenTenant {
        tenant: id("another"),
        name: "Another".to_owned(),
        number: 0,
    })
}

fn text_unfit() -> Result<Vec<String>, Rejection> {
    for name in [" Shop", "Shop\n", "\u{7}", &"x".repeat(129)] {
        let refused = given(&[&["open"]]).command(site(name)).unwrap_err();
        assert_eq!(refused.name(), "TextUnfit", "`{name}`");
    }
    given(&[&["open"]]).command(site(""))
}

fn site(name: &str) -> RegisterSite {
    RegisterSite {
        site: id("www"),
        name: name.to_owned(),
        connector: ConnectorKind::Static,
        environment: Environment::Production,
    }
}

fn note_malformed() -> Result<Vec<String>, Rejection> {
    let mut world = given(&[&["open"]]);
    let mut noted = world.enrolment("alice", false);
    noted.body = noted.body.replace("alice", "mallo");
    world.command(NotePlatform { noted })
}

fn note_irrelevant() -> Result<Vec<String>, Rejection> {
    let mut world = given(&[&["open"]]);
    let announced = events::chain::Announced {
        chain: id("acme"),
        number: 0,
    };
    let noted = world.noted(&announced.into());
    world.command(NotePlatform { noted })
}

fn note_repeated() -> Result<Vec<String>, Rejection> {
    let mut world = given(&[&["open"]]);
    let noted = world.enrolment("alice", false);
    world.command(NotePlatform {
        noted: noted.clone(),
    })?;
    world.command(NotePlatform { noted })
}

fn pairing_document() -> Result<Vec<String>, Rejection> {
    let mut world = given(&[&["open", "enrol alice", "site www", "invite www code1"]]);
    let key = person("connector");
    let message = Paired {
        head: world.head(&id("www"), Digest::from_bytes([3; 32]), 1),
        stream: Stream::Action,
        counter: 0,
        key: PublicKey::from(&key),
        code_digest: chain::sha256(b"code1"),
    };
    let envelope = ConnectorMessage::Paired(message).sign(&key).unwrap();
    let message = VerifiedMessage::verify_pairing(&envelope).unwrap();
    world.command(PairConnector {
        message,
        envelope,
        genesis: genesis(),
    })
}

fn document_refused() -> Result<Vec<String>, Rejection> {
    let mut world = given(&[SITE]);
    let mut propose = world.propose("a1", "www", "document.replace", "x", 3600);
    let bytes = b"{\"not\":\"a document\"}".to_vec();
    let digest = chain::sha256(&bytes);
    propose.parameters = JsonObject::of_strings([("document", digest.to_string())]);
    propose.blobs.insert(digest, bytes.into());
    world.command(propose)
}

/// An observation whose head was changed by `spoil`.
fn observe(world: &mut World, spoil: impl FnOnce(&mut Head)) -> Result<Vec<String>, Rejection> {
    let mut head = world.paired_head(&id("www"))?;
    spoil(&mut head);
    let message = Observed {
        head,
        stream: Stream::Action,
        counter: world.counter,
        observed: SiteState {
            current: OrDash::NONE,
            releases: Vec::new(),
            rollback: RollbackPlan {
                v: V1,
                site: id("www"),
                connector: "static".to_owned(),
                restore: OrDash::NONE,
                grade: Grade::None,
                lost: Vec::new(),
            },
            checked_at: world.time(),
        },
    };
    let (message, envelope) = world.message(&ConnectorMessage::Observed(message));
    world.command(RecordObservation { message, envelope })
}

fn generation_ended() -> Result<Vec<String>, Rejection> {
    let mut world = given(&[SITE]);
    observe(&mut world, |head| head.generation = 2).unwrap_err();
    let mut world = given(&[SITE, &["invite www code2", "pair www code2 connector2"]]);
    observe(&mut world, |head| head.generation = 1)
}

fn checkpoint_stepped_back() -> Result<Vec<String>, Rejection> {
    let mut world = given(&[SITE]);
    observe(&mut world, |head| head.checkpoint.size = 3)?;
    observe(&mut world, |head| head.checkpoint.size = 2)
}

fn checkpoint_unknown() -> Result<Vec<String>, Rejection> {
    let mut world = given(&[SITE]);
    let size = u64::try_from(world.history.len()).unwrap();
    observe(&mut world, |head| head.checkpoint.size = size + 1)
}

fn manifest_malformed() -> Result<Vec<String>, Rejection> {
    let manifest = b"{}".to_vec();
    given(&[SITE]).command(AddRelease {
        site: id("www"),
        release: chain::sha256(&manifest),
        label: "9".to_owned(),
        manifest,
    })
}

fn release_mismatch() -> Result<Vec<String>, Rejection> {
    let (_, manifest) = release("9");
    given(&[SITE]).command(AddRelease {
        site: id("www"),
        release: release("8").0,
        label: "9".to_owned(),
        manifest,
    })
}

fn parameters_malformed() -> Result<Vec<String>, Rejection> {
    let mut world = given(&[SITE]);
    let mut propose = world.propose("a1", "www", "release.publish", "2", 3600);
    propose
        .parameters
        .0
        .insert("force".to_owned(), serde_json::json!(true));
    world.command(propose)
}

fn plan_too_large() -> Result<Vec<String>, Rejection> {
    let mut world = given(&[SITE]);
    let file = |at: usize| File {
        path: format!("{at:05}.html"),
        digest: Digest::from_bytes([5; 32]),
        bytes: 1,
        media_type: "text/html".to_owned(),
    };
    let manifest = Manifest {
        v: V1,
        label: "large".to_owned(),
        pages: vec!["00000.html".to_owned()],
        files: (0..3000).map(file).collect(),
        base_path: "/".to_owned(),
    };
    let bytes = manifest.to_bytes().unwrap();
    let digest = chain::sha256(&bytes);
    world.command(AddRelease {
        site: id("www"),
        release: digest,
        label: "large".to_owned(),
        manifest: bytes.clone(),
    })?;
    let mut propose = world.propose("a1", "www", "release.publish", "2", 3600);
    propose.parameters = JsonObject::of_strings([("release", digest.to_string())]);
    propose.blobs.insert(digest, bytes.into());
    world.command(propose)
}

fn reason_required() -> Result<Vec<String>, Rejection> {
    let mut world = given(&[SITE, WAITING]);
    let unexplained = |statement: &mut countersign_evidence::Statement| {
        statement.reason_digest = OrDash::NONE;
    };
    let vote = world.vote("a1", "alice", Ballot::Deny, unexplained)?;
    let Command::Vote(vote) = vote else {
        panic!("a vote")
    };
    world.command(Vote {
        reason: None,
        ..vote
    })
}

#[test]
fn a_vote_whose_window_is_over_may_be_cast_again() {
    let mut world = given(&[SITE, WAITING, &["approve a1 alice", "later 1801"]]);
    assert_eq!(world.say("mint a1").unwrap_err().name(), "ApprovalsMissing");
    world.say("approve a1 alice").unwrap();
    world.say("mint a1").unwrap();
}

#[test]
fn a_tenant_that_was_never_opened_knows_nothing() {
    let tenant = Tenant::new(id("acme"));
    assert!(tenant.site(&id("www")).is_err() && tenant.action(&id("a1")).is_err());
}
