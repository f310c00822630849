//! One ledger on one simulated disk, and everything that anybody was told about it.

mod checks;
mod spoil;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use countersign_chain::sha256;
use countersign_events::retention::Range;
use countersign_ids::{ChainId, EventHash, Sequence};
use countersign_store::faults::{Random, Simulation};
use countersign_store::{Doomed, Error, Ledger, Options, Projections, Receipt};

use super::gate::Gate;
use super::log_fate::{LogFate, copy};
use super::scratch;
use super::step::{CHAINS, Command, Step, actor_command, blob_of, is_of_a_key, person_of};
use crate::support::*;

const SEGMENT_BYTES: u64 = 8 * 1024;
/// So little that commands which wait together come in turns, and in several groups.
const GROUP_BYTES: usize = 2 * 1024;

/// How a life of the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// The program is killed; the system goes on.
    Kill,
    /// The power is cut.
    Cut,
}

pub(super) struct World {
    dir: tempfile::TempDir,
    synced: PathBuf,
    pub(super) disk: Simulation,
    clock: Arc<Gate>,
    random: Random,
    ledger: Option<Ledger>,
    created: bool,
    /// Whether it audits itself after every step, and not only whenever it was opened.
    pub(super) audits: bool,
    /// Whether bits were flipped that nobody has looked for.
    spoiled: bool,
    /// Faults that had happened when the ledger was opened.
    fired: u64,
    /// The hashes of every event that is there for certain.
    certain: BTreeMap<ChainId, Vec<EventHash>>,
    receipts: Vec<(Command, Receipt)>,
    /// Commands of this life that were not answered, in order.
    doubtful: Vec<Command>,
    /// What was told, and what was found, in order.
    pub(super) trace: Vec<String>,
    /// Whether some of them may have been removed before others were sent.
    scattered: bool,
    blobs: BTreeSet<(usize, usize)>,
    doubtful_blobs: BTreeSet<(usize, usize)>,
    /// Of each person, the commands sealed with the key in force. Persons in doubt may have lost it.
    sealed: BTreeMap<usize, Vec<(ChainId, Sequence, Command)>>,
    gone: Vec<(ChainId, Sequence)>,
    /// Commands that were not answered before their key was destroyed.
    sealed_before_an_erasure: BTreeSet<usize>,
    doubtful_persons: BTreeSet<usize>,
    /// How many events of each chain have lost their operational bodies, for certain and at most.
    expired: BTreeMap<ChainId, (u64, u64)>,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let dir = scratch();
        let root = dir.path().join("ledger");
        std::fs::create_dir(&root).unwrap();
        Self {
            disk: Simulation::new(seed, &root),
            synced: dir.path().join("synced"),
            dir,
            clock: Arc::default(),
            random: Random::new(!seed),
            ledger: None,
            created: false,
            audits: false,
            spoiled: false,
            fired: 0,
            certain: BTreeMap::new(),
            receipts: Vec::new(),
            doubtful: Vec::new(),
            trace: Vec::new(),
            scattered: false,
            blobs: BTreeSet::new(),
            doubtful_blobs: BTreeSet::new(),
            sealed: BTreeMap::new(),
            gone: Vec::new(),
            sealed_before_an_erasure: BTreeSet::new(),
            doubtful_persons: BTreeSet::new(),
            expired: BTreeMap::new(),
        }
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("ledger")
    }

    fn options(&self) -> Options {
        Options {
            segment_bytes: SEGMENT_BYTES,
            group_bytes: GROUP_BYTES,
            disk: self.disk.disk(),
            clock: Arc::clone(&self.clock) as _,
            ..options()
        }
    }

    /// Opens the ledger, making it first if it was never made, and compares it with everything that was told.
    pub(super) fn open(&mut self) -> Result<(), Error> {
        self.fired = self.disk.fired();
        let opened = self.try_open().and_then(|()| self.heal());
        self.fair(&opened);
        if opened.is_err() {
            self.ledger = None;
        }
        opened?;
        copy(&self.root().join("sled"), &self.synced);
        self.check();
        Ok(())
    }

    fn try_open(&mut self) -> Result<(), Error> {
        let ledger = match Ledger::open(&self.root(), self.options()) {
            Err(Error::Foreign { .. }) if !self.created => {
                Ledger::create(&self.root(), GENESIS, &self.options())?;
                self.created = true;
                Ledger::open(&self.root(), self.options())?
            }
            other => other?,
        };
        self.created = true;
        self.ledger = Some(ledger);
        Ok(())
    }

    /// Nothing fails but what was made to fail.
    fn fair<T>(&self, outcome: &Result<T, Error>) {
        if let Err(error) = outcome {
            let excused = self.disk.fired() > self.fired;
            assert!(excused, "nothing was wrong with the disk: {error:?}");
        }
    }

    fn ledger(&self) -> &Ledger {
        self.ledger.as_ref().unwrap()
    }

    pub(super) fn is_open(&self) -> bool {
        self.ledger.is_some()
    }

    /// Does one thing, and remembers what was told about it.
    pub(super) fn step(&mut self, step: &Step) -> Result<(), Error> {
        match step {
            Step::Append(command) => self.append(std::slice::from_ref(command))?,
            Step::Together(commands) => self.append(commands)?,
            Step::Blob { chain, number } => self.blob(*chain, *number)?,
            Step::Erase { person } => self.erase(*person)?,
            Step::Expire { chain } => self.expire(*chain)?,
            Step::Restart => {
                let closed = self.ledger().close();
                self.fair(&closed);
                self.stop(Ending::Kill, LogFate::Kept);
                closed?;
                self.open()?;
                assert!(self.ledger().status().was_closed);
            }
            Step::Kill => {
                self.stop(Ending::Kill, LogFate::Kept);
                self.open()?;
            }
            Step::SpoilLog => self.spoil_log()?,
            Step::Compress => {
                let compressed = self.ledger().compress();
                self.fair(&compressed);
                compressed?;
            }
            Step::SpoilJournal => self.spoil_journal()?,
        }
        if self.audits {
            self.audit();
        }
        Ok(())
    }

    fn append(&mut self, commands: &[Command]) -> Result<(), Error> {
        let before = self.ledger().status();
        let stopped = before.stopped.is_some() && !before.resumes;
        let answers = match commands {
            [alone] => vec![self.ledger().append_blocking(actor_command(alone))],
            _ => self
                .clock
                .together(self.ledger(), commands.iter().map(actor_command).collect()),
        };
        let resumed = self.ledger().status().resumed > before.resumed;
        if resumed {
            // What a failed group left behind was removed before anything else was written.
            for command in std::mem::take(&mut self.doubtful) {
                self.sealed_before_an_erasure.remove(&command.number);
            }
        }
        // Of those that fail now, some may have been removed so, and a later one not.
        self.scattered |= resumed;
        let mut outcome = Ok(());
        for (command, answer) in commands.iter().zip(answers) {
            self.fair(&answer);
            match answer {
                Ok(receipt) => {
                    assert!(!stopped, "a stopped ledger acknowledges nothing");
                    self.told(command, receipt);
                }
                Err(error) => {
                    if !stopped && !is_of_a_key(&error) {
                        self.doubtful.push(command.clone());
                    }
                    outcome = Err(error);
                }
            }
        }
        outcome
    }

    /// A command is in the ledger for certain.
    fn told(&mut self, command: &Command, receipt: Receipt) {
        let (number, at, replayed) = (command.number, receipt.position, receipt.replayed);
        let (chain, first) = (&receipt.chain, receipt.first);
        self.trace
            .push(format!("{number}: {chain} {first} {} {replayed}", at.get()));
        let known = self.certain.entry(receipt.chain.clone()).or_default();
        if !receipt.replayed {
            assert_eq!(receipt.first.get(), known.len() as u64, "{command:?}");
            assert_eq!(receipt.events.len(), command.events);
            known.extend(receipt.events.iter().map(|(_, hash)| *hash));
        }
        if self.sealed_before_an_erasure.contains(&command.number) {
            self.gone.push((receipt.chain.clone(), receipt.first));
        } else if let Some(person) = command.person {
            let place = (receipt.chain.clone(), receipt.first, command.clone());
            self.sealed.entry(person).or_default().push(place);
        }
        let first = Receipt {
            replayed: false,
            ..receipt
        };
        self.receipts.push((command.clone(), first));
    }

    fn blob(&mut self, of: usize, number: usize) -> Result<(), Error> {
        let (files, chain) = (self.ledger().blobs(), chain(CHAINS[of]));
        // Odd ones are put together with another.
        let numbers = if number.is_multiple_of(2) {
            vec![number]
        } else {
            vec![number, number + 100]
        };
        let put = match numbers.as_slice() {
            [one] => files.put(&chain, &blob_of(*one)).map(|_| ()),
            several => {
                let blobs: Vec<_> = several.iter().map(|one| blob_of(*one)).collect();
                let digests: Vec<_> = blobs.iter().map(|one| sha256(one)).collect();
                files.put_all(&chain, digests.iter().zip(blobs.iter().map(Vec::as_slice)))
            }
        };
        self.fair(&put);
        for number in numbers {
            if put.is_ok() {
                self.blobs.insert((of, number));
            } else {
                self.doubtful_blobs.insert((of, number));
            }
        }
        put
    }

    fn erase(&mut self, person: usize) -> Result<(), Error> {
        let erased = self.ledger().destroy_key(&person_of(person));
        self.fair(&erased);
        self.doubtful_persons.insert(person);
        if erased.is_ok() {
            self.forget(person);
        }
        erased
    }

    fn expire(&mut self, of: usize) -> Result<(), Error> {
        let id = chain(CHAINS[of]);
        let Some(head) = self.ledger().head(&id) else {
            return Ok(());
        };
        let range = Range {
            chain: id.clone(),
            from: 0,
            to: head.size - 1,
        };
        let doomed = Arc::new(Doomed {
            chain: id.clone(),
            ordered: Sequence::new(head.size - 1),
            ranges: vec![range],
            subject: None,
        });
        let removed = self.ledger().remove(&doomed);
        self.fair(&removed);
        let expired = self.expired.entry(id.clone()).or_default();
        expired.1 = expired.1.max(head.size);
        let removed = removed?;
        expired.0 = expired.0.max(head.size);
        // The log that held the bodies is gone for certain.
        copy(&self.root().join("sled"), &self.synced);
        assert_eq!(removed.before, removed.after);
        let settled = self.ledger().settle_removals(&id, &BTreeSet::new());
        self.fair(&settled);
        settled
    }

    /// What was sealed for a person so far can never be read again.
    fn forget(&mut self, person: usize) {
        let sealed = self.sealed.remove(&person).unwrap_or_default();
        self.gone
            .extend(sealed.into_iter().map(|(chain, at, _)| (chain, at)));
        let its = |command: &&Command| command.person == Some(person);
        self.sealed_before_an_erasure.extend(
            self.doubtful
                .iter()
                .filter(its)
                .map(|command| command.number),
        );
        self.doubtful_persons.remove(&person);
    }

    /// The ledger checks itself.
    pub(super) fn audit(&self) {
        let ledger = self.ledger();
        if ledger.status().stopped.is_none() {
            ledger.audit(&Projections::none()).unwrap();
        }
    }

    /// A life of the program ends. What was planned to fail fails no more.
    pub(super) fn end(&mut self, ending: Ending, log: LogFate) {
        self.stop(ending, log);
        self.disk.mend();
    }

    fn stop(&mut self, ending: Ending, log: LogFate) {
        if let Some(ledger) = self.ledger.take()
            && log == LogFate::Kept
        {
            ledger.crash_behind_the_log();
        }
        match ending {
            Ending::Kill => self.disk.kill(),
            Ending::Cut => self.disk.cut_power(),
        }
        let sled = self.root().join("sled");
        log.befall(&sled, &self.synced, &mut self.random);
        for entry in std::fs::read_dir(self.root()).unwrap() {
            let path = entry.unwrap().path();
            if path != sled {
                std::fs::remove_dir_all(path).unwrap();
            }
        }
    }

    /// Sends every command again: each is there once, and those that were answered give the first answer.
    pub(super) fn send_everything_again(&mut self, commands: &[Command]) {
        for command in commands {
            let known = self
                .receipts
                .iter()
                .find(|(told, _)| told == command)
                .cloned();
            let receipt = self
                .ledger()
                .append_blocking(actor_command(command))
                .unwrap();
            assert_eq!(receipt.replayed, known.is_some(), "{command:?}");
            match known {
                Some((_, first)) => assert_eq!(receipt.events, first.events, "{command:?}"),
                None => self.told(command, receipt),
            }
        }
        self.audit();
    }
}
