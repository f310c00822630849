//! Read models rebuilt from the events, and compared with the ones in use.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use countersign_chain::ChainState;
use countersign_ids::{ChainId, Code};
use countersign_projections::has_read_models;
use countersign_store::read::{Difference, Rebuild, StoredRows, compare};
use countersign_store::{Entry, Error, Projections};
use serde::Serialize;

use crate::codes;
use crate::directory::Directory;
use crate::progress::Progress;
use crate::source::{GO_ON, Kind, Source, SourceError};
use crate::verdict::Findings;

/// The rows of one read model over one chain, by key.
type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// Why nothing was compared.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// The source.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A bundle has no read models (exit 64).
    #[error("a bundle has no read models; give a data directory")]
    NoRows,
    /// The rows in use cannot be read while a server uses them (exit 2).
    #[error("the ledger is in use; stop the server, or rebuild without --check")]
    InUse,
    /// The copy of the rows cannot be read (exit 1).
    #[error("the rows in use cannot be read")]
    Rows(#[source] Error),
}

impl RebuildError {
    /// The exit code.
    pub const fn exit(&self) -> u8 {
        match self {
            Self::Source(error) => error.exit(),
            Self::NoRows => 64,
            Self::InUse => 2,
            Self::Rows(_) => 1,
        }
    }

    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::Source(error) => error.code(),
            Self::NoRows => codes::UNREADABLE,
            Self::InUse => codes::INCOMPLETE,
            Self::Rows(_) => codes::ROWS,
        }
    }
}

/// The rows of one projection over one chain.
#[derive(Debug, Clone, Serialize)]
pub struct Model {
    /// The projection.
    pub projection: String,
    /// The chain.
    pub chain: String,
    /// How many rows the events make.
    pub rows: u64,
    /// SHA-256 over every key and value, each with its length, in order of keys.
    pub digest: String,
    /// Why the projection stopped in this chain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
}

/// The first row that differs.
#[derive(Debug, Clone, Serialize)]
pub struct Differs {
    /// The projection.
    pub projection: String,
    /// The chain.
    pub chain: String,
    /// The row's key, as text where it is text, else in hexadecimal.
    pub key: String,
    /// The row in use; none where it is missing.
    pub stored: Option<String>,
    /// The row that the events make; none where there should be none.
    pub rebuilt: Option<String>,
}

/// What was rebuilt and compared.
#[derive(Debug, Clone, Serialize)]
pub struct Rebuilt {
    /// Whether the rows in use were compared.
    pub compared: bool,
    /// Every read model.
    pub models: Vec<Model>,
    /// The first row that differs.
    pub difference: Option<Differs>,
    /// An event that broke its chain: nothing after it was folded.
    pub broken: Vec<String>,
}

impl Rebuilt {
    /// The exit code.
    pub fn exit(&self) -> u8 {
        u8::from(self.difference.is_some() || !self.broken.is_empty())
    }

    /// For programs.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"))
    }

    /// For people.
    pub fn to_text(&self) -> String {
        let mut lines = Vec::new();
        for model in &self.models {
            let stopped = model
                .stopped
                .as_ref()
                .map(|reason| format!(" stopped: {reason}"))
                .unwrap_or_default();
            lines.push(format!(
                "{} {} {} rows {}{stopped}",
                model.projection, model.chain, model.rows, model.digest
            ));
        }
        lines.extend(
            self.broken
                .iter()
                .map(|broken| format!("not folded further: {broken}")),
        );
        lines.push(match &self.difference {
            Some(differs) => differs.to_text(),
            None if self.compared => "the rows in use are the rows that the events make".to_owned(),
            None => "not compared; --check compares with the rows in use".to_owned(),
        });
        lines.join("\n") + "\n"
    }
}

impl Differs {
    /// Names the row.
    pub fn to_text(&self) -> String {
        let side = |row: &Option<String>| row.clone().unwrap_or_else(|| "no row".to_owned());
        format!(
            "row `{}` of {} in {} differs: stored {}, rebuilt {}",
            self.key,
            self.projection,
            self.chain,
            side(&self.stored),
            side(&self.rebuilt)
        )
    }
}

impl From<Difference> for Differs {
    fn from(difference: Difference) -> Self {
        Self {
            projection: difference.projection,
            chain: difference.chain.to_string(),
            key: text(&difference.key),
            stored: difference.stored.as_deref().map(text),
            rebuilt: difference.rebuilt.as_deref().map(text),
        }
    }
}

fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains(char::is_control) => text.to_owned(),
        _ => hex::encode(bytes),
    }
}

/// Rebuilds the read models of a data directory, and compares them with the ones in use where `check` asks for it.
pub fn rebuild(path: &Path, check: bool, progress: &mut Progress) -> Result<Rebuilt, RebuildError> {
    rebuild_directory(&open_directory(path)?, check, progress)
}

/// A data directory; a bundle has no read models.
pub(crate) fn open_directory(path: &Path) -> Result<Directory, RebuildError> {
    let is_directory = std::fs::metadata(path)
        .map_err(|error| SourceError::Io {
            path: path.display().to_string(),
            error,
        })?
        .is_dir();
    if !is_directory {
        return Err(RebuildError::NoRows);
    }
    Ok(Directory::open(path)?)
}

/// As [`rebuild`], of a directory that is open already.
pub fn rebuild_directory(
    directory: &Directory,
    check: bool,
    progress: &mut Progress,
) -> Result<Rebuilt, RebuildError> {
    if check && directory.kind() == Kind::Live {
        return Err(RebuildError::InUse);
    }
    let stored = if check {
        Some(read_stored(directory)?)
    } else {
        None
    };
    progress.step("rebuilding rows");
    progress.expect(Some(directory.folded_count()?));
    let Folded { fold, broken, .. } = fold(directory, stored.as_ref(), u64::MAX, progress)?;
    progress.finish();
    let difference = stored
        .and_then(|stored| compare(&stored.rows, fold.rows()))
        .map(Differs::from);
    let model = |(place, rows): (&(String, ChainId), &Rows)| Model {
        projection: place.0.clone(),
        chain: place.1.to_string(),
        rows: rows.len() as u64,
        digest: countersign_projections::digest(rows).to_string(),
        stopped: fold.stopped().get(place).cloned(),
    };
    let models = fold.rows().iter().map(model).collect();
    Ok(Rebuilt {
        compared: check,
        models,
        difference,
        broken,
    })
}

fn read_stored(directory: &Directory) -> Result<StoredRows, RebuildError> {
    let scratch = tempfile::tempdir().map_err(|error| SourceError::Io {
        path: "a temporary directory".to_owned(),
        error,
    })?;
    match StoredRows::read(directory.reader(), scratch.path()) {
        Ok(stored) => Ok(stored),
        Err(Error::Locked { .. }) => Err(RebuildError::InUse),
        Err(error) => Err(RebuildError::Rows(error)),
    }
}

/// What folding came to.
#[derive(Debug)]
pub(crate) struct Folded {
    fold: Rebuild,
    broken: Vec<String>,
    /// How many events were read.
    pub(crate) events: u64,
}

/// Folds every event that verifies as the next of its chain, up to `limit` events; a tampered one stops its chain, by name.
pub(crate) fn fold(
    directory: &Directory,
    stored: Option<&StoredRows>,
    limit: u64,
    progress: &mut Progress,
) -> Result<Folded, SourceError> {
    let ledger = directory.ledger();
    let mut fold = match stored {
        Some(stored) => Rebuild::as_far_as(&Projections::all(), stored),
        None => Rebuild::new(&Projections::all()),
    };
    let mut states: BTreeMap<String, Option<ChainState>> = BTreeMap::new();
    let (mut broken, mut events) = (Vec::new(), 0_u64);
    let folds = |chain: &str| chain.parse().is_ok_and(|chain| has_read_models(&chain));
    directory.events(&folds, &mut Findings::default(), &mut |entry, _| {
        if events >= limit {
            return Ok(ControlFlow::Break(()));
        }
        events = events.saturating_add(1);
        progress.event();
        let Ok(chain) = entry.chain.parse::<ChainId>() else {
            return GO_ON;
        };
        let state = states
            .entry(entry.chain.clone())
            .or_insert_with(|| Some(ChainState::genesis(&ledger, &chain)));
        match state.as_mut().map(|state| state.follow(&entry.record)) {
            None => {}
            Some(Ok(verified)) => fold.fold(&Entry::from(verified)),
            Some(Err(error)) => {
                broken.push(format!("{chain}: {error}"));
                *state = None;
            }
        }
        GO_ON
    })?;
    Ok(Folded {
        fold,
        broken,
        events,
    })
}
