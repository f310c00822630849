//! Reading everything that a ledger keeps, so that damage is found before somebody needs what it is in.
//!
//! Journal, log and blobs are read beside everything else, at whatever pace the caller's thread has. What is found is healed
//! where a copy tells what stood there: the journal at once (`mend`), the log when the ledger is opened next, because it is made
//! again as a whole; until then what it lacks is read from the journal. A blob has no copy here.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use countersign_ids::{ChainId, Digest};

use crate::damage::{Damage, Place};
use crate::log::values::{self, Found};
use crate::mend;
use crate::view::Chain;
use crate::{Error, Ledger};

/// Events that are read from the log at a time: a block of it.
const PAGE_EVENTS: usize = 256;

/// Whether whoever reads everything should end.
pub(crate) type Stops<'a> = &'a dyn Fn() -> bool;

/// What was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Bytes of the journal, as positions count them.
    pub journal_bytes: u64,
    /// Events in the log, each with its place in the indexes.
    pub events: u64,
    /// Values of the log.
    pub values: u64,
    /// Blobs.
    pub blobs: u64,
}

impl Ledger {
    /// Reads everything, heals what can be healed, and says what is left ([`crate::Status::damage`]); call it from a thread
    /// that may wait.
    pub fn sweep(&self) -> Result<Swept, Error> {
        self.sweep_unless(&|| false)
    }

    /// The same, but ends with [`Error::Closed`] as soon as `stops` says so; what was healed before is.
    pub fn sweep_unless(&self, stops: &dyn Fn() -> bool) -> Result<Swept, Error> {
        // A body that is being removed must not come back from a copy.
        let _nothing_is_removed = self.removing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut left = Vec::new();
        let mut swept = Swept {
            journal_bytes: self.sweep_journal(stops, &mut left)?,
            ..Swept::default()
        };
        self.sweep_log(stops, &mut swept, &mut left)?;
        self.sweep_blobs(stops, &mut swept, &mut left)?;
        self.view().board.left_by_sweep(&left);
        Ok(swept)
    }

    /// The journal as far as the log has taken it in; what is newer was written a moment ago.
    fn sweep_journal(&self, stops: Stops<'_>, left: &mut Vec<Damage>) -> Result<u64, Error> {
        let view = self.view();
        let until = view.logged();
        for (hole, lost) in mend::journal(self.layout(), view, until, stops)? {
            let chains = lost.into_iter().map(|(chain, at)| {
                let what = "its event is damaged in the journal and in the log";
                view.board.chain_damaged(&chain, at, what);
                chain
            });
            left.push(Damage::of_hole(&hole, chains.collect()));
        }
        Ok(until.get())
    }

    fn sweep_log(
        &self,
        stops: Stops<'_>,
        swept: &mut Swept,
        left: &mut Vec<Damage>,
    ) -> Result<(), Error> {
        let mut wrong = BTreeSet::new();
        let db = self.view().log.db().clone();
        for item in db.iter() {
            go_on(stops)?;
            match item {
                Ok((key, value)) => {
                    swept.values = swept.values.saturating_add(1);
                    if !is_whole(&db, &key, &value)? {
                        wrong.insert((None, format!("the value under {}", shown(&key))));
                    }
                }
                Err(error) => {
                    wrong.insert((None, error.to_string()));
                    break;
                }
            }
        }
        for chain in self.view().all() {
            if let Err(reason) = self.sweep_chain(&chain, stops, swept)? {
                wrong.insert((Some(chain.id.clone()), reason));
            }
        }
        if wrong.is_empty() {
            return Ok(());
        }
        self.view().log.mark_damaged()?;
        left.extend(wrong.into_iter().map(|(chain, what)| Damage {
            place: Place::Log,
            what: format!(
                "{what} is not what was written; the log is made again at the next start"
            ),
            chains: chain.into_iter().collect(),
            healed: None,
        }));
        Ok(())
    }

    /// Every event of a chain that is in the log verifies, and the indexes know it.
    fn sweep_chain(
        &self,
        chain: &Chain,
        stops: Stops<'_>,
        swept: &mut Swept,
    ) -> Result<Result<(), String>, Error> {
        let (view, log) = (self.view(), &self.view().log);
        let (_, end) = chain.newest(0, 0);
        let mut next = chain.first();
        while next < end {
            go_on(stops)?;
            let left = usize::try_from(end - next).unwrap_or(usize::MAX);
            let entries = match log.read(&view.ledger, chain, next, left.min(PAGE_EVENTS)) {
                Ok(entries) => entries,
                Err(error) => return Ok(Err(format!("what follows event {next}: {error}"))),
            };
            for entry in &entries {
                let at = entry.sequence();
                let command = log.command(&entry.header().commandid).ok().flatten();
                let event = log.event(&entry.header().id).ok().flatten();
                if command.is_none() || event != Some((chain.number, at)) {
                    return Ok(Err(format!("the place of event {at} in an index")));
                }
            }
            let read = entries.len() as u64;
            swept.events = swept.events.saturating_add(read);
            next = next.saturating_add(read);
        }
        Ok(Ok(()))
    }

    fn sweep_blobs(
        &self,
        stops: Stops<'_>,
        swept: &mut Swept,
        left: &mut Vec<Damage>,
    ) -> Result<(), Error> {
        let blobs = self.blobs();
        for digest in blobs.all()? {
            go_on(stops)?;
            swept.blobs = swept.blobs.saturating_add(1);
            match blobs.read(&digest) {
                Ok(_) => {}
                Err(error @ Error::BlobMismatch { .. }) => left.push(Damage {
                    place: Place::Blob(digest),
                    what: error.to_string(),
                    chains: self.readers_of(&digest),
                    healed: None,
                }),
                // It may have been removed meanwhile.
                Err(Error::BlobUnknown { .. }) => {}
                Err(other) => return Err(other),
            }
        }
        Ok(())
    }

    /// The chains that may read a blob.
    fn readers_of(&self, digest: &Digest) -> Vec<ChainId> {
        let chains = self.chains().into_iter().map(|(chain, _)| chain);
        chains
            .filter(|chain| self.blobs().contains(chain, digest))
            .collect()
    }
}

fn go_on(stops: Stops<'_>) -> Result<(), Error> {
    if stops() { Err(Error::Closed) } else { Ok(()) }
}

/// Whether a value of the log has the checksum of what was written.
fn is_whole(db: &sled::Db, key: &[u8], value: &[u8]) -> Result<bool, Error> {
    Ok(match key.first() {
        // Compared whole when the log is opened.
        Some(b'M') => true,
        Some(b'h' | b'b' | b'c' | b'i') => match values::key_of_first(key) {
            Some(key) => values::get(db, key)? != Found::Damaged,
            // Read with the first.
            None => true,
        },
        // It may have been written over since it was listed.
        _ => values::unseal(key, value).is_some() || values::get_small(db, key)? != Found::Damaged,
    })
}

/// A key as people may read it.
fn shown(key: &[u8]) -> String {
    let tag = key.first().map_or('?', |tag| char::from(*tag));
    let rest: String = key
        .iter()
        .skip(1)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("key `{tag}` {rest}")
}
