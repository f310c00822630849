//! The log: every event again, in sled, with heads, indexes, tree and projection rows, behind the journal.
//!
//! Nothing here is the truth: what is lost or damaged is made again from the journal.

pub(crate) mod behind;
pub(crate) mod blocks;
pub(crate) mod filter;
mod folding;
pub(crate) mod followed;
pub(crate) mod generations;
pub(crate) mod handover;
pub(crate) mod heads;
pub(crate) mod keys;
pub(crate) mod loaded;
pub(crate) mod open;
pub(crate) mod project;
mod pruned;
pub(crate) mod rebuild;
pub(crate) mod recorded;
pub(crate) mod rewrite;
mod room;
pub(crate) mod row_blocks;
pub(crate) mod row_reads;
pub(crate) mod run_block;
pub(crate) mod run_writer;
pub(crate) mod runs;
pub(crate) mod tiles;
pub(crate) mod values;

use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use countersign_chain::merkle::{Node, leaf_hash};
use countersign_chain::{Header, Record};
use countersign_ids::{ChainId, CommandId, EventHash, EventId, LedgerId, Sequence};

use crate::disk::Part;
use crate::entry::verify_run;
use crate::journal::record;
use crate::journal::scan::{Scan, Step};
use crate::journal::{Kind, Position};
use crate::view::Chain;

use crate::{Entry, Error, Layout};
use heads::{Accepted, event_of};

/// Width of what the command index holds: see `heads::Accepted`.
pub(crate) const COMMAND_BYTES: usize = 41;
/// Width of what the event index holds: chain number and sequence.
pub(crate) const EVENT_BYTES: usize = 12;
/// What marks a log that must be made again when the ledger is opened next.
const DAMAGED: &str = "sled.damaged";

/// The log, as everybody reads it.
#[derive(Debug)]
pub(crate) struct Log {
    /// Replaced as a whole when bodies are removed; see `removal`. Whoever holds it takes it once: a second time may wait for
    /// a replacement that waits for the first.
    db: RwLock<sled::Db>,
    pub(crate) commands: runs::Index<COMMAND_BYTES>,
    pub(crate) events: runs::Index<EVENT_BYTES>,
    layout: Layout,
}

impl Log {
    pub(crate) const fn new(
        db: sled::Db,
        commands: runs::Index<COMMAND_BYTES>,
        events: runs::Index<EVENT_BYTES>,
        layout: Layout,
    ) -> Self {
        Self {
            db: RwLock::new(db),
            commands,
            events,
            layout,
        }
    }

    /// sled, as it is now.
    pub(crate) fn db(&self) -> RwLockReadGuard<'_, sled::Db> {
        self.db.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads from another sled from now on; the one before is closed when this returns.
    pub(crate) fn exchange(&self, fresh: sled::Db) {
        let mut db = self.db.write().unwrap_or_else(PoisonError::into_inner);
        *db = fresh;
    }

    /// The command that has this id, if it was accepted; the open group's commands included.
    pub(crate) fn command(&self, id: &CommandId) -> Result<Option<Accepted>, Error> {
        let found = self.sound(self.commands.get(&self.db(), id.as_bytes()))?;
        Ok(found.as_ref().map(Accepted::from_bytes))
    }

    /// Where the event with this id is, as far as the index was written.
    pub(crate) fn event(&self, id: &EventId) -> Result<Option<(keys::Number, Sequence)>, Error> {
        let found = self.sound(self.events.get(&self.db(), id.uuid().as_bytes()))?;
        Ok(found.as_ref().and_then(event_of))
    }

    /// An index that is not what was written cannot say that something is new: the log must be made again.
    fn sound<T>(&self, found: Result<T, Error>) -> Result<T, Error> {
        if found.is_err() {
            self.mark_damaged()?;
        }
        found
    }

