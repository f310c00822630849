//! What making a projection again takes, said before it is begun.

use std::time::{Duration, Instant};

use countersign_ids::ChainId;
use countersign_projections::has_read_models;

use crate::read::Rebuild;
use crate::view::Head;
use crate::{Error, Ledger, Projections};

/// Events that are read at a time, and how many are folded to measure the pace.
const PAGE_EVENTS: usize = 512;
const SAMPLE_EVENTS: u64 = 4096;

/// What making a projection again takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RebuildCost {
    /// Events to fold.
    pub events: u64,
    /// How large they are: headers, salts and bodies. Counted in the longest chain's first events, where there are many.
    pub bytes: u64,
    /// About how long, as those took to read, verify and fold now; writing the rows comes on top.
    pub time: Duration,
}

impl Ledger {
    /// The projections that this ledger keeps, and the version of each.
    #[must_use]
    pub fn kept_projections(&self) -> Vec<(&'static str, u32)> {
        let made = self.projections().make();
        let named = made.iter();
        named
            .map(|projection| (projection.name(), projection.version()))
            .collect()
    }

    /// Counts what making a projection again would take. Folds a few thousand events: call it from a thread that may wait.
    pub fn rebuild_cost(&self, projection: &str) -> Result<RebuildCost, Error> {
        self.knows(projection)?;
        let mut chains = self.chains();
        chains.retain(|(chain, _)| has_read_models(chain));
        let events = chains.iter().map(|(_, head)| head.size).sum();
        let Some((longest, head)) = chains.into_iter().max_by_key(|(_, head)| head.size) else {
            return Ok(RebuildCost {
                events,
                bytes: 0,
                time: Duration::ZERO,
            });
        };
        let (sampled, bytes, time) = self.sample(projection, &longest, &head)?;
        let scaled = |part: u64| {
            let whole = u128::from(part) * u128::from(events) / u128::from(sampled.max(1));
            u64::try_from(whole).unwrap_or(u64::MAX)
        };
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        Ok(RebuildCost {
            events,
            bytes: scaled(bytes),
            time: Duration::from_micros(scaled(micros)),
        })
    }

    /// How many events were folded, how large they are, and how long it took.
    fn sample(
        &self,
        projection: &str,
        chain: &ChainId,
        head: &Head,
    ) -> Result<(u64, u64, Duration), Error> {
        let (kept, name) = (self.projections().clone(), projection.to_owned());
        let mut rebuild = Rebuild::new(&Projections::of(move || {
            let mut made = kept.make();
            made.retain(|made| made.name() == name);
            made
        }));
        let (start, mut bytes, mut next) = (Instant::now(), 0_u64, 0_u64);
        let end = head.size.min(SAMPLE_EVENTS);
        while next < end {
            let entries = self.read(chain, next, PAGE_EVENTS)?;
            if entries.is_empty() {
                break;
            }
            for entry in &entries {
                let body = entry.body().map_or(0, <[u8]>::len);
                let whole = entry.record().header.len().saturating_add(body);
                bytes = bytes.saturating_add(u64::try_from(whole).unwrap_or(u64::MAX));
                rebuild.fold(entry);
            }
            next = next.saturating_add(entries.len() as u64);
        }
        Ok((next, bytes, start.elapsed()))
    }

    /// Whether there is a projection of this name.
    pub(crate) fn knows(&self, projection: &str) -> Result<(), Error> {
        let mut kept = self.kept_projections().into_iter();
        if kept.any(|(name, _)| name == projection) {
            return Ok(());
        }
        Err(Error::ProjectionUnknown {
            name: projection.to_owned(),
        })
    }
}
