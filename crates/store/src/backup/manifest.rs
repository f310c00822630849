//! What one backup says it holds. The bytes are the proof; this says what to compare them with, and where to go on.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use countersign_chain::ChainState;
use countersign_ids::{ChainId, Digest, LedgerId, Time};
use serde::{Deserialize, Serialize};

use super::error::Error;
use super::files::{directories_in, failed, replace};

const FORMAT: &str = "countersign-backup/1";
const FILE: &str = "backup.json";
const NAME_DIGITS: usize = 8;

/// One backup.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    format: String,
    /// The ledger.
    pub ledger: LedgerId,
    /// When it was made.
    pub made: Time,
    /// Where its journal ends.
    pub position: u64,
    pub(super) segments: Vec<Held>,
    /// Where each chain stands at its end.
    pub(super) chains: BTreeMap<ChainId, ChainState>,
    /// Where the newest segment began, and where each chain stood there: the next backup follows the chains from here.
    pub(super) settled: u64,
    pub(super) settled_chains: BTreeMap<ChainId, ChainState>,
}

/// One segment in a backup.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Held {
    pub(super) base: u64,
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) sha256: Digest,
    /// What its source was like, if it was sealed: while that does not change, the copy is as good as the source.
    pub(super) source: Option<Looks>,
}

/// By what a file is known to be the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Looks {
    bytes: u64,
    modified: String,
    inode: u64,
}

impl Looks {
    pub(super) fn of(path: &Path) -> Result<Self, crate::Error> {
        let found = std::fs::metadata(path).map_err(failed(path))?;
        Ok(Self {
            bytes: found.len(),
            modified: format!("{}.{:09}", found.mtime(), found.mtime_nsec()),
            inode: found.ino(),
        })
    }
}

impl Manifest {
    pub(super) fn new(ledger: LedgerId, made: Time) -> Self {
        Self {
            format: FORMAT.to_owned(),
            ledger,
            made,
            position: 0,
            segments: Vec::new(),
            chains: BTreeMap::new(),
            settled: 0,
            settled_chains: BTreeMap::new(),
        }
    }

    /// How many events of which chains it holds.
    #[must_use]
    pub fn sizes(&self) -> BTreeMap<ChainId, u64> {
        let chains = self.chains.iter();
        chains
            .map(|(chain, state)| (chain.clone(), state.size()))
            .collect()
    }

    /// Reads the manifest of one backup.
    pub fn read(generation: &Path) -> Result<Self, Error> {
        let path = generation.join(FILE);
        let damaged = |reason: String| Error::Damaged {
            path: generation.to_path_buf(),
            reason,
        };
        let text = std::fs::read(&path).map_err(failed(&path))?;
        let manifest: Self = serde_json::from_slice(&text)
            .map_err(|error| damaged(format!("its `{FILE}` cannot be read: {error}")))?;
        if manifest.format == FORMAT {
            Ok(manifest)
        } else {
            Err(damaged(format!("its format is `{}`", manifest.format)))
        }
    }

    pub(super) fn write(&self, generation: &Path) -> Result<(), Error> {
        let path = generation.join(FILE);
        let text = serde_json::to_vec_pretty(self)
            .map_err(|error| failed(&path)(std::io::Error::other(error)))?;
        Ok(replace(&path, &text)?)
    }
}

/// The backups in a directory, oldest first, by their numbers.
pub fn generations(directory: &Path) -> Result<BTreeMap<u64, PathBuf>, Error> {
    let numbered = |path: PathBuf| {
        let name = path.file_name()?.to_str()?;
        let digits = name.len() == NAME_DIGITS && name.bytes().all(|byte| byte.is_ascii_digit());
        let number = digits.then(|| name.parse().ok())??;
        Some((number, path))
    };
    let found = directories_in(directory)?;
    Ok(found.into_iter().filter_map(numbered).collect())
}

/// The name of a backup's directory.
pub(super) fn name(number: u64) -> String {
    format!("{number:0NAME_DIGITS$}")
}
