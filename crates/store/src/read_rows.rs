//! Rows of projections: those that a stopped ledger holds, and those that its events make; which one differs first.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use countersign_ids::ChainId;
use countersign_projections::{Change, Projection, has_read_models};

use crate::layout::Lock;
use crate::log::project::decode;
use crate::log::{generations, keys, loaded, open, row_blocks};
use crate::read::Reader;
use crate::{Entry, Error, Position, Projections};

/// All rows of all projections by (projection, chain), in key order.
pub type AllRows = BTreeMap<(String, ChainId), BTreeMap<Vec<u8>, Vec<u8>>>;

/// What a stopped ledger's log holds of its projections, read from a copy of it.
#[derive(Debug, Clone, Default)]
pub struct StoredRows {
    /// The rows.
    pub rows: AllRows,
    /// How many events of its chain each projection has folded, and by which version.
    pub folded: BTreeMap<(String, ChainId), (u32, u64)>,
    /// How far into the journal the log reaches.
    pub position: Position,
}

impl StoredRows {
    /// Copies the log of a stopped ledger into `scratch` and reads the copy; [`Error::Locked`] if the ledger is in use.
    ///
    /// No process can open the ledger while it is copied.
    pub fn read(reader: &Reader, scratch: &Path) -> Result<Self, Error> {
        let from = reader.layout().sled();
        let copy = scratch.join("sled");
        {
            let _stopped = Lock::shared(reader.layout())?;
            copy_dir(&from, &copy)?;
        }
        let db = match open::open(&copy, &reader.description().ledger)? {
            Ok(db) => db,
            Err(reason) => return Err(Error::Foreign { path: from, reason }),
        };
        let stands = loaded::load(&db).map_err(|reason| Error::Foreign { path: from, reason })?;
        let mut stored = Self {
            position: Position::new(stands.position.end),
            ..Self::default()
        };
        let mut served = BTreeMap::new();
        // What an earlier version kept of other chains goes when the ledger is opened.
        let kept = |place: &keys::Place| has_read_models(&place.1);
        for (place, fold) in generations::stored(&db, keys::SERVING)? {
            if !kept(&place) {
                continue;
            }
            stored.rows.entry(place.clone()).or_default();
            if let Some(fold) = fold {
                served.insert(place.clone(), fold.generation);
                stored.folded.insert(place, (fold.version, fold.next));
            }
        }
        for item in db.scan_prefix(keys::ROWS) {
            let (key, value) = item?;
            // A block that is not what was written lacks its rows: the first of them is named.
            let rows = row_blocks::decode(&key, &value).unwrap_or_default();
            if let Some((place, generation, _)) = keys::row_place(&key)
                && kept(&place)
                && served
                    .get(&place)
                    .is_none_or(|served| *served == generation)
            {
                stored.rows.entry(place).or_default().extend(rows);
            }
        }
        Ok(stored)
    }
}

/// The first row that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The projection.
    pub projection: String,
    /// The chain.
    pub chain: ChainId,
    /// The row's key.
    pub key: Vec<u8>,
    /// What is stored; `None` if it is missing.
    pub stored: Option<Vec<u8>>,
    /// What the events make; `None` if there should be no such row.
    pub rebuilt: Option<Vec<u8>>,
}

/// Compares stored rows with rebuilt ones; the first difference in order of projection, chain and key.
#[must_use]
pub fn compare(stored: &AllRows, rebuilt: &AllRows) -> Option<Difference> {
    let none = BTreeMap::new();
    let places: std::collections::BTreeSet<_> = stored.keys().chain(rebuilt.keys()).collect();
    places.into_iter().find_map(|place| {
        let (one, other) = (
            stored.get(place).unwrap_or(&none),
            rebuilt.get(place).unwrap_or(&none),
        );
        let all: std::collections::BTreeSet<_> = one.keys().chain(other.keys()).collect();
        let key = all
            .into_iter()
            .find(|key| one.get(*key) != other.get(*key))?;
        Some(Difference {
            projection: place.0.clone(),
            chain: place.1.clone(),
            key: key.clone(),
            stored: one.get(key).cloned(),
            rebuilt: other.get(key).cloned(),
        })
    })
}

