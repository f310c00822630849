//! One ledger on one simulated disk, and everything that anybody was told about it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use countersign_chain::{command_id, sha256};
use countersign_events::retention::Range;
use countersign_ids::{ChainId, DataSubject, Digest, EventHash, EventType, Retention, Sequence};
use countersign_store::faults::{Random, Simulation};
use countersign_store::{
    Append, Doomed, Entry, Error, Ledger, NewEvent, Options, Projections, Receipt,
};

use super::gate::Gate;
use super::log_fate::{LogFate, copy};
use super::scratch;
use crate::support::*;

pub(super) const CHAINS: [&str; 3] = ["blog", "shop", "wiki"];
const SEGMENT_BYTES: u64 = 8 * 1024;
/// So little that commands which wait together come in turns, and in several groups.
const GROUP_BYTES: usize = 2 * 1024;

/// One thing that somebody asks of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// A command of so many events, with this much text in each.
    Append(Command),
    /// Commands that wait together.
    Together(Vec<Command>),
    /// A blob for a chain.
    Blob { chain: usize, number: usize },
    /// The key of a person is destroyed.
    Erase { person: usize },
    /// The operational bodies of a chain are removed.
    Expire { chain: usize },
    /// A clean stop, and a new start.
    Restart,
    /// A kill between two commands, and a new start.
    Kill,
    /// A clean stop; a block of the log is damaged; a new start that reads it.
    SpoilLog,
}

/// A command; its number makes it the only one of its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) number: usize,
    pub(super) chain: usize,
    pub(super) events: usize,
    pub(super) text: usize,
    pub(super) person: Option<usize>,
}

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

/// What a sealed body says about its key.
enum Key {
    Opens(Vec<u8>),
    Gone,
    Unknown,
}

fn actor_command(command: &Command) -> Append {
    let text = "x".repeat(command.text);
    let body = |event| {
        format!(
            "{{\"command\":{},\"event\":{event},\"text\":\"{text}\"}}",
            command.number
        )
    };
    let new = |event: usize| match command.person {
        None if command.number % 3 == 2 => NewEvent {
            event_type: EventType::new("remark", "made", 1).unwrap(),
            retention: Retention::Operational,
            ..event_of(&body(event))
        },
        None => event_of(&body(event)),
        Some(person) => NewEvent {
            event_type: EventType::new("reason", "given", 1).unwrap(),
            retention: Retention::Personal,
            seal: Some(person_of(person)),
            ..event_of(&body(event))
        },
    };
    let events = (0..command.events).map(new).collect();
    Append::new(
        chain(CHAINS[command.chain]),
        actor(),
        key(&command.number.to_string()),
        events,
    )
}

fn event_of(body: &str) -> NewEvent {
    event("registered", "site-a", body)
}

/// Whether a command was refused because its key could not be made or read: then the writer never saw it.
fn is_of_a_key(error: &Error) -> bool {
    match error {
        Error::Disk { path, .. } | Error::DiskFull { path } => {
            path.components().any(|part| part.as_os_str() == "keyring")
        }
        _ => false,
    }
}

fn person_of(person: usize) -> DataSubject {
    format!("person-{person}").parse().unwrap()
}

