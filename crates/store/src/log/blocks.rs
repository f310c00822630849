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
pub(crate) fn read(
    db: &sled::Db,
    chain: Number,
    sequence: Sequence,
) -> Result<Option<(Sequence, Vec<Record>)>, Error> {
    let last = db
        .range(keys::block(chain, Sequence::ZERO, 0)..=keys::block(chain, sequence, u8::MAX))
        .next_back();
    let Some(found) = last
        .transpose()?
        .and_then(|(key, _)| keys::block_place(&key))
    else {
        return Ok(None);
    };
    let first = found.0;
    let mut value = Vec::new();
    for part in db.range(keys::block(chain, first, 0)..=keys::block(chain, first, u8::MAX)) {
        value.extend_from_slice(&part?.1);
    }
    Ok(unpack(&value).map(|records| (first, records)))
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
