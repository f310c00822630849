//! Runs the projections: one fold per projection and chain, rows and checkpoint in the same sled batch.
//!
//! A projection that fails on an event stops in that chain, by name, and says so until it is opened with code that can; the
//! other chains and projections go on. Rows that changed are visible at once and in sled a little later.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use countersign_events::Event;
use countersign_ids::{ChainId, Sequence};
use countersign_projections::{Change, Folded, Projection, Rows, Stop};
use serde::{Deserialize, Serialize};

use super::{keys, row_blocks, values};
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
    /// Rows that could not be staged and stay in memory.
    kept: BTreeSet<Vec<u8>>,
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
        for (place, fold) in stored_folds(db)? {
            folds.insert(place, fold.ok_or_else(row_blocks::damaged)?);
        }
        let projections = projections.make().into_iter().map(Arc::from).collect();
        Ok(Self {
            projections,
            folds,
            stopped: BTreeSet::new(),
            touched: BTreeSet::new(),
            kept: BTreeSet::new(),
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

    /// Folds what projections missed: they are new, have another version, or were stopped. `true` once `limit` events were
    /// folded: there may be more.
    pub(crate) fn catch_up(
        &mut self,
        view: &View,
        chain: &Chain,
        limit: u64,
    ) -> Result<bool, Error> {
        let mut left = limit;
        for projection in self.projections.clone() {
            let key = (projection.name().to_owned(), chain.id.clone());
            let fresh = Fold {
                version: projection.version(),
                next: 0,
            };
            let fold = *self.folds.entry(key.clone()).or_insert(fresh);
            if fold.version != projection.version() {
                // The old version stays on record until its rows are gone.
                row_blocks::clear(&view.log.db(), &keys::rows(projection.name(), &chain.id))?;
                self.folds.insert(key.clone(), fresh);
                self.touched.insert(key.clone());
            }
            loop {
                let next = self.folds.get(&key).map_or(0, |fold| fold.next);
                if next >= chain.size() || self.stopped.contains(&key) {
                    break;
                }
                if left == 0 {
                    return Ok(true);
                }
                for entry in view.read(chain, next, CATCH_UP_EVENTS)? {
                    let event = decode(&entry);
                    self.fold_one(view, chain, projection.as_ref(), &entry, event.as_ref())?;
                    left = left.saturating_sub(1);
                }
            }
        }
        Ok(false)
    }

    /// Adds changed rows and checkpoints to the batch.
    pub(crate) fn stage(&mut self, view: &View, batch: &mut sled::Batch) -> Result<(), Error> {
        let rows = view.rows.read().unwrap_or_else(PoisonError::into_inner);
        for (prefix, changed) in rows.iter() {
            if self.kept.contains(prefix)
                || row_blocks::stage(&view.log.db(), batch, prefix, changed)?
            {
                continue;
            }
            // What is in memory is right and goes on being served; the log is made again when the ledger is opened next.
            view.log.mark_damaged()?;
            self.kept.insert(prefix.clone());
            if let Some((key, _)) = keys::row_place(prefix) {
                let next = self.folds.get(&key).map_or(0, |fold| fold.next);
                let reason = chain_of(&row_blocks::damaged());
                view.board
                    .projection_stopped(&key.0, &key.1, Sequence::new(next), &reason);
                self.touched.remove(&key);
                self.stopped.insert(key);
            }
        }
        for key in std::mem::take(&mut self.touched) {
            if let Some(fold) = self.folds.get(&key) {
                let value = serde_json::to_vec(fold)
                    .map_err(|error| Error::Log(std::io::Error::from(error).into()))?;
                let key = keys::folded(&key.0, &key.1);
                batch.insert(key.as_slice(), values::seal(&key, &value));
            }
        }
        Ok(())
    }

    /// The batch is in sled: its rows are read from there.
    pub(crate) fn settle(&self, view: &View) {
        view.rows
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|prefix, _| self.kept.contains(prefix));
    }
}

