//! Runs the projections: one fold per projection and chain, rows and checkpoint in the same sled batch.
//!
//! A projection that fails on an event stops in that chain, by name, and says so until it is opened with code that can; the
//! other chains and projections go on. Rows that changed are visible at once and in sled a little later.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

use countersign_events::Event;
use countersign_ids::ChainId;
use countersign_projections::{Change, Folded, Projection, Rows, Stop};
use serde::{Deserialize, Serialize};

use super::keys;
use crate::options::Projections;
use crate::status::chain_of;
use crate::view::{Chain, ChangedRows, View};
use crate::{Entry, Error};

/// Events that are read at a time when a projection catches up.
const CATCH_UP_EVENTS: usize = 1024;

/// How far one projection is in one chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fold {
    pub(crate) version: u32,
    pub(crate) next: u64,
}

/// The projections and where they are.
pub(crate) struct Projector {
    projections: Vec<Arc<dyn Projection>>,
    folds: BTreeMap<(String, ChainId), Fold>,
    stopped: BTreeSet<(String, ChainId)>,
    touched: BTreeSet<(String, ChainId)>,
}

impl std::fmt::Debug for Projector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Projector")
            .field("folds", &self.folds)
            .finish_non_exhaustive()
    }
}

impl Projector {
    pub(crate) fn load(db: &sled::Db, projections: &Projections) -> Result<Self, Error> {
        let mut folds = BTreeMap::new();
        for item in db.scan_prefix(keys::FOLDED) {
            let (key, value) = item?;
            let place = keys::folded_place(&key);
            if let (Some(place), Ok(fold)) = (place, serde_json::from_slice(&value)) {
                folds.insert(place, fold);
            }
        }
        let projections = projections.make().into_iter().map(Arc::from).collect();
        Ok(Self {
            projections,
            folds,
            stopped: BTreeSet::new(),
            touched: BTreeSet::new(),
        })
    }

    /// Folds one verified event into every projection that is at it.
    pub(crate) fn fold(&mut self, view: &View, chain: &Chain, entry: &Entry) -> Result<(), Error> {
        let event = decode(entry);
        for projection in self.projections.clone() {
            self.fold_one(view, chain, projection.as_ref(), entry, event.as_ref())?;
        }
        Ok(())
    }

    fn fold_one(
        &mut self,
        view: &View,
        chain: &Chain,
        projection: &dyn Projection,
        entry: &Entry,
        event: Result<&Option<Event>, &String>,
    ) -> Result<(), Error> {
        let key = (projection.name().to_owned(), chain.id.clone());
        if self.stopped.contains(&key) {
            return Ok(());
        }
        let fresh = Fold {
            version: projection.version(),
            next: 0,
        };
        let fold = self.folds.entry(key.clone()).or_insert(fresh);
        if fold.version != projection.version() || fold.next != entry.sequence().get() {
            // Behind: `catch_up` brings it here, from the log.
            return Ok(());
        }
        let rows = ChainRows::of(view, projection.name(), &chain.id);
        let changes = match event {
            Ok(event) => rows.checked(projection.fold(&rows, &folded(entry, event.as_ref()))),
            Err(reason) => Err(reason.clone()),
        };
        match changes {
            Ok(changes) => {
                fold.next = fold.next.saturating_add(1);
                rows.change(changes);
                self.touched.insert(key);
            }
            Err(reason) => {
                view.board.projection_stopped(
                    projection.name(),
                    &chain.id,
                    entry.sequence(),
                    &reason,
                );
                self.stopped.insert(key);
            }
        }
        Ok(())
    }

    /// Folds what a projection missed: it is new, has another version, or was stopped.
    pub(crate) fn catch_up(&mut self, view: &View, chain: &Chain) -> Result<(), Error> {
        for projection in self.projections.clone() {
            let key = (projection.name().to_owned(), chain.id.clone());
            let fresh = Fold {
                version: projection.version(),
                next: 0,
            };
            let fold = *self.folds.entry(key.clone()).or_insert(fresh);
            if fold.version != projection.version() {
                clear(view, &keys::rows(projection.name(), &chain.id))?;
                self.folds.insert(key.clone(), fresh);
                self.touched.insert(key.clone());
            }
            loop {
                let next = self.folds.get(&key).map_or(0, |fold| fold.next);
                if next >= chain.size() || self.stopped.contains(&key) {
                    break;
                }
                for entry in view.read(chain, next, CATCH_UP_EVENTS)? {
                    let event = decode(&entry);
                    self.fold_one(view, chain, projection.as_ref(), &entry, event.as_ref())?;
                }
            }
        }
        Ok(())
    }

    /// Adds changed rows and checkpoints to the batch.
    pub(crate) fn stage(&mut self, view: &View, batch: &mut sled::Batch) -> Result<(), Error> {
        for (key, value) in view
            .rows
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
        {
            match value {
                Some(value) => batch.insert(key.as_slice(), value.as_slice()),
                None => batch.remove(key.as_slice()),
            }
        }
        for key in std::mem::take(&mut self.touched) {
            if let Some(fold) = self.folds.get(&key) {
                let value = serde_json::to_vec(fold)
                    .map_err(|error| Error::Log(std::io::Error::from(error).into()))?;
                batch.insert(keys::folded(&key.0, &key.1), value);
            }
        }
        Ok(())
    }

