//! Damage on a disk that is otherwise sound: it is named, who lost something by it is read-only, and the others go on.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use countersign_ids::ChainId;
use countersign_store::read::{Item, Reader};
use countersign_store::{Error, Ledger, Options, Place, Position, Projections, Remedy};

use crate::support::*;

/// So many commands of each chain in turn, so that no frame of one stands beside another of it.
fn fill(ledger: &Ledger, chains: &[&str], count: usize) {
    for number in 0..count {
        for id in chains {
            let receipt = ledger.append_blocking(command(id, &format!("{id}-{number}")));
            assert!(!receipt.unwrap().replayed);
        }
    }
}

fn segment(dir: &Path, base: u64) -> PathBuf {
    dir.join(format!("journal/{base:020}.seg"))
}

/// Writes over bytes of the journal's first segment.
fn write_at(dir: &Path, bytes: &[u8], at: Position) {
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(segment(dir, 0));
    file.unwrap().write_all_at(bytes, at.get()).unwrap();
}

/// Where the frames of a chain stand, and what it is that begins there.
fn frames(dir: &Path, id: &str) -> Vec<(Position, Position)> {
    let mut frames = Vec::new();
    let mut begin = Position::ZERO;
    for item in Reader::open(dir).unwrap().journal().unwrap() {
        let Item::Events { position, records } = item.unwrap() else {
            continue;
        };
        let source = format!("/chains/{id}\"");
        let header = String::from_utf8(records[0].header.clone()).unwrap();
        if header.contains(&source) {
            frames.push((begin, position));
        }
        begin = position;
    }
    frames
}

fn lose_log(dir: &Path) {
    std::fs::remove_dir_all(dir.join("sled")).unwrap();
}

fn damaged(ledger: &Ledger) -> Vec<(ChainId, u64)> {
    let damaged = ledger.status().damaged;
    damaged
        .into_iter()
        .map(|(id, (at, _))| (id, at.get()))
        .collect()
}

fn refused(ledger: &Ledger, id: &str) {
    let refused = ledger.append_blocking(command(id, "new")).unwrap_err();
    let Error::ChainDamaged { chain: named, .. } = &refused else {
        panic!("{refused:?}");
    };
    assert_eq!(*named, chain(id));
}

/// A ledger of two chains that was closed, has no log, and something else in one frame of `blog`.
fn with_damage(number: usize, bytes: impl Fn(usize) -> Vec<u8>) -> (tempfile::TempDir, Position) {
    let dir = tempfile::tempdir().unwrap();
    let ledger = fresh(dir.path(), options());
    fill(&ledger, &["blog", "shop"], 6);
    ledger.close().unwrap();
    drop(ledger);
    lose_log(dir.path());
    let (begin, end) = frames(dir.path(), "blog")[number];
    let length = usize::try_from(end.since(begin)).unwrap();
    let bytes = bytes(length);
    let at = end.get() - bytes.len() as u64;
    write_at(dir.path(), &bytes, Position::new(at));
    (dir, begin)
}

#[test]
fn a_damaged_frame_stops_its_chain_and_no_other() {
    // The last frame of the chain too: no later event of it shows that one is missing, only its bytes say whose it was.
    for number in [0, 3, 5] {
        let (dir, begin) = with_damage(number, |_| b"###".to_vec());
        for life in 0..2 {
            let ledger = Ledger::open(dir.path(), options()).unwrap();
            assert_eq!(damaged(&ledger), [(chain("blog"), number as u64)]);
            let status = ledger.status();
            let [left] = status.damage.as_slice() else {
                panic!("{:?}", status.damage);
            };
            let Place::Journal { from, .. } = left.place else {
                panic!("{left:?}");
            };
            assert_eq!((from, &left.chains), (begin, &vec![chain("blog")]));
            refused(&ledger, "blog");
            fill_one(&ledger, "shop", life);
            let read = ledger.read(&chain("shop"), 0, 100).unwrap();
            assert_eq!(read.len(), 7 + life);
            assert_eq!(
                ledger.read(&chain("blog"), 0, 100).unwrap().len(),
                number,
                "what comes before is served"
            );
            ledger.close().unwrap();
            drop(ledger);
            // The second time it is found again, and what was written meanwhile is behind it.
            lose_log(dir.path());
        }
    }
}

fn fill_one(ledger: &Ledger, id: &str, number: usize) {
    let name = format!("{id}-later-{number}");
    assert!(!ledger.append_blocking(command(id, &name)).unwrap().replayed);
}

#[test]
fn where_nothing_tells_what_was_lost_all_that_there_is_is_read_only() {
    let (dir, _) = with_damage(3, |length| vec![0x5a; length]);
    let ledger = Ledger::open(dir.path(), options()).unwrap();
    assert_eq!(damaged(&ledger), [(chain("blog"), 3), (chain("shop"), 3)]);
    for id in ["blog", "shop"] {
        refused(&ledger, id);
    }
    fill_one(&ledger, "wiki", 0);
    drop(ledger);
    // What began behind it lost nothing, and the log remembers the others.
    let ledger = Ledger::open(dir.path(), options()).unwrap();
    assert_eq!(damaged(&ledger), [(chain("blog"), 3), (chain("shop"), 3)]);
    fill_one(&ledger, "wiki", 1);
}

