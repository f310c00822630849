//! The files of a data directory: whose they are, who may read them, how much room is left, what state the log is in.

use super::finding::Finding;
use crate::codes;
use crate::exit::with_causes;
use crate::survey::Survey;
use anyhow::{Context as _, Result};
use countersign_store::codes as store;
use countersign_store::read::{Reader, StoredRows};
use countersign_store::{Error, Layout};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// A segment is allocated whole, and the next one ahead of its time.
const FREE_BYTES_MIN: u64 = 2 * 64 * 1024 * 1024;
/// Below this an operator has hours rather than weeks.
const FREE_BYTES_LOW: u64 = 1024 * 1024 * 1024;
/// The largest log that is copied to be looked at.
const LOG_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;

/// What a data directory is made of.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    Description,
    Journal,
    Blobs,
    Keys,
    Keyring,
}

impl Place {
    const ALL: [Self; 5] = [
        Self::Description,
        Self::Journal,
        Self::Blobs,
        Self::Keys,
        Self::Keyring,
    ];

    pub(super) fn path(self, layout: &Layout) -> PathBuf {
        match self {
            Self::Description => layout.description(),
            Self::Journal => layout.journal(),
            Self::Blobs => layout.blobs(),
            Self::Keys => layout.keys(),
            Self::Keyring => layout.keyring(),
        }
    }

    const fn is_secret(self) -> bool {
        matches!(self, Self::Keys | Self::Keyring)
    }
}

/// Everything belongs to whoever owns the directory, who may write it; nobody else may, and keys are for the owner alone.
pub(super) fn permissions(layout: &Layout) -> Result<Vec<Finding>> {
    let root = layout.root();
    let owner = std::fs::metadata(root)
        .with_context(|| format!("cannot look at `{}`", root.display()))?
        .uid();
    let mut wrong = Vec::new();
    let mut paths = vec![(root.to_path_buf(), false)];
    paths.extend(Place::ALL.map(|place| (place.path(layout), place.is_secret())));
    paths.extend(segments(layout).into_iter().map(|path| (path, false)));
    for (path, secret) in paths {
        let shown = path.display().to_string();
        let Ok(found) = std::fs::metadata(&path) else {
            wrong.push(format!("`{shown}` is missing"));
            continue;
        };
        let mode = found.permissions().mode() & 0o777;
        if found.uid() != owner {
            wrong.push(format!(
                "`{shown}` belongs to user {}, the directory to user {owner}",
                found.uid()
            ));
        }
        let forbidden = if secret { 0o077 } else { 0o022 };
        if mode & forbidden != 0 {
            wrong.push(format!("`{shown}` has mode {mode:o}: others may use it"));
        }
        let needed = if found.is_dir() { 0o700 } else { 0o600 };
        if mode & needed != needed {
            wrong.push(format!(
                "`{shown}` has mode {mode:o}: its owner cannot write it"
            ));
        }
    }
    if wrong.is_empty() {
        return Ok(vec![Finding::fine(
            "permissions",
            format!("everything belongs to user {owner}"),
        )]);
    }
    Ok(wrong
        .into_iter()
        .map(|what| Finding::wrong("permissions", codes::DATA_PERMISSIONS, what))
        .collect())
}

fn segments(layout: &Layout) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(layout.journal()) else {
        return Vec::new();
    };
    let paths = entries.flatten().map(|entry| entry.path());
    // What a running server makes beside its segments may be gone a moment later.
    let mut paths: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "seg"))
        .collect();
    paths.sort();
    paths
}

/// Files under `directory` that others than their owner can read.
pub(super) fn open_files(directory: &Path) -> Vec<String> {
    let mut open = Vec::new();
    let Ok(entries) = std::fs::read_dir(directory) else {
        return open;
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        let Ok(found) = std::fs::symlink_metadata(&path) else {
            continue;
        };
        let mode = found.permissions().mode() & 0o777;
        if found.is_dir() {
            open.extend(open_files(&path));
        } else if mode & 0o077 != 0 {
            open.push(format!("`{}` has mode {mode:o}", path.display()));
        }
    }
    open.sort();
    open
}

/// Bytes that this user may still write beside the ledger.
pub(super) fn free_bytes(data: &Path) -> Result<u64> {
    let state = rustix::fs::statvfs(data)
        .with_context(|| format!("cannot ask for the free space of `{}`", data.display()))?;
    Ok(state.f_bavail.saturating_mul(state.f_frsize))
}

/// Whether so much room is enough.
pub(super) fn space(free: u64) -> Finding {
    let what = format!("{} MiB are free", free / (1024 * 1024));
    if free < FREE_BYTES_MIN {
        Finding::wrong("space", store::DISK_FULL, what)
    } else if free < FREE_BYTES_LOW {
        Finding::wrong("space", codes::DISK_LOW, what)
    } else {
        Finding::fine("space", what)
    }
}

/// The log behind the journal: it can always be made again, so what is wrong with it costs time and nothing else.
pub(super) fn log(reader: &Reader, survey: &Survey, live: bool) -> Result<Vec<Finding>> {
    let layout = reader.layout();
    let mut findings = Vec::new();
    for entry in std::fs::read_dir(layout.root())?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("sled.aside-") {
            let what = format!("`{name}` was set aside by an earlier start");
            findings.push(Finding::note("log", codes::LOG_SET_ASIDE, what));
        }
    }
    let sled = layout.sled();
    let what = if live {
        "in use: ask the server for its state"
    } else if !sled.is_dir() {
        let what = "there is none; the next start makes it from the journal";
        findings.push(Finding::note("log", codes::LOG_SET_ASIDE, what));
        return Ok(findings);
    } else if bytes_under(&sled) > LOG_BYTES_MAX {
        "too large to be copied and looked at; `replay rebuild --check` compares it whole"
    } else {
        findings.push(stopped(reader, survey)?);
        return Ok(findings);
    };
    findings.push(Finding::fine("log", what));
    Ok(findings)
}

/// Reads a copy, because sled writes when it is opened.
fn stopped(reader: &Reader, survey: &Survey) -> Result<Finding> {
    let scratch = Scratch::new()?;
    Ok(match StoredRows::read(reader, &scratch.0) {
        Ok(stored) if stored.position > survey.position => {
            let what = format!(
                "it reaches {}, the journal ends at {}: the journal is older than the log",
                stored.position, survey.position
            );
            Finding::wrong("log", store::DAMAGED, what)
        }
        Ok(stored) => {
            let lag = survey.position.since(stored.position);
            let what =
                format!("it lacks {lag} bytes of the journal, which the next start takes in");
            Finding::fine("log", what)
        }
        Err(Error::Locked { .. }) => Finding::fine("log", "a process opened the ledger just now"),
        Err(error) => Finding::note("log", store::LOG_FAILED, with_causes(&error)),
    })
}

fn bytes_under(directory: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return 0;
    };
    entries.flatten().fold(0, |bytes, entry| {
        let path = entry.path();
        let more = if path.is_dir() {
            bytes_under(&path)
        } else {
            entry.metadata().map_or(0, |found| found.len())
        };
        bytes.saturating_add(more)
    })
}

/// A directory for a copy, removed when it is done with.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self> {
        let name = format!("countersign-doctor-{}", crate::client::fresh_key()?);
        let path = std::env::temp_dir().join(name);
        std::os::unix::fs::DirBuilderExt::mode(&mut std::fs::DirBuilder::new(), 0o700)
            .create(&path)
            .with_context(|| format!("cannot make `{}`", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}