fn blob_of(number: usize) -> Vec<u8> {
    format!("blob {number} ")
        .repeat(1 + number * 97 % 300)
        .into_bytes()
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
        let opened = self.try_open();
        self.fair(&opened);
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

    fn spoil_log(&mut self) -> Result<(), Error> {
        let closed = self.ledger().close();
        self.fair(&closed);
        self.stop(Ending::Kill, LogFate::Kept);
        closed?;
        let config = sled::Config::new().path(self.root().join("sled"));
        let config = config.flush_every_ms(None);
        let start = Instant::now();
        // A thread of sled may still hold its lock for a moment.
        let db = loop {
            match config.open() {
                Ok(db) => break db,
                Err(error) => assert!(start.elapsed().as_secs() < 60, "{error}"),
            }
            std::thread::yield_now();
        };
        let (key, value) = db.scan_prefix(b"b").next().unwrap().unwrap();
        let mut value = value.to_vec();
        let middle = value.len() / 2;
        value[middle] ^= 1;
        db.insert(key, value).unwrap();
        db.flush().unwrap();
        drop(db);
        self.open()
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

    /// Compares the ledger, as it was found, with everything that was told: what is certain is there, and behind it, in each
    /// chain, only whole commands that were not answered, from the first of the chain on, in their order. Between chains nobody
    /// was promised an order of what was not answered. What was found is certain then.
    fn check(&mut self) {
        let mut found: BTreeMap<ChainId, Vec<Entry>> = BTreeMap::new();
        for (id, head) in self.ledger().chains() {
            assert_eq!(self.ledger().status().damaged.get(&id), None);
            let size = usize::try_from(head.size).unwrap();
            let entries = self.ledger().read(&id, 0, size + 1).unwrap();
            assert_eq!(entries.len(), size);
            found.insert(id, entries);
        }
        for (id, known) in &self.certain {
            let entries = found.get(id).map_or(&[][..], Vec::as_slice);
            let hashes: Vec<_> = entries.iter().take(known.len()).map(Entry::hash).collect();
            assert_eq!(&hashes, known, "chain `{id}` lost or changed something");
        }
        let mut missing = BTreeMap::new();
        for command in std::mem::take(&mut self.doubtful) {
            if self.find_doubtful(&command, &found) {
                let before = missing.get(&command.chain);
                let in_order = before.is_none() || self.scattered;
                assert!(in_order, "{command:?} is there, {before:?} is not");
            } else {
                self.sealed_before_an_erasure.remove(&command.number);
                missing.insert(command.chain, command);
            }
        }
        self.scattered = false;
        for (id, entries) in &found {
            self.trace.push(format!("{id}: {}", entries.len()));
            let known = self.certain.get(id).map_or(0, Vec::len);
            assert_eq!(entries.len(), known, "chain `{id}` has what nobody sent");
        }
        for entry in found.values().flatten() {
            let (certain, most) = self
                .expired
                .get(&entry.header().chain)
                .copied()
                .unwrap_or_default();
            let (at, header) = (entry.sequence().get(), entry.header());
            let operational = header.retention == Retention::Operational;
            if entry.body().is_some() {
                assert!(!operational || at >= certain, "{header:?} was removed");
            } else {
                assert!(operational && at < most, "{header:?} lost its body");
            }
        }
        self.check_receipts();
        self.check_blobs();
        self.check_persons();
        self.audit();
    }

    /// Whether a command that was not answered is there, next in its chain.
    fn find_doubtful(&mut self, command: &Command, found: &BTreeMap<ChainId, Vec<Entry>>) -> bool {
        let append = actor_command(command);
        let known = self.certain.entry(append.chain.clone()).or_default().len();
        let entries = found.get(&append.chain).map_or(&[][..], Vec::as_slice);
        let id = command_id(&append.chain, &append.actor, &append.command);
        let its = |entry: &&Entry| entry.header().commandid == id;
        let entries: Vec<_> = entries.iter().skip(known).take_while(its).collect();
        if entries.is_empty() {
            return false;
        }
        assert_eq!(
            entries.len(),
            command.events,
            "{command:?} is there in part"
        );
        let receipt = self
            .ledger()
            .receipt_for(&append.chain, &append.actor, &append.command);
        self.told(command, receipt.unwrap().unwrap());
        true
    }

    fn check_receipts(&self) {
        for (command, first) in &self.receipts {
            let append = actor_command(command);
            let found = self
                .ledger()
                .receipt_for(&append.chain, &append.actor, &append.command);
            assert_eq!(found.unwrap().as_ref(), Some(first), "{command:?}");
        }
    }

    fn check_blobs(&mut self) {
        let get = |of: usize, number| {
            let digest: Digest = sha256(&blob_of(number));
            self.ledger().blobs().get(&chain(CHAINS[of]), &digest)
        };
        for (of, number) in &self.blobs {
            assert_eq!(get(*of, *number).unwrap(), blob_of(*number));
        }
        let mut there = BTreeSet::new();
        for (of, number) in &self.doubtful_blobs {
            match get(*of, *number) {
                Ok(bytes) => {
                    assert_eq!(bytes, blob_of(*number));
                    there.insert((*of, *number));
                }
                Err(error) => assert!(matches!(error, Error::BlobUnknown { .. }), "{error:?}"),
            }
        }
        // One that was found is durable only when it is put again.
        self.doubtful_blobs = there;
    }

    fn check_persons(&mut self) {
        let read = |id: &ChainId, at: Sequence| {
            let entry = self.ledger().event(id, at).unwrap();
            match self.ledger().unseal(&entry) {
                Ok(body) => Key::Opens(body),
                Err(Error::KeyDestroyed { .. }) => Key::Gone,
                // Reading a key whose destruction began finishes that first, which a bad disk may prevent.
                Err(error) => {
                    self.fair::<()>(&Err(error));
                    Key::Unknown
                }
            }
        };
        for (id, at) in &self.gone {
            assert!(!matches!(read(id, *at), Key::Opens(_)), "it was erased");
        }
        let mut erased = Vec::new();
        for (person, sealed) in &self.sealed {
            for (id, at, command) in sealed {
                match read(id, *at) {
                    Key::Unknown => {}
                    Key::Opens(body) => {
                        let plain = actor_command(command).events.remove(0).body;
                        assert_eq!(body, plain, "{command:?}");
                    }
                    Key::Gone => {
                        let doubtful = self.doubtful_persons.contains(person);
                        assert!(doubtful, "{command:?}: the key is lost");
                        erased.push((id.clone(), *at));
                    }
                }
            }
        }
        for sealed in self.sealed.values_mut() {
            sealed.retain(|(id, at, _)| !erased.contains(&(id.clone(), *at)));
        }
        self.gone.extend(erased);
        if self.disk.fired() == self.fired {
            self.doubtful_persons.clear();
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
