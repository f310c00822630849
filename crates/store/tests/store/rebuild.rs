//! Projections that are made again while the rows before are served.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use countersign_projections::{Change, Folded, Projection, Rows, Stop, digest};
use countersign_store::{Append, Error, Ledger, Options, Projections, RowRange};

use crate::support::*;

const NAME: &str = "test-lines";

/// A row for each event and one that counts them; every row says by which hand it was made.
#[derive(Clone, Default)]
struct Lines {
    version: u32,
    hand: Arc<AtomicU64>,
    gate: Arc<Gate>,
    poisoned: Arc<AtomicBool>,
}

/// Where a fold waits at one event until it is let through.
#[derive(Default)]
struct Gate {
    at: Mutex<Option<u64>>,
    waits: Mutex<bool>,
    changed: Condvar,
}

impl Gate {
    fn close(at: u64) -> Arc<Self> {
        let gate = Self::default();
        *gate.at.lock().unwrap() = Some(at);
        Arc::new(gate)
    }

    fn pass(&self, sequence: u64) {
        let mut at = self.at.lock().unwrap();
        while *at == Some(sequence) {
            *self.waits.lock().unwrap() = true;
            self.changed.notify_all();
            at = self.changed.wait(at).unwrap();
        }
    }

    fn until_somebody_waits(&self) {
        let mut at = self.at.lock().unwrap();
        while !*self.waits.lock().unwrap() {
            let (woken, timeout) = self
                .changed
                .wait_timeout(at, Duration::from_secs(60))
                .unwrap();
            assert!(!timeout.timed_out(), "nothing came to the gate");
            at = woken;
        }
    }

    fn open(&self) {
        *self.at.lock().unwrap() = None;
        self.changed.notify_all();
    }
}

impl Projection for Lines {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> u32 {
        self.version
    }

    fn fold(&self, rows: &dyn Rows, folded: &Folded<'_>) -> Result<Vec<Change>, Stop> {
        let header = folded.header;
        self.gate.pass(header.sequence.get());
        let poison = header.chain == chain("blog") && header.sequence.get() == 7;
        if poison && self.poisoned.load(Ordering::SeqCst) {
            return Err(Stop("poisoned".to_owned()));
        }
        let count = rows.get(b"count").map_or(0, |value| {
            let text = String::from_utf8(value).unwrap();
            text.split(' ').next().unwrap().parse::<u64>().unwrap()
        });
        let hand = self.hand.load(Ordering::SeqCst);
        let line = format!("event/{}", header.sequence.padded()).into_bytes();
        let filling = "x".repeat(200);
        Ok(vec![
            Change::Put {
                key: b"count".to_vec(),
                value: format!("{} {hand}", count + 1).into_bytes(),
            },
            Change::Put {
                key: line,
                value: format!("{} {hand} {filling}", header.subject).into_bytes(),
            },
        ])
    }
}

impl Lines {
    fn projections(&self) -> Projections {
        let lines = self.clone();
        Projections::of(move || vec![Box::new(lines.clone())])
    }

    fn options(&self) -> Options {
        Options {
            projections: self.projections(),
            ..options()
        }
    }
}

/// So many events, the last of them in commands of their own.
fn fill(ledger: &Ledger, chain_id: &str, prefix: &str, count: usize) {
    let mut left = count;
    while left > 0 {
        let events = left.saturating_sub(10).clamp(1, 100);
        left -= events;
        let all = (0..events).map(|_| sealed(event("registered", "site-a", "{}")));
        let command = key(&format!("{prefix}{left}"));
        let append = Append::new(chain(chain_id), actor(), command, all.collect());
        ledger.append_blocking(append).unwrap();
    }
}

/// An event whose body no projection decodes.
fn sealed(event: countersign_store::NewEvent) -> countersign_store::NewEvent {
    countersign_store::NewEvent {
        event_type: countersign_ids::EventType::new("reason", "given", 1).unwrap(),
        retention: countersign_ids::Retention::Personal,
        seal: Some("person-1".parse().unwrap()),
        ..event
    }
}

#[track_caller]
fn until(ledger: &Ledger, what: &str, mut is: impl FnMut(&countersign_store::Status) -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let status = ledger.status();
        if is(&status) {
            return;
        }
        assert!(Instant::now() < end, "never {what}: {status:?}");
        std::thread::yield_now();
    }
}

#[track_caller]
fn until_done(ledger: &Ledger) {
    until(ledger, "done", |status| {
        status.rebuilding.is_empty() && status.clearing == 0
    });
}

fn wait_folded(ledger: &Ledger) {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.build().unwrap();
    assert!(runtime.block_on(ledger.folded(ledger.durable())));
}

/// By whose hand the rows of a chain are, and how many there are.
fn hands(ledger: &Ledger, chain_id: &str) -> (BTreeSet<String>, usize) {
    let rows = ledger
        .rows(NAME, &chain(chain_id), &RowRange::all())
        .unwrap();
    let hand = |value: &[u8]| {
        let text = String::from_utf8(value.to_vec()).unwrap();
        text.split(' ').nth(1).unwrap().to_owned()
    };
    (
        rows.iter().map(|row| hand(&row.value)).collect(),
        rows.len(),
    )
}

