//! The log behind the journal: projections, damage, and reading it from outside.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use countersign_ids::{EventType, Retention, Sequence};
use countersign_projections::{Change, Folded, Projection, Rows, Stop};
use countersign_store::read::{Reader, Rebuild, StoredRows, compare};
use countersign_store::{
    Append, Entry, Error, Ledger, NewEvent, Options, Projections, RowRange, Stamp,
};

use crate::support::*;

/// Counts events by type, and keeps a row per event.
struct Counts {
    version: u32,
}

static POISON: AtomicU32 = AtomicU32::new(0);

impl Projection for Counts {
    fn name(&self) -> &'static str {
        "test-counts"
    }

    fn version(&self) -> u32 {
        self.version
    }

    fn fold(&self, rows: &dyn Rows, folded: &Folded<'_>) -> Result<Vec<Change>, Stop> {
        if folded.header.subject.as_str() == "poison"
            && POISON.load(Ordering::SeqCst) == self.version
        {
            return Err(Stop("poisoned".to_owned()));
        }
        let key = format!("count/{}", folded.header.event_type.fact()).into_bytes();
        let count = rows.get(&key).map_or(0, |value| {
            String::from_utf8(value).unwrap().parse::<u64>().unwrap()
        });
        let row = format!("event/{}", folded.header.sequence.padded()).into_bytes();
        let value = format!("\"{}\"", folded.header.subject).into_bytes();
        let mut changes = vec![Change::Put {
            key,
            value: (count + 1).to_string().into_bytes(),
        }];
        changes.push(Change::Put { key: row, value });
        if folded.header.event_type.fact() == "removed" {
            let first = format!("event/{:020}", 0).into_bytes();
            changes.push(Change::Delete { key: first });
        }
        Ok(changes)
    }
}

fn counts(version: u32) -> Projections {
    Projections::of(move || vec![Box::new(Counts { version })])
}

fn with_counts(version: u32) -> Options {
    Options {
        projections: counts(version),
        ..options()
    }
}

/// A token event, whose body every build of the events knows.
fn issued(subject: &str) -> NewEvent {
    NewEvent {
        event_type: EventType::new("tenant", "created", 1).unwrap(),
        subject: subject.parse().unwrap(),
        site: None,
        retention: Retention::Evidence,
        body: br#"{"name":"A tenant","tenant":"a-tenant"}"#.to_vec(),
        seal: None,
        platformhead: Stamp::None,
        valid: None,
    }
}

fn fill(ledger: &Ledger, chain_id: &str, prefix: &str, count: usize) {
    for number in 0..count {
        let name = format!("{prefix}{number}");
        ledger
            .append_blocking(Append::new(
                chain(chain_id),
                actor(),
                key(&name),
                vec![issued("t")],
            ))
            .unwrap();
    }
}

fn wait_folded(ledger: &Ledger) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    assert!(runtime.block_on(ledger.folded(ledger.durable())));
}

fn count(ledger: &Ledger, chain_id: &str) -> Option<String> {
    ledger
        .row("test-counts", &chain(chain_id), b"count/created")
        .unwrap()
        .map(|value| String::from_utf8(value).unwrap())
}

#[test]
fn projections_follow_and_are_the_same_after_restarts_rebuilds_and_new_versions() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = fresh(dir.path(), with_counts(1));
    fill(&ledger, "blog", "a", 300);
    fill(&ledger, "shop", "a", 3);
    wait_folded(&ledger);
    assert_eq!(
        (count(&ledger, "blog"), count(&ledger, "shop")),
        (Some("300".to_owned()), Some("3".to_owned()))
    );
    let range = RowRange {
        prefix: b"event/".to_vec(),
        after: Some(format!("event/{:020}", 41).into_bytes()),
        limit: 2,
    };
    let page = ledger.rows("test-counts", &chain("blog"), &range).unwrap();
    let keys: Vec<String> = page
        .into_iter()
        .map(|row| String::from_utf8(row.key).unwrap())
        .collect();
    assert_eq!(
        keys,
        [format!("event/{:020}", 42), format!("event/{:020}", 43)]
    );
    assert_eq!(ledger.audit(&counts(1)).unwrap().rows, 305);
    drop(ledger);
    for (version, lose) in [(1, false), (1, true), (2, false), (2, true)] {
        if lose {
            std::fs::remove_dir_all(dir.path().join("sled")).unwrap();
        }
        let ledger = Ledger::open(dir.path(), with_counts(version)).unwrap();
        assert_eq!(ledger.audit(&counts(version)).unwrap().rows, 305);
        fill(&ledger, "shop", "a", 3);
        ledger.close().unwrap();
    }
}

