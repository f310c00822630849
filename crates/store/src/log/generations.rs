//! How far each projection is made in each chain: the rows that are served, and those that will take their place.
//!
//! A projection that is made again gets rows of another generation, beside those that are served; once they reach as far, the
//! two records change in one batch, and what was served becomes garbage, which is removed a little at a time. Every step is
//! in these records, so a crash between any two is finished by the next start.

use std::collections::{BTreeMap, BTreeSet};

use countersign_ids::Sequence;
use serde::{Deserialize, Serialize};

use super::keys::{self, Generation, Place};
use super::{row_blocks, values};
use crate::Error;

/// How far one projection is in one chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fold {
    pub(crate) version: u32,
    pub(crate) next: u64,
    pub(crate) generation: Generation,
}

/// All records.
#[derive(Debug, Default)]
pub(crate) struct Generations {
    pub(crate) serving: BTreeMap<Place, Fold>,
    pub(crate) building: BTreeMap<Place, Fold>,
    garbage: BTreeSet<(Place, Generation)>,
    /// Places whose records changed.
    touched: BTreeSet<Place>,
    /// Garbage whose record is not written, or is not needed any more.
    changed_garbage: BTreeSet<(Place, Generation)>,
}

impl Generations {
    pub(crate) fn load(db: &sled::Db) -> Result<Self, Error> {
        let whole = |(place, fold): (Place, Option<Fold>)| {
            Ok((place, fold.ok_or_else(row_blocks::damaged)?))
        };
        let folds = |record| -> Result<BTreeMap<Place, Fold>, Error> {
            stored(db, record)?.into_iter().map(whole).collect()
        };
        let mut garbage = BTreeSet::new();
        for key in db.scan_prefix(keys::GARBAGE).keys() {
            garbage.insert(keys::garbage_place(&key?).ok_or_else(row_blocks::damaged)?);
        }
        Ok(Self {
            serving: folds(keys::SERVING)?,
            building: folds(keys::BUILDING)?,
            garbage,
            ..Self::default()
        })
    }

    /// The generations that are served, but for the first.
    pub(crate) fn served(&self) -> BTreeMap<Place, Generation> {
        let later = self.serving.iter().filter(|(_, fold)| fold.generation > 0);
        later
            .map(|(place, fold)| (place.clone(), fold.generation))
            .collect()
    }

    /// The folds of a place; one that is new begins with its first event.
    pub(crate) fn at(&mut self, place: &Place, version: u32) -> [Option<Fold>; 2] {
        let begun = Fold {
            version,
            next: 0,
            generation: 0,
        };
        let serving = match self.serving.get(place) {
            Some(fold) => *fold,
            None => *self.serving.entry(place.clone()).or_insert(begun),
        };
        [Some(serving), self.building.get(place).copied()]
    }

    /// The first event that a generation lacks.
    pub(crate) fn next(&self, place: &Place, generation: Generation) -> Sequence {
        let folds = [self.serving.get(place), self.building.get(place)];
        let mut folds = folds.into_iter().flatten();
        let fold = folds.find(|fold| fold.generation == generation);
        Sequence::new(fold.map_or(0, |fold| fold.next))
    }

    /// All events before `next` are folded into a generation.
    pub(crate) fn reach(&mut self, place: &Place, generation: Generation, next: u64) {
        for folds in [&mut self.serving, &mut self.building] {
            if let Some(fold) = folds.get_mut(place)
                && fold.generation == generation
            {
                fold.next = next;
            }
        }
        self.touch(place);
    }

    /// Makes a place again from its first event.
    pub(crate) fn begin(&mut self, place: &Place, version: u32) {
        let abandoned = self.abandon(place).map(|fold| fold.generation);
        let serving = self.serving.get(place).map(|fold| fold.generation);
        let of_place = self.garbage.iter().filter(|(garbage, _)| garbage == place);
        let used = of_place.map(|(_, generation)| *generation);
        let last = used.chain(abandoned).chain(serving).max().unwrap_or(0);
        let fold = Fold {
            version,
            next: 0,
            generation: last.saturating_add(1),
        };
        self.building.insert(place.clone(), fold);
        self.touch(place);
    }

    /// Does not make a place again after all.
    pub(crate) fn abandon(&mut self, place: &Place) -> Option<Fold> {
        let fold = self.building.remove(place)?;
        self.discard(place, fold.generation);
        Some(fold)
    }

    /// What was made again is served from now on; what was served until now.
    pub(crate) fn switch(&mut self, place: &Place) -> Option<Fold> {
        let fold = self.building.remove(place)?;
        let before = self.serving.insert(place.clone(), fold)?;
        self.discard(place, before.generation);
        Some(before)
    }

    /// Gives up the places that are not kept, and their rows.
    pub(crate) fn retain(&mut self, kept: impl Fn(&Place) -> bool) {
        let places = self.serving.keys().chain(self.building.keys());
        let given_up: BTreeSet<Place> = places.filter(|place| !kept(place)).cloned().collect();
        for place in given_up {
            self.abandon(&place);
            if let Some(fold) = self.serving.remove(&place) {
                self.discard(&place, fold.generation);
            }
        }
    }