    /// The batch is in sled: its rows are read from there.
    pub(crate) fn settle(&self, view: &View) {
        view.rows
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}

/// The event in an entry; `None` where its body is gone or sealed.
pub(crate) fn decode(entry: &Entry) -> Result<Option<Event>, String> {
    let header = entry.header();
    match entry.body() {
        Some(body) if header.bodykey.is_none() => Event::decode(&header.event_type, body)
            .map(Some)
            .map_err(|error| error.to_string()),
        _ => Ok(None),
    }
}

/// An event as projections see it.
pub(crate) fn folded<'a>(entry: &'a Entry, event: Option<&'a Event>) -> Folded<'a> {
    Folded {
        header: entry.header(),
        hash: entry.hash(),
        event,
    }
}

fn clear(view: &View, prefix: &[u8]) -> Result<(), Error> {
    let mut rows = view.rows.write().unwrap_or_else(PoisonError::into_inner);
    for key in view.log.db.scan_prefix(prefix).keys() {
        rows.insert(key?.to_vec(), None);
    }
    Ok(())
}

/// The rows of one projection in one chain, as its fold sees them.
pub(crate) struct ChainRows<'a> {
    changed: &'a RwLock<ChangedRows>,
    db: &'a sled::Db,
    prefix: Vec<u8>,
    /// The first row that could not be read: what was folded from it does not count.
    failed: RefCell<Option<Error>>,
}

impl<'a> ChainRows<'a> {
    pub(crate) fn of(view: &'a View, projection: &str, chain: &ChainId) -> Self {
        Self {
            changed: &view.rows,
            db: &view.log.db,
            prefix: keys::rows(projection, chain),
            failed: RefCell::default(),
        }
    }

    /// One row, changed or stored.
    pub(crate) fn find(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let key = [self.prefix.as_slice(), key].concat();
        if let Some(changed) = self
            .changed
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&key)
        {
            return Ok(changed.clone());
        }
        Ok(self.db.get(key)?.map(|value| value.to_vec()))
    }

    /// What a fold made of these rows, unless one of them could not be read.
    fn checked(&self, made: Result<Vec<Change>, Stop>) -> Result<Vec<Change>, String> {
        match self.failed.take() {
            Some(error) => Err(format!("a row cannot be read: {}", chain_of(&error))),
            None => made.map_err(|stop| stop.to_string()),
        }
    }

    fn change(&self, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        let mut rows = self.changed.write().unwrap_or_else(PoisonError::into_inner);
        for change in changes {
            let (key, value) = match change {
                Change::Put { key, value } => (key, Some(value)),
                Change::Delete { key } => (key, None),
            };
            rows.insert([self.prefix.as_slice(), &key].concat(), value);
        }
    }
}

impl Rows for ChainRows<'_> {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.find(key).unwrap_or_else(|error| {
            self.failed.borrow_mut().get_or_insert(error);
            None
        })
    }
}

impl View {
    /// Rows of a projection in one chain whose keys begin with `prefix`, behind `after`, in key order.
    pub(crate) fn rows(
        &self,
        projection: &str,
        chain: &ChainId,
        range: &crate::RowRange,
    ) -> Result<Vec<crate::Row>, Error> {
        let all = keys::rows(projection, chain);
        let prefix = [all.as_slice(), &range.prefix].concat();
        let start = range
            .after
            .as_ref()
            .map_or_else(
                || prefix.clone(),
                |after| [all.as_slice(), after, b"\0"].concat(),
            )
            .max(prefix.clone());
        // The overlay is read first: a row that moves to sled meanwhile is then seen in at least one of the two.
        let changed: BTreeMap<Vec<u8>, Option<Vec<u8>>> = self
            .rows
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .range(start.clone()..)
            .take_while(|(key, _)| key.starts_with(&prefix))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        let mut merged = BTreeMap::new();
        for item in self.log.db.range(start..) {
            let (key, value) = item?;
            if !key.starts_with(&prefix) || merged.len() > range.limit.saturating_add(changed.len())
            {
                break;
            }
            merged.insert(key.to_vec(), value.to_vec());
        }
        for (key, value) in changed {
            match value {
                Some(value) => merged.insert(key, value),
                None => merged.remove(&key),
            };
        }
        let rows = merged.into_iter().take(range.limit);
        Ok(rows
            .map(|(key, value)| crate::Row {
                key: key.get(all.len()..).unwrap_or_default().to_vec(),
                value,
            })
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_cannot_be_read_is_an_error_and_no_missing_row() {
        let dir = tempfile::tempdir().unwrap();
        let filled = sled::open(dir.path()).unwrap();
        for number in 0..2000_u32 {
            filled.insert(number.to_be_bytes(), vec![7; 1000]).unwrap();
        }
        drop(filled);
        let db = sled::open(dir.path()).unwrap();
        std::fs::OpenOptions::new()
            .write(true)
            .open(dir.path().join("db"))
            .unwrap()
            .set_len(0)
            .unwrap();
        let changed = RwLock::default();
        let rows = ChainRows {
            changed: &changed,
            db: &db,
            prefix: Vec::new(),
            failed: RefCell::default(),
        };
        let failed = (0..2000_u32).find(|number| rows.find(&number.to_be_bytes()).is_err());
        let failed = failed.unwrap().to_be_bytes();
        assert_eq!(rows.get(&failed), None);
        let stopped = rows.checked(Ok(Vec::new())).unwrap_err();
        assert!(stopped.starts_with("a row cannot be read: "), "{stopped}");
        assert!(rows.checked(Ok(Vec::new())).is_ok());
    }
}