#[test]
fn a_hole_over_two_frames_of_which_one_names_nobody_stops_all() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = fresh(dir.path(), options());
    fill(&ledger, &["blog", "shop"], 6);
    ledger.close().unwrap();
    drop(ledger);
    lose_log(dir.path());
    // From the body of the last frame of `blog` over all of the last frame of `shop`, which stands behind it.
    let (blog, shop) = (frames(dir.path(), "blog")[5], frames(dir.path(), "shop")[5]);
    let zeros = usize::try_from(shop.1.since(blog.1)).unwrap() + 16;
    write_at(
        dir.path(),
        &vec![0; zeros],
        Position::new(blog.1.get() - 16),
    );
    let ledger = Ledger::open(dir.path(), options()).unwrap();
    assert_eq!(damaged(&ledger), [(chain("blog"), 5), (chain("shop"), 5)]);
    for id in ["blog", "shop"] {
        refused(&ledger, id);
    }
}

#[test]
fn a_frame_that_holds_no_event_of_a_chain_is_gone_over() {
    let (dir, begin) = with_damage(3, |_| Vec::new());
    // The checksum is right, and what it is over is no event.
    let mut bytes = std::fs::read(segment(dir.path(), 0)).unwrap();
    let at = usize::try_from(begin.get()).unwrap();
    let length = u32::from_be_bytes(bytes[at + 32..at + 36].try_into().unwrap()) as usize;
    bytes[at + 46] = b'#';
    let crc = crc32c::crc32c_append(
        crc32c::crc32c(&bytes[at..at + 36]),
        &bytes[at + 40..at + 40 + length],
    );
    bytes[at + 36..at + 40].copy_from_slice(&crc.to_be_bytes());
    std::fs::write(segment(dir.path(), 0), bytes).unwrap();
    let ledger = Ledger::open(dir.path(), options()).unwrap();
    assert_eq!(damaged(&ledger), [(chain("blog"), 3)]);
    fill_one(&ledger, "shop", 0);
}

/// What a sweep and a strict reader find of a ledger that was healed: nothing more.
fn is_sound(ledger: &Ledger) {
    ledger.sweep().unwrap();
    assert_eq!((damaged(ledger), ledger.status().damage), (vec![], vec![]));
    ledger.audit(&Projections::none()).unwrap();
}

#[test]
fn what_the_log_has_is_written_into_the_journal_again() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = fresh(dir.path(), options());
    fill(&ledger, &["blog", "shop"], 6);
    ledger.close().unwrap();
    drop(ledger);
    // A frame in the middle, two beside each other, and the last one.
    for numbers in [&[3][..], &[4, 5], &[6]] {
        let all = frames(dir.path(), "blog");
        for number in numbers {
            let (begin, end) = all[(*number).min(all.len() - 1)];
            let length = usize::try_from(end.since(begin)).unwrap();
            write_at(dir.path(), &vec![0x5a; length / 2], begin);
        }
        let ledger = Ledger::open(dir.path(), options()).unwrap();
        let healed = ledger.status().healed;
        assert_eq!(healed.len(), numbers.len(), "{healed:?}");
        assert!(
            healed.iter().all(
                |damage| damage.healed == Some(Remedy::Log) && damage.chains == [chain("blog")]
            )
        );
        is_sound(&ledger);
        fill_one(&ledger, "blog", numbers[0]);
        ledger.close().unwrap();
        drop(ledger);
        let ledger = Ledger::open(dir.path(), options()).unwrap();
        assert_eq!(ledger.status().healed, [], "once");
        assert_eq!(ledger.status().log_notices.len(), 0);
        ledger.close().unwrap();
    }
    // What was written again is what a log can be made from.
    lose_log(dir.path());
    let ledger = Ledger::open(dir.path(), options()).unwrap();
    is_sound(&ledger);
    assert_eq!(ledger.read(&chain("blog"), 0, 100).unwrap().len(), 9);
}

#[test]
fn where_both_copies_are_bad_the_chain_is_read_only_and_a_log_that_is_set_aside_still_heals() {
    for spoiled in ["blog", "shop"] {
        let dir = tempfile::tempdir().unwrap();
        let ledger = fresh(dir.path(), options());
        fill(&ledger, &["blog", "shop"], 6);
        ledger.close().unwrap();
        drop(ledger);
        let (_, end) = frames(dir.path(), "blog")[3];
        write_at(dir.path(), b"###", Position::new(end.get() - 3));
        // The only block of one chain: its log is set aside when the ledger is opened.
        tamper(dir.path(), |db| {
            let number = u32::from(spoiled == "shop");
            let key = [b"b".as_slice(), &number.to_be_bytes()].concat();
            let (key, value) = db.scan_prefix(key).next().unwrap().unwrap();
            let mut value = value.to_vec();
            *value.last_mut().unwrap() ^= 1;
            db.insert(key, value).unwrap();
        });
        let ledger = Ledger::open(dir.path(), options()).unwrap();
        assert!(ledger.status().set_aside.is_some(), "{spoiled}");
        if spoiled == "blog" {
            assert_eq!(damaged(&ledger), [(chain("blog"), 3)]);
            refused(&ledger, "blog");
        } else {
            is_sound(&ledger);
            fill_one(&ledger, "blog", 0);
        }
        fill_one(&ledger, "shop", 0);
    }
}

