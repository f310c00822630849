//! A loaded ledger killed by SIGKILL, again and again: nothing acknowledged is lost, nothing doubled, no gap.
//!
//! The ledger runs in a child process that tells this one, through a pipe, what it sends and what is acknowledged. After each
//! kill the ledger is opened here and audited; every acknowledged command has its first receipt, and gives it again when it is
//! posted again, also after the log was deleted.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;

use crate::support::*;
use countersign_store::{Ledger, Projections, Receipt};

const KILLS: usize = 24;
const WRITERS: usize = 12;
const CHAINS: [&str; 3] = ["blog", "shop", "wiki"];
const DIR: &str = "COUNTERSIGN_KILL_TEST_DIR";
const ROUND: &str = "COUNTERSIGN_KILL_TEST_ROUND";

/// Not a test of its own: what the child process runs.
#[test]
fn child() {
    let (Ok(dir), Ok(round)) = (std::env::var(DIR), std::env::var(ROUND)) else {
        return;
    };
    let ledger = Ledger::open(Path::new(&dir), options()).unwrap();
    let out = Mutex::new(std::io::stdout());
    let tell = |line: String| {
        let mut out = out.lock().unwrap();
        out.write_all(line.as_bytes()).unwrap();
        out.flush().unwrap();
    };
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (ledger, tell, round) = (&ledger, &tell, &round);
            scope.spawn(move || {
                for number in 0.. {
                    let name = format!("{round}-{writer}-{number}");
                    tell(format!("SENT {name}\n"));
                    let receipt = ledger.append_blocking(append(&name)).unwrap();
                    tell(format!("ACK {name} {}\n", describe(&receipt)));
                }
            });
        }
    });
}

/// The command of a name: its chain, and one to three events, follow from the name.
fn append(name: &str) -> countersign_store::Append {
    let sum: usize = name.bytes().map(usize::from).sum();
    let mut append = command(CHAINS[sum % 3], name);
    for extra in 0..sum % 4 / 2 {
        append.events.push(event(
            "registered",
            "site-b",
            &format!("{{\"extra\":{extra}}}"),
        ));
    }
    append
}

fn describe(receipt: &Receipt) -> String {
    let (id, hash) = receipt.events.last().unwrap();
    format!(
        "{} {} {} {id} {hash} {}",
        receipt.chain, receipt.first, receipt.last, receipt.position
    )
}

/// Runs the child until it acknowledged `acks` commands, kills it, and returns how many were on their way.
fn run_and_kill(
    dir: &Path,
    round: usize,
    acks: usize,
    known: &mut BTreeMap<String, Option<String>>,
) -> usize {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::child", "--nocapture", "--test-threads=1"])
        .env(DIR, dir)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut seen = 0;
    let mut note =
        |line: &str, known: &mut BTreeMap<String, Option<String>>| match line.split_once(' ') {
            Some(("SENT", name)) => {
                known.entry(name.to_owned()).or_default();
            }
            Some(("ACK", rest)) => {
                let (name, receipt) = rest.split_once(' ').unwrap();
                known.insert(name.to_owned(), Some(receipt.to_owned()));
                seen += 1;
            }
            _ => {}
        };
    let mut count = 0;
    while count < acks {
        let line = lines.next().expect("the child died by itself").unwrap();
        count += usize::from(line.starts_with("ACK"));
        note(&line, known);
    }
    child.kill().unwrap();
    // What it said before it died counts; the last line may be cut.
    let mut rest: Vec<String> = lines.map_while(Result::ok).collect();
    if rest
        .last()
        .is_some_and(|line| line.starts_with("ACK") && line.split(' ').count() < 8)
    {
        rest.pop();
    }
    rest.iter().for_each(|line| note(line, known));
    child.wait().unwrap();
    let prefix = format!("{round}-");
    known
        .iter()
        .filter(|(name, receipt)| name.starts_with(&prefix) && receipt.is_none())
        .count()
}

#[test]
fn nothing_acknowledged_is_lost_or_doubled() {
    let dir = tempfile::tempdir().unwrap();
    Ledger::create(dir.path(), GENESIS, &options()).unwrap();
    let mut known = BTreeMap::new();
    let mut with_commands_in_flight = 0;
    for round in 0..KILLS {
        let in_flight = run_and_kill(dir.path(), round, 1 + round * 37 % 113, &mut known);
        with_commands_in_flight += usize::from(in_flight > 0);
        if round % 6 == 5 {
            std::fs::remove_dir_all(dir.path().join("sled")).unwrap();
        }
        let ledger = Ledger::open(dir.path(), options()).unwrap();
        assert!(!ledger.status().was_closed);
        let audit = ledger.audit(&Projections::none()).unwrap();
        check_all(&ledger, &mut known, round % 6 == 5);
        println!(
            "kill {round}: {in_flight} in flight, torn: {:?}, {audit:?}",
            ledger.status().torn
        );
    }
    println!(
        "{with_commands_in_flight} of {KILLS} kills with commands in flight, {} commands",
        known.len()
    );
    assert!(
        with_commands_in_flight * 2 >= KILLS,
        "only {with_commands_in_flight} of {KILLS} with commands in flight"
    );
}

/// Every acknowledged command has its first receipt; posted again, it gives it again and writes nothing.
fn check_all(ledger: &Ledger, known: &mut BTreeMap<String, Option<String>>, post_again: bool) {
    for (name, acknowledged) in known {
        let again = append(name);
        let found = ledger
            .receipt_for(&again.chain, &again.actor, &again.command)
            .unwrap();
        match (&acknowledged, &found) {
            (Some(first), Some(found)) => assert_eq!(&describe(found), first, "{name}"),
            (Some(_), None) => panic!("`{name}` was acknowledged and is lost"),
            (None, _) => {}
        }
        if post_again {
            let receipt = ledger.append_blocking(again).unwrap();
            assert_eq!(receipt.replayed, found.is_some(), "{name}");
            let told = acknowledged.get_or_insert_with(|| describe(&receipt));
            assert_eq!(&describe(&receipt), told, "{name}");
        }
    }
}
