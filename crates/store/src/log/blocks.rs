//! Blocks: runs of one chain's events, compressed, as they lie in sled.
//!
//! A block holds at most 256 events and 96 KiB before compression, or one larger event. Where a block ends depends on its events
//! alone, so writing it again, larger or after a crash, replaces it: blocks never overlap, and events never move between them.
//!
//! What can be computed is left out: `bodyhash`, of an event whose body is there, and `prevhash`. Number of events (4); the hash
//! before the first event and before every 32nd after it; the hash of the last event; then, packed (`digests`), the events as in a
//! journal frame with these values empty. Whoever reads a block computes them again and compares every hash that stands there, so
//! no changed event comes out of it.

use std::ops::Range;

use countersign_chain::{Record, body_hash, event_hash};
use countersign_ids::{EventHash, Plain, Salt, Sequence};

use super::keys::{self, Number};
use super::values;
use crate::Error;
use crate::digests;
use crate::journal::frame::{put, take};
use crate::journal::record;

/// The most events in a block.
pub(crate) const BLOCK_EVENTS: u64 = 256;
/// The most bytes of events in a block, unless one event alone is larger.
pub(crate) const BLOCK_BYTES: usize = 96 * 1024;
/// What one block can decompress to: one event with the largest header and body, and room to spare.
const UNPACKED_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Events from one hash that stands in a block to the next.
const LINK_EVENTS: usize = 32;
const BODY_HASH: &str = "\"bodyhash\":\"";
const LINK: &str = "\"prevhash\":\"";

/// Writes one block.
pub(crate) fn write(
    batch: &mut sled::Batch,
    chain: Number,
    first: Sequence,
    raw: &[u8],
) -> Result<(), Error> {
    values::put(batch, &keys::block(chain, first), &encode(raw)?);
    Ok(())
}

/// Reads up to `limit` events from `sequence` on out of the block that holds it, or the last one before: the first sequence of
/// what is returned, which may begin before and end behind what is asked for, and the events.
pub(crate) fn read(
    db: &sled::Db,
    chain: Number,
    sequence: Sequence,
    limit: usize,
) -> Result<Option<(Sequence, Vec<Record>)>, Error> {
    let Some((first, value)) = find(db, chain, sequence)? else {
        return Ok(None);
    };
    let from = usize::try_from(sequence.get().saturating_sub(first.get())).unwrap_or(usize::MAX);
    let wanted = from..from.saturating_add(limit);
    Ok(decode(&value, &wanted).and_then(|(skipped, raw)| {
        let first = first.get().saturating_add(skipped as u64);
        Some((Sequence::new(first), record::decode(&raw)?))
    }))
}

/// The whole block, its events as they stand in a journal frame.
pub(crate) fn read_raw(
    db: &sled::Db,
    chain: Number,
    sequence: Sequence,
) -> Result<Option<(Sequence, Vec<u8>)>, Error> {
    let found = find(db, chain, sequence)?;
    Ok(found.and_then(|(first, value)| Some((first, decode_all(&value)?))))
}

fn find(
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
    Ok(keys::block_first(key).zip(value))
}

/// The first event of a chain of which there is a block.
pub(crate) fn first(db: &sled::Db, chain: Number) -> Result<Option<Sequence>, Error> {
    let (first, last) = (
        keys::block(chain, Sequence::ZERO),
        values::last_piece(&keys::block(chain, Sequence::new(u64::MAX))),
    );
    let found = db.range(first..=last).next().transpose()?;
    Ok(found.and_then(|(piece, _)| keys::block_first(values::key_of_any(&piece)?)))
}

/// The bytes of a block of events that follow each other, as they stand in a journal frame.
pub(crate) fn encode(raw: &[u8]) -> Result<Vec<u8>, Error> {
    let mut rest = raw;
    let (mut events, mut links, mut lean, mut last) = (0_usize, Vec::new(), Vec::new(), None);
    while !rest.is_empty() {
        let (header, salt, body) = parts(&mut rest).ok_or_else(no_event)?;
        let (prevhash, mut bare) = cut(header, LINK).ok_or_else(no_event)?;
        if events.is_multiple_of(LINK_EVENTS) {
            let link: EventHash = prevhash.parse().map_err(|_| no_event())?;
            links.extend_from_slice(link.as_bytes());
        }
        if !salt.is_empty() {
            bare = cut(&bare, BODY_HASH).ok_or_else(no_event)?.1;
        }
        for part in [&bare, salt, body] {
            put(&mut lean, part);
        }
        last = Some(event_hash(header));
        events = events.saturating_add(1);
    }
    let last = last.ok_or_else(no_event)?;
    let packed = digests::pack(&lean).map_err(|error| Error::Log(error.into()))?;
    let events = u32::try_from(events).unwrap_or(u32::MAX).to_be_bytes();
    Ok([events.as_slice(), &links, last.as_bytes(), &packed].concat())
}