fn by(hand: u64, rows: usize) -> (BTreeSet<String>, usize) {
    (BTreeSet::from([hand.to_string()]), rows)
}

/// The generations whose rows lie in the log of a stopped ledger, and how many records of other things than rows there are.
fn generations(root: &Path) -> (BTreeSet<Vec<u8>>, usize) {
    let db = sled::Config::new().path(root.join("sled")).open().unwrap();
    let mut found = BTreeSet::new();
    for key in db.scan_prefix(b"r").keys() {
        let key = key.unwrap();
        let parts: Vec<&[u8]> = key.splitn(3, |byte| *byte == 0).collect();
        found.insert([parts[1], &parts[2][..4]].concat());
    }
    let records = db.scan_prefix(b"q").chain(db.scan_prefix(b"g"));
    (found, records.count())
}

#[test]
fn another_version_is_made_while_the_rows_of_the_one_before_are_served() {
    let dir = tempfile::tempdir().unwrap();
    let one = Lines {
        version: 1,
        ..Lines::default()
    };
    let ledger = fresh(dir.path(), one.options());
    fill(&ledger, "blog", "a", 900);
    fill(&ledger, "shop", "a", 5);
    ledger.close().unwrap();
    drop(ledger);
    let two = Lines {
        version: 2,
        hand: Arc::new(2.into()),
        gate: Gate::close(700),
        ..Lines::default()
    };
    let ledger = Ledger::open(dir.path(), two.options()).unwrap();
    two.gate.until_somebody_waits();
    assert_eq!(
        hands(&ledger, "blog"),
        by(0, 901),
        "the old ones are served"
    );
    // What is acknowledged meanwhile is in the new rows; the old ones stand still, and say so.
    fill(&ledger, "blog", "b", 30);
    assert_eq!(hands(&ledger, "blog"), by(0, 901));
    two.gate.open();
    until_done(&ledger);
    wait_folded(&ledger);
    assert_eq!(hands(&ledger, "blog"), by(2, 931));
    assert_eq!(hands(&ledger, "shop"), by(2, 6));
    ledger.audit(&two.projections()).unwrap();
    ledger.close().unwrap();
    drop(ledger);
    let (left, records) = generations(dir.path());
    assert_eq!((left.len(), records), (2, 0), "the old rows are gone");
    let ledger = Ledger::open(dir.path(), two.options()).unwrap();
    assert!(ledger.status().rebuilding.is_empty());
    ledger.audit(&two.projections()).unwrap();
}

#[test]
fn what_is_ordered_is_told_and_both_are_followed_until_it_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let lines = Lines {
        version: 1,
        ..Lines::default()
    };
    let ledger = fresh(dir.path(), lines.options());
    fill(&ledger, "blog", "a", 600);
    wait_folded(&ledger);
    assert!(matches!(
        ledger.rebuild("another"),
        Err(Error::ProjectionUnknown { .. })
    ));
    let before = digest(&ledger.all_rows(NAME, &chain("blog")).unwrap());
    *lines.gate.at.lock().unwrap() = Some(599);
    ledger.rebuild(NAME).unwrap();
    lines.gate.until_somebody_waits();
    until(&ledger, "told", |status| {
        let told = status.rebuilding.get(NAME).copied().unwrap_or_default();
        (told.chains, told.events, told.generation, told.stale) == (1, 600, 1, false)
    });
    assert_eq!(
        digest(&ledger.all_rows(NAME, &chain("blog")).unwrap()),
        before
    );
    lines.gate.open();
    until_done(&ledger);
    // Byte for byte: the same code makes the same rows.
    assert_eq!(
        digest(&ledger.all_rows(NAME, &chain("blog")).unwrap()),
        before
    );
    fill(&ledger, "blog", "b", 40);
    wait_folded(&ledger);
    ledger.audit(&lines.projections()).unwrap();
}

#[test]
fn a_reader_sees_rows_of_one_time_whenever_they_are_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let lines = Lines {
        version: 1,
        ..Lines::default()
    };
    let ledger = fresh(dir.path(), lines.options());
    fill(&ledger, "blog", "a", 1500);
    wait_folded(&ledger);
    let done = AtomicBool::new(false);
    let mut seen = BTreeSet::new();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for hand in 1..=12 {
                lines.hand.store(hand, Ordering::SeqCst);
                ledger.rebuild(NAME).unwrap();
                until_done(&ledger);
            }
            done.store(true, Ordering::SeqCst);
        });
        while !done.load(Ordering::SeqCst) && !writer.is_finished() {
            let (hands, rows) = hands(&ledger, "blog");
            assert_eq!((hands.len(), rows), (1, 1501), "{hands:?}");
            seen.extend(hands);
            let one = ledger.row(NAME, &chain("blog"), b"count").unwrap();
            assert!(one.unwrap().starts_with(b"1500 "));
        }
    });
    assert!(seen.len() > 2, "no reader met a replacement: {seen:?}");
    assert_eq!(hands(&ledger, "blog"), by(12, 1501));
}

