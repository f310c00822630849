//! Removing bodies and events from the log: everything is copied into a fresh sled, which then takes the place of the old one.
//!
//! sled keeps what was written over in its file until it uses the place again, so a block is never rewritten where it lies: the
//! old files go as a whole. Readers are served by the old sled until the new one is open. A crash on the way leaves one of the
//! two, or none, which is made again from the journal.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use countersign_ids::{ChainId, LedgerId, Sequence};

use super::values::{self, Found};
use super::{blocks, keys, open};
use crate::Error;
use crate::disk::{Disk, Part, crash_at};
use crate::journal::record;
use crate::log::handover::Gone;
use crate::prune::Pruning;
use crate::removal::Doomed;

/// Values that are copied in one batch.
const BATCH_VALUES: usize = 1024;

/// Where the copy is made, and where the old log is until it is gone.
fn beside(dir: &Path) -> [PathBuf; 2] {
    ["next", "old"].map(|suffix| dir.with_extension(suffix))
}

/// Removes every copy of the log that is not the log: what a crash left of a rewrite, and logs that were set aside.
pub(crate) fn remove_others(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |error| Error::io(dir, error);
    let parent =
        crate::disk::parent_of(dir).ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
    let mut removed = Vec::new();
    for entry in std::fs::read_dir(parent).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path != dir && path.file_stem() == dir.file_name() && path.is_dir() {
            std::fs::remove_dir_all(&path).map_err(|error| Error::io(&path, error))?;
            removed.push(path);
        }
    }
    Disk::default()
        .sync_dir(Part::Log, parent)
        .map_err(failed)?;
    Ok(removed)
}

/// Ends what a crash interrupted: between the two renames the copy was whole and had no name yet.
pub(crate) fn finish(dir: &Path) -> Result<(), Error> {
    let [next, old] = beside(dir);
    if !dir.exists() && old.exists() && next.exists() {
        std::fs::rename(&next, dir).map_err(|error| Error::io(&next, error))?;
    }
    remove_leftovers(dir)
}

/// Removes what a crash left of a rewrite; logs that were set aside stay.
pub(crate) fn remove_leftovers(dir: &Path) -> Result<(), Error> {
    for path in beside(dir) {
        if path.exists() {
            std::fs::remove_dir_all(&path).map_err(|error| Error::io(&path, error))?;
        }
    }
    Ok(())
}

/// Copies the log without what is to go; the copy is durable, closed, and stands beside the log.
pub(crate) fn copy(
    db: &sled::Db,
    dir: &Path,
    ledger: &LedgerId,
    numbers: &BTreeMap<keys::Number, ChainId>,
    gone: &Gone,
) -> Result<(), Error> {
    remove_leftovers(dir)?;
    let [next, _] = beside(dir);
    let fresh = open::open(&next, ledger)?.map_err(|reason| Error::Foreign {
        path: next.clone(),
        reason,
    })?;
    let mut batch = sled::Batch::default();
    let (mut values, mut copied) = (0_usize, 0_u64);
    for item in db.iter() {
        let (piece, bytes) = item?;
        let kept = match gone {
            Gone::Bodies(doomed) => thinned(db, &piece, numbers, doomed)?,
            Gone::Events(pruning) => pruned(db, &piece, numbers, pruning)?,
        };
        match kept {
            Kept::AsItIs => batch.insert(piece, bytes),
            Kept::Rewritten(key, value) => values::put(&mut batch, &key, &value),
            Kept::WithItsFirst | Kept::Gone => continue,
        }
        (values, copied) = (values.saturating_add(1), copied.saturating_add(1));
        if values >= BATCH_VALUES {
            fresh.apply_batch(std::mem::take(&mut batch))?;
            values = 0;
        }
    }
    fresh.apply_batch(batch)?;
    open::sync(&fresh, &next, &open::file(&next)?)?;
    tracing::info!(
        values = copied,
        "the log was copied without what is removed"
    );
    Ok(())
}

