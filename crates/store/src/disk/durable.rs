//! What the store does to its disk, made of the single steps: a file put in place whole, a directory with its parents.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Disk, File, Part};
use crate::journal::bytes;

const COPY_BYTES: usize = 256 * 1024;
const PAGE_BYTES: u64 = 4096;
const FILL_BYTES: usize = 1024 * 1024;
/// Paths that are remembered as durable; past it all are forgotten, which costs an fsync each.
const KNOWN_PATHS_MAX: usize = 16 * 1024;

impl Disk {
    /// Makes a file or directory durable that somebody else put there, and its name: it may be in the page cache only.
    pub(crate) fn confirm(&self, part: Part, path: &Path) -> io::Result<()> {
        if self.is_dir(path) {
            self.sync_dir(part, path)?;
        } else {
            self.open(path)?.sync_all(part)?;
        }
        match parent_of(path).map(|parent| self.sync_dir(part, parent)) {
            // The directory above a data directory may be nobody's to open; then its entries are nobody's to lose either.
            Some(Err(error)) if error.kind() != io::ErrorKind::PermissionDenied => Err(error),
            _ => Ok(()),
        }
    }

    /// Creates a directory, its parents included, all entries durable.
    pub(crate) fn create_dir(&self, part: Part, path: &Path) -> io::Result<()> {
        if self.is_dir(path) {
            return self.confirm(part, path);
        }
        let Some(parent) = parent_of(path) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        self.create_dir(part, parent)?;
        match self.make_dir(part, path, 0o777) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        self.sync_dir(part, parent)
    }

    /// Puts a whole file in place durably: written beside, fsynced, renamed, the directory fsynced.
    ///
    /// A reader sees the old file, no file or the whole new one.
    pub(crate) fn replace(
        &self,
        part: Part,
        path: &Path,
        bytes: &[u8],
        mode: u32,
    ) -> io::Result<()> {
        let parent = parent_of(path).ok_or(io::ErrorKind::InvalidInput)?;
        let beside = beside(path).ok_or(io::ErrorKind::InvalidInput)?;
        let file = self.create(part, &beside, mode)?;
        let write = || {
            if !bytes.is_empty() {
                file.write_at(part, bytes, 0)?;
            }
            file.sync_all(part)?;
            self.rename(part, &beside, path)
        };
        if let Err(error) = write() {
            // Nothing refers to the leftover; the first error is the one to tell.
            drop(self.remove(part, &beside));
            return Err(error);
        }
        self.sync_dir(part, parent)
    }
}

/// Whatever the system calls it, an fsync that failed is not mended by trying again.
#[expect(clippy::needless_pass_by_value, reason = "as `map_err` gives it")]
pub(crate) fn fsync_failed(error: io::Error) -> io::Error {
    io::Error::other(format!("cannot fsync: {error}"))
}

/// A name beside a path that nobody uses, for a file that is not whole yet.
pub(crate) fn beside(path: &Path) -> Option<PathBuf> {
    let mut name = path.file_name()?.to_os_string();
    name.push(format!(".{}.tmp", unique()));
    Some(parent_of(path)?.join(name))
}

/// The directory that holds a path; a relative path of one name begins in the current directory.
pub(crate) fn parent_of(path: &Path) -> Option<&Path> {
    path.parent().map(|parent| {
        if parent.as_os_str().is_empty() {
            Path::new(".")
        } else {
            parent
        }
    })
}

impl File {
    /// Writes what stands from `from` to `until` again, as it stands.
    pub(crate) fn write_again(&self, part: Part, from: u64, until: u64) -> io::Result<()> {
        let mut buffer = vec![0; COPY_BYTES];
        let mut at = from;
        while at < until {
            let left = usize::try_from(until - at).unwrap_or(usize::MAX);
            let piece = buffer.get_mut(..left.min(COPY_BYTES)).unwrap_or_default();
            let read = self.read_at(piece, at)?;
            let piece = piece.get(..read).filter(|piece| !piece.is_empty());
            let piece = piece.ok_or(io::ErrorKind::UnexpectedEof)?;
            self.write_at(part, piece, at)?;
            at = at.saturating_add(bytes(piece.len()));
        }
        Ok(())
    }

    /// Removes everything from `at` on and makes the file `length` bytes long, durably; what follows `at` reads as zeros.
    ///
    /// Removing it by its length leaves nothing behind that could come back: blocks that are only overwritten with zeros still
    /// hold the old bytes if that write is lost.
    pub(crate) fn blank(&self, part: Part, at: u64, length: u64) -> io::Result<()> {
        self.set_length(part, at)?;
        if length > at {
            self.allocate(part, length)?;
            // The page that `at` lies in stays; its rest is written out, whatever the kernel believes of it.
            let rest = (at.next_multiple_of(PAGE_BYTES) - at).min(length - at);
            let zeros = vec![0; usize::try_from(rest).unwrap_or_default()];
            self.write_at(part, &zeros, at)?;
        }
        self.sync_all(part).map_err(fsync_failed)
    }

    /// Writes zeros over all of `from..until`, which is allocated and holds nothing yet.
    pub(crate) fn fill(&self, part: Part, from: u64, until: u64) -> io::Result<()> {
        let zeros = vec![0; FILL_BYTES.min(index(until.saturating_sub(from)))];
        let mut at = from;
        while at < until {
            let some = zeros.get(..index(until - at)).unwrap_or(&zeros);
            self.write_at(part, some, at)?;
            at = at.saturating_add(u64::try_from(some.len()).unwrap_or(u64::MAX));
        }
        Ok(())
    }
}

fn index(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

fn unique() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!(
        "{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}

/// What this process knows to be durable, so that a path is confirmed once and not at every use.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known(Arc<Mutex<BTreeSet<PathBuf>>>);

impl Known {
    /// Makes `path` durable with `make`, unless it is known to be.
    pub(crate) fn ensure(
        &self,
        path: &Path,
        make: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        if self.contains(path) {
            return Ok(());
        }
        make()?;
        self.add(path);
        Ok(())
    }

    /// Whether `path` is known to be durable.
    pub(crate) fn contains(&self, path: &Path) -> bool {
        self.paths().contains(path)
    }

    pub(crate) fn add(&self, path: &Path) {
        let mut paths = self.paths();
        if paths.len() >= KNOWN_PATHS_MAX {
            paths.clear();
        }
        paths.insert(path.to_path_buf());
    }

    fn paths(&self) -> MutexGuard<'_, BTreeSet<PathBuf>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_name_stands_in_the_current_directory() {
        assert_eq!(parent_of(Path::new("data")), Some(Path::new(".")));
        assert_eq!(parent_of(Path::new("a/data")), Some(Path::new("a")));
        assert_eq!(parent_of(Path::new("/")), None);
    }
}