    fn discard(&mut self, place: &Place, generation: Generation) {
        self.garbage.insert((place.clone(), generation));
        self.changed_garbage.insert((place.clone(), generation));
        self.touch(place);
    }

    fn touch(&mut self, place: &Place) {
        if !self.touched.contains(place) {
            self.touched.insert(place.clone());
        }
    }

    pub(crate) fn garbage(&self) -> usize {
        self.garbage.len()
    }

    /// Removes a few blocks of rows that nobody needs; `true` once those of one generation are all gone.
    pub(crate) fn clear(&mut self, db: &sled::Db, blocks: usize) -> Result<bool, Error> {
        let Some((place, generation)) = self.garbage.first().cloned() else {
            return Ok(false);
        };
        let prefix = keys::rows(&place.0, &place.1, generation);
        if row_blocks::clear(db, &prefix, blocks)? {
            return Ok(false);
        }
        self.garbage.remove(&(place.clone(), generation));
        self.changed_garbage.insert((place, generation));
        Ok(true)
    }

    /// Adds what changed to the batch.
    pub(crate) fn stage(&mut self, batch: &mut sled::Batch) -> Result<(), Error> {
        for place in std::mem::take(&mut self.touched) {
            for (record, folds) in [
                (keys::SERVING, &self.serving),
                (keys::BUILDING, &self.building),
            ] {
                let key = keys::fold(record, &place);
                let Some(fold) = folds.get(&place) else {
                    batch.remove(key);
                    continue;
                };
                let value = serde_json::to_vec(fold)
                    .map_err(|error| Error::Log(std::io::Error::from(error).into()))?;
                batch.insert(key.as_slice(), values::seal(&key, &value));
            }
        }
        for changed in std::mem::take(&mut self.changed_garbage) {
            let key = keys::garbage(&changed.0, changed.1);
            if self.garbage.contains(&changed) {
                batch.insert(key.as_slice(), values::seal(&key, b""));
            } else {
                batch.remove(key);
            }
        }
        Ok(())
    }
}

/// How far each projection is in each chain by such records; `None` where that is not what was written.
pub(crate) fn stored(db: &sled::Db, record: &[u8]) -> Result<BTreeMap<Place, Option<Fold>>, Error> {
    let mut folds = BTreeMap::new();
    for item in db.scan_prefix(record) {
        let (key, value) = item?;
        let fold = values::unseal(&key, &value);
        let fold = fold.and_then(|fold| serde_json::from_slice(fold).ok());
        let place = keys::fold_place(record, &key).ok_or_else(row_blocks::damaged)?;
        folds.insert(place, fold);
    }
    Ok(folds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reopened(db: &sled::Db, generations: &mut Generations) -> Generations {
        let mut batch = sled::Batch::default();
        generations.stage(&mut batch).unwrap();
        db.apply_batch(batch).unwrap();
        Generations::load(db).unwrap()
    }

    #[test]
    fn what_is_served_is_replaced_and_then_cleared_whenever_it_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let db = sled::open(dir.path()).unwrap();
        let place: Place = ("queue".to_owned(), "blog".parse().unwrap());
        for generation in 0..3 {
            for row in 0..5_u8 {
                let key = [keys::rows(&place.0, &place.1, generation), vec![row]].concat();
                db.insert(key, b"x").unwrap();
            }
        }
        let mut all = Generations::default();
        assert_eq!(all.at(&place, 1)[1], None);
        all.reach(&place, 0, 1);
        let mut all = reopened(&db, &mut all);
        all.begin(&place, 2);
        let mut all = reopened(&db, &mut all);
        assert_eq!(all.at(&place, 2)[1].unwrap().generation, 1);
        all.begin(&place, 3);
        all.reach(&place, 2, 1);
        let mut all = reopened(&db, &mut all);
        let [serving, building] = all.at(&place, 3);
        assert_eq!((serving.unwrap().next, serving.unwrap().generation), (1, 0));
        assert_eq!(
            (building.unwrap().next, building.unwrap().generation),
            (1, 2)
        );
        assert_eq!(all.garbage(), 1, "the one that was abandoned");
        all.switch(&place).unwrap();
        let mut all = reopened(&db, &mut all);
        assert_eq!(all.served(), BTreeMap::from([(place.clone(), 2)]));
        assert_eq!((all.at(&place, 3)[1], all.garbage()), (None, 2));
        while all.garbage() > 0 {
            all.clear(&db, 2).unwrap();
            all = reopened(&db, &mut all);
        }
        assert_eq!(db.scan_prefix(keys::ROWS).count(), 5);
        let kept = keys::rows(&place.0, &place.1, 2);
        assert_eq!(db.scan_prefix(kept).count(), 5);
        all.begin(&place, 3);
        assert_eq!(all.at(&place, 3)[1].unwrap().generation, 3);
        // A place that is given up leaves no record and no row.
        let mut all = reopened(&db, &mut all);
        all.retain(|other| *other != place);
        let mut all = reopened(&db, &mut all);
        assert!(all.serving.is_empty() && all.building.is_empty());
        while all.garbage() > 0 {
            all.clear(&db, 2).unwrap();
            all = reopened(&db, &mut all);
        }
        assert_eq!(db.scan_prefix(keys::ROWS).count(), 0);
    }
}
