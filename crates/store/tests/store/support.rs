//! What the store's tests share: small events, a clock with hands, and an audit after every step.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use countersign_chain::CommandKey;
use countersign_ids::{Actor, AuthType, ChainId, EventType, Retention, Time};
use countersign_store::clock::Clock;
use countersign_store::read::Reader;
use countersign_store::{Append, Ledger, NewEvent, Options, Projections, Stamp};

/// The raw genesis key of the tests; nothing here verifies signatures.
pub(crate) const GENESIS: [u8; 32] = [7; 32];

/// Small segments, so that tests roll them, and no projections.
pub(crate) fn options() -> Options {
    Options {
        segment_bytes: 64 * 1024,
        projections: Projections::none(),
        ..Options::default()
    }
}

/// Makes a ledger and opens it.
pub(crate) fn fresh(root: &Path, options: Options) -> Ledger {
    Ledger::create(root, GENESIS, &options).unwrap();
    Ledger::open(root, options).unwrap()
}

pub(crate) fn chain(id: &str) -> ChainId {
    id.parse().unwrap()
}

pub(crate) fn actor() -> Actor {
    Actor {
        kind: AuthType::Service,
        id: "tester".parse().unwrap(),
    }
}

pub(crate) fn event(fact: &str, subject: &str, body: &str) -> NewEvent {
    NewEvent {
        event_type: EventType::new("site", fact, 1).unwrap(),
        subject: subject.parse().unwrap(),
        site: None,
        retention: Retention::Evidence,
        body: body.as_bytes().to_vec(),
        seal: None,
        platformhead: Stamp::None,
        valid: None,
    }
}

pub(crate) fn key(key: &str) -> CommandKey {
    CommandKey::Key(key.to_owned())
}

/// A command of one small event.
pub(crate) fn command(chain_id: &str, name: &str) -> Append {
    let body = format!("{{\"name\":\"{name}\"}}");
    Append::new(
        chain(chain_id),
        actor(),
        key(name),
        vec![event("registered", "site-a", &body)],
    )
}

/// A clock that stands still until it is set.
#[derive(Debug, Default)]
pub(crate) struct Hands {
    wall: AtomicU64,
    steady: AtomicU64,
}

impl Hands {
    pub(crate) fn set(&self, wall: u64, steady: u64) {
        self.wall.store(wall, Ordering::SeqCst);
        self.steady.store(steady, Ordering::SeqCst);
    }
}

impl Clock for Hands {
    fn now(&self) -> Time {
        Time::from_unix_millis(self.wall.load(Ordering::SeqCst))
    }

    fn steady(&self) -> Duration {
        Duration::from_millis(self.steady.load(Ordering::SeqCst))
    }
}

/// How many segments are compressed, of how many.
pub(crate) fn compressed(reader: &Reader) -> (usize, usize) {
    let segments = reader.segments().unwrap();
    let is_packed = |path: &Path| std::fs::read(path).unwrap().starts_with(b"CSJZ");
    let packed = segments.iter().filter(|segment| is_packed(&segment.path));
    (packed.count(), segments.len())
}

/// Waits until all sealed segments of an open ledger are compressed.
#[track_caller]
pub(crate) fn until_compressed(root: &Path) {
    let reader = Reader::open(root).unwrap();
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let (packed, all) = compressed(&reader);
        if packed + 1 == all {
            return;
        }
        assert!(Instant::now() < end, "{packed} of {all} are compressed");
        std::thread::yield_now();
    }
}

/// Opens the log of a stopped ledger and changes something in it, as nobody should.
pub(crate) fn tamper(dir: &Path, change: impl FnOnce(&sled::Db)) {
    let config = sled::Config::new().path(dir.join("sled"));
    let config = config.flush_every_ms(None);
    let end = Instant::now() + Duration::from_secs(60);
    // A thread of sled may still hold its lock for a moment.
    let db = loop {
        match config.open() {
            Ok(db) => break db,
            Err(error) => assert!(Instant::now() < end, "{error}"),
        }
        std::thread::yield_now();
    };
    change(&db);
    db.flush().unwrap();
}