#[test]
fn a_projection_that_cannot_go_on_stops_in_that_chain_by_name_until_it_can() {
    let dir = tempfile::tempdir().unwrap();
    POISON.store(77, Ordering::SeqCst);
    let ledger = fresh(dir.path(), with_counts(77));
    fill(&ledger, "blog", "a", 2);
    ledger
        .append_blocking(Append::new(
            chain("blog"),
            actor(),
            key("p"),
            vec![issued("poison")],
        ))
        .unwrap();
    fill(&ledger, "blog", "b", 2);
    fill(&ledger, "shop", "a", 5);
    wait_folded(&ledger);
    let stopped = ledger.status().stopped_projections;
    let (place, (sequence, reason)) = stopped.iter().next().unwrap();
    assert_eq!(
        (
            place.0.as_str(),
            place.1.to_string(),
            sequence.get(),
            reason.as_str()
        ),
        ("test-counts", "blog".to_owned(), 2, "poisoned")
    );
    assert_eq!(
        (count(&ledger, "blog"), count(&ledger, "shop")),
        (Some("2".to_owned()), Some("5".to_owned()))
    );
    drop(ledger);
    let ledger = Ledger::open(dir.path(), with_counts(77)).unwrap();
    assert_eq!(
        ledger.status().stopped_projections.len(),
        1,
        "it stops again, by name"
    );
    drop(ledger);
    POISON.store(0, Ordering::SeqCst);
    let ledger = Ledger::open(dir.path(), with_counts(77)).unwrap();
    assert!(ledger.status().stopped_projections.is_empty());
    assert_eq!(count(&ledger, "blog"), Some("5".to_owned()));
    ledger.audit(&counts(77)).unwrap();
}

#[test]
fn a_changed_row_is_found_by_rebuilding_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = fresh(dir.path(), with_counts(1));
    fill(&ledger, "blog", "a", 800);
    let reader = Reader::open(dir.path()).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    assert!(
        matches!(
            StoredRows::read(&reader, scratch.path()),
            Err(Error::Locked { .. })
        ),
        "it is in use"
    );
    ledger.close().unwrap();
    drop(ledger);
    let rebuilt = || {
        let mut rebuild = Rebuild::new(&counts(1));
        let mut states = std::collections::BTreeMap::new();
        for item in Reader::open(dir.path()).unwrap().journal().unwrap() {
            let countersign_store::read::Item::Events { records, .. } = item.unwrap() else {
                continue;
            };
            for record in records {
                let id = countersign_chain::Header::parse(&record.header)
                    .unwrap()
                    .chain;
                let state = states.entry(id.clone()).or_insert_with(|| {
                    countersign_chain::ChainState::genesis(&reader.description().ledger, &id)
                });
                rebuild.fold(&Entry::from_verified(state.follow(&record).unwrap()));
            }
        }
        rebuild
    };
    let stored = |scratch: &Path| StoredRows::read(&reader, scratch).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    assert_eq!(
        compare(&stored(scratch.path()).rows, rebuilt().rows()),
        None
    );
    // The second block of rows: its first row is named.
    let mut first = Vec::new();
    tamper(dir.path(), |db| {
        // The generation follows.
        let prefix = b"rtest-counts\0blog\0\0\0\0\0";
        let (key, value) = db.scan_prefix(prefix).nth(1).unwrap().unwrap();
        first = key[prefix.len()..].to_vec();
        let mut value = value.to_vec();
        *value.last_mut().unwrap() ^= 1;
        db.insert(key, value).unwrap();
    });
    let scratch = tempfile::tempdir().unwrap();
    let difference = compare(&stored(scratch.path()).rows, rebuilt().rows()).unwrap();
    assert_eq!(difference.key, first);
    assert_eq!(
        (difference.projection.as_str(), difference.chain),
        ("test-counts", chain("blog"))
    );
}

#[test]
fn rows_that_are_not_what_was_written_stop_their_projection_by_name_and_are_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = fresh(dir.path(), with_counts(1));
    fill(&ledger, "blog", "a", 20);
    fill(&ledger, "shop", "a", 20);
    ledger.close().unwrap();
    drop(ledger);
    tamper(dir.path(), |db| {
        let (key, value) = db
            .scan_prefix(b"rtest-counts\0blog\0")
            .next()
            .unwrap()
            .unwrap();
        let mut value = value.to_vec();
        *value.last_mut().unwrap() ^= 1;
        db.insert(key, value).unwrap();
    });
    let ledger = Ledger::open(dir.path(), with_counts(1)).unwrap();
    fill(&ledger, "blog", "b", 2);
    fill(&ledger, "shop", "b", 2);
    wait_folded(&ledger);
    let stopped = ledger.status().stopped_projections;
    let (place, (sequence, reason)) = stopped.iter().next().unwrap();
    assert_eq!(
        (stopped.len(), place.1.to_string(), sequence.get()),
        (1, "blog".to_owned(), 20)
    );
    assert!(reason.contains("not what was written"), "{reason}");
    assert!(
        ledger
            .row("test-counts", &chain("blog"), b"count/created")
            .is_err()
    );
    assert_eq!(count(&ledger, "shop"), Some("22".to_owned()));
    drop(ledger);
    std::fs::remove_dir_all(dir.path().join("sled")).unwrap();
    let ledger = Ledger::open(dir.path(), with_counts(1)).unwrap();
    assert_eq!(count(&ledger, "blog"), Some("22".to_owned()));
    ledger.audit(&counts(1)).unwrap();
}

