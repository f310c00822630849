//! Random lives of a ledger, each determined by its seed.
//!
//! A life is opened, asked for things, and ends by a kill or a power cut: at a durable write, between two, or after some that
//! failed. After every life everything that was told is compared with what is there.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::each;
use super::log_fate::LogFate;
use super::step::{CHAINS, Command, Step};
use super::world::{Ending, World};
use countersign_store::faults::{Fate, Random};

/// How many seeds a normal run of the tests takes.
const SEEDS: u64 = 500;
const COUNT: &str = "COUNTERSIGN_FAULTS_SEEDS";
const ONE: &str = "COUNTERSIGN_FAULTS_SEED";

fn number(variable: &str) -> Option<u64> {
    Some(std::env::var(variable).ok()?.parse().expect("a number"))
}

#[test]
fn nothing_told_is_lost_doubled_or_forked_on_any_seed() {
    let started = Instant::now();
    let (first, count) = match number(ONE) {
        Some(one) => (one, 1),
        None => (0, number(COUNT).unwrap_or(SEEDS)),
    };
    let told = Mutex::new(Told::default());
    let failed = each(count, |number| {
        let (one, _) = live(first + number, count == 1);
        told.lock().unwrap().add(&one);
    });
    let told = told.into_inner().unwrap();
    println!(
        "{count} seeds from {first} in {:.1?}: {told:?}",
        started.elapsed()
    );
    for number in &failed {
        println!("failed: cargo xtask faults seeds --seed {}", first + number);
    }
    assert!(failed.is_empty(), "{} seeds failed", failed.len());
    let enough = count < SEEDS || told.are_many(count);
    assert!(
        enough,
        "the seeds no longer reach what they are for: {told:?}"
    );
}

#[test]
fn a_seed_means_the_same_run_again() {
    let turns = AtomicU64::new(0);
    let failed = each(48, |seed| {
        let (told, trace) = live(seed, false);
        assert_eq!(live(seed, false), (told, trace.clone()), "seed {seed}");
        turns.fetch_add(overtaken(&trace), Ordering::Relaxed);
    });
    assert!(failed.is_empty(), "seeds {failed:?}");
    let turns = turns.into_inner();
    println!("{turns} commands came before one of another chain that was sent earlier");
    assert!(
        turns > 12,
        "chains no longer take turns in the simulation: {turns}"
    );
}

/// How many commands stand before one that was sent earlier, of those that were told of one after the other.
fn overtaken(trace: &[String]) -> u64 {
    let position = |line: &String| line.split(' ').nth(3)?.parse::<u64>().ok();
    let told: Vec<u64> = trace.iter().filter_map(position).collect();
    told.windows(2).filter(|two| two[0] > two[1]).count() as u64
}

/// What happened over many seeds, so that a run that reaches nothing is seen.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    commands: u64,
    lives: u64,
    cuts: u64,
    halts: u64,
    failures: u64,
    writes: u64,
}

impl Told {
    fn add(&mut self, other: &Self) {
        self.commands += other.commands;
        self.lives += other.lives;
        self.cuts += other.cuts;
        self.halts += other.halts;
        self.failures += other.failures;
        self.writes += other.writes;
    }

    fn are_many(&self, seeds: u64) -> bool {
        self.commands > 5 * seeds && self.cuts > seeds && self.halts > seeds / 2
    }
}

fn live(seed: u64, say: bool) -> (Told, Vec<String>) {
    let mut random = Random::new(seed);
    let mut world = World::new(random.next());
    world.audits = true;
    let mut told = Told::default();
    let mut sent = Vec::new();
    for _ in 0..2 + random.below(3) {
        plan(&mut world, &mut random);
        let mut outcome = world.open();
        for _ in 0..random.below(12) {
            if !world.is_open() || world.disk.halted() {
                break;
            }
            let step = choose(&mut random, &mut sent);
            outcome = world.step(&step);
            if say {
                println!("{step:?}: {:?}", outcome.as_ref().err());
            }
        }
        told.lives += 1;
        told.halts += u64::from(world.disk.halted());
        told.failures += u64::from(outcome.is_err());
        let (ending, log) = (end(&mut random), LogFate::choose(&mut random));
        if say {
            println!("{ending:?}, the log is {log:?}; last: {:?}", outcome.err());
        }
        told.cuts += u64::from(ending == Ending::Cut);
        world.end(ending, log);
    }
    world.open().unwrap();
    world.send_everything_again(&sent);
    world.end(Ending::Cut, LogFate::choose(&mut random));
    world.open().unwrap();
    told.commands = sent.len() as u64;
    told.writes = world.disk.writes();
    (told, world.trace)
}

fn plan(world: &mut World, random: &mut Random) {
    match random.below(4) {
        0 => {}
        1 => world.disk.fail_by_chance(Some(4 + random.below(60))),
        _ => {
            let fates = [Fate::Lost, Fate::Stored, Fate::Torn];
            let after = random.below(80) as u64;
            world
                .disk
                .halt_at(world.disk.writes() + after, fates[random.below(3)]);
        }
    }
}

fn end(random: &mut Random) -> Ending {
    if random.below(3) == 0 {
        Ending::Kill
    } else {
        Ending::Cut
    }
}

fn choose(random: &mut Random, sent: &mut Vec<Command>) -> Step {
    match random.below(18) {
        0..=6 => Step::Append(command(random, sent)),
        7..=10 => {
            let count = 2 + random.below(5);
            Step::Together((0..count).map(|_| command(random, sent)).collect())
        }
        11..=12 => Step::Blob {
            chain: random.below(CHAINS.len()),
            number: random.below(6),
        },
        13 => Step::Erase {
            person: random.below(2),
        },
        14 => Step::Restart,
        15 => Step::Expire {
            chain: random.below(CHAINS.len()),
        },
        16 => Step::SpoilJournal,
        _ => Step::Kill,
    }
}

fn command(random: &mut Random, sent: &mut Vec<Command>) -> Command {
    let command = Command {
        number: sent.len(),
        chain: random.below(CHAINS.len()),
        events: 1 + random.below(3),
        text: if random.below(5) == 0 {
            random.below(4000)
        } else {
            random.below(100)
        },
        person: (random.below(5) == 0).then(|| random.below(2)),
    };
    sent.push(command.clone());
    command
}
