//! Every durable write by its name: it fails and is lost, and it fails though it was stored.

use countersign_store::faults::{Fate, Point, Said};

use super::each;
use super::log_fate::LogFate;
use super::step::{Command, Step};
use super::world::{Ending, World};

const RUN: &str = "COUNTERSIGN_FAULTS_RUN";
const FATE: &str = "COUNTERSIGN_FAULTS_FATE";
/// How many places of each write a normal run takes; `cargo xtask faults run` takes all.
const TIMES: u64 = 2;

/// Everything that a ledger is asked for, so that every durable write is made.
pub(super) fn tour() -> Vec<Step> {
    let command = |number, chain, text, person| Command {
        number,
        chain,
        events: 1 + number % 2,
        text,
        person,
    };
    let blob = |chain, number| Step::Blob { chain, number };
    vec![
        Step::Append(command(0, 0, 10, None)),
        Step::Append(command(1, 1, 10, Some(0))),
        blob(0, 1),
        Step::Restart,
        blob(1, 1),
        Step::Together(vec![
            command(2, 0, 10, None),
            command(3, 0, 600, None),
            command(4, 2, 10, Some(1)),
        ]),
        Step::Kill,
        blob(0, 1),
        blob(0, 2),
        blob(1, 2),
        // So large that its block of the log is full: damage to that one is found when it is read, not when it is opened.
        Step::Append(command(5, 0, 60_000, None)),
        Step::Append(command(6, 0, 3000, Some(0))),
        Step::Erase { person: 0 },
        Step::Expire { chain: 0 },
        Step::Append(command(7, 1, 12_000, Some(0))),
        Step::Compress,
        Step::SpoilJournal,
        Step::Restart,
        Step::SpoilLog,
        Step::Kill,
        Step::Append(command(8, 0, 10, None)),
    ]
}

/// The commands of a list of steps.
pub(super) fn commands(steps: &[Step]) -> Vec<Command> {
    let of = |step: &Step| match step {
        Step::Append(command) => vec![command.clone()],
        Step::Together(commands) => commands.clone(),
        _ => Vec::new(),
    };
    steps.iter().flat_map(of).collect()
}

#[test]
fn the_table_names_every_durable_write_and_the_tour_makes_each() {
    let mut world = World::new(0);
    world.open().unwrap();
    for step in tour() {
        world.step(&step).unwrap();
    }
    let hits = world.disk.hits();
    for point in Point::all() {
        println!(
            "{point}: {} times in the tour",
            hits.get(&point).unwrap_or(&0)
        );
    }
    let unreached: Vec<_> = Point::all()
        .filter(|point| !hits.contains_key(point))
        .map(|point| point.to_string())
        .collect();
    assert!(unreached.is_empty(), "{unreached:?}");
    assert_eq!(world.disk.fired(), 0);
}

#[test]
fn every_durable_write_may_fail_lost_or_stored() {
    let only = std::env::var(RUN).ok();
    let only: Option<Point> = only.map(|name| name.parse().unwrap());
    let fate = std::env::var(FATE).ok();
    let points: Vec<_> = Point::all()
        .filter(|point| only.is_none_or(|only| only == *point))
        .collect();
    let failed = each(points.len() as u64, |number| {
        let point = points[usize::try_from(number).unwrap()];
        for (name, chosen) in [("lost", Fate::Lost), ("stored", Fate::Stored)] {
            if fate.as_ref().is_none_or(|fate| fate == name) {
                let most = if only.is_some() { u64::MAX } else { TIMES };
                let mut times = 0;
                while times < most && fail(point, times, chosen, only.is_some()) {
                    times += 1;
                }
                assert!(times > 0, "{point} is not reached");
                println!("{point} {name}: {times} times, nothing told was lost");
            }
        }
    });
    let failed: Vec<_> = failed
        .into_iter()
        .map(|number| points[usize::try_from(number).unwrap()].to_string())
        .collect();
    assert!(failed.is_empty(), "{failed:?}");
}

/// The tour with the write of this name failing once, after it went well `skip` times; whether it came to that.
fn fail(point: Point, skip: u64, fate: Fate, say: bool) -> bool {
    let mut world = World::new(skip);
    let said = if skip.is_multiple_of(2) {
        Said::Failed
    } else {
        Said::Full
    };
    world.disk.fail(point, skip, fate, said);
    let steps = tour();
    let opened = world.open();
    if say {
        println!("{point} {fate:?} after {skip}: opened: {:?}", opened.err());
    }
    for step in &steps {
        if !world.is_open() {
            world.open().unwrap();
        }
        let done = world.step(step);
        if say && let Err(error) = done {
            println!("  {step:?}: {error:?}");
        }
    }
    if world.disk.pending() {
        return false;
    }
    for (ending, log) in [
        (Ending::Kill, LogFate::Kept),
        (Ending::Cut, LogFate::Synced),
    ] {
        world.end(ending, log);
        world.open().unwrap();
    }
    world.send_everything_again(&commands(&steps));
    world.end(Ending::Cut, LogFate::Absent);
    world.open().unwrap();
    true
}