#[test]
fn a_sealed_segment_is_healed_from_the_log_or_made_again_where_its_file_is_missing() {
    let small = || Options {
        segment_bytes: 16 * 1024,
        ..options()
    };
    let dir = tempfile::tempdir().unwrap();
    let ledger = fresh(dir.path(), small());
    let reader = Reader::open(dir.path()).unwrap();
    let mut count = 0;
    while reader.segments().unwrap().len() < 4 {
        fill_one(&ledger, if count % 3 == 0 { "blog" } else { "shop" }, count);
        count += 1;
    }
    until_compressed(dir.path());
    let sealed: Vec<_> = reader.segments().unwrap().into_iter().take(3).collect();
    for (number, segment) in sealed.iter().enumerate() {
        if number == 1 {
            std::fs::remove_file(&segment.path).unwrap();
        } else {
            let mut bytes = std::fs::read(&segment.path).unwrap();
            let middle = bytes.len() / (number + 2);
            bytes[middle..middle + 4].fill(0x5a);
            std::fs::write(&segment.path, bytes).unwrap();
        }
    }
    // While it runs.
    ledger.sweep().unwrap();
    let healed = ledger.status().healed;
    assert_eq!(healed.len(), 3, "{healed:?}");
    is_sound(&ledger);
    ledger.close().unwrap();
    drop(ledger);
    lose_log(dir.path());
    let ledger = Ledger::open(dir.path(), small()).unwrap();
    is_sound(&ledger);
    let events = ledger
        .chains()
        .iter()
        .map(|(_, head)| head.size)
        .sum::<u64>();
    assert_eq!(events, count as u64);
}

#[test]
fn a_blob_that_changed_is_named_until_somebody_brings_it_again() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = fresh(dir.path(), options());
    fill(&ledger, &["blog"], 1);
    let digest = ledger.blobs().put(&chain("blog"), b"a release").unwrap();
    let hex = digest.hex();
    let (front, rest) = hex.split_at(2);
    let path = dir.path().join(format!("blobs/sha256/{front}/{rest}"));
    std::fs::write(path, b"a releasE").unwrap();
    ledger.sweep().unwrap();
    let left = ledger.status().damage;
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(
        (&left[0].place, &left[0].chains),
        (&Place::Blob(digest), &vec![chain("blog")])
    );
    let read = ledger.blobs().get(&chain("blog"), &digest).unwrap_err();
    assert!(matches!(read, Error::BlobMismatch { .. }), "{read:?}");
    ledger.blobs().put(&chain("blog"), b"a release").unwrap();
    is_sound(&ledger);
}

#[test]
fn damage_in_a_compressed_segment_costs_what_stood_there() {
    let small = || Options {
        segment_bytes: 16 * 1024,
        ..options()
    };
    let dir = tempfile::tempdir().unwrap();
    let ledger = fresh(dir.path(), small());
    let reader = Reader::open(dir.path()).unwrap();
    fill(&ledger, &["blog"], 3);
    let mut count = 0;
    while reader.segments().unwrap().len() < 4 {
        fill_one(&ledger, "shop", count);
        count += 1;
    }
    until_compressed(dir.path());
    ledger.close().unwrap();
    drop(ledger);
    lose_log(dir.path());
    let second = reader.segments().unwrap().remove(1);
    let sound = std::fs::read(&second.path).unwrap();
    for place in [10, sound.len() / 2] {
        let mut bytes = sound.clone();
        bytes[place..place + 8].fill(0x5a);
        std::fs::write(&second.path, bytes).unwrap();
        let ledger = Ledger::open(dir.path(), small()).unwrap();
        // Nothing can be read there, so nobody knows whose it was.
        let all: Vec<_> = damaged(&ledger).into_iter().map(|(id, _)| id).collect();
        assert_eq!(all, [chain("blog"), chain("shop")]);
        let Place::Journal { from, to } = ledger.status().damage[0].place else {
            panic!("{:?}", ledger.status().damage);
        };
        assert_eq!(from, second.base);
        assert!(to > from);
        fill_one(&ledger, "wiki", place);
        drop(ledger);
        lose_log(dir.path());
    }
    std::fs::write(&second.path, sound).unwrap();
    let ledger = Ledger::open(dir.path(), small()).unwrap();
    assert_eq!(damaged(&ledger), []);
    ledger.audit(&Projections::none()).unwrap();
}
