//! The program dies at every durable write of the tour: what was on its way is there whole or not at all.

use countersign_store::faults::{Fate, Random};

use super::each;
use super::log_fate::LogFate;
use super::table::{commands, tour};
use super::world::{Ending, World};

#[test]
fn a_crash_at_any_write_leaves_the_state_before_or_after() {
    let mut whole = World::new(0);
    whole.open().unwrap();
    for step in tour() {
        whole.step(&step).unwrap();
    }
    let writes = whole.disk.writes();
    assert!(writes > 100, "the tour became short: {writes}");
    let failed = each(writes, |write| {
        for (fate, ending) in [
            (Fate::Lost, Ending::Cut),
            (Fate::Stored, Ending::Kill),
            (Fate::Torn, Ending::Cut),
        ] {
            crash(write, fate, ending);
        }
    });
    assert!(failed.is_empty(), "crashes at the writes {failed:?}");
    println!("{writes} durable writes, three crashes at each");
}

/// The tour up to this write.
fn crash(write: u64, fate: Fate, ending: Ending) {
    let mut world = World::new(write);
    let log = LogFate::choose(&mut Random::new(write));
    world.disk.halt_at(write, fate);
    let steps = tour();
    if world.open().is_ok() {
        for step in &steps {
            if world.step(step).is_err() || world.disk.halted() {
                break;
            }
        }
    }
    assert!(world.disk.halted());
    world.end(ending, log);
    world.open().unwrap();
    world.send_everything_again(&commands(&steps));
    world.end(Ending::Cut, LogFate::Synced);
    world.open().unwrap();
}
