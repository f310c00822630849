//! The keys of the log: one sled tree, everything in it sorted by what it belongs to.
//!
//! | first byte | then | value |
//! | --- | --- | --- |
//! | `M` | | format and ledger id |
//! | `P` | | how far into the journal the log reaches |
//! | `h` | chain number (4) | head of the chain |
//! | `b` | chain number (4), first sequence (8) | block of events, compressed |
//! | `n` | chain number (4), level (1), index (8) | tile: the hashes of up to 256 complete subtrees |
//! | `c`, `i` | see `runs` | where a command id, an event id is |
//! | `p` | projection, 0, chain | how far the rows are folded that are served |
//! | `q` | projection, 0, chain | how far those are that will take their place |
//! | `g` | projection, 0, chain, 0, generation (4) | rows that nobody needs any more |
//! | `r` | projection, 0, chain, 0, generation (4), key of the first row | block of rows, compressed |
//!
//! How values lie under these keys is `values`: `h`, `b`, `c` and `i` in pieces, the others whole. Chain numbers are the log's
//! own, in order of first appearance; they are not in any hash.

use countersign_ids::{ChainId, Sequence};

pub(crate) const META: &[u8] = b"M";
pub(crate) const POSITION: &[u8] = b"P";
pub(crate) const HEADS: &[u8] = b"h";
pub(crate) const COMMANDS: u8 = b'c';
pub(crate) const EVENTS: u8 = b'i';
pub(crate) const ROWS: &[u8] = b"r";
pub(crate) const SERVING: &[u8] = b"p";
pub(crate) const BUILDING: &[u8] = b"q";
pub(crate) const GARBAGE: &[u8] = b"g";

/// The log's number of a chain.
pub(crate) type Number = u32;
/// Which of the times that a projection was made in a chain.
pub(crate) type Generation = u32;
/// A projection in a chain.
pub(crate) type Place = (String, ChainId);

pub(crate) fn head(chain: Number) -> Vec<u8> {
    [HEADS, &chain.to_be_bytes()].concat()
}

pub(crate) fn block(chain: Number, first: Sequence) -> Vec<u8> {
    [
        b"b".as_slice(),
        &chain.to_be_bytes(),
        &first.get().to_be_bytes(),
    ]
    .concat()
}

/// The first sequence in a block's key.
pub(crate) fn block_first(key: &[u8]) -> Option<Sequence> {
    let first = key.get(5..)?.first_chunk()?;
    Some(Sequence::new(u64::from_be_bytes(*first)))
}

/// The chain and the first sequence in the key of a block; `None` for any other key.
pub(crate) fn block_place(key: &[u8]) -> Option<(Number, Sequence)> {
    let number = key.strip_prefix(b"b")?.first_chunk()?;
    let first = block_first(key).filter(|_| key.len() == 13)?;
    Some((u32::from_be_bytes(*number), first))
}

/// A tile: of level 1 are the hashes of subtrees of 256 events, of level 2 those of 65,536.
pub(crate) fn tile(chain: Number, level: u8, index: u64) -> Vec<u8> {
    [
        b"n".as_slice(),
        &chain.to_be_bytes(),
        &[level],
        &index.to_be_bytes(),
    ]
    .concat()
}

/// The record of a place: how far it is folded, by what the record is about.
pub(crate) fn fold(record: &[u8], (projection, chain): &Place) -> Vec<u8> {
    [
        record,
        projection.as_bytes(),
        b"\0",
        chain.to_string().as_bytes(),
    ]
    .concat()
}

/// The place in the key of such a record.
pub(crate) fn fold_place(record: &[u8], key: &[u8]) -> Option<Place> {
    let text = std::str::from_utf8(key.strip_prefix(record)?).ok()?;
    let (projection, chain) = text.split_once('\0')?;
    Some((projection.to_owned(), chain.parse().ok()?))
}

/// All rows of one generation of a projection in one chain: the key of a block's first row follows.
pub(crate) fn rows(projection: &str, chain: &ChainId, generation: Generation) -> Vec<u8> {
    of_generation(ROWS, projection, chain, generation)
}

/// The record of a generation whose rows nobody needs.
pub(crate) fn garbage((projection, chain): &Place, generation: Generation) -> Vec<u8> {
    of_generation(GARBAGE, projection, chain, generation)
}

fn of_generation(
    first: &[u8],
    projection: &str,
    chain: &ChainId,
    generation: Generation,
) -> Vec<u8> {
    [
        first,
        projection.as_bytes(),
        b"\0",
        chain.to_string().as_bytes(),
        b"\0",
        &generation.to_be_bytes(),
    ]
    .concat()
}

/// The place and generation in the key of a block of rows, and the key of its first row.
pub(crate) fn row_place(key: &[u8]) -> Option<(Place, Generation, &[u8])> {
    place_of_generation(ROWS, key)
}

/// The place and generation in the key of a record of garbage.
pub(crate) fn garbage_place(key: &[u8]) -> Option<(Place, Generation)> {
    let (place, generation, rest) = place_of_generation(GARBAGE, key)?;
    rest.is_empty().then_some((place, generation))
}

fn place_of_generation<'a>(first: &[u8], key: &'a [u8]) -> Option<(Place, Generation, &'a [u8])> {
    let mut parts = key.strip_prefix(first)?.splitn(3, |byte| *byte == 0);
    let projection = std::str::from_utf8(parts.next()?).ok()?.to_owned();
    let chain = std::str::from_utf8(parts.next()?).ok()?.parse().ok()?;
    let (generation, rest) = parts.next()?.split_first_chunk()?;
    Some(((projection, chain), u32::from_be_bytes(*generation), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_and_its_generation_are_read_from_the_key_again() {
        let place: Place = ("queue".to_owned(), "blog.beats".parse().unwrap());
        let row = [rows(&place.0, &place.1, 0x0001_0000), b"a\0b".to_vec()].concat();
        let read = row_place(&row).unwrap();
        assert_eq!(read, (place.clone(), 0x0001_0000, b"a\0b".as_slice()));
        let record = garbage(&place, 7);
        assert_eq!(garbage_place(&record), Some((place.clone(), 7)));
        let record = fold(BUILDING, &place);
        assert_eq!(fold_place(BUILDING, &record), Some(place));
        assert_eq!(fold_place(SERVING, &record), None);
    }
}
