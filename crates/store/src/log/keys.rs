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
//! | `p` | projection, 0, chain | how far it is folded |
//! | `r` | projection, 0, chain, 0, key of the first row | block of rows, compressed |
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
pub(crate) const FOLDED: &[u8] = b"p";

/// The log's number of a chain.
pub(crate) type Number = u32;

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

pub(crate) fn folded(projection: &str, chain: &ChainId) -> Vec<u8> {
    [
        b"p",
        projection.as_bytes(),
        b"\0",
        chain.to_string().as_bytes(),
    ]
    .concat()
}

/// All rows of a projection in one chain: the key of a block's first row follows.
pub(crate) fn rows(projection: &str, chain: &ChainId) -> Vec<u8> {
    [
        ROWS,
        projection.as_bytes(),
        b"\0",
        chain.to_string().as_bytes(),
        b"\0",
    ]
    .concat()
}

/// The projection and chain in the key of a checkpoint.
pub(crate) fn folded_place(key: &[u8]) -> Option<(String, ChainId)> {
    let text = std::str::from_utf8(key.strip_prefix(FOLDED)?).ok()?;
    let (projection, chain) = text.split_once('\0')?;
    Some((projection.to_owned(), chain.parse().ok()?))
}

/// The projection and chain in the key of a block of rows, and the key of its first row.
pub(crate) fn row_place(key: &[u8]) -> Option<((String, ChainId), Vec<u8>)> {
    let mut parts = key.strip_prefix(ROWS)?.splitn(3, |byte| *byte == 0);
    let projection = std::str::from_utf8(parts.next()?).ok()?.to_owned();
    let chain = std::str::from_utf8(parts.next()?).ok()?.parse().ok()?;
    Some(((projection, chain), parts.next()?.to_vec()))
}
