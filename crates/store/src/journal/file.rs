//! The few things that the store asks of a file system, each with the guarantee that it needs.
//!
//! Every durable write of the journal, the blobs and the keys goes through here, so this is the one place where a write can
//! be made to fail in a test.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::bytes;

const COPY_BYTES: usize = 256 * 1024;
const PAGE_BYTES: u64 = 4096;

/// Makes the durable writes of one ledger fail on purpose, in tests.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Switches>);

#[derive(Debug, Default)]
struct Switches {
    write: AtomicU32,
    sync: AtomicU32,
}

impl Faults {
    /// Every journal write from now on fails as on a full disk.
    pub fn fill_disk(&self) {
        self.0.write.store(1, Ordering::SeqCst);
    }

    /// Every journal fdatasync from now on fails.
    pub fn break_sync(&self) {
        self.0.sync.store(1, Ordering::SeqCst);
    }
}

/// A journal file open for writing.
#[derive(Debug)]
pub(crate) struct Segment {
    file: File,
    faults: Faults,
}

impl Segment {
    /// Creates a file of `bytes` allocated zero bytes; fails if one stands there.
    pub(crate) fn create(path: &Path, bytes: u64, faults: &Faults) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        let segment = Self {
            file,
            faults: faults.clone(),
        };
        segment.allocate(bytes)?;
        // The length is metadata that a later fdatasync of data alone need not carry.
        segment.file.sync_all()?;
        Ok(segment)
    }

    pub(crate) fn open(path: &Path, faults: &Faults) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Self {
            file,
            faults: faults.clone(),
        })
    }

    /// Reserves blocks up to `bytes`, so that a commit changes no metadata and cannot run out of space.
    pub(crate) fn allocate(&self, bytes: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.file, rustix::fs::FallocateFlags::empty(), 0, bytes) {
            Ok(()) => Ok(()),
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
                self.file.set_len(bytes.max(self.len()?))
            }
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    pub(crate) fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        if self.faults.0.write.load(Ordering::Relaxed) != 0 {
            return Err(io::Error::from_raw_os_error(
                rustix::io::Errno::NOSPC.raw_os_error(),
            ));
        }
        self.file.write_all_at(bytes, at)
    }

    /// Waits until everything written so far would survive a power cut.
    pub(crate) fn sync(&self) -> io::Result<()> {
        if self.faults.0.sync.load(Ordering::Relaxed) != 0 {
            return Err(io::Error::from_raw_os_error(
                rustix::io::Errno::IO.raw_os_error(),
            ));
        }
        self.file.sync_data()
    }

    /// Writes what stands from `from` to `until` again, as it stands.
    pub(crate) fn write_again(&self, from: u64, until: u64) -> io::Result<()> {
        let mut buffer = vec![0; COPY_BYTES];
        let mut at = from;
        while at < until {
            let left = usize::try_from(until - at).unwrap_or(usize::MAX);
            let part = buffer.get_mut(..left.min(COPY_BYTES)).unwrap_or_default();
            self.file.read_exact_at(part, at)?;
            self.write_at(part, at)?;
            at = at.saturating_add(bytes(part.len()));
        }
        Ok(())
    }

    /// Removes everything from `at` on and makes the file `length` bytes long, durably; what follows `at` reads as zeros.
    ///
    /// Removing it by its length leaves nothing behind that could come back: blocks that are only overwritten with zeros still
    /// hold the old bytes if that write is lost.
    pub(crate) fn blank(&self, at: u64, length: u64) -> io::Result<()> {
        self.file.set_len(at)?;
        if length > at {
            self.allocate(length)?;
            // The page that `at` lies in stays; its rest is written out, whatever the kernel believes of it.
            let rest = (at.next_multiple_of(PAGE_BYTES) - at).min(length - at);
            let zeros = vec![0; usize::try_from(rest).unwrap_or_default()];
            self.write_at(&zeros, at)?;
        }
        self.file.sync_all()
    }

    pub(crate) fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)?;
        self.file.sync_all()
    }
}

/// Makes the entries of a directory durable: creations, renames and removals.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Makes a file or directory durable that somebody else put there, and its name: it may be in the page cache only.
pub(crate) fn confirm(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()?;
    match path.parent().map(sync_dir) {
        // The directory above a data directory may be nobody's to open; then its entries are nobody's to lose either.
        Some(Err(error)) if error.kind() != io::ErrorKind::PermissionDenied => Err(error),
        _ => Ok(()),
    }
}

/// Creates a directory, its parents included, all entries durable.
pub(crate) fn create_dir(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return confirm(path);
    }
    if let Some(parent) = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        create_dir(parent)?;
        match std::fs::create_dir(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        return sync_dir(parent);
    }
    std::fs::create_dir_all(path)
}

/// Puts a whole file in place durably: written beside, fsynced, renamed, the directory fsynced.
///
/// A reader sees the old file, no file or the whole new one.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let parent = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let mut beside = name.to_os_string();
    beside.push(format!(".{}.tmp", unique()));
    let beside = parent.join(beside);
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&beside)?;
    let written = file
        .write_all_at(bytes, 0)
        .and_then(|()| file.sync_all())
        .and_then(|()| std::fs::rename(&beside, path));
    if let Err(error) = written {
        // Nothing refers to the leftover; the first error is the one to tell.
        drop(std::fs::remove_file(&beside));
        return Err(error);
    }
    sync_dir(parent)
}

fn unique() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!(
        "{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}
