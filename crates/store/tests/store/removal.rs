//! Operational bodies are removed from journal, log and memory; everything else verifies and reads as before.

use std::path::Path;
use std::sync::Arc;

use countersign_events::retention::{Range, RowsDigest};
use countersign_ids::{EventType, Retention, Sequence};
use countersign_projections::{Change, Folded, Projection, Rows, Stop};
use countersign_store::backup::{Restore, Take, restore, take};
use countersign_store::read::{Item, Reader};
use countersign_store::{Append, Doomed, Error, Ledger, NewEvent, Projections};

use crate::support::*;

pub(crate) const SECRET: &str = "s3cr3t-of-the-shop";

/// An operational event, which says something that must not stay.
fn remark(number: usize) -> Append {
    let body = format!("{{\"site\":\"site-a\",\"text\":\"{SECRET} {number}\"}}");
    let event = NewEvent {
        event_type: EventType::new("remark", "made", 1).unwrap(),
        retention: Retention::Operational,
        ..event("made", "site-a", &body)
    };
    let evidence = event_with(number);
    let events = if number.is_multiple_of(3) {
        vec![event, evidence]
    } else {
        vec![event]
    };
    Append::new(chain("blog"), actor(), key(&format!("r{number}")), events)
}

/// An event that stays, and that every read model knows.
fn event_with(number: usize) -> NewEvent {
    let body = format!("{{\"operational_days\":{}}}", number % 400);
    NewEvent {
        event_type: EventType::new("retention", "set", 1).unwrap(),
        ..event("set", "retention", &body)
    }
}

fn kept(name: &str) -> Append {
    Append::new(chain("blog"), actor(), key(name), vec![event_with(7)])
}

/// Every byte under a directory in which the secret is found: as it stands, or in anything that zstd made.
pub(crate) fn found_in(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(found_in(&path));
        } else if path.is_file() && holds_secret(&std::fs::read(&path).unwrap()) {
            found.push(path.display().to_string());
        }
    }
    found
}

fn holds_secret(bytes: &[u8]) -> bool {
    holds(bytes, SECRET)
}

/// Whether a text stands in bytes, as it is or in anything that zstd made.
pub(crate) fn holds(bytes: &[u8], text: &str) -> bool {
    const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
    let within = |bytes: &[u8]| {
        bytes
            .windows(text.len())
            .any(|part| part == text.as_bytes())
    };
    let unpacked = |at: usize| {
        use std::io::Read as _;
        let mut out = Vec::new();
        let decoder = zstd::stream::read::Decoder::new(&bytes[at..]).unwrap();
        // Whatever comes out before the frame breaks off counts.
        let mut decoder = decoder.single_frame().take(8 * 1024 * 1024);
        let mut part = [0; 4096];
        while let Ok(read) = decoder.read(&mut part) {
            if read == 0 {
                break;
            }
            out.extend_from_slice(&part[..read]);
        }
        out
    };
    let frames = bytes.windows(4).enumerate();
    within(bytes)
        || frames
            .filter(|(_, four)| *four == ZSTD)
            .any(|(at, _)| within(&unpacked(at)))
}

