//! A simulated disk: it keeps what was made durable, and of everything else any part, and it fails when it is told to.
//!
//! Files survive a power cut sector by sector, directory entries one by one; a sync that fails leaves its bytes readable and
//! clean, and in doubt. Everything follows from the seed and the order of calls, so a failing run can be run again. Feature
//! `faults` only: no program that serves anybody has it.

mod contents;
mod random;
mod spoil;

pub use super::part::{Part, Point, Step};
pub use random::Random;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use contents::{Change, Contents, Entries};

/// How one durable write ends that does not simply succeed. In all three the caller gets an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Nothing of it was done.
    Lost,
    /// All of it was done.
    Stored,
    /// Some of it was done.
    Torn,
}

/// What the caller of a failed write is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// The device failed.
    Failed,
    /// No space left.
    Full,
}

/// A disk, to hand to a ledger with [`Simulation::disk`] and to do things to.
#[derive(Debug, Clone)]
pub struct Simulation(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    random: Random,
    nodes: Vec<Node>,
    locks: BTreeMap<PathBuf, Holders>,
    /// Which run of the program the open files belong to.
    run: u64,
    writes: u64,
    fired: u64,
    hits: BTreeMap<Point, u64>,
    halt: Option<(u64, Fate)>,
    fail: Option<Plan>,
    one_in: Option<usize>,
    halted: bool,
}

#[derive(Debug, Clone, Copy)]
struct Plan {
    point: Point,
    skip: u64,
    fate: Fate,
    said: Said,
}

#[derive(Debug)]
enum Node {
    File(Contents),
    Dir(Entries),
}

#[derive(Debug, Default)]
struct Holders {
    shared: usize,
    exclusive: bool,
}

/// An open simulated file.
#[derive(Debug, Clone)]
pub(super) struct Handle {
    simulation: Simulation,
    node: usize,
    run: u64,
}

/// A lock on a simulated file.
#[derive(Debug)]
pub(super) struct Lock {
    simulation: Simulation,
    path: PathBuf,
    exclusive: bool,
    run: u64,
}

const ROOT: usize = 0;

impl Simulation {
    /// An empty disk on which the parents of `root` exist.
    #[must_use]
    pub fn new(seed: u64, root: &Path) -> Self {
        let mut state = State {
            random: Random::new(seed),
            nodes: vec![Node::Dir(Entries::default())],
            locks: BTreeMap::new(),
            run: 0,
            writes: 0,
            fired: 0,
            hits: BTreeMap::new(),
            halt: None,
            fail: None,
            one_in: None,
            halted: false,
        };
        let mut dir = ROOT;
        for name in names(root.parent().unwrap_or(root)) {
            dir = state.add(dir, name, Node::Dir(Entries::default()));
        }
        for node in &mut state.nodes {
            if let Node::Dir(entries) = node {
                entries.sync();
            }
        }
        Self(Arc::new(Mutex::new(state)))
    }

    /// The disk, for `Options::disk`.
    #[must_use]
    pub fn disk(&self) -> super::Disk {
        super::Disk(super::Kind::Simulated(self.clone()))
    }

    /// The durable write with this number, counted from 0, is the last one: after it every write and sync fails.
    pub fn halt_at(&self, write: u64, fate: Fate) {
        self.state().halt = Some((write, fate));
    }

    /// The next write of this name fails, after `skip` of them went well.
    pub fn fail(&self, point: Point, skip: u64, fate: Fate, said: Said) {
        self.state().fail = Some(Plan {
            point,
            skip,
            fate,
            said,
        });
    }

    /// Every durable write fails with this chance, one in `one_in`.
    pub fn fail_by_chance(&self, one_in: Option<usize>) {
        self.state().one_in = one_in;
    }