/// How far each projection is in each chain; `None` where that is not what was written.
pub(crate) fn stored_folds(
    db: &sled::Db,
) -> Result<BTreeMap<(String, ChainId), Option<Fold>>, Error> {
    let mut folds = BTreeMap::new();
    for item in db.scan_prefix(keys::FOLDED) {
        let (key, value) = item?;
        let fold = values::unseal(&key, &value);
        let fold = fold.and_then(|fold| serde_json::from_slice(fold).ok());
        folds.insert(
            keys::folded_place(&key).ok_or_else(row_blocks::damaged)?,
            fold,
        );
    }
    Ok(folds)
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

/// The rows of one projection in one chain, as its fold sees them.
pub(crate) struct ChainRows<'a> {
    changed: &'a RwLock<ChangedRows>,
    db: RwLockReadGuard<'a, sled::Db>,
    prefix: Vec<u8>,
    /// The first row that could not be read: what was folded from it does not count.
    failed: RefCell<Option<Error>>,
}

impl<'a> ChainRows<'a> {
    pub(crate) fn of(view: &'a View, projection: &str, chain: &ChainId) -> Self {
        Self {
            changed: &view.rows,
            db: view.log.db(),
            prefix: keys::rows(projection, chain),
            failed: RefCell::default(),
        }
    }

    /// One row, changed or stored.
    pub(crate) fn find(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let changed = self.changed.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = changed.get(&self.prefix).and_then(|rows| rows.get(key)) {
            return Ok(value.clone());
        }
        drop(changed);
        row_blocks::find(&self.db, &self.prefix, key)
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
        let rows = rows.entry(self.prefix.clone()).or_default();
        rows.extend(changes.into_iter().map(|change| match change {
            Change::Put { key, value } => (key, Some(value)),
            Change::Delete { key } => (key, None),
        }));
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
        let start = range.after.as_ref().map_or_else(
            || range.prefix.clone(),
            |after| [after.as_slice(), b"\0"].concat(),
        );
        let start = start.max(range.prefix.clone());
        // The overlay is read first: a row that moves to sled meanwhile is then seen in at least one of the two.
        let changed: row_blocks::Changed = self
            .rows
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&all)
            .into_iter()
            .flat_map(|rows| rows.range(start.clone()..))
            .take_while(|(key, _)| key.starts_with(&range.prefix))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        let enough = range.limit.saturating_add(changed.len());
        let mut merged = BTreeMap::new();
        row_blocks::scan(&self.log.db(), &all, &start, |(key, value)| {
            let wanted = key.starts_with(&range.prefix) && merged.len() < enough;
            if wanted {
                merged.insert(key, value);
            }
            wanted
        })?;
        for (key, value) in changed {
            match value {
                Some(value) => merged.insert(key, value),
                None => merged.remove(&key),
            };
        }
        let rows = merged.into_iter().take(range.limit);
        Ok(rows.map(|(key, value)| crate::Row { key, value }).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_cannot_be_read_is_an_error_and_no_missing_row() {
        let dir = tempfile::tempdir().unwrap();
        let filled = sled::open(dir.path()).unwrap();
        let noise = |number: u32| blake3::hash(&number.to_be_bytes()).to_hex().repeat(9);
        let rows = (0..2000_u32).map(|number| {
            let value = Some(noise(number).into_bytes());
            (number.to_be_bytes().to_vec(), value)
        });
        let mut batch = sled::Batch::default();
        assert!(row_blocks::stage(&filled, &mut batch, b"r", &rows.collect()).unwrap());
        filled.apply_batch(batch).unwrap();
        drop(filled);
        let db = RwLock::new(sled::open(dir.path()).unwrap());
        std::fs::OpenOptions::new()
            .write(true)
            .open(dir.path().join("db"))
            .unwrap()
            .set_len(0)
            .unwrap();
        let changed = RwLock::default();
        let rows = ChainRows {
            changed: &changed,
            db: db.read().unwrap(),
            prefix: b"r".to_vec(),
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
