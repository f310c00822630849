//! The few things that the store asks of a file system, each with the guarantee that it needs.
//!
//! Journal, blobs, keys and description go through here and nowhere else, so this is the one place where a write can be lost,
//! shortened or made to fail: [`Disk`] is the file system of the machine, or, with the feature `faults`, a simulated one. sled
//! is always on the real one. Every durable write says which part of the store it belongs to ([`Part`]).

mod crash;
mod durable;
mod part;
#[cfg(feature = "faults")]
pub mod simulated;

pub(crate) use crash::crash_at;
pub(crate) use durable::{Known, beside, fsync_failed, parent_of};
pub(crate) use part::Part;

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{FallocateFlags, FlockOperation, fallocate, flock};

/// Where a ledger's files lie.
#[derive(Debug, Clone, Default)]
pub struct Disk(Kind);

#[derive(Debug, Clone, Default)]
enum Kind {
    #[default]
    Real,
    #[cfg(feature = "faults")]
    Simulated(simulated::Simulation),
}

/// An open file.
#[derive(Debug)]
pub(crate) struct File(Opened);

#[derive(Debug)]
enum Opened {
    Real(std::fs::File),
    #[cfg(feature = "faults")]
    Simulated(simulated::Handle),
}

/// Held until it is dropped, or the process ends.
#[derive(Debug)]
pub(crate) struct Lock(Held);

#[derive(Debug)]
enum Held {
    Real(std::fs::File),
    #[cfg(feature = "faults")]
    Simulated {
        _lock: simulated::Lock,
    },
}

/// Runs `$real`, or `$simulated` on the simulated disk or file.
macro_rules! on {
    ($this:expr, $kind:ident, $bound:ident => $simulated:expr, $real:pat => $really:expr) => {
        match &$this.0 {
            $real => $really,
            #[cfg(feature = "faults")]
            $kind::Simulated($bound) => $simulated,
        }
    };
}

#[cfg_attr(
    not(feature = "faults"),
    expect(
        unused_variables,
        reason = "only a simulated disk has a state, and only it asks whose write it is"
    )
)]
impl Disk {
    /// Whether there is more than one thread to do things beside each other: a simulated disk is written in one order.
    pub(crate) const fn is_concurrent(&self) -> bool {
        match self.0 {
            Kind::Real => true,
            #[cfg(feature = "faults")]
            Kind::Simulated(_) => false,
        }
    }

    /// Opens a file for reading.
    pub(crate) fn open(&self, path: &Path) -> io::Result<File> {
        on!(self, Kind, disk => Ok(File(Opened::Simulated(disk.open(path)?))),
            Kind::Real => Ok(File(Opened::Real(std::fs::File::open(path)?))))
    }

    /// Opens a file for reading and writing.
    pub(crate) fn open_to_write(&self, path: &Path) -> io::Result<File> {
        on!(self, Kind, disk => Ok(File(Opened::Simulated(disk.open(path)?))),
        Kind::Real => {
            let file = std::fs::OpenOptions::new().read(true).write(true).open(path)?;
            Ok(File(Opened::Real(file)))
        })
    }

    /// Creates an empty file; fails if one stands there.
    pub(crate) fn create(&self, part: Part, path: &Path, mode: u32) -> io::Result<File> {
        on!(self, Kind, disk => Ok(File(Opened::Simulated(disk.create(part, path)?))),
        Kind::Real => {
            let mut options = std::fs::OpenOptions::new();
            options.read(true).write(true).create_new(true).mode(mode);
            Ok(File(Opened::Real(options.open(path)?)))
        })
    }