/// All events of a block, as they stand in a journal frame; `None` if one of them is not what was written.
pub(crate) fn decode_all(value: &[u8]) -> Option<Vec<u8>> {
    decode(value, &(0..usize::MAX)).map(|(_, raw)| raw)
}

/// The events that are wanted, from one hash that stands in the block to another: how many are left out before them, and they;
/// `None` if one of them is not what was written.
fn decode(value: &[u8], wanted: &Range<usize>) -> Option<(usize, Vec<u8>)> {
    let (events, rest) = value.split_first_chunk::<4>()?;
    let events = usize::try_from(u32::from_be_bytes(*events)).ok()?;
    let links = events.div_ceil(LINK_EVENTS).checked_mul(32)?;
    let (links, rest) = rest.split_at_checked(links)?;
    let (last, packed) = rest.split_first_chunk::<32>()?;
    let lean = digests::unpack(packed, UNPACKED_BYTES_MAX)?;
    let group = wanted.start.min(events) / LINK_EVENTS;
    let skipped = group.saturating_mul(LINK_EVENTS);
    let mut links = links.as_chunks::<32>().0.iter().skip(group);
    let (mut rest, mut raw) = (lean.as_slice(), Vec::new());
    let mut before: Option<EventHash> = None;
    for event in 0..events {
        let (bare, salt, body) = parts(&mut rest)?;
        if event < skipped {
            continue;
        }
        if event.is_multiple_of(LINK_EVENTS) {
            let link = EventHash::from_bytes(*links.next()?);
            if before.is_some_and(|before| before != link) {
                return None;
            }
            if event >= wanted.end {
                return Some((skipped, raw));
            }
            before = Some(link);
        }
        let mut header = filled(bare, LINK, &before?)?;
        if !salt.is_empty() {
            let salt = Salt::from_bytes(*salt.first_chunk().filter(|_| salt.len() == 16)?);
            header = filled(&header, BODY_HASH, &body_hash(&salt, body))?;
        }
        before = Some(event_hash(&header));
        for part in [&header, salt, body] {
            put(&mut raw, part);
        }
    }
    let last = EventHash::from_bytes(*last);
    let whole = rest.is_empty() && before.is_none_or(|before| before == last);
    whole.then_some((skipped, raw))
}

/// E, salt and B of the next event.
fn parts<'a>(rest: &mut &'a [u8]) -> Option<(&'a [u8], &'a [u8], &'a [u8])> {
    Some((take(rest)?, take(rest)?, take(rest)?))
}

/// The value behind a name, and the header without it.
fn cut<'a>(header: &'a [u8], name: &str) -> Option<(&'a str, Vec<u8>)> {
    let at = behind(header, name)?;
    let (before, rest) = header.split_at_checked(at)?;
    let length = rest.iter().position(|byte| *byte == b'"')?;
    let (value, after) = rest.split_at_checked(length)?;
    Some((std::str::from_utf8(value).ok()?, [before, after].concat()))
}

/// The header with a value behind a name where there is none.
fn filled(bare: &[u8], name: &str, value: &impl Plain) -> Option<Vec<u8>> {
    let (before, after) = bare.split_at_checked(behind(bare, name)?)?;
    let mut header = Vec::with_capacity(bare.len().saturating_add(80));
    header.extend_from_slice(before);
    value.put(&mut header);
    header.extend_from_slice(after);
    after.starts_with(b"\"").then_some(header)
}

/// Where the value of a name begins. No value of a header holds a quotation mark, so nothing else looks like it.
fn behind(header: &[u8], name: &str) -> Option<usize> {
    let at = std::str::from_utf8(header).ok()?.find(name)?;
    at.checked_add(name.len())
}

