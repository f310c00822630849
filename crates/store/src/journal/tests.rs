//! Damage done to a small journal, byte by byte: what comes back is what was written, or a torn tail, or damage by name.

use std::os::unix::fs::FileExt;
use std::path::Path;

use super::footer::Footer;
use super::scan::{End, Error, Scan, segments};
use super::segment::{Journal, harden};
use super::{Kind, Position, used_of};
use crate::disk::Disk;

const SEGMENT_BYTES: u64 = 2048;

/// A journal of groups of frames in one segment; `closed` as after a clean stop.
fn write(dir: &Path, groups: &[&[&str]], closed: bool) {
    Journal::create(&Disk::default(), dir, SEGMENT_BYTES).unwrap();
    append(dir, groups, closed);
}

fn append(dir: &Path, groups: &[&[&str]], closed: bool) {
    let (_, end) = read(dir).unwrap();
    let mut journal =
        Journal::open(&Disk::default(), dir, SEGMENT_BYTES, end, Footer::default()).unwrap();
    for group in groups {
        for payload in *group {
            if !journal.fits(payload.len()) {
                journal.roll(payload.len()).unwrap();
            }
            journal.push(Kind::Events, payload.as_bytes());
        }
        journal.commit().unwrap();
    }
    if closed {
        journal.close().unwrap();
    }
}

/// The payloads of event frames, with where each frame ends, and how the journal ends.
fn read(dir: &Path) -> Result<(Vec<(u64, String)>, End), Error> {
    let mut scan = Scan::new(&Disk::default(), dir, Position::ZERO, Position::ZERO)?;
    let mut payloads = Vec::new();
    while let Some(frame) = scan.next_frame()? {
        if frame.head.kind == Kind::Events {
            payloads.push((frame.end.get(), String::from_utf8(frame.payload).unwrap()));
        }
    }
    Ok((payloads, scan.end()))
}

const GROUPS: [&[&str]; 3] = [
    &["alpha", "beta"],
    &["gamma"],
    &["delta", "epsilon", "zeta"],
];

/// Flips and cuts every byte of the used part, and calls `check` with where the damage is and what reading then says.
fn damage_everywhere(
    closed: bool,
    check: impl Fn(u64, bool, Result<(Vec<(u64, String)>, End), Error>),
) {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &GROUPS, closed);
    let path = segments(&Disk::default(), dir.path()).unwrap()[0]
        .path
        .clone();
    let sound = std::fs::read(&path).unwrap();
    // In place, because a file that is truncated and written again is flushed by the file system each time.
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    for (at, byte) in (0_u64..).zip(&sound) {
        for bit in [0, 3, 7] {
            file.write_all_at(&[byte ^ (1 << bit)], at).unwrap();
            check(at, false, read(dir.path()));
        }
        file.write_all_at(&[*byte], at).unwrap();
    }
    for at in (0..sound.len() as u64).rev() {
        file.set_len(at).unwrap();
        check(at, true, read(dir.path()));
    }
}

#[test]
fn damage_to_a_running_journal_is_torn_in_the_last_group_and_corruption_before() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &GROUPS, false);
    let (sound, end) = read(dir.path()).unwrap();
    assert_eq!(
        end,
        End {
            position: Position::new(sound[5].0),
            ..End::default()
        }
    );
    // The last group begins behind "gamma": its frames say that everything before was durable.
    let last_group = sound[2].0;
    damage_everywhere(false, |at, cut, result| {
        if at < last_group && !cut {
            assert!(
                matches!(result, Err(Error::Damaged { .. })),
                "flip at {at}: {result:?}"
            );
            return;
        }
        let (found, end) = result.unwrap_or_else(|error| panic!("{at}, cut: {cut}: {error}"));
        let whole = sound.iter().filter(|frame| frame.0 <= at).count();
        assert_eq!(found, sound[..whole], "{at}, cut: {cut}");
        let reached = found.last().map_or(0, |frame| frame.0);
        assert_eq!(end.position.get(), reached, "{at}, cut: {cut}");
        if !cut || (reached + 1..sound[5].0).contains(&at) {
            assert!(
                end.torn
                    .is_some_and(|torn| torn.at.get() == reached && torn.bytes > 0),
                "{at}, cut: {cut}"
            );
        }
    });
}