    /// Durable writes so far.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.state().writes
    }

    /// How often each of them was made.
    #[must_use]
    pub fn hits(&self) -> BTreeMap<Point, u64> {
        self.state().hits.clone()
    }

    /// Whether the write that [`Simulation::halt_at`] named was made.
    #[must_use]
    pub fn halted(&self) -> bool {
        self.state().halted
    }

    /// Whether the write that [`Simulation::fail`] named is still to come.
    #[must_use]
    pub fn pending(&self) -> bool {
        self.state().fail.is_some()
    }

    /// How many writes failed, those after a halt included.
    #[must_use]
    pub fn fired(&self) -> u64 {
        self.state().fired
    }

    /// Nothing fails any more.
    pub fn mend(&self) {
        let mut state = self.state();
        (state.halt, state.fail, state.one_in) = (None, None, None);
        state.halted = false;
    }

    /// The program is killed: its files and locks are gone, what it wrote is there.
    pub fn kill(&self) {
        let mut state = self.state();
        state.run = state.run.saturating_add(1);
        state.locks.clear();
    }

    /// The power is cut: what was durable is there, and of the rest any part.
    pub fn cut_power(&self) {
        self.kill();
        let state = &mut *self.state();
        for node in &mut state.nodes {
            match node {
                Node::File(contents) => contents.crash(&mut state.random),
                Node::Dir(entries) => entries.crash(&mut state.random),
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn open(&self, path: &Path) -> io::Result<Handle> {
        let state = self.state();
        let (node, run) = (state.find(path)?, state.run);
        if !matches!(state.nodes.get(node), Some(Node::File(_))) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let simulation = self.clone();
        Ok(Handle {
            simulation,
            node,
            run,
        })
    }

    pub(super) fn list(&self, path: &Path) -> io::Result<Vec<OsString>> {
        let state = self.state();
        let dir = state.find(path)?;
        match state.nodes.get(dir) {
            Some(Node::Dir(entries)) => Ok(entries.names()),
            _ => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    pub(super) fn create(&self, part: Part, path: &Path) -> io::Result<Handle> {
        self.make(part, Step::Create, path, Node::File(Contents::default()))?;
        self.open(path)
    }

    pub(super) fn make_dir(&self, part: Part, path: &Path) -> io::Result<()> {
        self.make(part, Step::MakeDir, path, Node::Dir(Entries::default()))
    }

    fn make(&self, part: Part, step: Step, path: &Path, node: Node) -> io::Result<()> {
        let mut state = self.state();
        if state.find(path).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let (dir, name) = state.place(path)?;
        state.durably(part, step, None, |state, _| {
            state.add(dir, &name, node);
        })
    }

    pub(super) fn rename(&self, part: Part, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let node = state.find(from)?;
        let ((dir, from), (_, to)) = (state.place(from)?, state.place(to)?);
        state.durably(part, Step::Rename, None, |state, _| {
            state.change(dir, vec![(from, None), (to, Some(node))]);
        })
    }

    pub(super) fn remove(&self, part: Part, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.find(path)?;
        let (dir, name) = state.place(path)?;
        state.durably(part, Step::Remove, None, |state, _| {
            state.change(dir, vec![(name, None)]);
        })
    }

    pub(super) fn sync_dir(&self, part: Part, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let dir = state.find(path)?;
        if let Some(Node::Dir(entries)) = state.nodes.get(dir)
            && entries.is_clean()
        {
            return state.nothing_to_write(None);
        }
        state.durably(part, Step::SyncDir, None, |state, _| {
            if let Some(Node::Dir(entries)) = state.nodes.get_mut(dir) {
                entries.sync();
            }
        })
    }

    pub(super) fn lock(&self, path: &Path, exclusive: bool) -> Option<Lock> {
        let mut state = self.state();
        let run = state.run;
        let holders = state.locks.entry(path.to_path_buf()).or_default();
        if holders.exclusive || (exclusive && holders.shared > 0) {
            return None;
        }
        if exclusive {
            holders.exclusive = true;
        } else {
            holders.shared = holders.shared.saturating_add(1);
        }
        drop(state);
        let (simulation, path) = (self.clone(), path.to_path_buf());
        Some(Lock {
            simulation,
            path,
            exclusive,
            run,
        })
    }
}

impl State {
    fn find(&self, path: &Path) -> io::Result<usize> {
        names(path).try_fold(ROOT, |dir, name| match self.nodes.get(dir) {
            Some(Node::Dir(entries)) => entries
                .get(name)
                .ok_or_else(|| io::ErrorKind::NotFound.into()),
            _ => Err(io::ErrorKind::NotADirectory.into()),
        })
    }

    /// The directory of a path, and its name there.
    fn place(&self, path: &Path) -> io::Result<(usize, OsString)> {
        let (parent, name) = path
            .parent()
            .zip(path.file_name())
            .ok_or(io::ErrorKind::InvalidInput)?;
        Ok((self.find(parent)?, name.to_os_string()))
    }

    fn add(&mut self, dir: usize, name: &OsStr, node: Node) -> usize {
        let number = self.nodes.len();
        self.nodes.push(node);
        self.change(dir, vec![(name.to_os_string(), Some(number))]);
        number
    }

    fn change(&mut self, dir: usize, change: Change) {
        if let Some(Node::Dir(entries)) = self.nodes.get_mut(dir) {
            entries.change(change);
        }
    }

    /// A sync that has nothing to write is no durable write, and can only fail as everything does after a halt.
    fn nothing_to_write(&mut self, run: Option<u64>) -> io::Result<()> {
        if self.halted || run.is_some_and(|run| run != self.run) {
            self.fired = self.fired.saturating_add(1);
            return Err(failure(Said::Failed));
        }
        Ok(())
    }

    /// Makes one durable write, or lets it fail as it is planned: `act` does all of it, or with `Torn` some of it.
    fn durably(
        &mut self,
        part: Part,
        step: Step,
        run: Option<u64>,
        act: impl FnOnce(&mut Self, Option<Fate>),
    ) -> io::Result<()> {
        self.nothing_to_write(run)?;
        let point = Point { part, step };
        if !Point::all().any(|known| known == point) {
            return Err(io::Error::other(format!(
                "{part:?} {step:?} is not in the table of durable writes"
            )));
        }
        let Some((mut fate, said)) = self.planned(point) else {
            act(self, None);
            return Ok(());
        };
        self.fired = self.fired.saturating_add(1);
        let divisible = matches!(step, Step::Write | Step::Sync);
        if fate == Fate::Torn && !divisible {
            fate = if self.random.coin() {
                Fate::Lost
            } else {
                Fate::Stored
            };
        }
        // A sync that fails is not nothing: the bytes are called clean all the same.
        if fate != Fate::Lost || step == Step::Sync {
            act(self, Some(fate));
        }
        Err(failure(said))
    }

    /// Counts the write, and says whether and how it fails.
    fn planned(&mut self, point: Point) -> Option<(Fate, Said)> {
        let number = self.writes;
        self.writes = number.saturating_add(1);
        let hits = self.hits.entry(point).or_default();
        *hits = hits.saturating_add(1);
        if let Some((_, fate)) = self.halt.filter(|(halt, _)| *halt == number) {
            self.halted = true;
            return Some((fate, Said::Failed));
        }
        if let Some(plan) = self.fail.as_mut().filter(|plan| plan.point == point) {
            if plan.skip == 0 {
                let (fate, said) = (plan.fate, plan.said);
                self.fail = None;
                return Some((fate, said));
            }
            plan.skip -= 1;
        }
        if self
            .one_in
            .is_some_and(|one_in| self.random.below(one_in) == 0)
        {
            let fates = [Fate::Lost, Fate::Stored, Fate::Torn];
            let fate = fates.get(self.random.below(fates.len()))?;
            let said = if self.random.coin() {
                Said::Failed
            } else {
                Said::Full
            };
            return Some((*fate, said));
        }
        None
    }
}

impl Handle {
    pub(super) fn length(&self) -> io::Result<u64> {
        self.contents(|contents| crate::journal::bytes(contents.bytes().len()))
    }

    pub(super) fn read_all(&self) -> io::Result<Vec<u8>> {
        self.contents(|contents| contents.bytes().to_vec())
    }

    pub(super) fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        self.contents(|contents| {
            let bytes = contents.bytes().get(index(at)..).unwrap_or_default();
            let length = bytes.len().min(buffer.len());
            if let (Some(to), Some(from)) = (buffer.get_mut(..length), bytes.get(..length)) {
                to.copy_from_slice(from);
            }
            length
        })
    }

    pub(super) fn write_at(&self, part: Part, bytes: &[u8], at: u64) -> io::Result<()> {
        self.durably(part, Step::Write, |contents, random, fate| {
            let length = match fate {
                Some(Fate::Torn) => random.below(bytes.len()),
                _ => bytes.len(),
            };
            contents.write(bytes.get(..length).unwrap_or_default(), index(at));
        })
    }

    pub(super) fn allocate(&self, part: Part, length: u64) -> io::Result<()> {
        self.durably(part, Step::Allocate, |contents, _, _| {
            contents.allocate(index(length));
        })
    }

    pub(super) fn set_length(&self, part: Part, length: u64) -> io::Result<()> {
        self.durably(part, Step::SetLength, |contents, random, _| {
            contents.set_length(index(length), random);
        })
    }

    pub(super) fn sync(&self, part: Part, all: bool) -> io::Result<()> {
        if self.contents(|contents| contents.is_clean(all))? {
            return self.simulation.state().nothing_to_write(Some(self.run));
        }
        self.durably(part, Step::Sync, |contents, random, fate| match fate {
            None | Some(Fate::Stored) => contents.sync(all, true, || true),
            Some(Fate::Lost) => contents.sync(all, false, || false),
            Some(Fate::Torn) => {
                let metadata = random.coin();
                contents.sync(all, metadata, || random.coin());
            }
        })
    }

    fn contents<T>(&self, read: impl FnOnce(&Contents) -> T) -> io::Result<T> {
        match self.simulation.state().nodes.get(self.node) {
            Some(Node::File(contents)) => Ok(read(contents)),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn durably(
        &self,
        part: Part,
        step: Step,
        act: impl FnOnce(&mut Contents, &mut Random, Option<Fate>),
    ) -> io::Result<()> {
        let mut state = self.simulation.state();
        state.durably(part, step, Some(self.run), |state, fate| {
            if let Some(Node::File(contents)) = state.nodes.get_mut(self.node) {
                act(contents, &mut state.random, fate);
            }
        })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let mut state = self.simulation.state();
        if state.run != self.run {
            return;
        }
        if let Some(holders) = state.locks.get_mut(&self.path) {
            if self.exclusive {
                holders.exclusive = false;
            } else {
                holders.shared = holders.shared.saturating_sub(1);
            }
        }
    }
}

fn names(path: &Path) -> impl Iterator<Item = &OsStr> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name),
        _ => None,
    })
}

fn index(at: u64) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}

fn failure(said: Said) -> io::Error {
    let errno = match said {
        Said::Failed => rustix::io::Errno::IO,
        Said::Full => rustix::io::Errno::NOSPC,
    };
    errno.into()
}

#[cfg(test)]
mod tests;
