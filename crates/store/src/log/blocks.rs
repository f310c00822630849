//! Blocks: runs of one chain's events, compressed, as they lie in sled.
//!
//! A block holds at most 256 events and 96 KiB before compression, or one larger event. Its bytes are the length of what was
//! compressed (4), then one zstd frame over the events as in a journal frame. Values of more than 96 KiB go on in further
//! parts, because sled moves large values into files of their own. Blocks are written small, as events come, and packed into
//! full ones later; a block's key is its first sequence, so the packed one replaces the first small one.

use countersign_chain::Record;
use countersign_ids::Sequence;

use super::keys::{self, Number};
use crate::Error;
use crate::journal::record;

/// The most events in a block.
pub(crate) const BLOCK_EVENTS: usize = 256;
/// The most bytes of events in a block, unless one event alone is larger; also the most bytes in one value.
pub(crate) const BLOCK_BYTES: usize = 96 * 1024;
const LEVEL: i32 = 1;
/// How often a block is looked up again that was packed into another one while it was read.
const MOVED_TRIES: u32 = 64;
/// What one block can decompress to: one event with the largest header and body, and room to spare.
const UNPACKED_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Writes one block.
pub(crate) fn write(
    batch: &mut sled::Batch,
    chain: Number,
    first: Sequence,
    raw: &[u8],
) -> Result<(), Error> {
    let mut value = u32::try_from(raw.len())
        .unwrap_or(u32::MAX)
        .to_be_bytes()
        .to_vec();
    let packed = zstd::bulk::compress(raw, LEVEL).map_err(|error| Error::Log(error.into()))?;
    value.extend_from_slice(&packed);
    for (part, bytes) in (0..=u8::MAX).zip(value.chunks(BLOCK_BYTES)) {
        batch.insert(keys::block(chain, first, part), bytes);
    }
    Ok(())
}

/// Removes a block that was packed into another one.
pub(crate) fn remove(
    batch: &mut sled::Batch,
    db: &sled::Db,
    chain: Number,
    first: Sequence,
) -> Result<(), Error> {
    let mut prefix = keys::block(chain, first, 0);
    prefix.pop();
    for key in db.scan_prefix(prefix).keys() {
        batch.remove(key?);
    }
    Ok(())
}

/// Reads the block that holds `sequence`, or the last one before it: its first sequence and its events.
///
/// A block of several parts may be packed into another one while its parts are collected. What was found is then looked up
/// again; the same bytes twice are what the log holds, and `None` if they are no block.
pub(crate) fn read(
    db: &sled::Db,
    chain: Number,
    sequence: Sequence,
) -> Result<Option<(Sequence, Vec<Record>)>, Error> {
    let mut before = None;
    for _ in 0..MOVED_TRIES {
        let Some(found) = find(db, chain, sequence)? else {
            return Ok(None);
        };
        if let Some(records) = unpack(&found.1) {
            return Ok(Some((found.0, records)));
        }
        if before.as_ref() == Some(&found) {
            return Ok(None);
        }
        before = Some(found);
    }
    Ok(None)
}

/// The first sequence and the bytes of the last block that begins at or before `sequence`.
fn find(
    db: &sled::Db,
    chain: Number,
    sequence: Sequence,
) -> Result<Option<(Sequence, Vec<u8>)>, Error> {
    let range = keys::block(chain, Sequence::ZERO, 0)..=keys::block(chain, sequence, u8::MAX);
    let Some((key, last)) = db.range(range).next_back().transpose()? else {
        return Ok(None);
    };
    let Some((first, parts)) = keys::block_place(&key) else {
        return Ok(None);
    };
    let mut value = Vec::new();
    for part in 0..parts {
        // A part that is gone leaves bytes that are no block.
        let part = db.get(keys::block(chain, first, part))?;
        value.extend_from_slice(part.as_deref().unwrap_or_default());
    }
    value.extend_from_slice(&last);
    Ok(Some((first, value)))
}

/// The events of the block that begins at `first`; `None` unless it is there with so many events.
pub(crate) fn read_whole(
    db: &sled::Db,
    chain: Number,
    first: Sequence,
    events: usize,
) -> Result<Option<Vec<Record>>, Error> {
    let found = read(db, chain, first)?;
    Ok(found
        .filter(|found| found.0 == first && found.1.len() == events)
        .map(|found| found.1))
}

/// The events of a value; `None` if the bytes are anything else.
fn unpack(value: &[u8]) -> Option<Vec<Record>> {
    let (length, packed) = value.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length))
        .ok()
        .filter(|length| *length <= UNPACKED_BYTES_MAX)?;
    let raw = zstd::bulk::decompress(packed, length)
        .ok()
        .filter(|raw| raw.len() == length)?;
    record::decode(&raw)
}

/// The bytes that a block made of these events would hold.
pub(crate) fn raw<'a>(records: impl IntoIterator<Item = &'a Record>) -> Vec<u8> {
    let mut raw = Vec::new();
    records
        .into_iter()
        .for_each(|event| record::encode(&mut raw, event));
    raw
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use countersign_chain::Body;
    use countersign_ids::Salt;

    use super::*;

    const SMALL: u64 = 4;

    /// An event whose bytes do not compress, so that a block of them has several parts.
    fn event(number: u64, bytes: usize) -> Record {
        let mut noise = vec![0; bytes];
        let mut reader = blake3::Hasher::new()
            .update(&number.to_be_bytes())
            .finalize_xof();
        reader.fill(&mut noise);
        Record {
            header: number.to_be_bytes().to_vec(),
            body: Body::Present {
                salt: Salt::from_bytes([0; 16]),
                bytes: noise,
            },
        }
    }

    fn put(db: &sled::Db, events: &[Record], size: u64) {
        let mut batch = sled::Batch::default();
        for first in (0..events.len() as u64).step_by(usize::try_from(SMALL).unwrap()) {
            remove(&mut batch, db, 0, Sequence::new(first)).unwrap();
        }
        for (first, block) in (0..)
            .step_by(usize::try_from(size).unwrap())
            .zip(events.chunks(usize::try_from(size).unwrap()))
        {
            write(&mut batch, 0, Sequence::new(first), &raw(block)).unwrap();
        }
        db.apply_batch(batch).unwrap();
    }

    #[test]
    fn an_event_is_found_while_its_blocks_are_packed() {
        let dir = tempfile::tempdir().unwrap();
        let db = sled::open(dir.path()).unwrap();
        // Small blocks of one part; packed, they have three.
        let events: Vec<Record> = (0..16).map(|number| event(number, 16 * 1024)).collect();
        put(&db, &events, SMALL);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..150 {
                    put(&db, &events, 16);
                    put(&db, &events, SMALL);
                }
                done.store(true, Ordering::SeqCst);
            });
            while !done.load(Ordering::SeqCst) {
                for wanted in [5_u64, 10, 15] {
                    let (first, records) = read(&db, 0, Sequence::new(wanted)).unwrap().unwrap();
                    let place = usize::try_from(wanted - first.get()).unwrap();
                    assert_eq!(records[place], events[usize::try_from(wanted).unwrap()]);
                }
            }
        });
    }

    #[test]
    fn a_block_that_stays_damaged_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let db = sled::open(dir.path()).unwrap();
        let events: Vec<Record> = (0..16).map(|number| event(number, 16 * 1024)).collect();
        put(&db, &events, 16);
        db.remove(keys::block(0, Sequence::ZERO, 1)).unwrap();
        assert_eq!(read(&db, 0, Sequence::new(3)).unwrap(), None);
    }
}
