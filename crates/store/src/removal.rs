//! Removing what was ordered to go: bodies whose retention ended, and the keys of data subjects that were erased.
//!
//! The event that orders a removal is durable before any of this begins, and its receipt is written only after [`Ledger::remove`]
//! has looked for what should be gone and found nothing. A crash in between changes nothing about that: the removal is pending
//! in the chain, and doing it again does what is left of it.

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, mpsc};

use countersign_chain::{Absence, Header};
use countersign_events::retention::{Range as Events, RowsDigest};
use countersign_ids::{ChainId, DataSubject, Retention, Sequence};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::disk::{Part, crash_at};
use crate::journal::thinning::{first_left, thin_all};
use crate::log::handover::{Asked, Gone};
use crate::log::rewrite;
use crate::read::Rebuild;
use crate::write::writer::Request;
use crate::{Entry, Error, Ledger, Position};

/// Events that are read at a time.
const PAGE_EVENTS: usize = 1024;

/// What is to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doomed {
    /// The chain of the event that orders it.
    pub chain: ChainId,
    /// Where that event stands.
    pub ordered: Sequence,
    /// Where the bodies stand.
    pub ranges: Vec<Events>,
    /// The person whose key goes; none: the bodies of operational events go themselves.
    pub subject: Option<DataSubject>,
}

/// What is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// How many bodies.
    pub bodies: u64,
    /// The read models of the chain up to and with the event that ordered it, from what was there.
    pub before: Vec<RowsDigest>,
    /// The same, from what is left.
    pub after: Vec<RowsDigest>,
}

/// What a removal found before it touched anything; kept until its receipt is written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Found {
    bodies: u64,
    before: Vec<RowsDigest>,
}

impl Doomed {
    /// Whether one of the ranges names this event.
    pub(crate) fn covers(&self, chain: &ChainId, sequence: Sequence) -> bool {
        self.ranges
            .iter()
            .any(|range| range.holds(chain, sequence.get()))
    }

    /// Whether one of the ranges reaches this event or a later one of its chain.
    pub(crate) fn reaches(&self, chain: &ChainId, sequence: Sequence) -> bool {
        let mut ranges = self.ranges.iter();
        ranges.any(|range| range.chain == *chain && range.to >= sequence.get())
    }

    /// Why the body of an event with these bytes E is to go; `None` if it stays.
    pub(crate) fn reason(&self, header: &[u8]) -> Option<Absence> {
        Header::parse(header)
            .is_ok_and(|header| self.removes(&header))
            .then_some(Absence::Expired)
    }

    /// The event without its body, if it has one and that is to go.
    pub(crate) fn without_body(&self, entry: &Entry) -> Option<Entry> {
        let goes = entry.body().is_some() && self.removes(entry.header());
        goes.then(|| Entry::of(entry.hashed().without_body(Absence::Expired)))
    }

    fn removes(&self, header: &Header) -> bool {
        self.subject.is_none() && self.is_about(header)
    }

    /// Whether the removal is about the body of this event, whether that is still there or not.
    fn is_about(&self, header: &Header) -> bool {
        let of = match &self.subject {
            None => header.retention == Retention::Operational,
            subject => header.datasubject == *subject,
        };
        of && self.covers(&header.chain, header.sequence)
    }
}

impl Ledger {
    /// Does a removal that an event of the chain ordered, and looks whether it is done; call it from a thread that may wait.
    ///
    /// Doing it again is harmless. Whoever has written the receipt calls [`Ledger::settle_removals`].
    pub fn remove(&self, doomed: &Arc<Doomed>) -> Result<Removed, Error> {
        let _one_at_a_time = self.removing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(subject) = &doomed.subject {
            // First: what follows takes its time, and opens no sealed body.
            self.keyring().destroy_for_ever(subject)?;
        }
        let Found { bodies, mut before } = self.found(doomed)?;
        crash_at("removal.found");
        if doomed.subject.is_none() {
            self.remove_bodies(doomed)?;
        }
        crash_at("removal.looked");
        let mut after = self.rows_up_to(&doomed.chain, doomed.ordered)?;
        // Another version of this program may have begun the removal; what it made of the events then nobody makes any more.
        keep_comparable(&mut before, &mut after);
        Ok(Removed {
            bodies,
            before,
            after,
        })
    }

