//! Blocks: runs of one chain's events, compressed, as they lie in sled.
//!
//! A block holds at most 256 events and 96 KiB before compression, or one larger event. Its bytes are the length of what was
//! compressed (4), then one zstd frame over the events as in a journal frame. Where a block ends depends on its events alone,
//! so writing it again, larger or after a crash, replaces it: blocks never overlap, and events never move between them.

use countersign_chain::Record;
use countersign_ids::Sequence;

use super::keys::{self, Number};
use super::values;
use crate::Error;
use crate::journal::record;

/// The most events in a block.
pub(crate) const BLOCK_EVENTS: u64 = 256;
/// The most bytes of events in a block, unless one event alone is larger.
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
    let packed = pack(raw).map_err(|error| Error::Log(error.into()))?;
    values::put(batch, &keys::block(chain, first), &packed);
    Ok(())
}

/// Reads the block that holds `sequence`, or the last one before it: its first sequence and its events.
pub(crate) fn read(
    db: &sled::Db,
    chain: Number,
    sequence: Sequence,
) -> Result<Option<(Sequence, Vec<Record>)>, Error> {
    let found = read_raw(db, chain, sequence)?;
    Ok(found.and_then(|(first, raw)| Some((first, record::decode(&raw)?))))
}

/// The same, its events as they stand in a journal frame.
pub(crate) fn read_raw(
    db: &sled::Db,
    chain: Number,
    sequence: Sequence,
) -> Result<Option<(Sequence, Vec<u8>)>, Error> {
    let first = keys::block(chain, Sequence::ZERO);
    let range = first..=values::last_piece(&keys::block(chain, sequence));
    let Some((piece, _)) = db.range(range).next_back().transpose()? else {
        return Ok(None);
    };
    let Some(key) = values::key_of_any(&piece) else {
        return Ok(None);
    };
    let value = values::get(db, key)?.value();
    let raw = value.and_then(|value| unpack_block(&value));
    Ok(keys::block_first(key).zip(raw))
}

/// The events of a block, as they stand in a journal frame.
pub(crate) fn unpack_block(value: &[u8]) -> Option<Vec<u8>> {
    unpack(value, UNPACKED_BYTES_MAX)
}

/// A length (4), then a zstd frame over `raw`.
pub(crate) fn pack(raw: &[u8]) -> std::io::Result<Vec<u8>> {
    let length = u32::try_from(raw.len()).unwrap_or(u32::MAX);
    let mut value = length.to_be_bytes().to_vec();
    value.extend_from_slice(&zstd::bulk::compress(raw, LEVEL)?);
    Ok(value)
}

/// What was packed, at most `max` bytes; `None` if the bytes are anything else.
pub(crate) fn unpack(value: &[u8], max: usize) -> Option<Vec<u8>> {
    let (length, packed) = value.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length))
        .ok()
        .filter(|length| *length <= max)?;
    zstd::bulk::decompress(packed, length)
        .ok()
        .filter(|raw| raw.len() == length)
}