    /// All bytes of a file.
    pub(crate) fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        on!(self, Kind, disk => disk.open(path)?.read_all(), Kind::Real => std::fs::read(path))
    }

    /// How many bytes a file has.
    pub(crate) fn length(&self, path: &Path) -> io::Result<u64> {
        on!(self, Kind, disk => disk.open(path)?.length(),
            Kind::Real => Ok(std::fs::metadata(path)?.len()))
    }

    /// Whether a file stands there.
    pub(crate) fn is_file(&self, path: &Path) -> bool {
        on!(self, Kind, disk => disk.open(path).is_ok(), Kind::Real => path.is_file())
    }

    /// Whether a directory stands there.
    pub(crate) fn is_dir(&self, path: &Path) -> bool {
        on!(self, Kind, disk => disk.list(path).is_ok(), Kind::Real => path.is_dir())
    }

    /// The names in a directory, in no order.
    pub(crate) fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        on!(self, Kind, disk => disk.list(dir),
            Kind::Real => std::fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name())).collect())
    }

    /// Gives a file another name in the same directory, in one step; what had that name is gone.
    pub(crate) fn rename(&self, part: Part, from: &Path, to: &Path) -> io::Result<()> {
        on!(self, Kind, disk => disk.rename(part, from, to), Kind::Real => std::fs::rename(from, to))
    }

    /// Removes a file.
    pub(crate) fn remove(&self, part: Part, path: &Path) -> io::Result<()> {
        on!(self, Kind, disk => disk.remove(part, path), Kind::Real => std::fs::remove_file(path))
    }

    /// Creates one directory; fails if something stands there.
    pub(crate) fn make_dir(&self, part: Part, path: &Path, mode: u32) -> io::Result<()> {
        on!(self, Kind, disk => disk.make_dir(part, path),
            Kind::Real => std::fs::DirBuilder::new().mode(mode).create(path))
    }

    /// Takes a directory away from everybody but its owner.
    pub(crate) fn restrict(&self, path: &Path, mode: u32) -> io::Result<()> {
        on!(self, Kind, _disk => Ok(()),
            Kind::Real => std::fs::set_permissions(path, PermissionsExt::from_mode(mode)))
    }

    /// Makes the entries of a directory durable: creations, renames and removals.
    pub(crate) fn sync_dir(&self, part: Part, dir: &Path) -> io::Result<()> {
        // That it cannot be opened may pass; an fsync that failed does not.
        on!(self, Kind, disk => disk.sync_dir(part, dir),
            Kind::Real => std::fs::File::open(dir)?.sync_all().map_err(fsync_failed))
    }

    /// Locks a file, which is made if need be; `None` if somebody else holds it.
    pub(crate) fn lock(&self, path: &Path, exclusive: bool) -> io::Result<Option<Lock>> {
        on!(self, Kind, disk => {
            let lock = disk.lock(path, exclusive);
            Ok(lock.map(|_lock| Lock(Held::Simulated { _lock })))
        }, Kind::Real => {
            let mut options = std::fs::OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false).mode(0o600);
            let file = options.open(path)?;
            let operation = if exclusive {
                FlockOperation::NonBlockingLockExclusive
            } else {
                FlockOperation::NonBlockingLockShared
            };
            match flock(&file, operation) {
                Ok(()) => Ok(Some(Lock(Held::Real(file)))),
                Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
                Err(error) => Err(error.into()),
            }
        })
    }
}

#[cfg_attr(
    not(feature = "faults"),
    expect(
        unused_variables,
        reason = "only a simulated disk asks whose write it is"
    )
)]
impl File {
    /// How many bytes it has.
    pub(crate) fn length(&self) -> io::Result<u64> {
        on!(self, Opened, file => file.length(),
            Opened::Real(file) => Ok(file.metadata()?.len()))
    }

    /// Fills the buffer from `at` on, as far as there are bytes; returns how many there were.
    pub(crate) fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let mut read = 0;
        while let Some(rest) = buffer.get_mut(read..).filter(|rest| !rest.is_empty()) {
            let from = at.saturating_add(crate::journal::bytes(read));
            let more = on!(self, Opened, file => file.read_at(rest, from),
                Opened::Real(file) => file.read_at(rest, from));
            match more {
                Ok(0) => break,
                Ok(more) => read = read.saturating_add(more),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    /// Writes all bytes; after an error any of them may have been written.
    pub(crate) fn write_at(&self, part: Part, bytes: &[u8], at: u64) -> io::Result<()> {
        on!(self, Opened, file => file.write_at(part, bytes, at),
            Opened::Real(file) => file.write_all_at(bytes, at))
    }

    /// Reserves blocks up to `bytes`, so that a commit changes no metadata and cannot run out of space.
    pub(crate) fn allocate(&self, part: Part, bytes: u64) -> io::Result<()> {
        on!(self, Opened, file => file.allocate(part, bytes),
        Opened::Real(file) => match fallocate(file, FallocateFlags::empty(), 0, bytes) {
            Ok(()) => Ok(()),
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
                file.set_len(bytes.max(self.length()?))
            }
            Err(error) => Err(error.into()),
        })
    }

    /// Cuts the file off, or lengthens it with zeros.
    pub(crate) fn set_length(&self, part: Part, bytes: u64) -> io::Result<()> {
        on!(self, Opened, file => file.set_length(part, bytes),
            Opened::Real(file) => file.set_len(bytes))
    }

    /// Waits until every byte written so far would survive a power cut. After an error nothing is known of any of them.
    pub(crate) fn sync(&self, part: Part) -> io::Result<()> {
        on!(self, Opened, file => file.sync(part, false), Opened::Real(file) => {
            #[cfg(feature = "faults")]
            crate::world::slow_sync();
            file.sync_data()
        })
    }

    /// The same for its length and allocation too, which [`File::sync`] need not carry.
    pub(crate) fn sync_all(&self, part: Part) -> io::Result<()> {
        on!(self, Opened, file => file.sync(part, true), Opened::Real(file) => file.sync_all())
    }

    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        on!(self, Opened, file => Ok(Self(Opened::Simulated(file.clone()))),
            Opened::Real(file) => Ok(Self(Opened::Real(file.try_clone()?))))
    }
}

impl Drop for Lock {
    /// Said out loud, because a child that is being started at this moment still shares the open file.
    fn drop(&mut self) {
        match &self.0 {
            Held::Real(file) => {
                if let Err(error) = flock(file, FlockOperation::Unlock) {
                    tracing::debug!(%error, "the lock goes with its file");
                }
            }
            #[cfg(feature = "faults")]
            Held::Simulated { .. } => {}
        }
    }
}