    /// Up to `limit` events from `from` on, verified.
    pub(crate) fn read(
        &self,
        ledger: &LedgerId,
        chain: &Chain,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Entry>, Error> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut next = from;
        while entries.len() < limit {
            let missing = |reason: &str| Error::ChainDamaged {
                chain: chain.id.clone(),
                sequence: Sequence::new(next),
                reason: reason.to_owned(),
            };
            let (at, left) = (Sequence::new(next), limit - entries.len());
            let (first, records) = blocks::read(&self.db(), chain.number, at, left)?
                .ok_or_else(|| missing("the log has no block for it"))?;
            // Only what is asked for is verified: a receipt must not cost a whole block.
            let skip = usize::try_from(next.saturating_sub(first.get())).unwrap_or(usize::MAX);
            let wanted: Vec<Record> = records
                .into_iter()
                .skip(skip)
                .take(limit - entries.len())
                .collect();
            let previous = entries.last().map(Entry::hash);
            let taken = wanted.len();
            entries.extend(verify_run(ledger, &chain.id, next, previous, wanted)?);
            if taken == 0 {
                return Err(missing("the log has no block for it"));
            }
            next = next.saturating_add(taken as u64);
        }
        Ok(entries)
    }

    /// The leaf hashes of up to `limit` events from `from` on, of the bytes as they stand there: nothing is verified.
    pub(crate) fn leaves(
        &self,
        chain: &Chain,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Node>, Error> {
        let mut leaves = Vec::with_capacity(limit);
        let mut next = from;
        while leaves.len() < limit {
            let found = blocks::read_raw(&self.db(), chain.number, Sequence::new(next))?;
            let Some((first, raw)) = found else { break };
            let skip = usize::try_from(next.saturating_sub(first.get())).unwrap_or(usize::MAX);
            let before = leaves.len();
            let headers = record::headers(&raw).skip(skip);
            leaves.extend(headers.take(limit - before).map(leaf_hash));
            if leaves.len() == before {
                break;
            }
            next = from.saturating_add(leaves.len() as u64);
        }
        Ok(leaves)
    }

    /// The same from the journal: every frame is read, so this is for healing only.
    pub(crate) fn read_journal(
        &self,
        ledger: &LedgerId,
        chain: &Chain,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Entry>, Error> {
        let (disk, dir) = (self.layout.disk(), self.layout.journal());
        let mut scan = Scan::over_damage(disk, &dir, Position::ZERO, Position::ZERO)?;
        let mut found = Vec::new();
        while let Some(step) = scan.next_step()? {
            let (Step::Frame(frame) | Step::Mended(frame, _)) = step else {
                continue;
            };
            if frame.head.kind != Kind::Events {
                continue;
            }
            for record in record::decode(&frame.payload).unwrap_or_default() {
                let ours = Header::parse(&record.header)
                    .is_ok_and(|header| header.chain == chain.id && header.sequence.get() >= from);
                if ours && found.len() < limit {
                    found.push(record);
                }
            }
            if found.len() >= limit {
                break;
            }
        }
        verify_run(ledger, &chain.id, from, None, found)
    }

    /// Remembers, across restarts, that the log must be made again.
    pub(crate) fn mark_damaged(&self) -> Result<(), Error> {
        let path = self.layout.root().join(DAMAGED);
        let disk = self.layout.disk();
        disk.replace(Part::Mark, &path, b"", 0o600)
            .map_err(|error| Error::io(&path, error))
    }
}

/// The hash of one event in the log, verified for itself.
pub(crate) fn hash_at(
    db: &sled::Db,
    ledger: &LedgerId,
    chain: &ChainId,
    number: keys::Number,
    sequence: Sequence,
) -> Result<Option<EventHash>, Error> {
    let Some((first, records)) = blocks::read(db, number, sequence, 1)? else {
        return Ok(None);
    };
    let skip = usize::try_from(sequence.get().saturating_sub(first.get())).unwrap_or(usize::MAX);
    let one = records.into_iter().skip(skip).take(1).collect();
    let entries = verify_run(ledger, chain, sequence.get(), None, one)?;
    Ok(entries.first().map(Entry::hash))
}

/// Whether the log was found damaged since it was made.
pub(crate) fn is_marked_damaged(layout: &Layout) -> bool {
    layout.disk().is_file(&layout.root().join(DAMAGED))
}

/// Forgets that, once the log is set aside. If this is lost, a sound log is made again: that costs time only.
pub(crate) fn forget_damage(layout: &Layout) {
    let path = layout.root().join(DAMAGED);
    if let Err(error) = layout.disk().remove(Part::Mark, &path) {
        tracing::warn!(path = %path.display(), %error, "the mark of a damaged log stays");
    }
}