fn no_event() -> Error {
    Error::Log(std::io::Error::other("what belongs into a block is no event").into())
}

#[cfg(test)]
mod tests {
    use countersign_chain::{Absence, ChainState, Hashed, HashedBody, Header};
    use countersign_ids::{Actor, AuthType, CommandId, LedgerId, Retention, Time};

    use super::*;

    /// So many events of a chain; every third has lost its body.
    fn events(count: u64) -> Vec<u8> {
        let mut state =
            ChainState::genesis(&LedgerId::from_bytes([1; 32]), &"acme".parse().unwrap());
        let mut raw = Vec::new();
        for number in 0..count {
            let body = HashedBody::of(
                Salt::from_bytes([7; 16]),
                format!("{{\"n\":{number},\"d\":\"{}\"}}", blake3::hash(&[1])).into_bytes(),
            );
            let header = Header {
                ledger: *state.ledger(),
                chain: state.chain().clone(),
                id: "01938e5e-8a51-7000-8000-000000000001".parse().unwrap(),
                event_type: "dev.countersign.site.happened.v1".parse().unwrap(),
                subject: "www".parse().unwrap(),
                site: None,
                time: Time::from_unix_millis(1000),
                retention: Retention::Evidence,
                sequence: state.next(),
                familysequence: state.next(),
                prevhash: state.head(),
                bodyhash: body.hash(),
                bodykey: None,
                datasubject: None,
                actor: Actor {
                    kind: AuthType::Person,
                    id: "ann".parse().unwrap(),
                },
                commandid: CommandId::from_bytes([1; 16]),
                requestdigest: None,
                platformhead: None,
                correlationid: None,
                causationid: None,
                traceparent: None,
                ownerepoch: None,
            };
            let mut hashed = Hashed::made(header, body);
            state.advance(&hashed).unwrap();
            if number % 3 == 2 {
                hashed = hashed.without_body(Absence::Expired);
            }
            record::encode(&mut raw, hashed.record());
        }
        raw
    }

    #[test]
    fn a_block_comes_back_as_it_was_without_the_hashes_that_can_be_computed() {
        for count in [1, 2, 31, 32, 33, 64, 65, 256] {
            let raw = events(count);
            let value = encode(&raw).unwrap();
            assert_eq!(
                decode_all(&value).as_deref(),
                Some(raw.as_slice()),
                "{count}"
            );
            let all = record::decode(&raw).unwrap();
            for (from, limit) in [(0, 1), (31, 1), (32, 40), (70, 1), (all.len(), 5)] {
                let (skipped, some) = decode(&value, &(from..from + limit)).unwrap();
                let some = record::decode(&some).unwrap();
                let wanted = all.iter().skip(from).take(limit);
                assert!(some.iter().skip(from - skipped).take(limit).eq(wanted));
                assert!(
                    some.len() < limit + 2 * LINK_EVENTS,
                    "no more than it takes"
                );
            }
        }
        let raw = events(256);
        let hashes = 32 * (256 / LINK_EVENTS + 1) + 256 / 3 * 32;
        let value = encode(&raw).unwrap().len();
        assert!(value < hashes + 256 * 16, "{value}");
    }

    /// A block whose writer kept its hashes and changed something else: nothing of it may come out.
    #[test]
    fn a_changed_event_in_a_block_is_refused_wherever_it_stands() {
        let raw = events(70);
        let value = encode(&raw).unwrap();
        let at = 4 + 3 * 32 + 32;
        let lean = digests::unpack(&value[at..], UNPACKED_BYTES_MAX).unwrap();
        let again = |lean: &[u8]| [&value[..at], &digests::pack(lean).unwrap()].concat();
        assert_eq!(decode_all(&again(&lean)), Some(raw));
        for byte in (0..lean.len()).step_by(7) {
            let mut changed = lean.clone();
            changed[byte] ^= 1;
            // Why a body is gone is in no hash, but is one of few words.
            let taken = decode_all(&again(&changed)).and_then(|raw| record::decode(&raw));
            assert_eq!(taken, None, "byte {byte}");
        }
        for byte in 0..at {
            let mut changed = value.clone();
            changed[byte] ^= 1;
            assert_eq!(decode_all(&changed), None, "byte {byte} of the hashes");
        }
    }
}