#[test]
fn damage_after_a_clean_stop_is_corruption_unless_it_only_hits_the_closing_frame() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &GROUPS, true);
    let (sound, end) = read(dir.path()).unwrap();
    let closing = sound[5].0;
    assert_eq!(end.closed, Some(Position::new(closing)));
    let used = end.position.get();
    damage_everywhere(true, |at, cut, result| {
        if !cut && !(closing..used).contains(&at) {
            assert!(
                matches!(result, Err(Error::Damaged { .. })),
                "flip at {at}: {result:?}"
            );
        } else if (closing..used).contains(&at) {
            let (found, end) = result.unwrap();
            assert_eq!(
                (found.as_slice(), end.closed),
                (sound.as_slice(), None),
                "{at}, cut: {cut}"
            );
        } else if let Ok((found, _)) = result {
            assert_eq!(found, sound[..found.len()], "cut to {at}");
        }
    });
}

#[test]
fn a_torn_tail_is_cut_off_and_the_journal_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &GROUPS, false);
    let path = segments(&Disk::default(), dir.path()).unwrap()[0]
        .path
        .clone();
    let (sound, _) = read(dir.path()).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    // The first frame of the last group is gone and the others are whole: none of them was acknowledged.
    bytes[usize::try_from(sound[2].0).unwrap() + 5] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    append(dir.path(), &[&["eta"]], true);
    let (found, end) = read(dir.path()).unwrap();
    let payloads: Vec<&str> = found.iter().map(|frame| frame.1.as_str()).collect();
    assert_eq!(payloads, ["alpha", "beta", "gamma", "eta"]);
    assert!(end.closed.is_some());
}

#[test]
fn the_last_group_is_written_again_before_anything_is_built_on_it() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &GROUPS, false);
    let (sound, _) = read(dir.path()).unwrap();
    let last_group = Position::new(sound[2].0)..Position::new(sound[5].0);
    let disk = Disk::default();
    let written = harden(&disk, dir.path(), Position::ZERO).unwrap();
    assert_eq!(written, last_group);
    let after = read(dir.path()).unwrap().0;
    assert_eq!(after, sound, "nothing changed");
    append(dir.path(), &[], true);
    let closing = harden(&disk, dir.path(), last_group.end).unwrap();
    assert_eq!(
        closing.start, last_group.end,
        "the frame of a clean stop proves all before it"
    );
}

#[test]
fn a_journal_over_many_segments_reads_in_order_and_a_missing_or_foreign_segment_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let payloads: Vec<String> = (0..200).map(|number| format!("payload {number}")).collect();
    let groups: Vec<Vec<&str>> = payloads
        .chunks(3)
        .map(|group| group.iter().map(String::as_str).collect())
        .collect();
    let groups: Vec<&[&str]> = groups.iter().map(Vec::as_slice).collect();
    write(dir.path(), &groups, true);
    let (found, _) = read(dir.path()).unwrap();
    assert_eq!(
        found.into_iter().map(|frame| frame.1).collect::<Vec<_>>(),
        payloads
    );
    let all = segments(&Disk::default(), dir.path()).unwrap();
    assert!(all.len() > 3);
    for (index, segment) in all.iter().enumerate() {
        let bytes = std::fs::read(&segment.path).unwrap();
        std::fs::remove_file(&segment.path).unwrap();
        let result = read(dir.path());
        // Without its last segment a journal is a shorter journal; what the log reached tells (see `floor`).
        let last = index + 1 == all.len();
        assert_eq!(result.is_ok(), last, "segment {index} missing: {result:?}");
        if !last {
            // The bytes of another segment under this one's name.
            std::fs::copy(&all[index + 1].path, &segment.path).unwrap();
            assert!(
                matches!(read(dir.path()), Err(Error::Damaged { .. })),
                "segment {index} foreign"
            );
        }
        std::fs::write(&segment.path, bytes).unwrap();
    }
    let mut scan = Scan::new(
        &Disk::default(),
        dir.path(),
        Position::ZERO,
        all.last().unwrap().base.plus(1_000_000),
    )
    .unwrap();
    let outcome = std::iter::from_fn(|| scan.next_frame().transpose()).find(Result::is_err);
    assert!(
        matches!(outcome, Some(Err(Error::Damaged { .. }))),
        "a journal that ends before the floor lost something"
    );
}

#[test]
fn what_is_used_ends_at_the_last_byte_that_is_not_zero() {
    assert_eq!(used_of(&[]), 0);
    for length in [1, 4095, 4096, 4097, 3 * 4096, 3 * 4096 + 5] {
        let mut part = vec![0; length];
        assert_eq!(used_of(&part), 0, "{length}");
        for at in [0, 1, 4094, 4095, 4096, 8191, 8192, length - 1] {
            if at < length {
                part[at] = 1;
                assert_eq!(used_of(&part), at + 1, "{at} of {length}");
                part[at] = 0;
            }
        }
    }
}
