//! Runs the projections: one fold per projection and chain, rows and checkpoint in the same sled batch.
//!
//! A projection that fails on an event stops in that chain, by name, and says so until it is opened with code that can or is
//! made again; the other chains and projections go on. Rows that changed are visible at once and in sled a little later.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

use countersign_events::Event;
use countersign_ids::{ChainId, Sequence};
use countersign_projections::{Folded, Projection, has_read_models};

use super::generations::{Fold, Generations};
use super::keys::{self, Generation, Place};
use super::rebuild::Pace;
use super::row_blocks;
use super::row_reads::ChainRows;
use crate::options::Projections;
use crate::status::chain_of;
use crate::view::{Chain, View};
use crate::{Entry, Error};

/// Events that are read at a time when a projection catches up.
const CATCH_UP_EVENTS: usize = 1024;

/// An event and what its body says.
type Told<'e> = (&'e Entry, Result<Option<Event>, String>);

/// The projections and where they are.
pub(crate) struct Projector {
    pub(super) projections: Vec<Arc<dyn Projection>>,
    pub(super) generations: Generations,
    pub(super) stopped: BTreeMap<Place, BTreeSet<Generation>>,
    /// Rows that could not be staged and stay in memory.
    kept: BTreeSet<Vec<u8>>,
    /// What was served, of the places where something else is from the batch on that was staged.
    replaced: Vec<(Place, Fold)>,
    /// By projection, how fast it is made again.
    pub(super) paces: BTreeMap<String, Pace>,
    /// Events that were folded again and are not staged.
    pub(super) unstaged: u64,
}

impl std::fmt::Debug for Projector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Projector")
            .field("generations", &self.generations)
            .finish_non_exhaustive()
    }
}

impl Projector {
    pub(crate) fn load(db: &sled::Db, projections: &Projections) -> Result<Self, Error> {
        let projections = projections.make().into_iter().map(Arc::from).collect();
        let mut projector = Self {
            projections,
            generations: Generations::load(db)?,
            stopped: BTreeMap::new(),
            kept: BTreeSet::new(),
            replaced: Vec::new(),
            paces: BTreeMap::new(),
            unstaged: 0,
        };
        // Nobody can go on with what another version began.
        for (place, fold) in projector.generations.building.clone() {
            if projector.version(&place.0) != Some(fold.version) {
                projector.generations.abandon(&place);
            }
        }
        // Of chains that had read models in an earlier version.
        projector
            .generations
            .retain(|place| has_read_models(&place.1));
        Ok(projector)
    }

    /// The generations that are served, but for the first.
    pub(crate) fn served(&self) -> BTreeMap<Place, Generation> {
        self.generations.served()
    }

    /// The version of a projection that this program has.
    pub(super) fn version(&self, name: &str) -> Option<u32> {
        let named = |projection: &&Arc<dyn Projection>| projection.name() == name;
        self.projections
            .iter()
            .find(named)
            .map(|found| found.version())
    }

