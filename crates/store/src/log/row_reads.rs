//! Rows of projections, as folds and readers see them: those that changed, in memory, over those in sled.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use countersign_ids::ChainId;
use countersign_projections::{Change, Rows, Stop};

use super::keys::{self, Generation};
use super::row_blocks;
use crate::Error;
use crate::status::chain_of;
use crate::view::{ChangedRows, View};

/// The rows of one projection in one chain, as its fold sees them.
pub(crate) struct ChainRows<'a> {
    changed: &'a RwLock<ChangedRows>,
    db: RwLockReadGuard<'a, sled::Db>,
    prefix: Vec<u8>,
    /// The first row that could not be read: what was folded from it does not count.
    failed: RefCell<Option<Error>>,
}

impl<'a> ChainRows<'a> {
    pub(crate) fn of(
        view: &'a View,
        projection: &str,
        chain: &ChainId,
        generation: Generation,
    ) -> Self {
        Self {
            changed: &view.rows,
            db: view.log.db(),
            prefix: keys::rows(projection, chain, generation),
            failed: RefCell::default(),
        }
    }

    /// One row, changed or stored.
    fn find(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let changed = self.changed.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = changed.get(&self.prefix).and_then(|rows| rows.get(key)) {
            return Ok(value.clone());
        }
        drop(changed);
        row_blocks::find(&self.db, &self.prefix, key)
    }

    /// What a fold made of these rows, unless one of them could not be read.
    pub(super) fn checked(&self, made: Result<Vec<Change>, Stop>) -> Result<Vec<Change>, String> {
        match self.failed.take() {
            Some(error) => Err(format!("a row cannot be read: {}", chain_of(&error))),
            None => made.map_err(|stop| stop.to_string()),
        }
    }

    pub(super) fn change(&self, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        let mut rows = self.changed.write().unwrap_or_else(PoisonError::into_inner);
        if !rows.contains_key(&self.prefix) {
            rows.insert(self.prefix.clone(), BTreeMap::new());
        }
        let Some(rows) = rows.get_mut(&self.prefix) else {
            return;
        };
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
    /// One row of a projection in a chain.
    pub(crate) fn row(
        &self,
        projection: &str,
        chain: &ChainId,
        key: &[u8],
    ) -> Result<Option<Vec<u8>>, Error> {
        self.of_served(projection, chain, |generation| {
            ChainRows::of(self, projection, chain, generation).find(key)
        })
    }

    /// Rows of a projection in one chain whose keys begin with `prefix`, behind `after`, in key order.
    pub(crate) fn rows(
        &self,
        projection: &str,
        chain: &ChainId,
        range: &crate::RowRange,
    ) -> Result<Vec<crate::Row>, Error> {
        self.of_served(projection, chain, |generation| {
            self.rows_below(&keys::rows(projection, chain, generation), range)
        })
    }

    fn rows_below(&self, all: &[u8], range: &crate::RowRange) -> Result<Vec<crate::Row>, Error> {
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
            .get(all)
            .into_iter()
            .flat_map(|rows| rows.range(start.clone()..))
            .take_while(|(key, _)| key.starts_with(&range.prefix))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        let enough = range.limit.saturating_add(changed.len());
        let mut merged = BTreeMap::new();
        row_blocks::scan(&self.log.db(), all, &start, |(key, value)| {
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