    /// Forgets what removals of this chain found that are not pending any more.
    pub fn settle_removals(
        &self,
        chain: &ChainId,
        pending: &BTreeSet<Sequence>,
    ) -> Result<(), Error> {
        let (disk, dir) = (self.layout().disk(), self.layout().removals());
        let names = match disk.list(&dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(|error| Error::io(&dir, error))?,
        };
        let kept: BTreeSet<_> = pending.iter().map(|at| name(chain, *at)).collect();
        let front = format!("{chain}@");
        for found in names {
            let Some(found) = found.to_str().filter(|found| found.starts_with(&front)) else {
                continue;
            };
            if !kept.contains(found) {
                let path = dir.join(found);
                disk.remove(Part::Removal, &path)
                    .map_err(|error| Error::io(&path, error))?;
            }
        }
        Ok(())
    }

    /// What was there before the removal began, from its file if it began before.
    fn found(&self, doomed: &Doomed) -> Result<Found, Error> {
        let (disk, dir) = (self.layout().disk(), self.layout().removals());
        let path = dir.join(name(&doomed.chain, doomed.ordered));
        let failed = |error| Error::io(&path, error);
        if disk.is_file(&path) {
            let malformed = |error| failed(io::Error::new(io::ErrorKind::InvalidData, error));
            return serde_json::from_slice(&disk.read(&path).map_err(failed)?).map_err(malformed);
        }
        let mut bodies = 0_u64;
        for range in &doomed.ranges {
            self.each(&range.chain, (range.from, range.to), |entry| {
                bodies = bodies.saturating_add(u64::from(doomed.is_about(entry.header())));
            })?;
        }
        let before = self.rows_up_to(&doomed.chain, doomed.ordered)?;
        let found = Found { bodies, before };
        let bytes = serde_json::to_vec(&found).map_err(|error| failed(io::Error::other(error)))?;
        disk.create_dir(Part::Removal, &dir).map_err(failed)?;
        let kept = disk.replace(Part::Removal, &path, &bytes, 0o600);
        kept.map_err(failed).map(|()| found)
    }

    fn remove_bodies(&self, doomed: &Arc<Doomed>) -> Result<(), Error> {
        let Some(span) = self.span(doomed)? else {
            return Ok(());
        };
        let (reply, answer) = oneshot::channel();
        let before = span.end;
        self.request(Request::Seal { before, reply })?;
        answer
            .blocking_recv()
            .unwrap_or(Err(Error::WriterPanicked))?;
        // By the last frame that it has taken in the log is known as this journal's: that frame is none that changes.
        self.ask_the_log(None)?;
        crash_at("removal.sealed");
        let (disk, journal) = (self.layout().disk(), self.layout().journal());
        let segments = thin_all(disk, &journal, &span, doomed)?;
        crash_at("removal.thinned");
        self.ask_the_log(Some(Gone::Bodies(Arc::clone(doomed))))?;
        crash_at("removal.rewritten");
        for removed in rewrite::remove_others(&self.layout().sled())? {
            tracing::warn!(path = %removed.display(), "a log that was set aside held bodies that are removed; it is gone");
        }
        self.look_for(doomed, &span)?;
        tracing::info!(chain = %doomed.chain, ordered = %doomed.ordered, segments, "bodies were removed");
        Ok(())
    }

    /// The part of the journal in which the events of the ranges stand.
    fn span(&self, doomed: &Doomed) -> Result<Option<Range<Position>>, Error> {
        let mut span: Option<Range<Position>> = None;
        for range in &doomed.ranges {
            let frame_end = |at| self.receipt_at(&range.chain, Sequence::new(at));
            let (first, last) = (frame_end(range.from)?, frame_end(range.to)?);
            let start = Position::new(first.position.get().saturating_sub(1));
            let whole = span.unwrap_or(start..last.position);
            span = Some(whole.start.min(start)..whole.end.max(last.position));
        }
        Ok(span)
    }

