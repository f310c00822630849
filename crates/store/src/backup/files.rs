//! Copying files so that they are durable and known by their digest.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use countersign_ids::Digest;
use sha2::{Digest as _, Sha256};

use crate::Error;
use crate::disk::{Disk, Part};
use crate::journal::bytes;

const CHUNK_BYTES: usize = 1024 * 1024;

/// Makes a directory, its parents included, durably. Backups are on the disk of the machine, never on a simulated one.
pub(super) fn create_dir(path: &Path) -> Result<(), Error> {
    let made = Disk::default().create_dir(Part::Layout, path);
    made.map_err(failed(path))
}

/// Makes the names in a directory durable.
pub(super) fn sync_dir(path: &Path) -> Result<(), Error> {
    let synced = Disk::default().sync_dir(Part::Layout, path);
    synced.map_err(failed(path))
}

/// Puts a whole private file in place, durably.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let replaced = Disk::default().replace(Part::Layout, path, bytes, 0o600);
    replaced.map_err(failed(path))
}

pub(super) fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_path_buf();
    move |error| Error::io(&path, error)
}

/// Copies the first `limit` bytes of a file to a new one, durable but for its name; how many they were, and their digest.
pub(super) fn copy(
    from: &Path,
    to: &Path,
    limit: u64,
    progress: &mut dyn FnMut(u64),
) -> Result<(u64, Digest), Error> {
    let source = File::open(from).map_err(failed(from))?;
    let mut target = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to)
        .map_err(failed(to))?;
    let mut source = source.take(limit);
    let (mut hash, mut copied) = (Sha256::new(), 0_u64);
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let read = source.read(&mut buffer).map_err(failed(from))?;
        let Some(chunk) = buffer.get(..read).filter(|chunk| !chunk.is_empty()) else {
            break;
        };
        target.write_all(chunk).map_err(failed(to))?;
        hash.update(chunk);
        copied = copied.saturating_add(bytes(read));
        progress(bytes(read));
    }
    target.sync_all().map_err(failed(to))?;
    Ok((copied, Digest::from_bytes(hash.finalize().into())))
}

/// The digest of a whole file.
pub(super) fn digest(path: &Path, progress: &mut dyn FnMut(u64)) -> Result<(u64, Digest), Error> {
    let mut file = File::open(path).map_err(failed(path))?;
    let (mut hash, mut seen) = (Sha256::new(), 0_u64);
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let read = file.read(&mut buffer).map_err(failed(path))?;
        let Some(chunk) = buffer.get(..read).filter(|chunk| !chunk.is_empty()) else {
            return Ok((seen, Digest::from_bytes(hash.finalize().into())));
        };
        hash.update(chunk);
        seen = seen.saturating_add(bytes(read));
        progress(bytes(read));
    }
}

/// The regular files of a directory, in order; an absent directory has none.
pub(super) fn files_in(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    entries(directory, std::fs::FileType::is_file)
}

/// The directories in a directory, in order; an absent directory has none.
pub(super) fn directories_in(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    entries(directory, std::fs::FileType::is_dir)
}

fn entries(
    directory: &Path,
    wanted: fn(&std::fs::FileType) -> bool,
) -> Result<Vec<PathBuf>, Error> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(failed(directory))?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed(directory))?;
        if wanted(&entry.file_type().map_err(failed(&entry.path()))?) {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

/// Copies every file of a directory tree, durably.
pub(super) fn copy_tree(
    from: &Path,
    to: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<(), Error> {
    create_dir(to)?;
    for file in files_in(from)? {
        if let Some(name) = file.file_name() {
            copy(&file, &to.join(name), u64::MAX, progress)?;
        }
    }
    for directory in directories_in(from)? {
        if let Some(name) = directory.file_name() {
            copy_tree(&directory, &to.join(name), progress)?;
        }
    }
    sync_dir(to)
}
