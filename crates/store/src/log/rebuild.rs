//! Making a projection again while the one before is served: because its code has another version, or because somebody asked.
//!
//! It is done on the log's thread, a bounded step at a time between what the writer hands over. While events are taken in they
//! are folded into both, if this program has the code of both; rows of an older version stand still until they are replaced.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::Instant;

use countersign_ids::{ChainId, Sequence};

use super::generations::Fold;
use super::keys::Place;
use super::project::Projector;
use crate::Error;
use crate::disk::crash_at;
use crate::status::{Rebuilding, chain_of};
use crate::view::View;

/// Events that are folded again in one step, and how many are read at a time.
const STEP_EVENTS: usize = 1024;
const READ_EVENTS: usize = 256;
/// Events that are folded again before they are written to sled.
const STAGE_EVENTS: u64 = 16 * 1024;
/// Blocks of rows that are removed in one step.
const STEP_BLOCKS: usize = 64;

/// What a step leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// There was nothing to do.
    Nothing,
    More,
    /// What was done is to be written to sled now.
    Stage,
}

/// How fast a projection is made again, since this process began with it.
#[derive(Debug)]
pub(crate) struct Pace {
    since: Instant,
    folded: u64,
    /// Events of the chains that are done.
    done: u64,
}

impl Pace {
    fn new() -> Self {
        Self {
            since: Instant::now(),
            folded: 0,
            done: 0,
        }
    }

    fn per_second(&self) -> u64 {
        let millis = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.folded.saturating_mul(1000) / millis.max(1)
    }
}

impl Projector {
    /// Whether anything is to be made again or removed, as far as that is possible.
    pub(crate) fn has_work(&self) -> bool {
        let mut building = self.generations.building.iter();
        self.generations.garbage() > 0
            || building.any(|(place, fold)| !self.is_stopped(place, fold.generation))
    }

    /// Makes a projection again in every chain. One that is under way goes on; one that stopped begins again.
    pub(crate) fn order(&mut self, view: &View, name: &str) {
        let Some(version) = self.version(name) else {
            return;
        };
        let places = self.generations.serving.keys();
        let places: Vec<Place> = places.filter(|place| place.0 == name).cloned().collect();
        for place in places {
            let building = self.generations.building.get(&place).copied();
            if building.is_some_and(|fold| !self.is_stopped(&place, fold.generation)) {
                continue;
            }
            self.generations.begin(&place, version);
            if let Some(before) = building {
                self.forget(view, &place, before.generation);
            }
        }
    }

    /// Folds some events again, or removes some rows that nobody needs.
    pub(crate) fn step(
        &mut self,
        view: &View,
        size: impl Fn(&ChainId) -> u64 + Copy,
    ) -> Result<Step, Error> {
        let mut left = STEP_EVENTS;
        while left > 0 {
            let Some((chain, next)) = self.unfinished(size) else {
                break;
            };
            left = left.saturating_sub(self.fold_again(view, &chain, next, size(&chain)));
        }
        self.tell(view, size);
        let folded = left < STEP_EVENTS;
        if folded && self.unfinished(size).is_some() && self.unstaged < STAGE_EVENTS {
            return Ok(Step::More);
        }
        if folded || !self.made(size).is_empty() {
            crash_at("rebuild.folded");
            return Ok(Step::Stage);
        }
        if self.generations.garbage() == 0 {
            return Ok(Step::Nothing);
        }
        let cleared = self.generations.clear(&view.log.db(), STEP_BLOCKS)?;
        crash_at("rebuild.clearing");
        self.tell(view, size);
        if !cleared {
            return Ok(Step::More);
        }
        crash_at("rebuild.cleared");
        Ok(Step::Stage)
    }

    /// A chain in which something is to be made again, and the first event that one of its projections lacks.
    fn unfinished(&self, size: impl Fn(&ChainId) -> u64) -> Option<(ChainId, u64)> {
        let lacks = |place: &Place, fold: &Fold| {
            fold.next < size(&place.1) && !self.is_stopped(place, fold.generation)
        };
        let building = &self.generations.building;
        let (first, _) = building.iter().find(|(place, fold)| lacks(place, fold))?;
        let here = building.iter().filter(|(place, _)| place.1 == first.1);
        let next = here.filter(|(place, fold)| lacks(place, fold));
        let next = next.map(|(_, fold)| fold.next).min()?;
        Some((first.1.clone(), next))
    }