/// Puts the copy in the place of the log and opens it; the old files are still there, open.
pub(crate) fn exchange(dir: &Path, ledger: &LedgerId) -> Result<sled::Db, Error> {
    let failed = |error| Error::io(dir, error);
    let [next, old] = beside(dir);
    let parent =
        crate::disk::parent_of(dir).ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
    crash_at("removal.copied");
    std::fs::rename(dir, &old).map_err(failed)?;
    crash_at("removal.between");
    std::fs::rename(&next, dir).map_err(failed)?;
    crash_at("removal.moved");
    Disk::default()
        .sync_dir(Part::Log, parent)
        .map_err(failed)?;
    open::open(dir, ledger)?.map_err(|reason| Error::Foreign {
        path: dir.to_path_buf(),
        reason,
    })
}

/// What becomes of one piece of a value.
enum Kept {
    AsItIs,
    /// The whole value, under its key, in place of all its pieces.
    Rewritten(Vec<u8>, Vec<u8>),
    /// A later piece of a value that is written as a whole.
    WithItsFirst,
    /// Nothing.
    Gone,
}

fn thinned(
    db: &sled::Db,
    piece: &[u8],
    numbers: &BTreeMap<keys::Number, ChainId>,
    doomed: &Doomed,
) -> Result<Kept, Error> {
    let Some((number, first)) = values::key_of_any(piece).and_then(keys::block_place) else {
        return Ok(Kept::AsItIs);
    };
    let Some(chain) = numbers
        .get(&number)
        .filter(|chain| doomed.reaches(chain, first))
    else {
        return Ok(Kept::AsItIs);
    };
    let Some(key) = values::key_of_first(piece) else {
        return Ok(Kept::WithItsFirst);
    };
    let (value, raw) = block(db, key, (chain, first))?;
    let reason = |at: usize, header: &[u8]| {
        let sequence = first.get().saturating_add(at as u64);
        let within = doomed.covers(chain, Sequence::new(sequence));
        within.then(|| doomed.reason(header)).flatten()
    };
    let value = match record::thin(&raw, reason) {
        Some(raw) => blocks::encode(&raw)?,
        None => value,
    };
    Ok(Kept::Rewritten(key.to_vec(), value))
}

/// Before the cut of a chain nothing is kept, and of a block over the cut what is behind it.
fn pruned(
    db: &sled::Db,
    piece: &[u8],
    numbers: &BTreeMap<keys::Number, ChainId>,
    pruning: &Pruning,
) -> Result<Kept, Error> {
    let cut = pruning.base.cut;
    let Some((number, first)) = values::key_of_any(piece)
        .and_then(keys::block_place)
        .filter(|(number, _)| numbers.get(number) == Some(&pruning.chain))
        .filter(|(_, first)| first.get() < cut)
    else {
        return Ok(Kept::AsItIs);
    };
    if first.get().saturating_add(blocks::BLOCK_EVENTS) <= cut {
        return Ok(Kept::Gone);
    }
    let Some(key) = values::key_of_first(piece) else {
        return Ok(Kept::WithItsFirst);
    };
    let (_, raw) = block(db, key, (&pruning.chain, first))?;
    let skip = usize::try_from(cut - first.get()).unwrap_or(usize::MAX);
    let behind = record::decode(&raw)
        .unwrap_or_default()
        .into_iter()
        .skip(skip);
    let mut kept = Vec::new();
    behind.for_each(|event| record::encode(&mut kept, &event));
    if kept.is_empty() {
        return Ok(Kept::Gone);
    }
    let packed = blocks::encode(&kept)?;
    Ok(Kept::Rewritten(
        keys::block(number, Sequence::new(cut)),
        packed,
    ))
}

/// A block as it lies there, and its events.
fn block(
    db: &sled::Db,
    key: &[u8],
    (chain, first): (&ChainId, Sequence),
) -> Result<(Vec<u8>, Vec<u8>), Error> {
    let damaged = || Error::ChainDamaged {
        chain: chain.clone(),
        sequence: first,
        reason: "a block of the log is not what was written".to_owned(),
    };
    let Found::Value(value) = values::get(db, key)? else {
        return Err(damaged());
    };
    let raw = blocks::decode_all(&value).ok_or_else(damaged)?;
    Ok((value, raw))
}