    /// Folds verified events of one chain, in their order, into every projection that is at them.
    pub(crate) fn fold<'e>(
        &mut self,
        view: &View,
        chain: &Chain,
        entries: impl IntoIterator<Item = &'e Entry>,
    ) {
        if !has_read_models(&chain.id) {
            return;
        }
        let entries = entries.into_iter();
        let told: Vec<Told<'e>> = entries.map(|entry| (entry, decode(entry))).collect();
        for projection in self.projections.clone() {
            self.fold_all(view, chain, projection.as_ref(), &told);
        }
    }

    /// Folds events into what is served of a projection and into what is made again, where they are at them.
    fn fold_all(
        &mut self,
        view: &View,
        chain: &Chain,
        projection: &dyn Projection,
        told: &[Told<'_>],
    ) {
        let place = (projection.name().to_owned(), chain.id.clone());
        let folds = self.generations.at(&place, projection.version());
        for fold in folds.into_iter().flatten() {
            // One of another version stands still until it is replaced.
            let goes_on =
                fold.version == projection.version() && !self.is_stopped(&place, fold.generation);
            if goes_on {
                self.fold_into(view, projection, (&place, fold), told);
            }
        }
    }

    fn fold_into(
        &mut self,
        view: &View,
        projection: &dyn Projection,
        (place, fold): (&Place, Fold),
        told: &[Told<'_>],
    ) {
        let rows = ChainRows::of(view, &place.0, &place.1, fold.generation);
        let mut next = fold.next;
        let mut stopped = None;
        for (entry, event) in told {
            // One that is behind is brought here from the log.
            if entry.sequence().get() != next {
                continue;
            }
            let changes = match event {
                Ok(event) => rows.checked(projection.fold(&rows, &folded(entry, event.as_ref()))),
                Err(reason) => Err(reason.clone()),
            };
            match changes {
                Ok(changes) => rows.change(changes),
                Err(reason) => {
                    stopped = Some((entry.sequence(), reason));
                    break;
                }
            }
            next = next.saturating_add(1);
        }
        if next > fold.next {
            self.generations.reach(place, fold.generation, next);
        }
        if let Some((at, reason)) = stopped {
            self.stop(view, place, fold.generation, (at, &reason));
        }
    }

    pub(super) fn is_stopped(&self, place: &Place, generation: Generation) -> bool {
        let stopped = self.stopped.get(place);
        stopped.is_some_and(|stopped| stopped.contains(&generation))
    }

    pub(super) fn stop(
        &mut self,
        view: &View,
        place: &Place,
        generation: Generation,
        (at, reason): (Sequence, &str),
    ) {
        let serving = self.generations.serving.get(place);
        let again = serving.is_some_and(|serving| serving.generation != generation);
        let reason = if again {
            format!("while it was made again: {reason}")
        } else {
            reason.to_owned()
        };
        let (projection, chain) = place;
        view.board
            .projection_stopped(projection, chain, at, &reason);
        self.stopped
            .entry(place.clone())
            .or_default()
            .insert(generation);
    }

    /// Folds what projections missed: they are new, or were stopped. Those of another version are made again, from later on.
    /// `true` once `limit` events were folded: there may be more.
    pub(crate) fn catch_up(
        &mut self,
        view: &View,
        chain: &Chain,
        limit: u64,
    ) -> Result<bool, Error> {
        let mut left = limit;
        if !has_read_models(&chain.id) {
            return Ok(false);
        }
        for projection in self.projections.clone() {
            let place = (projection.name().to_owned(), chain.id.clone());
            let version = projection.version();
            let [serving, building] = self.generations.at(&place, version);
            if serving.is_some_and(|fold| fold.version != version) {
                if building.is_none() {
                    self.generations.begin(&place, version);
                }
                continue;
            }
            while let Some(next) = self.lacks(&place, chain.size()) {
                if left == 0 {
                    return Ok(true);
                }
                let entries = view.read(chain, next, CATCH_UP_EVENTS)?;
                let told: Vec<Told<'_>> =
                    entries.iter().map(|entry| (entry, decode(entry))).collect();
                self.fold_all(view, chain, projection.as_ref(), &told);
                left = left.saturating_sub(told.len() as u64);
            }
        }
        Ok(false)
    }

    /// The first event that what is served lacks, if it can go on.
    fn lacks(&self, place: &Place, size: u64) -> Option<u64> {
        let fold = self.generations.serving.get(place)?;
        let goes_on = fold.next < size && !self.is_stopped(place, fold.generation);
        goes_on.then_some(fold.next)
    }

    /// Adds changed rows and checkpoints to the batch. What was made again and reaches as far as its chain, of which `size` is
    /// taken in, is served from this batch on.
    pub(crate) fn stage(
        &mut self,
        view: &View,
        batch: &mut sled::Batch,
        size: impl Fn(&ChainId) -> u64,
    ) -> Result<(), Error> {
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
            if let Some((place, generation, _)) = keys::row_place(prefix) {
                let next = self.generations.next(&place, generation);
                let reason = chain_of(&row_blocks::damaged());
                self.stop(view, &place, generation, (next, &reason));
            }
        }
        drop(rows);
        for place in self.made(size) {
            let before = self.generations.switch(&place);
            self.replaced.extend(before.map(|before| (place, before)));
        }
        self.generations.stage(batch)
    }

    /// Whether something else is served from the batch on that was staged.
    pub(crate) const fn replaces(&self) -> bool {
        !self.replaced.is_empty()
    }

    /// The batch is in sled: its rows are read from there, and what was made again is served.
    pub(crate) fn settle(&mut self, view: &View) {
        for (place, before) in std::mem::take(&mut self.replaced) {
            let Some(fold) = self.generations.serving.get(&place).copied() else {
                continue;
            };
            view.generations
                .write()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(place.clone(), fold.generation);
            self.forget(view, &place, before.generation);
            self.replaced_one(&place, fold);
        }
        view.rows
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|prefix, _| self.kept.contains(prefix));
        self.unstaged = 0;
    }

    /// Forgets what is in memory of a generation that nobody needs any more.
    pub(super) fn forget(&mut self, view: &View, place: &Place, generation: Generation) {
        let prefix = keys::rows(&place.0, &place.1, generation);
        self.kept.remove(&prefix);
        view.rows
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&prefix);
        let Some(stopped) = self.stopped.get_mut(place) else {
            return;
        };
        stopped.remove(&generation);
        if stopped.is_empty() {
            self.stopped.remove(place);
            view.board.projection_goes_on(&place.0, &place.1);
        }
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
