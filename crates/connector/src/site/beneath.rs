//! Reads below a directory without ever following a link out of it: each step opens one name relative to the one before.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use rustix::fs::{CWD, Mode, OFlags, openat};

use super::FilePath;

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
const FILE: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC);

/// Opens the file at `path` below `directory`; it must be a regular file of exactly that many bytes.
pub(super) fn open(directory: &Path, path: &FilePath, bytes: u64) -> io::Result<File> {
    let mut parent = openat(CWD, directory, DIRECTORY, Mode::empty())?;
    let mut segments = path.segments().peekable();
    while let Some(segment) = segments.next() {
        if segments.peek().is_some() {
            parent = openat(&parent, segment, DIRECTORY, Mode::empty())?;
        } else {
            let file = File::from(openat(&parent, segment, FILE, Mode::empty())?);
            return of_length(file, bytes);
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

/// Reads the file at `path` below `directory`, as [`open`] finds it.
pub(super) fn read(directory: &Path, path: &FilePath, bytes: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    let file = open(directory, path, bytes)?;
    file.take(bytes).read_to_end(&mut content)?;
    Ok(content)
}

fn of_length(file: File, bytes: u64) -> io::Result<File> {
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() != bytes {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "not a regular file of the expected length",
        ));
    }
    Ok(file)
}

/// The names of everything below `directory` that is not a directory, in relative form.
pub(super) fn names(directory: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    collect(directory, "", &mut names)?;
    Ok(names)
}

fn collect(directory: &Path, prefix: &str, names: &mut Vec<String>) -> io::Result<()> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        // A link to a directory is a name, not a directory: the type is that of the entry itself.
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &format!("{name}/"), names)?;
        } else {
            names.push(name);
        }
    }
    Ok(())
}