#[test]
fn a_changed_block_is_never_handed_out_and_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = fresh(dir.path(), with_counts(1));
    fill(&ledger, "blog", "a", 600);
    let hashes: Vec<_> = ledger
        .read(&chain("blog"), 0, 600)
        .unwrap()
        .iter()
        .map(Entry::hash)
        .collect();
    ledger.close().unwrap();
    drop(ledger);
    // The first block of the first chain; its end, which is checked when the ledger is opened, is elsewhere.
    tamper(dir.path(), |db| {
        let (key, value) = db.scan_prefix(b"b").next().unwrap().unwrap();
        let mut value = value.to_vec();
        let middle = value.len() / 2;
        value[middle] ^= 1;
        db.insert(key, value).unwrap();
    });
    let ledger = Ledger::open(dir.path(), with_counts(1)).unwrap();
    let read: Vec<_> = ledger
        .read(&chain("blog"), 0, 600)
        .unwrap()
        .iter()
        .map(Entry::hash)
        .collect();
    assert_eq!(read, hashes, "healed from the journal");
    assert_eq!(ledger.status().log_notices.len(), 1, "and said so");
    drop(ledger);
    let ledger = Ledger::open(dir.path(), with_counts(1)).unwrap();
    assert!(ledger.status().set_aside.is_some(), "made again");
    ledger.audit(&counts(1)).unwrap();
}

#[test]
fn a_body_that_was_changed_in_a_block_is_never_handed_out() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = fresh(dir.path(), with_counts(1));
    fill(&ledger, "blog", "a", 300);
    ledger.close().unwrap();
    drop(ledger);
    // A block is cut into pieces that end with a number; in front are its length and a checksum over key and block. In it stand
    // how many events it has, a hash for each 32 of them and that of the last, the lengths of their text before and after
    // compression, and the text. All of that is right again after the change, but for the hashes.
    tamper(dir.path(), |db| {
        let first = db.scan_prefix(b"b").keys().next().unwrap().unwrap();
        let key = &first[..first.len() - 2];
        let pieces: Vec<_> = db.scan_prefix(key).map(Result::unwrap).collect();
        let block: Vec<u8> = pieces
            .iter()
            .flat_map(|(_, piece)| piece.to_vec())
            .skip(8)
            .collect();
        let number = |at: usize| u32::from_be_bytes(block[at..at + 4].try_into().unwrap()) as usize;
        let text_at = 4 + (number(0).div_ceil(32) + 1) * 32;
        let (hashes, packed) = block.split_at(text_at);
        let (text, digests) = packed[12..].split_at(number(text_at + 8));
        let mut text = zstd::bulk::decompress(text, number(text_at)).unwrap();
        let body = text
            .windows(8)
            .position(|part| part == b"A tenant")
            .unwrap();
        text[body] = b'B';
        let text = zstd::bulk::compress(&text, 1).unwrap();
        let length = u32::try_from(text.len()).unwrap().to_be_bytes();
        let block = [hashes, &packed[..8], &length, &text, digests].concat();
        let crc = crc32c::crc32c_append(crc32c::crc32c(key), &block);
        let length = u32::try_from(block.len()).unwrap();
        let block = [&length.to_be_bytes(), &crc.to_be_bytes(), block.as_slice()].concat();
        for (piece, _) in &pieces {
            db.remove(piece).unwrap();
        }
        for (number, piece) in (0..=u16::MAX).zip(block.chunks(4000)) {
            db.insert([key, &number.to_be_bytes()].concat(), piece)
                .unwrap();
        }
    });
    let ledger = Ledger::open(dir.path(), with_counts(1)).unwrap();
    let entry = ledger.event(&chain("blog"), Sequence::ZERO).unwrap();
    assert!(
        entry
            .body()
            .unwrap()
            .windows(8)
            .any(|part| part == b"A tenant")
    );
    assert!(
        ledger
            .status()
            .log_notices
            .iter()
            .any(|notice| notice.contains("damaged in the log"))
    );
}

