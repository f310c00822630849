//! A ledger from outside: what is appended is read, also after it was closed, dropped, or lost its log.

use crate::support::*;
use std::sync::atomic::{AtomicBool, Ordering};

use countersign_ids::RequestDigest;
use countersign_store::read::{Item, Reader};
use countersign_store::{Condition, Error, Ledger, Match};

#[test]
fn what_is_appended_is_read_and_the_same_command_gives_its_first_receipt() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = fresh(dir.path(), options());
    let first = ledger.append_blocking(command("blog", "one")).unwrap();
    let second = ledger.append_blocking(command("blog", "two")).unwrap();
    assert_eq!((first.first.get(), second.first.get()), (0, 1));
    let again = ledger.append_blocking(command("blog", "one")).unwrap();
    assert!(again.replayed);
    assert_eq!(
        (again.events, again.position),
        (first.events.clone(), first.position)
    );
    let read = ledger.read(&chain("blog"), 0, 10).unwrap();
    assert_eq!(read.len(), 2);
    assert_eq!(read[0].body().unwrap(), br#"{"name":"one"}"#);
    ledger.close().unwrap();
    assert!(matches!(
        ledger.append_blocking(command("blog", "three")),
        Err(Error::Closed)
    ));
}

#[test]
fn it_is_the_same_after_a_stop_a_crash_and_the_loss_of_its_log() {
    let dir = tempfile::tempdir().unwrap();
    let mut receipts = Vec::new();
    let ledger = fresh(dir.path(), options());
    for number in 0..500 {
        receipts.push(
            ledger
                .append_blocking(command("blog", &format!("c{number}")))
                .unwrap(),
        );
        receipts.push(
            ledger
                .append_blocking(command("shop", &format!("c{number}")))
                .unwrap(),
        );
    }
    ledger.close().unwrap();
    drop(ledger);
    for how in ["closed", "dropped", "log deleted", "log damaged"] {
        match how {
            "log deleted" => std::fs::remove_dir_all(dir.path().join("sled")).unwrap(),
            "log damaged" => std::fs::write(dir.path().join("sled/db"), b"not a log").unwrap(),
            _ => {}
        }
        let ledger = Ledger::open(dir.path(), options()).unwrap();
        assert_eq!(ledger.status().was_closed, how == "closed", "{how}");
        assert_eq!(
            ledger.status().set_aside.is_some(),
            how == "log damaged",
            "{how}"
        );
        assert_eq!(
            ledger.status().log_notices.is_empty(),
            !how.starts_with("log "),
            "{how}"
        );
        for receipt in &receipts {
            let found = ledger
                .receipt(&receipt.chain, &receipt.command)
                .unwrap()
                .unwrap();
            assert_eq!(&found, receipt, "{how}");
        }
        for id in ["blog", "shop"] {
            let read = ledger.read(&chain(id), 0, 10_000).unwrap();
            assert_eq!(read.len(), 500, "{how}");
            let part = ledger.read(&chain(id), 123, 45).unwrap();
            let hashes = |entries: &[countersign_store::Entry]| {
                entries.iter().map(|entry| entry.hash()).collect::<Vec<_>>()
            };
            assert_eq!(hashes(&part), hashes(&read[123..168]), "{how}");
        }
        drop(ledger);
    }
}

#[test]
fn a_condition_conflicts_with_what_came_after_and_a_mismatch_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = fresh(dir.path(), options());
    ledger.append_blocking(command("blog", "one")).unwrap();
    let with = |name: &str, condition| {
        let mut append = command("blog", name);
        append.condition = Some(condition);
        append
    };
    assert!(matches!(
        ledger.append_blocking(with("two", Condition::unchanged(0))),
        Err(Error::Conflict { .. })
    ));
    ledger
        .append_blocking(with("two", Condition::unchanged(1)))
        .unwrap();
    let other = Match {
        subject: Some("site-b".parse().unwrap()),
        ..Match::default()
    };
    ledger
        .append_blocking(with(
            "three",
            Condition {
                seen: 1,
                matching: vec![other],
            },
        ))
        .unwrap();
    let mut again = command("blog", "three");
    again.request_digest = Some(RequestDigest::from_bytes([1; 16]));
    assert!(matches!(
        ledger.append_blocking(again),
        Err(Error::Mismatch { .. })
    ));
    assert_eq!(ledger.head(&chain("blog")).unwrap().size, 3);
}

#[test]
fn a_second_opener_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = fresh(dir.path(), options());
    assert!(matches!(
        Ledger::open(dir.path(), options()),
        Err(Error::Locked { .. })
    ));
    assert!(matches!(
        Ledger::create(dir.path(), GENESIS, &options()),
        Err(Error::Exists { .. })
    ));
    drop(ledger);
    Ledger::open(dir.path(), options()).unwrap();
}

#[test]
fn a_creation_that_died_half_way_is_done_again_and_a_journal_without_description_is_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    Ledger::create(dir.path(), GENESIS, &options()).unwrap();
    std::fs::remove_file(dir.path().join("ledger.toml")).unwrap();
    assert!(matches!(
        Ledger::open(dir.path(), options()),
        Err(Error::Foreign { .. })
    ));
    let ledger = fresh(dir.path(), options());
    ledger.append_blocking(command("blog", "one")).unwrap();
    drop(ledger);
    std::fs::remove_file(dir.path().join("ledger.toml")).unwrap();
    assert!(matches!(
        Ledger::create(dir.path(), GENESIS, &options()),
        Err(Error::Exists { .. })
    ));
}

#[test]
fn a_live_directory_is_read_up_to_its_last_whole_frame_while_it_is_written_and_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    Ledger::create(dir.path(), GENESIS, &options()).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let (mut passes, mut most) = (0, 0);
            while !done.load(Ordering::Acquire) {
                let items = Reader::open(dir.path()).unwrap().journal().unwrap();
                let events: usize = items
                    .map(|item| match item.unwrap() {
                        Item::Events { records, .. } => records.len(),
                        Item::Checkpoint { .. } | Item::Pruned { .. } => 0,
                    })
                    .sum();
                assert!(events >= most, "what was read once is read again");
                (passes, most) = (passes + 1, events);
            }
            (passes, most)
        });
        for round in 0..6 {
            let ledger = Ledger::open(dir.path(), options()).unwrap();
            std::thread::scope(|scope| {
                for writer in 0..4 {
                    let ledger = &ledger;
                    scope.spawn(move || {
                        for number in 0..40 {
                            let name = format!("{round}-{writer}-{number}");
                            ledger.append_blocking(command("blog", &name)).unwrap();
                        }
                    });
                }
            });
            ledger.close().unwrap();
        }
        done.store(true, Ordering::Release);
        let (passes, _) = reader.join().unwrap();
        assert!(passes > 3, "{passes}");
    });
    let end = Reader::open(dir.path()).unwrap().journal().unwrap();
    assert_eq!(end.count(), 960);
}
