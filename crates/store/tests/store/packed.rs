//! Sealed segments are compressed while the ledger is in use, and everything reads as before.

use countersign_store::read::{Item, Reader};
use countersign_store::{Ledger, Projections};

use crate::support::*;

/// The events of the journal as a reader from outside sees them.
fn told(reader: &Reader) -> Vec<Vec<u8>> {
    let mut events = Vec::new();
    for item in reader.journal().unwrap() {
        if let Item::Events { records, .. } = item.unwrap() {
            events.extend(records.into_iter().map(|record| record.header));
        }
    }
    events
}

#[test]
fn sealed_segments_are_compressed_under_way_and_everything_reads_as_before() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = fresh(dir.path(), options());
    let reader = Reader::open(dir.path()).unwrap();
    let mut count = 0;
    while reader.segments().unwrap().len() < 4 {
        ledger
            .append_blocking(command("blog", &format!("c{count}")))
            .unwrap();
        count += 1;
    }
    let before = told(&reader);
    // A reader that began before.
    let mut begun = reader.journal().unwrap();
    begun.next().unwrap().unwrap();
    until_compressed(dir.path());
    assert_eq!(told(&reader), before);
    assert_eq!(begun.map(Result::unwrap).count() + 1, before.len());
    ledger.audit(&Projections::none()).unwrap();
    ledger.close().unwrap();
    drop(ledger);
    for lose in [false, true] {
        if lose {
            std::fs::remove_dir_all(dir.path().join("sled")).unwrap();
        }
        let ledger = Ledger::open(dir.path(), options()).unwrap();
        assert!(
            ledger
                .append_blocking(command("blog", "c1"))
                .unwrap()
                .replayed
        );
        ledger
            .append_blocking(command("blog", &format!("after {lose}")))
            .unwrap();
        let audit = ledger.audit(&Projections::none()).unwrap();
        assert_eq!(audit.events, count + 1 + u64::from(lose));
    }
}

#[test]
fn damage_in_a_compressed_segment_is_named_and_costs_the_chain_that_needs_it() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = fresh(dir.path(), options());
    let reader = Reader::open(dir.path()).unwrap();
    let mut count = 0;
    while reader.segments().unwrap().len() < 3 {
        ledger
            .append_blocking(command("blog", &format!("c{count}")))
            .unwrap();
        count += 1;
    }
    until_compressed(dir.path());
    ledger.close().unwrap();
    drop(ledger);
    let second = reader.segments().unwrap().remove(1);
    let mut bytes = std::fs::read(&second.path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 4].fill(0x5a);
    std::fs::write(&second.path, bytes).unwrap();
    // The log has everything and nothing but the newest segment is read: it opens.
    drop(Ledger::open(dir.path(), options()).unwrap());
    let damaged = reader.journal().unwrap().find_map(Result::err).unwrap();
    assert_eq!(damaged.code().id, "ledger-damaged", "{damaged}");
    assert!(
        damaged.to_string().contains("a compressed segment"),
        "{damaged}"
    );
    // Without the log the damaged bytes are needed.
    std::fs::remove_dir_all(dir.path().join("sled")).unwrap();
    let ledger = Ledger::open(dir.path(), options()).unwrap();
    let status = ledger.status();
    assert!(status.damaged.contains_key(&chain("blog")), "{status:?}");
    assert_eq!(status.damage.len(), 1, "{status:?}");
    ledger.append_blocking(command("shop", "new")).unwrap();
}