#[test]
fn a_log_that_lost_its_end_or_belongs_elsewhere_is_set_aside() {
    for how in ["a byte in the position", "a head", "another ledger's log"] {
        let dir = tempfile::tempdir().unwrap();
        let ledger = fresh(dir.path(), with_counts(1));
        fill(&ledger, "blog", "a", 40);
        ledger.close().unwrap();
        drop(ledger);
        match how {
            "a byte in the position" => tamper(dir.path(), |db| {
                let mut position = db.get(b"P").unwrap().unwrap().to_vec();
                *position.last_mut().unwrap() ^= 1;
                db.insert(b"P", position).unwrap();
            }),
            "a head" => tamper(dir.path(), |db| {
                let key = db.scan_prefix(b"b").keys().next_back().unwrap().unwrap();
                db.remove(key).unwrap();
            }),
            _ => {
                let other = tempfile::tempdir().unwrap();
                let ledger = fresh(other.path(), with_counts(1));
                fill(&ledger, "blog", "b", 40);
                ledger.close().unwrap();
                drop(ledger);
                std::fs::remove_dir_all(dir.path().join("sled")).unwrap();
                std::fs::rename(other.path().join("sled"), dir.path().join("sled")).unwrap();
            }
        }
        let ledger = Ledger::open(dir.path(), with_counts(1)).unwrap();
        assert!(ledger.status().set_aside.is_some(), "{how}");
        let again = Append::new(chain("blog"), actor(), key("a7"), vec![issued("t")]);
        assert!(ledger.append_blocking(again).unwrap().replayed, "{how}");
        ledger.audit(&counts(1)).unwrap();
    }
}

#[test]
fn a_journal_that_ends_before_its_log_lost_something_and_is_not_opened() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = fresh(dir.path(), with_counts(1));
    fill(&ledger, "blog", "a", 10);
    let position = ledger.durable();
    ledger.close().unwrap();
    drop(ledger);
    let segment = dir.path().join(format!("journal/{:020}.seg", 0));
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(segment)
        .unwrap();
    file.set_len(position.get() - 700).unwrap();
    let error = Ledger::open(dir.path(), with_counts(1)).unwrap_err();
    assert_eq!(error.code().id, "ledger-damaged", "{error}");
}

#[test]
fn a_tampered_record_stops_its_chain_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = fresh(dir.path(), with_counts(1));
    fill(&ledger, "blog", "a", 5);
    fill(&ledger, "shop", "a", 5);
    ledger.close().unwrap();
    drop(ledger);
    forge(dir.path());
    std::fs::remove_dir_all(dir.path().join("sled")).unwrap();
    drop(Ledger::open(dir.path(), with_counts(1)).unwrap());
    // The second time, the journal is not read again: the log remembers.
    let ledger = Ledger::open(dir.path(), with_counts(1)).unwrap();
    let damaged = ledger.status().damaged;
    assert_eq!(
        damaged
            .iter()
            .map(|(id, (at, _))| (id.clone(), at.get()))
            .collect::<Vec<_>>(),
        [(chain("blog"), 2)]
    );
    let again = |id: &str, name: &str| {
        ledger.append_blocking(Append::new(
            chain(id),
            actor(),
            key(name),
            vec![issued("t")],
        ))
    };
    assert!(matches!(
        again("blog", "new"),
        Err(Error::ChainDamaged { .. })
    ));
    again("shop", "new").unwrap();
    wait_folded(&ledger);
    assert_eq!(
        (count(&ledger, "blog"), count(&ledger, "shop")),
        (Some("2".to_owned()), Some("6".to_owned()))
    );
}

/// Changes one letter in the body of the third event and makes the frame's checksum right again.
fn forge(dir: &Path) {
    let path = dir.join(format!("journal/{:020}.seg", 0));
    let mut bytes = std::fs::read(&path).unwrap();
    let at: Vec<usize> = bytes
        .windows(8)
        .enumerate()
        .filter(|(_, part)| part == b"A tenant")
        .map(|(at, _)| at)
        .collect();
    let body = at[2];
    let frame = (0..body)
        .rev()
        .find(|at| bytes[*at..].starts_with(b"CSJF"))
        .unwrap();
    bytes[body] = b'B';
    let length = u32::from_be_bytes(bytes[frame + 32..frame + 36].try_into().unwrap()) as usize;
    let crc = crc32c::crc32c_append(
        crc32c::crc32c(&bytes[frame..frame + 36]),
        &bytes[frame + 40..frame + 40 + length],
    );
    bytes[frame + 36..frame + 40].copy_from_slice(&crc.to_be_bytes());
    std::fs::write(path, bytes).unwrap();
}
