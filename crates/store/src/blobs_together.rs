//! Blobs that are put together: every file is written, then all are fsynced beside each other, then named, then all
//! directories are fsynced beside each other.
//!
//! An fsync of a new file waits for a commit of the file system that carries everything else too, so many at once cost little
//! more than one. The order for each file is that of a single one: its directory is durable before it is made, so a file that
//! stands needs no look at what is above it, and no name stands before its bytes are durable.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::Error;
use crate::disk::{Disk, File, Known, Part, beside, parent_of};

/// How many fsyncs wait at the same time.
const AT_ONCE: usize = 16;

/// Files on their way to the disk.
#[derive(Debug)]
pub(crate) struct Together<'a> {
    disk: &'a Disk,
    known: &'a Known,
    /// What is to stand there, by path.
    wanted: BTreeMap<PathBuf, (Part, &'a [u8])>,
    /// Files that are written and not yet durable, and the names that those get which have none yet.
    written: Vec<Written>,
}

#[derive(Debug)]
struct Written {
    part: Part,
    file: File,
    at: PathBuf,
    name: Option<PathBuf>,
}

impl<'a> Together<'a> {
    pub(crate) const fn new(disk: &'a Disk, known: &'a Known) -> Self {
        Self {
            disk,
            known,
            wanted: BTreeMap::new(),
            written: Vec::new(),
        }
    }

    /// A file that is to stand there whole, unless it is known to.
    pub(crate) fn put(&mut self, part: Part, path: PathBuf, bytes: &'a [u8]) {
        if !self.known.contains(&path) {
            self.wanted.insert(path, (part, bytes));
        }
    }

    /// Makes all of it durable. After an error nothing is known of any of it but that no name stands before its bytes.
    pub(crate) fn finish(mut self) -> Result<(), Error> {
        let wanted = std::mem::take(&mut self.wanted);
        let mut dirs = BTreeMap::new();
        for (path, (part, _)) in &wanted {
            dirs.insert(parent(path)?.to_path_buf(), *part);
        }
        self.make_dirs(&dirs)?;
        for (path, (part, bytes)) in &wanted {
            let written = self.write(*part, path, bytes);
            written.map_err(|error| Error::io(path, error))?;
        }
        let disk = self.disk;
        beside_each_other(disk, &self.written, |written| {
            let synced = written.file.sync_all(written.part);
            synced.map_err(|error| Error::io(&written.at, error))
        })?;
        for written in &mut self.written {
            if let Some(name) = written.name.take() {
                let renamed = disk.rename(written.part, &written.at, &name);
                renamed.map_err(|error| Error::io(&name, error))?;
            }
        }
        self.sync_dirs(&dirs)?;
        wanted.keys().for_each(|path| self.known.add(path));
        Ok(())
    }

    /// Makes the directories of all files, durably, before anything stands in them.
    fn make_dirs(&self, dirs: &BTreeMap<PathBuf, Part>) -> Result<(), Error> {
        let mut unknown = dirs.clone();
        unknown.retain(|dir, _| !self.known.contains(dir));
        let mut above = BTreeMap::new();
        for (dir, part) in &unknown {
            let failed = |error| Error::io(dir, error);
            let over = parent(dir)?;
            let make = || self.disk.create_dir(*part, over);
            self.known.ensure(over, make).map_err(failed)?;
            if !self.disk.is_dir(dir) {
                match self.disk.make_dir(*part, dir, 0o777) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                        return Err(failed(error));
                    }
                    _ => {}
                }
            }
            above.insert(over.to_path_buf(), *part);
        }
        self.sync_dirs(&above)?;
        unknown.keys().for_each(|dir| self.known.add(dir));
        Ok(())
    }

    fn sync_dirs(&self, dirs: &BTreeMap<PathBuf, Part>) -> Result<(), Error> {
        let dirs: Vec<_> = dirs.iter().collect();
        beside_each_other(self.disk, &dirs, |(dir, part)| {
            let synced = self.disk.sync_dir(**part, dir);
            synced.map_err(|error| Error::io(dir, error))
        })
    }

    /// Writes a file beside its name, unless it stands there with these bytes.
    fn write(&mut self, part: Part, path: &Path, bytes: &[u8]) -> io::Result<()> {
        if self.disk.read(path).is_ok_and(|stored| stored == bytes) {
            // Whoever put it there may still wait for the disk, or have died while it waited.
            let file = self.disk.open(path)?;
            let at = path.to_path_buf();
            let name = None;
            self.written.push(Written {
                part,
                file,
                at,
                name,
            });
            return Ok(());
        }
        let at = beside(path).ok_or(io::ErrorKind::InvalidInput)?;
        let file = self.disk.create(part, &at, 0o600)?;
        let done = if bytes.is_empty() {
            Ok(())
        } else {
            file.write_at(part, bytes, 0)
        };
        let name = Some(path.to_path_buf());
        self.written.push(Written {
            part,
            file,
            at,
            name,
        });
        done
    }
}

fn parent(path: &Path) -> Result<&Path, Error> {
    parent_of(path).ok_or_else(|| Error::io(path, io::ErrorKind::InvalidInput.into()))
}

impl Drop for Together<'_> {
    /// What got no name is of no use; the error that kept it from its name is the one to tell.
    fn drop(&mut self) {
        for written in &self.written {
            if written.name.is_some() {
                drop(self.disk.remove(written.part, &written.at));
            }
        }
    }
}

/// Does something to each, several at once where the disk allows it; the first error that is met.
fn beside_each_other<T: Sync>(
    disk: &Disk,
    all: &[T],
    act: impl Fn(&T) -> Result<(), Error> + Sync,
) -> Result<(), Error> {
    if all.len() < 2 || !disk.is_concurrent() {
        return all.iter().try_for_each(act);
    }
    let share = all.len().div_ceil(AT_ONCE.min(all.len()));
    std::thread::scope(|scope| {
        let acting: Vec<_> = all
            .chunks(share)
            .map(|some| scope.spawn(|| some.iter().try_for_each(&act)))
            .collect();
        acting.into_iter().try_for_each(|thread| {
            let panicked = |_| Error::io(Path::new("blobs"), io::Error::other("a thread panicked"));
            thread.join().map_err(panicked)?
        })
    })
}
