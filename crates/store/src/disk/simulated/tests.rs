//! The simulated disk itself: what is durable stays, what is not may go, and what failed is in doubt.

use std::collections::BTreeSet;
use std::path::Path;

use super::{Fate, Said, Simulation};
use crate::disk::{Disk, Part};

const SEEDS: u64 = 64;

/// What `look` sees after a power cut behind `act`, over many seeds.
fn after_a_cut<T: Ord>(act: impl Fn(&Simulation, &Disk), look: impl Fn(&Disk) -> T) -> BTreeSet<T> {
    let seen = |seed| {
        let simulation = Simulation::new(seed, Path::new("/data/ledger"));
        let disk = simulation.disk();
        act(&simulation, &disk);
        simulation.cut_power();
        look(&disk)
    };
    (0..SEEDS).map(seen).collect()
}

fn placed(disk: &Disk) {
    let file = disk.create(Part::Segment, Path::new("/data/a"), 0).unwrap();
    file.allocate(Part::Segment, 2048).unwrap();
    file.sync_all(Part::Segment).unwrap();
    disk.sync_dir(Part::Segment, Path::new("/data")).unwrap();
}

/// The first byte of each sector.
fn sectors(disk: &Disk) -> Vec<u8> {
    let bytes = disk.read(Path::new("/data/a")).unwrap();
    bytes.chunks(512).map(|sector| sector[0]).collect()
}

fn write(disk: &Disk, byte: u8, sectors: usize) {
    let file = disk.open_to_write(Path::new("/data/a")).unwrap();
    file.write_at(Part::Group, &vec![byte; sectors * 512], 0)
        .unwrap();
}

fn sync(disk: &Disk) -> bool {
    let file = disk.open_to_write(Path::new("/data/a")).unwrap();
    file.sync(Part::Group).is_ok()
}

#[test]
fn what_was_synced_stays_and_of_the_rest_any_part() {
    let act = |_: &Simulation, disk: &Disk| {
        placed(disk);
        write(disk, 1, 4);
        sync(disk);
        write(disk, 2, 2);
        write(disk, 3, 1);
    };
    let seen = after_a_cut(act, sectors);
    let mut expected = BTreeSet::new();
    for first in [1, 2, 3] {
        for second in [1, 2] {
            expected.insert(vec![first, second, 1, 1]);
        }
    }
    assert_eq!(seen, expected);
}

#[test]
fn after_a_failed_sync_another_one_brings_nothing_back_but_writing_again_does() {
    let fail = |simulation: &Simulation, disk: &Disk| {
        placed(disk);
        write(disk, 1, 1);
        simulation.fail("group.sync".parse().unwrap(), 0, Fate::Lost, Said::Failed);
        assert!(!sync(disk));
        assert_eq!(sectors(disk)[0], 1, "it can be read");
    };
    let only_synced = |simulation: &Simulation, disk: &Disk| {
        fail(simulation, disk);
        assert!(sync(disk));
    };
    let seen = after_a_cut(only_synced, |disk| sectors(disk)[0]);
    assert_eq!(seen, [0, 1].into());
    let written_again = |simulation: &Simulation, disk: &Disk| {
        fail(simulation, disk);
        write(disk, 1, 1);
        assert!(sync(disk));
    };
    let seen = after_a_cut(written_again, |disk| sectors(disk)[0]);
    assert_eq!(seen, [1].into());
}

#[test]
fn what_was_cut_off_may_come_back_until_the_length_is_durable() {
    let cut = |durably: bool| {
        move |_: &Simulation, disk: &Disk| {
            placed(disk);
            write(disk, 1, 4);
            sync(disk);
            let file = disk.open_to_write(Path::new("/data/a")).unwrap();
            file.set_length(Part::Recovery, 512).unwrap();
            file.allocate(Part::Recovery, 2048).unwrap();
            if durably {
                file.sync_all(Part::Recovery).unwrap();
            }
        }
    };
    assert_eq!(after_a_cut(cut(true), sectors), [vec![1, 0, 0, 0]].into());
    let both = [vec![1, 0, 0, 0], vec![1, 1, 1, 1]].into();
    assert_eq!(after_a_cut(cut(false), sectors), both);
}

#[test]
fn a_name_is_durable_when_its_directory_was_synced_and_a_rename_happens_whole_or_not() {
    let rename = |synced: bool| {
        move |_: &Simulation, disk: &Disk| {
            placed(disk);
            write(disk, 1, 4);
            sync(disk);
            let (from, to) = (Path::new("/data/a"), Path::new("/data/b"));
            disk.rename(Part::Segment, from, to).unwrap();
            if synced {
                disk.sync_dir(Part::Segment, Path::new("/data")).unwrap();
            }
        }
    };
    let names = |disk: &Disk| disk.list(Path::new("/data")).unwrap();
    assert_eq!(after_a_cut(rename(true), names), [vec!["b".into()]].into());
    let either = [vec!["a".into()], vec!["b".into()]].into();
    assert_eq!(after_a_cut(rename(false), names), either);
}

#[test]
fn a_write_that_fails_is_lost_stored_or_shortened_as_planned_and_after_a_halt_nothing_works() {
    for (fate, expected) in [
        (Fate::Lost, [0..=0, 0..=0]),
        (Fate::Stored, [1..=1, 1..=1]),
        (Fate::Torn, [0..=1, 0..=1]),
    ] {
        let simulation = Simulation::new(7, Path::new("/data/ledger"));
        let disk = simulation.disk();
        placed(&disk);
        simulation.halt_at(simulation.writes(), fate);
        let file = disk.open_to_write(Path::new("/data/a")).unwrap();
        assert!(file.write_at(Part::Group, &[1; 1024], 0).is_err());
        assert!(simulation.halted() && !sync(&disk));
        let seen = sectors(&disk);
        for (byte, expected) in seen.iter().zip(expected) {
            assert!(expected.contains(byte), "{fate:?}: {seen:?}");
        }
        simulation.kill();
        simulation.mend();
        assert!(
            file.write_at(Part::Group, &[1], 0).is_err(),
            "its program is gone"
        );
        assert!(sync(&disk));
    }
}

#[test]
fn a_write_that_is_in_no_table_is_refused() {
    let simulation = Simulation::new(1, Path::new("/data/ledger"));
    let refused = simulation
        .disk()
        .create(Part::Group, Path::new("/data/x"), 0);
    assert!(refused.is_err());
}