#[test]
fn a_chain_that_cannot_be_made_again_keeps_its_rows_and_the_others_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let lines = Lines {
        version: 1,
        ..Lines::default()
    };
    let ledger = fresh(dir.path(), lines.options());
    fill(&ledger, "blog", "a", 20);
    fill(&ledger, "shop", "a", 20);
    wait_folded(&ledger);
    lines.poisoned.store(true, Ordering::SeqCst);
    lines.hand.store(1, Ordering::SeqCst);
    ledger.rebuild(NAME).unwrap();
    until(&ledger, "stopped", |status| {
        let told = status.rebuilding.get(NAME);
        told.is_some_and(|told| (told.chains, told.stopped) == (1, 1)) && status.clearing == 0
    });
    let stopped = ledger.status().stopped_projections;
    let (at, reason) = &stopped[&(NAME.to_owned(), chain("blog"))];
    assert_eq!(
        (stopped.len(), at.get(), reason.as_str()),
        (1, 7, "while it was made again: poisoned")
    );
    assert_eq!(hands(&ledger, "blog"), by(0, 21), "it is served as it was");
    assert_eq!(hands(&ledger, "shop"), by(1, 21));
    // It is followed, too, and tried again when somebody asks.
    fill(&ledger, "blog", "b", 1);
    wait_folded(&ledger);
    assert_eq!(hands(&ledger, "blog").1, 22);
    lines.poisoned.store(false, Ordering::SeqCst);
    ledger.rebuild(NAME).unwrap();
    until_done(&ledger);
    assert!(ledger.status().stopped_projections.is_empty());
    assert_eq!(hands(&ledger, "blog"), by(1, 22));
    ledger.audit(&lines.projections()).unwrap();
}

#[test]
fn rows_that_are_not_what_was_written_are_mended_by_making_them_again() {
    let dir = tempfile::tempdir().unwrap();
    let lines = Lines {
        version: 1,
        ..Lines::default()
    };
    let ledger = fresh(dir.path(), lines.options());
    fill(&ledger, "blog", "a", 20);
    ledger.close().unwrap();
    drop(ledger);
    {
        let db = sled::Config::new().path(dir.path().join("sled"));
        let db = db.open().unwrap();
        let (key, value) = db.scan_prefix(b"r").next().unwrap().unwrap();
        let mut value = value.to_vec();
        *value.last_mut().unwrap() ^= 1;
        db.insert(key, value).unwrap();
        db.flush().unwrap();
    }
    let ledger = Ledger::open(dir.path(), lines.options()).unwrap();
    fill(&ledger, "blog", "b", 1);
    wait_folded(&ledger);
    until(&ledger, "stopped", |status| {
        status.stopped_projections.len() == 1
    });
    assert!(ledger.row(NAME, &chain("blog"), b"count").is_err());
    ledger.rebuild(NAME).unwrap();
    until_done(&ledger);
    assert!(ledger.status().stopped_projections.is_empty());
    ledger.audit(&lines.projections()).unwrap();
}

const DIR: &str = "COUNTERSIGN_REBUILD_TEST_DIR";
const CRASH: &str = "COUNTERSIGN_FAULTS_CRASH";

/// Not a test of its own: what the child process runs until it dies at the chosen point.
#[test]
fn child() {
    let Ok(dir) = std::env::var(DIR) else {
        return;
    };
    let lines = Lines {
        version: 1,
        hand: Arc::new(1.into()),
        ..Lines::default()
    };
    let ledger = Ledger::open(Path::new(&dir), lines.options()).unwrap();
    ledger.rebuild(NAME).unwrap();
    until_done(&ledger);
    std::process::exit(7);
}

#[test]
fn killed_at_any_step_it_goes_on_at_the_next_start() {
    for point in [
        "rebuild.ordered",
        "rebuild.folded",
        "rebuild.staged",
        "rebuild.replaced",
        "rebuild.clearing",
        "rebuild.cleared",
    ] {
        let dir = tempfile::tempdir().unwrap();
        let lines = Lines {
            version: 1,
            ..Lines::default()
        };
        let ledger = fresh(dir.path(), lines.options());
        fill(&ledger, "blog", "a", 1200);
        fill(&ledger, "shop", "a", 3);
        ledger.close().unwrap();
        drop(ledger);
        let died = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "rebuild::child", "--nocapture"])
            .env(DIR, dir.path())
            .env(CRASH, point)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert_eq!(died.code(), None, "{point} was not reached");
        // By another hand than both: what is there is one or the other, whole.
        lines.hand.store(2, Ordering::SeqCst);
        let ledger = Ledger::open(dir.path(), lines.options()).unwrap();
        let (made_by, rows) = hands(&ledger, "blog");
        assert_eq!(rows, 1201, "{point}: {made_by:?}");
        until_done(&ledger);
        assert_eq!(hands(&ledger, "shop").1, 4, "{point}");
        let old = hands(&ledger, "blog").0.contains("0");
        assert!(!old, "{point}: it was not finished");
        ledger.close().unwrap();
        drop(ledger);
        let (left, records) = generations(dir.path());
        assert_eq!((left.len(), records), (2, 0), "{point}");
    }
}
