//! What the writer does when something under it fails: it stops, and goes on where that is safe.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use crate::support::*;
use crate::writer::{HOUR, authorise, named, of_type, one};
use countersign_ids::Time;
use countersign_store::clock::Clock;
use countersign_store::faults::{Fate, Said, Simulation};
use countersign_store::{Error, Ledger, Options, Projections, Stamp};

fn on(simulation: &Simulation, clock: &Arc<Hands>) -> Options {
    Options {
        disk: simulation.disk(),
        clock: Arc::clone(clock) as _,
        ..options()
    }
}

/// Where a disk can be full, and how far a command has come there.
const FULL: [(&str, Fate); 6] = [
    ("group.write", Fate::Lost),
    ("group.write", Fate::Stored),
    ("segment.create", Fate::Lost),
    ("segment.allocate", Fate::Lost),
    ("segment.rename", Fate::Stored),
    ("segment.sync-dir", Fate::Lost),
];

#[test]
fn after_a_full_disk_the_ledger_goes_on_without_being_opened_again() {
    for (what, fate) in FULL {
        let dir = tempfile::tempdir().unwrap();
        let simulation = Simulation::new(1, dir.path());
        let clock = Arc::new(Hands::default());
        let on_it = || on(&simulation, &clock);
        let ledger = fresh(dir.path(), on_it());
        let mut acknowledged = Vec::new();
        let mut write = |name: String| {
            let receipt = ledger.append_blocking(command("blog", &name))?;
            acknowledged.push((name, receipt));
            Ok::<_, Error>(())
        };
        write("first".to_owned()).unwrap();
        // The disk stays full: what fails beside the writer is tried again by it.
        let refused = (0..1_000)
            .find_map(|number| {
                simulation.fail(what.parse().unwrap(), 0, fate, Said::Full);
                write(number.to_string()).err()
            })
            .unwrap_or_else(|| panic!("{what} never failed"));
        assert_eq!(refused.code().id, "disk-full", "{what}: {refused}");
        let status = ledger.status();
        assert_eq!(
            (status.stopped.map(|stopped| stopped.0.id), status.resumes),
            (Some("disk-full"), true)
        );
        let size = ledger.head(&chain("blog")).unwrap().size;
        clock.set(1_000, 60_000);
        simulation.mend();
        write("after".to_owned()).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(ledger.status().stopped, None, "{what}");
        assert_eq!(ledger.head(&chain("blog")).unwrap().size, size + 1);
        for (name, receipt) in &acknowledged {
            let again = ledger.append_blocking(command("blog", name)).unwrap();
            assert_eq!(
                (again.first, again.events),
                (receipt.first, receipt.events.clone()),
                "{what}: {name}"
            );
        }
        ledger.audit(&Projections::none()).unwrap();
        ledger.close().unwrap();
        drop(ledger);
        std::fs::remove_dir_all(dir.path().join("sled")).unwrap();
        let ledger = Ledger::open(dir.path(), on_it()).unwrap();
        assert_eq!(ledger.status().torn, None, "{what}");
        let audit = ledger.audit(&Projections::none()).unwrap();
        assert_eq!(audit.events, acknowledged.len() as u64, "{what}");
    }
}

#[test]
fn what_a_failed_group_held_is_taken_back_whole() {
    let dir = tempfile::tempdir().unwrap();
    let simulation = Simulation::new(1, dir.path());
    let clock = Arc::new(Hands::default());
    let on_it = || on(&simulation, &clock);
    let ledger = fresh(dir.path(), on_it());
    let keys = || one("platform", "keys", of_type("keys", "created"));
    let changed = || one("platform", "changed", of_type("keys", "changed"));
    let keys = ledger.append_blocking(keys()).unwrap();
    authorise(&ledger, "first", Stamp::Newest).unwrap();
    for (second, append) in [(1, changed()), (2, command("shop", "begins"))] {
        let chain = append.chain.clone();
        let before = ledger.head(&chain);
        simulation.fail("group.write".parse().unwrap(), 0, Fate::Torn, Said::Full);
        let refused = ledger.append_blocking(append).unwrap_err();
        assert_eq!(refused.code().id, "disk-full");
        assert_eq!(ledger.head(&chain), before);
        simulation.mend();
        clock.set(second, second * 60_000);
        ledger.resume().unwrap();
        assert_eq!(ledger.status().resumed, second);
    }
    authorise(&ledger, "second", Stamp::Newest).unwrap();
    assert_eq!(named(&ledger, "blog").sequence, keys.first);
    for append in [changed(), command("shop", "begins")] {
        assert!(!ledger.append_blocking(append).unwrap().replayed);
    }
    assert_eq!(ledger.head(&chain("shop")).unwrap().size, 1);
    authorise(&ledger, "third", Stamp::Newest).unwrap();
    assert!(named(&ledger, "blog").sequence > keys.first);
    let events = ledger.audit(&Projections::none()).unwrap().events;
    drop(ledger);
    let ledger = Ledger::open(dir.path(), on_it()).unwrap();
    assert_eq!(ledger.audit(&Projections::none()).unwrap().events, events);
}