/// The blocks of events as they lie in sled, each in its pieces; from a copy.
fn blocks_in_sled(root: &Path) -> Vec<Vec<Vec<u8>>> {
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(root.join("sled")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            std::fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    let db = sled::Config::new().path(copy.path()).open().unwrap();
    let mut blocks: Vec<Vec<Vec<u8>>> = Vec::new();
    for item in db.scan_prefix(b"b") {
        let (key, piece) = item.unwrap();
        if key.ends_with(&[0, 0]) {
            blocks.push(Vec::new());
        }
        blocks.last_mut().unwrap().push(piece.to_vec());
    }
    blocks
}

pub(crate) fn is_secret_in_sled(root: &Path) -> bool {
    // Length and checksum of the value, number of events.
    let secret = |block: &Vec<Vec<u8>>| holds_secret(&block.concat()[12..]);
    blocks_in_sled(root).iter().any(secret)
}

/// Bytes out of everything compressed in which the secret stands, so that they can be looked for wherever they may be left.
fn compressed_forms(root: &Path) -> Vec<Vec<u8>> {
    compressed_forms_of(root, holds_secret)
}

/// The same of whatever is to go, by its bytes.
pub(crate) fn compressed_forms_of(root: &Path, goes: impl Fn(&[u8]) -> bool) -> Vec<Vec<u8>> {
    let middle = |bytes: &[u8]| {
        let middle = bytes.len() / 2;
        bytes[middle..(middle + 40).min(bytes.len())].to_vec()
    };
    let mut forms = Vec::new();
    for segment in std::fs::read_dir(root.join("journal")).unwrap() {
        let bytes = std::fs::read(segment.unwrap().path()).unwrap();
        if bytes.starts_with(b"CSJZ") && goes(&bytes) {
            forms.push(middle(&bytes));
        }
    }
    for pieces in blocks_in_sled(root) {
        if goes(&pieces.concat()[12..]) {
            forms.extend(pieces.iter().map(|piece| middle(piece)));
        }
    }
    forms.retain(|form| form.len() == 40);
    forms
}

/// The files under a directory in which one of these stands.
pub(crate) fn holding(dir: &Path, forms: &[Vec<u8>]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(holding(&path, forms));
        } else if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            let within = |form: &Vec<u8>| bytes.windows(40).any(|part| part == form);
            if forms.iter().any(within) {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

pub(crate) fn headers(reader: &Reader) -> Vec<Vec<u8>> {
    let mut events = Vec::new();
    for item in reader.journal().unwrap() {
        if let Item::Events { records, .. } = item.unwrap() {
            events.extend(records.into_iter().map(|record| record.header));
        }
    }
    events
}

fn doomed(ledger: &Ledger, from: u64, to: u64) -> Arc<Doomed> {
    let ordered = ledger.head(&chain("blog")).unwrap().size - 1;
    Arc::new(Doomed {
        chain: chain("blog"),
        ordered: Sequence::new(ordered),
        ranges: vec![Range {
            chain: chain("blog"),
            from,
            to,
        }],
        subject: None,
    })
}

pub(crate) fn taking(root: &Path) -> Take {
    Take {
        now: countersign_ids::Time::from_unix_millis(1_900_000_000_000),
        keep: 3,
        policies: root.join("policies"),
    }
}

#[test]
#[expect(
    clippy::too_many_lines,
    reason = "one life of a ledger, looked at after each step"
)]
fn bodies_that_are_removed_are_in_no_byte_any_more_and_everything_verifies() {
    let dir = tempfile::tempdir().unwrap();
    let (root, backups) = (dir.path().join("data"), dir.path().join("backups"));
    let options = || countersign_store::Options {
        projections: Projections::all(),
        ..options()
    };
    let ledger = fresh(&root, options());
    let reader = Reader::open(&root).unwrap();
    let mut count = 0;
    while reader.segments().unwrap().len() < 4 {
        ledger.append_blocking(remark(count)).unwrap();
        count += 1;
    }
    until_compressed(&root);
    // Some stand in the segment that is written to, and one is younger than the order.
    for _ in 0..3 {
        ledger.append_blocking(remark(count)).unwrap();
        count += 1;
    }
    let last = ledger.head(&chain("blog")).unwrap().size - 1;
    ledger.append_blocking(kept("the order")).unwrap();
    let doomed = doomed(&ledger, 0, last);
    let kept = ledger.append_blocking(kept("a kept one")).unwrap();
    std::fs::create_dir(root.join("sled.aside-1")).unwrap();
    std::fs::write(root.join("sled.aside-1/db"), SECRET).unwrap();
    let first = take(&root, &backups, &taking(&root), &mut |_| {}).unwrap();
    let before = headers(&reader);
    let forms = compressed_forms(&root);
    assert!(forms.len() > 6, "{}", forms.len());
    assert!(is_secret_in_sled(&root));
    for place in ["journal", "sled"] {
        assert!(!holding(&root.join(place), &forms).is_empty(), "{place}");
    }
    for (place, least) in [("journal", 4), ("sled.aside-1", 1)] {
        let found = found_in(&root.join(place));
        assert!(found.len() >= least, "{place}: {found:?}");
    }
    assert!(!found_in(&first.path).is_empty());

    // What a crash left of a segment that was being compressed.
    let leftover = root.join("journal/packing.tmp");
    std::fs::write(&leftover, SECRET).unwrap();
    let removed = ledger.remove(&doomed).unwrap();
    assert!(!leftover.exists());
    assert_eq!(removed.bodies, count as u64);
    assert_eq!(removed.before, removed.after);
    assert_eq!(removed.before.len(), 4);
    assert_eq!(found_in(&root), Vec::<String>::new());
    assert_eq!(holding(&root, &forms), Vec::<String>::new());
    assert!(!is_secret_in_sled(&root));
    assert_eq!(headers(&reader), before);
    ledger.audit(&Projections::all()).unwrap();
    let entry = ledger.event(&chain("blog"), Sequence::new(last)).unwrap();
    assert_eq!(
        entry.body().is_some(),
        entry.header().event_type.fact() != "made"
    );
    assert!(
        ledger
            .event(&chain("blog"), kept.first)
            .unwrap()
            .body()
            .is_some()
    );
    // Done again it finds nothing to do and says the same, until it is settled.
    assert_eq!(ledger.remove(&doomed).unwrap(), removed);
    assert!(root.join("removals").read_dir().unwrap().next().is_some());
    ledger.settle_removals(&chain("blog"), &[].into()).unwrap();
    assert!(root.join("removals").read_dir().unwrap().next().is_none());

    // The chain goes on, the log can be made again, and neither brings anything back.
    ledger.append_blocking(remark_after()).unwrap();
    let second = take(&root, &backups, &taking(&root), &mut |_| {}).unwrap();
    assert_ne!(second.path, first.path);
    assert_eq!(found_in(&backups), Vec::<String>::new());
    assert_eq!(holding(&backups, &forms), Vec::<String>::new());
    assert_eq!(second.backups_removed, 1);
    ledger.close().unwrap();
    drop(ledger);
    for lose in [false, true] {
        if lose {
            std::fs::remove_dir_all(root.join("sled")).unwrap();
        }
        let ledger = Ledger::open(&root, options()).unwrap();
        assert_eq!(ledger.status().set_aside, None);
        ledger.audit(&Projections::all()).unwrap();
        assert!(ledger.append_blocking(remark(1)).unwrap().replayed);
        drop(ledger);
        assert_eq!(found_in(&root), Vec::<String>::new());
        assert!(!is_secret_in_sled(&root));
    }
    assert!(!first.path.exists());
    let target = dir.path().join("restored");
    restore(&backups, &target, &Restore::default(), &mut |_| {}).unwrap();
    let restored = Reader::open(&target).unwrap();
    assert_eq!(headers(&restored), headers(&reader));
}