    /// Has the log's thread make durable what it was given, and remove from the log what is to go, if anything is.
    pub(crate) fn ask_the_log(&self, gone: Option<Gone>) -> Result<(), Error> {
        let (reply, answer) = mpsc::channel();
        self.handover().ask(Asked { gone, reply });
        self.answered(&answer)
    }

    /// Looks whether anything is left, in the files and not in memory.
    fn look_for(&self, doomed: &Doomed, span: &Range<Position>) -> Result<(), Error> {
        let left = |path: PathBuf, at: String| Error::RemovalIncomplete { path, at };
        let (disk, journal) = (self.layout().disk(), self.layout().journal());
        if let Some(at) = first_left(disk, &journal, span, doomed)? {
            return Err(left(journal, at.to_string()));
        }
        for range in &doomed.ranges {
            let chain = self.chain(&range.chain, Sequence::new(range.to))?;
            let mut next = range.from;
            while next <= range.to {
                let limit = PAGE_EVENTS.min(pages(range.to - next));
                let ledger = &self.description().ledger;
                let entries = self.view().log.read(ledger, &chain, next, limit)?;
                let kept = |entry: &&Entry| doomed.without_body(entry).is_some();
                if let Some(entry) = entries.iter().find(kept) {
                    return Err(left(self.layout().sled(), entry.sequence().to_string()));
                }
                next = next.saturating_add(entries.len() as u64);
            }
        }
        Ok(())
    }

    /// The digests of a chain's read models, folded up to and with this event.
    fn rows_up_to(&self, chain: &ChainId, last: Sequence) -> Result<Vec<RowsDigest>, Error> {
        let mut digests = Vec::new();
        // One after another: the rows of a read model are in memory meanwhile.
        for projection in self.projections().make() {
            let (projection_name, version) = (projection.name().to_owned(), projection.version());
            let place = (projection_name.clone(), chain.clone());
            let mut rebuild = Rebuild::of(vec![projection]);
            self.each(chain, (0, last.get()), |entry| rebuild.fold(entry))?;
            if rebuild.stopped().contains_key(&place) {
                continue;
            }
            if let Some(rows) = rebuild.rows().get(&place) {
                digests.push(RowsDigest {
                    projection: projection_name,
                    version,
                    digest: countersign_projections::digest(rows),
                });
            }
        }
        Ok(digests)
    }

    /// Reads the events from the first to the last, in order.
    fn each(
        &self,
        chain: &ChainId,
        (first, last): (u64, u64),
        mut take: impl FnMut(&Entry),
    ) -> Result<(), Error> {
        let mut next = first;
        while next <= last {
            let entries = self.read(chain, next, PAGE_EVENTS.min(pages(last - next)))?;
            if entries.is_empty() {
                let (chain, sequence) = (chain.clone(), Sequence::new(next));
                return Err(Error::Missing { chain, sequence });
            }
            entries.iter().for_each(&mut take);
            next = next.saturating_add(entries.len() as u64);
        }
        Ok(())
    }
}

/// Leaves out what was not made by the same version on both sides.
fn keep_comparable(before: &mut Vec<RowsDigest>, after: &mut Vec<RowsDigest>) {
    let same = |one: &RowsDigest, other: &RowsDigest| {
        (&one.projection, one.version) == (&other.projection, other.version)
    };
    before.retain(|one| {
        let kept = after.iter().any(|other| same(one, other));
        if !kept {
            tracing::warn!(projection = %one.projection, version = one.version, "not compared over a removal: its version changed meanwhile");
        }
        kept
    });
    after.retain(|one| before.iter().any(|other| same(one, other)));
}

/// How many events there are from one to another, so far behind it.
fn pages(distance: u64) -> usize {
    usize::try_from(distance)
        .unwrap_or(usize::MAX)
        .saturating_add(1)
}

/// The file of what a removal found.
fn name(chain: &ChainId, ordered: Sequence) -> String {
    format!("{chain}@{:020}.json", ordered.get())
}