/// Folds verified events into rows in memory, as the ledger does into its log.
pub struct Rebuild {
    projections: Vec<Box<dyn Projection>>,
    rows: AllRows,
    stopped: BTreeMap<(String, ChainId), String>,
    /// How many events of its chain each projection folds; all of them if absent.
    ends: Option<BTreeMap<(String, ChainId), u64>>,
}

impl std::fmt::Debug for Rebuild {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rebuild")
            .field("rows", &self.rows)
            .field("stopped", &self.stopped)
            .finish_non_exhaustive()
    }
}

impl Rebuild {
    /// Begins with no rows.
    #[must_use]
    pub fn new(projections: &Projections) -> Self {
        Self::of(projections.make())
    }

    /// Begins with no rows of these.
    pub(crate) const fn of(projections: Vec<Box<dyn Projection>>) -> Self {
        Self {
            projections,
            rows: BTreeMap::new(),
            stopped: BTreeMap::new(),
            ends: None,
        }
    }

    /// Begins with no rows, and folds as far as `stored` had been folded: a ledger that was killed stores less than its
    /// journal tells, and is folded further when it is opened.
    #[must_use]
    pub fn as_far_as(projections: &Projections, stored: &StoredRows) -> Self {
        let ends = stored
            .folded
            .iter()
            .map(|(place, (_, next))| (place.clone(), *next));
        Self {
            ends: Some(ends.collect()),
            ..Self::new(projections)
        }
    }

    /// Folds the next event of its chain.
    pub fn fold(&mut self, entry: &Entry) {
        if !has_read_models(&entry.header().chain) {
            return;
        }
        let event = decode(entry);
        for projection in &self.projections {
            let place = (projection.name().to_owned(), entry.header().chain.clone());
            let ended = self.ends.as_ref().is_some_and(|ends| {
                let end = ends.get(&place).copied().unwrap_or(0);
                entry.sequence().get() >= end
            });
            if ended || self.stopped.contains_key(&place) {
                continue;
            }
            let rows = self.rows.entry(place.clone()).or_default();
            let changes = match &event {
                Ok(event) => projection
                    .fold(
                        &InMemory(rows),
                        &crate::log::project::folded(entry, event.as_ref()),
                    )
                    .map_err(|error| error.to_string()),
                Err(reason) => Err(reason.clone()),
            };
            match changes {
                Ok(changes) => apply(rows, changes),
                Err(reason) => {
                    self.stopped.insert(place, reason);
                }
            }
        }
    }

    /// The rows.
    #[must_use]
    pub const fn rows(&self) -> &AllRows {
        &self.rows
    }

    /// Projections that stopped in a chain, and why.
    #[must_use]
    pub const fn stopped(&self) -> &BTreeMap<(String, ChainId), String> {
        &self.stopped
    }
}

fn apply(rows: &mut BTreeMap<Vec<u8>, Vec<u8>>, changes: Vec<Change>) {
    for change in changes {
        match change {
            Change::Put { key, value } => rows.insert(key, value),
            Change::Delete { key } => rows.remove(&key),
        };
    }
}

struct InMemory<'a>(&'a BTreeMap<Vec<u8>, Vec<u8>>);

impl countersign_projections::Rows for InMemory<'_> {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.0.get(key).cloned()
    }
}

fn copy_dir(from: &Path, to: &Path) -> Result<(), Error> {
    let failed = |path: &Path| {
        let path = path.to_path_buf();
        move |error| Error::io(&path, error)
    };
    std::fs::create_dir_all(to).map_err(failed(to))?;
    for entry in std::fs::read_dir(from).map_err(failed(from))? {
        let entry = entry.map_err(failed(from))?;
        let (source, target): (PathBuf, PathBuf) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            copy_dir(&source, &target)?;
        } else {
            std::fs::copy(&source, &target).map_err(failed(&source))?;
        }
    }
    Ok(())
}