/// A read model of one row, whose version is this program's.
struct Marked(u32);

impl Projection for Marked {
    fn name(&self) -> &'static str {
        "marked"
    }

    fn version(&self) -> u32 {
        self.0
    }

    fn fold(&self, _: &dyn Rows, _: &Folded<'_>) -> Result<Vec<Change>, Stop> {
        let (key, value) = (b"version".to_vec(), vec![u8::try_from(self.0).unwrap()]);
        Ok(vec![Change::Put { key, value }])
    }
}

#[test]
fn a_removal_that_another_version_goes_on_with_compares_what_both_made() {
    let dir = tempfile::tempdir().unwrap();
    let with = |version| countersign_store::Options {
        projections: Projections::of(move || {
            let mut all = countersign_projections::all();
            all.push(Box::new(Marked(version)));
            all
        }),
        ..options()
    };
    let ledger = fresh(dir.path(), with(1));
    ledger.append_blocking(remark(1)).unwrap();
    ledger.append_blocking(kept("the order")).unwrap();
    let doomed = doomed(&ledger, 0, 0);
    let first = ledger.remove(&doomed).unwrap();
    assert_eq!(first.before, first.after);
    ledger.close().unwrap();
    drop(ledger);
    // The program died before it wrote the receipt, and is a newer one when it comes again.
    let ledger = Ledger::open(dir.path(), with(2)).unwrap();
    let second = ledger.remove(&doomed).unwrap();
    assert_eq!(second.before, second.after);
    let names = |rows: &[RowsDigest]| -> Vec<_> {
        rows.iter().map(|rows| rows.projection.clone()).collect()
    };
    assert!(names(&first.before).contains(&"marked".to_owned()));
    assert_eq!(second.before.len(), first.before.len() - 1);
    assert!(!names(&second.before).contains(&"marked".to_owned()));
}

#[test]
fn a_backup_holds_the_event_that_explains_what_went_while_it_was_taken() {
    let dir = tempfile::tempdir().unwrap();
    let (root, backups) = (dir.path().join("data"), dir.path().join("backups"));
    let ledger = fresh(&root, options());
    let reader = Reader::open(&root).unwrap();
    let mut count = 0;
    while reader.segments().unwrap().len() < 4 {
        ledger.append_blocking(remark(count)).unwrap();
        count += 1;
    }
    until_compressed(&root);
    let listed = reader.segments().unwrap().len();
    let last = ledger.head(&chain("blog")).unwrap().size - 1;
    let mut ordered = None;
    let taken = take(&root, &backups, &taking(&root), &mut |_| {
        if ordered.is_some() {
            return;
        }
        // The first bytes are copied: the order comes to stand in a segment that was not there when they were listed.
        while reader.segments().unwrap().len() == listed {
            ledger.append_blocking(remark(count)).unwrap();
            count += 1;
        }
        ledger.append_blocking(kept("the order")).unwrap();
        let doomed = doomed(&ledger, 0, last);
        ledger.remove(&doomed).unwrap();
        ordered = Some(doomed.ordered.get());
    })
    .unwrap();
    let size = taken.manifest.sizes()[&chain("blog")];
    assert!(size > ordered.unwrap(), "{size} {ordered:?}");
    let target = dir.path().join("restored");
    restore(&backups, &target, &Restore::default(), &mut |_| {}).unwrap();
    let restored = headers(&Reader::open(&target).unwrap());
    assert_eq!(headers(&reader)[..restored.len()], restored);
}

fn remark_after() -> Append {
    let event = NewEvent {
        event_type: EventType::new("remark", "made", 1).unwrap(),
        retention: Retention::Operational,
        ..event("made", "site-a", "{\"site\":\"site-a\",\"text\":\"kept\"}")
    };
    Append::new(chain("blog"), actor(), key("after"), vec![event])
}

#[test]
fn a_removal_of_events_that_are_not_there_touches_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = fresh(dir.path(), options());
    ledger.append_blocking(remark(1)).unwrap();
    let doomed = doomed(&ledger, 0, 7);
    let error = ledger.remove(&doomed).unwrap_err();
    assert!(matches!(error, Error::Missing { .. }), "{error}");
    let entry = ledger.event(&chain("blog"), Sequence::new(0)).unwrap();
    assert!(entry.body().is_some());
    assert!(!dir.path().join("removals").exists());
}