#[test]
fn after_a_disk_failure_nothing_more_is_acknowledged_and_nothing_acknowledged_is_lost() {
    for (what, fate, said) in [
        ("group.write", Fate::Lost, Said::Failed),
        ("group.sync", Fate::Lost, Said::Failed),
        ("group.sync", Fate::Lost, Said::Full),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let simulation = Simulation::new(1, dir.path());
        let on_it = || Options {
            disk: simulation.disk(),
            ..options()
        };
        let ledger = fresh(dir.path(), on_it());
        let first = ledger.append_blocking(command("blog", "one")).unwrap();
        simulation.fail(what.parse().unwrap(), 0, fate, said);
        for name in ["two", "three"] {
            let error = ledger.append_blocking(command("blog", name)).unwrap_err();
            assert!(matches!(error, Error::Stopped { .. }), "{what}: {error}");
        }
        let status = ledger.status();
        let expected = if said == Said::Full {
            "disk-full"
        } else {
            "disk-failed"
        };
        assert_eq!(status.stopped.unwrap().0.id, expected);
        assert_eq!(
            ledger.read(&chain("blog"), 0, 9).unwrap().len(),
            1,
            "{what}: readers see what was acknowledged"
        );
        assert!(
            ledger.append_blocking(command("blog", "one")).is_err(),
            "{what}: not even a receipt"
        );
        assert_eq!(
            ledger.receipt(&first.chain, &first.command).unwrap(),
            Some(first.clone())
        );
        assert!(ledger.close().is_err());
        drop(ledger);
        let ledger = Ledger::open(dir.path(), on_it()).unwrap();
        assert_eq!(
            ledger.receipt(&first.chain, &first.command).unwrap(),
            Some(first)
        );
        // What was on its way is there or not; sent again it is there once.
        let two = ledger.append_blocking(command("blog", "two")).unwrap();
        assert_eq!(two.first.get(), 1, "{what}");
        assert_eq!(
            two.replayed,
            what == "group.sync",
            "{what}: the bytes were written, only their durability was in doubt"
        );
        ledger.audit(&Projections::none()).unwrap();
    }
}

/// A clock that panics in the writer's hands once it is armed, as soon as the gate is open.
#[derive(Debug, Default)]
struct Panics {
    armed: AtomicBool,
    gate: Mutex<bool>,
    opened: Condvar,
}

impl Panics {
    fn open_gate(&self) {
        *self.gate.lock().unwrap() = true;
        self.opened.notify_all();
    }
}

impl Clock for Panics {
    fn now(&self) -> Time {
        Time::from_unix_millis(10 * HOUR)
    }

    /// Only the writer asks for it.
    fn steady(&self) -> Duration {
        if self.armed.load(Ordering::SeqCst) {
            let gate = self.gate.lock().unwrap();
            let patience = Duration::from_secs(60);
            drop(
                self.opened
                    .wait_timeout_while(gate, patience, |open| !*open),
            );
            panic!("the clock broke");
        }
        Duration::ZERO
    }
}

#[test]
fn when_the_writer_panics_everybody_who_waits_is_told_and_nothing_more_is_written() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(Panics::default()));
    let with_clock = || Options {
        clock: Arc::clone(&clock) as _,
        ..options()
    };
    let ledger = Arc::new(fresh(dir.path(), with_clock()));
    let first = ledger.append_blocking(command("blog", "one")).unwrap();
    clock.armed.store(true, Ordering::SeqCst);
    // A runtime of one thread never writes on it: all of these wait in the queue or in the writer's hands.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let send = |number| {
            let ledger = Arc::clone(&ledger);
            async move { ledger.append(command("blog", &format!("w{number}"))).await }
        };
        let waiting: Vec<_> = (0..20).map(|number| tokio::spawn(send(number))).collect();
        tokio::task::yield_now().await;
        clock.open_gate();
        for waiting in waiting {
            let bounded = tokio::time::timeout(Duration::from_secs(60), waiting);
            let outcome = bounded.await.expect("nobody waits for ever").unwrap();
            let told = outcome.unwrap_err();
            assert!(
                matches!(told, Error::WriterPanicked | Error::Stopped { .. }),
                "{told}"
            );
        }
    });
    let alone = ledger
        .append_blocking(command("blog", "alone"))
        .unwrap_err();
    // The queue may learn of it a moment after those who waited.
    assert!(
        matches!(alone, Error::WriterPanicked | Error::Stopped { .. }),
        "{alone}"
    );
    let end = std::time::Instant::now() + Duration::from_secs(60);
    while ledger.status().stopped.is_none() {
        assert!(
            std::time::Instant::now() < end,
            "it is said that it stopped"
        );
        std::thread::yield_now();
    }
    assert_eq!(ledger.status().stopped.unwrap().0.id, "writer-panicked");
    assert!(ledger.close().is_err());
    drop(ledger);
    clock.armed.store(false, Ordering::SeqCst);
    let ledger = Ledger::open(dir.path(), with_clock()).unwrap();
    let again = ledger.append_blocking(command("blog", "one")).unwrap();
    assert_eq!((again.replayed, again.events), (true, first.events));
    assert_eq!(ledger.head(&chain("blog")).unwrap().size, 1);
    clock.armed.store(true, Ordering::SeqCst);
    let alone = ledger
        .append_blocking(command("blog", "alone"))
        .unwrap_err();
    assert!(matches!(alone, Error::Stopped { .. }), "{alone}");
    assert_eq!(ledger.status().stopped.unwrap().0.id, "writer-panicked");
}