    /// Folds events of one chain from `next` on into all that is made again there; returns how many events it took.
    fn fold_again(&mut self, view: &View, id: &ChainId, next: u64, size: u64) -> usize {
        let before = self.folded_again(id);
        let limit = usize::try_from(size.saturating_sub(next)).unwrap_or(usize::MAX);
        let read = match view.chain(id) {
            Some(chain) => view
                .read(&chain, next, limit.min(READ_EVENTS))
                .map(|entries| (chain, entries)),
            None => Err(Error::Missing {
                chain: id.clone(),
                sequence: Sequence::new(next),
            }),
        };
        let reason = match read {
            Ok((chain, entries)) if !entries.is_empty() => {
                self.fold(view, &chain, &entries);
                for (name, folded) in self.folded_again(id) {
                    let folded = folded.saturating_sub(before.get(&name).copied().unwrap_or(0));
                    let pace = self.paces.entry(name).or_insert_with(Pace::new);
                    pace.folded = pace.folded.saturating_add(folded);
                }
                self.unstaged = self.unstaged.saturating_add(entries.len() as u64);
                return entries.len();
            }
            Ok(_) => "the event is not there".to_owned(),
            Err(error) => chain_of(&error),
        };
        // What is served goes on; whoever asks for it again after the chain was mended begins again.
        let building = self.generations.building.clone();
        for (place, fold) in building.into_iter().filter(|(place, _)| place.1 == *id) {
            let at = Sequence::new(fold.next);
            self.stop(view, &place, fold.generation, (at, &reason));
        }
        1
    }

    fn folded_again(&self, chain: &ChainId) -> BTreeMap<String, u64> {
        let building = self.generations.building.iter();
        let here = building.filter(|(place, _)| place.1 == *chain);
        here.map(|(place, fold)| (place.0.clone(), fold.next))
            .collect()
    }

    /// What was made again and reaches as far as its chain.
    pub(super) fn made(&self, size: impl Fn(&ChainId) -> u64) -> Vec<Place> {
        let made = |(place, fold): &(&Place, &Fold)| {
            fold.next >= size(&place.1) && !self.is_stopped(place, fold.generation)
        };
        let made = self.generations.building.iter().filter(made);
        made.map(|(place, _)| place.clone()).collect()
    }

    /// Something that was made again is served now.
    pub(super) fn replaced_one(&mut self, place: &Place, fold: Fold) {
        let (projection, chain) = place;
        tracing::info!(projection, %chain, generation = fold.generation, events = fold.next, "a read model that was made again is served");
        let pace = self
            .paces
            .entry(projection.clone())
            .or_insert_with(Pace::new);
        pace.done = pace.done.saturating_add(fold.next);
    }

    /// Says how far everything is that is made again.
    pub(crate) fn tell(&mut self, view: &View, size: impl Fn(&ChainId) -> u64) {
        let mut rebuilding: BTreeMap<String, Rebuilding> = BTreeMap::new();
        for (place, fold) in &self.generations.building {
            let pace = self.paces.entry(place.0.clone()).or_insert_with(Pace::new);
            let told = rebuilding
                .entry(place.0.clone())
                .or_insert_with(|| Rebuilding {
                    folded: pace.done,
                    events: pace.done,
                    ..Rebuilding::default()
                });
            let serving = self.generations.serving.get(place);
            told.version = fold.version;
            told.generation = told.generation.max(fold.generation);
            told.stale |= serving.is_some_and(|serving| serving.version != fold.version);
            told.folded = told.folded.saturating_add(fold.next);
            told.chains = told.chains.saturating_add(1);
            told.events_per_second = pace.per_second();
            let stopped = self.stopped.get(place);
            if stopped.is_some_and(|stopped| stopped.contains(&fold.generation)) {
                // It will not get further: nobody waits for the rest of this chain.
                told.stopped = told.stopped.saturating_add(1);
                told.events = told.events.saturating_add(fold.next);
            } else {
                told.events = told.events.saturating_add(size(&place.1).max(fold.next));
            }
        }
        self.paces.retain(|name, _| rebuilding.contains_key(name));
        let clearing = u64::try_from(self.generations.garbage()).unwrap_or(u64::MAX);
        view.board.with(|status| {
            status.rebuilding = rebuilding;
            status.clearing = clearing;
        });
    }
}

impl View {
    /// The generation of a projection that is served in a chain.
    fn generation(&self, place: &Place) -> u32 {
        let generations = self.generations.read();
        let generations = generations.unwrap_or_else(PoisonError::into_inner);
        generations.get(place).copied().unwrap_or_default()
    }

    /// Reads rows of the generation that is served; again if another took its place meanwhile, because its rows go then.
    pub(super) fn of_served<T>(
        &self,
        projection: &str,
        chain: &ChainId,
        mut read: impl FnMut(u32) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let place = (projection.to_owned(), chain.clone());
        loop {
            let generation = self.generation(&place);
            let rows = read(generation);
            if self.generation(&place) == generation {
                return rows;
            }
        }
    }
}
