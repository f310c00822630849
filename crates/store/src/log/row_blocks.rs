//! Rows of projections in blocks: sorted rows of one projection and chain, compressed, under the key of the first.
//!
//! A row belongs into the last block whose first row is not behind it. A block that grows too large is parted; one that is empty
//! goes away. Each block is one value, so a reader sees it before or after a change and never in between.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::values;
use crate::Error;
use crate::digests;
use crate::journal::frame::{put, take};

/// Bytes of rows in a block, unless one row alone is larger.
const BLOCK_BYTES: usize = 16 * 1024;
/// What one block can decompress to: no row comes near it.
const UNPACKED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Rows by their own keys; `None`: deleted.
pub(crate) type Changed = BTreeMap<Vec<u8>, Option<Vec<u8>>>;
/// A row's key and value.
pub(crate) type KeyValue = (Vec<u8>, Vec<u8>);

/// The rows of a block that stands under `key`; `None` if the bytes are anything else.
pub(crate) fn decode(key: &[u8], sealed: &[u8]) -> Option<Vec<KeyValue>> {
    let raw = digests::unpack(values::unseal(key, sealed)?, UNPACKED_BYTES_MAX)?;
    let mut rest = raw.as_slice();
    let mut rows = Vec::new();
    while !rest.is_empty() {
        let key = take(&mut rest)?.to_vec();
        rows.push((key, take(&mut rest)?.to_vec()));
    }
    Some(rows)
}

/// One row, of those whose blocks' keys begin with `prefix`.
pub(crate) fn find(db: &sled::Db, prefix: &[u8], row: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    let Some((key, value)) = block_of(db, prefix, row)? else {
        return Ok(None);
    };
    let mut rows = decode(&key, &value).ok_or_else(damaged)?;
    let found = rows.binary_search_by(|(key, _)| key.as_slice().cmp(row));
    Ok(found.ok().map(|at| rows.swap_remove(at).1))
}

/// Rows from `from` on, in order, until `take` has enough.
pub(crate) fn scan(
    db: &sled::Db,
    prefix: &[u8],
    from: &[u8],
    mut take: impl FnMut(KeyValue) -> bool,
) -> Result<(), Error> {
    let first = block_of(db, prefix, from)?.map(|(key, _)| key.to_vec());
    let first = first.unwrap_or_else(|| [prefix, from].concat());
    for item in db.range(first..) {
        let (key, value) = item?;
        if !key.starts_with(prefix) {
            break;
        }
        for row in decode(&key, &value).ok_or_else(damaged)? {
            if row.0.as_slice() >= from && !take(row) {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Adds changes to the batch. `false`, and nothing is added, if a block that they belong into is not what was written.
pub(crate) fn stage(
    db: &sled::Db,
    batch: &mut sled::Batch,
    prefix: &[u8],
    changed: &Changed,
) -> Result<bool, Error> {
    let mut writes: Vec<(Vec<u8>, Option<Vec<u8>>)> = Vec::new();
    let mut rest = changed.iter().peekable();
    while let Some((first, _)) = rest.peek() {
        let block = block_of(db, prefix, first)?;
        let behind = (Bound::Excluded([prefix, first].concat()), Bound::Unbounded);
        let next = db.range::<Vec<u8>, _>(behind).keys().next().transpose()?;
        let until = next.as_ref().and_then(|next| next.strip_prefix(prefix));
        let mut rows = BTreeMap::new();
        if let Some((key, value)) = block {
            let Some(stored) = decode(&key, &value) else {
                return Ok(false);
            };
            rows.extend(stored);
            writes.push((key.to_vec(), None));
        }
        let here = |row: &Vec<u8>| until.is_none_or(|until| row.as_slice() < until);
        while let Some((row, value)) = rest.next_if(|(row, _)| here(row)) {
            match value {
                Some(value) => rows.insert(row.clone(), value.clone()),
                None => rows.remove(row),
            };
        }
        write(prefix, &rows, until.is_none(), &mut writes)?;
    }
    for (key, value) in writes {
        match value {
            Some(value) => batch.insert(key, value),
            None => batch.remove(key),
        }
    }
    Ok(true)
}

/// Removes some blocks of rows; `false` if there are none.
pub(crate) fn clear(db: &sled::Db, prefix: &[u8], blocks: usize) -> Result<bool, Error> {
    let mut batch = sled::Batch::default();
    let mut found = false;
    for key in db.scan_prefix(prefix).keys().take(blocks) {
        batch.remove(key?);
        found = true;
    }
    db.apply_batch(batch)?;
    Ok(found)
}

/// What is left of a block that is not what was written.
pub(crate) fn damaged() -> Error {
    Error::Log(std::io::Error::other("a block of rows is not what was written").into())
}

/// The block that a row belongs into.
fn block_of(
    db: &sled::Db,
    prefix: &[u8],
    row: &[u8],
) -> Result<Option<(sled::IVec, sled::IVec)>, Error> {
    let range = prefix.to_vec()..=[prefix, row].concat();
    Ok(db.range(range).next_back().transpose()?)
}

/// Parts rows into blocks: behind the last row of all, full blocks and a rest; elsewhere, blocks of about the same size.
fn write(
    prefix: &[u8],
    rows: &BTreeMap<Vec<u8>, Vec<u8>>,
    last: bool,
    writes: &mut Vec<(Vec<u8>, Option<Vec<u8>>)>,
) -> Result<(), Error> {
    let bytes: usize = rows
        .iter()
        .map(|(key, value)| key.len() + value.len() + 8)
        .sum();
    let limit = if last {
        BLOCK_BYTES
    } else {
        bytes.div_ceil(bytes.div_ceil(BLOCK_BYTES).max(1))
    };
    let mut raw = Vec::new();
    let mut first: Option<&[u8]> = None;
    for (key, value) in rows {
        if let Some(begun) = first.filter(|_| raw.len() + key.len() + value.len() > limit) {
            writes.push(block(prefix, begun, &raw)?);
            raw.clear();
            first = None;
        }
        first.get_or_insert(key);
        put(&mut raw, key);
        put(&mut raw, value);
    }
    if let Some(first) = first {
        writes.push(block(prefix, first, &raw)?);
    }
    Ok(())
}

fn block(prefix: &[u8], first: &[u8], raw: &[u8]) -> Result<(Vec<u8>, Option<Vec<u8>>), Error> {
    let key = [prefix, first].concat();
    let packed = digests::pack(raw).map_err(|error| Error::Log(error.into()))?;
    let sealed = values::seal(&key, &packed);
    Ok((key, Some(sealed)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(db: &sled::Db, prefix: &[u8], from: &[u8], limit: usize) -> Vec<KeyValue> {
        let mut rows = Vec::new();
        scan(db, prefix, from, |row| {
            rows.push(row);
            rows.len() < limit
        })
        .unwrap();
        rows
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn rows_in_blocks_are_those_of_a_plain_map(
            steps in prop::collection::vec(
                prop::collection::vec((0..400_u16, prop::option::weighted(0.8, 0..3000_usize)), 1..60),
                1..20,
            ),
            from in 0..400_u16,
        ) {
            let dir = tempfile::tempdir().unwrap();
            let db = sled::open(dir.path()).unwrap();
            // Neighbours on both sides that must stay as they are.
            for other in [b"p/a".as_slice(), b"p0a"] {
                db.insert(other, b"x").unwrap();
            }
            let key = |n: u16| format!("row {n:05}").into_bytes();
            let mut model: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
            for step in steps {
                let mut changed = Changed::new();
                for (n, length) in step {
                    changed.insert(key(n), length.map(|length| vec![b'v'; length]));
                }
                for (key, value) in &changed {
                    match value {
                        Some(value) => model.insert(key.clone(), value.clone()),
                        None => model.remove(key),
                    };
                }
                let mut batch = sled::Batch::default();
                prop_assert!(stage(&db, &mut batch, b"p/b\0", &changed).unwrap());
                db.apply_batch(batch).unwrap();
            }
            let expected: Vec<KeyValue> = model.clone().into_iter().collect();
            prop_assert_eq!(all(&db, b"p/b\0", b"", usize::MAX), expected);
            let page: Vec<KeyValue> = model.range(key(from)..).take(7)
                .map(|(key, value)| (key.clone(), value.clone())).collect();
            prop_assert_eq!(all(&db, b"p/b\0", &key(from), 7), page);
            for n in 0..400 {
                prop_assert_eq!(find(&db, b"p/b\0", &key(n)).unwrap(), model.get(&key(n)).cloned());
            }
            while clear(&db, b"p/b\0", 3).unwrap() {}
            prop_assert_eq!(db.len(), 2);
        }
    }

    #[test]
    fn a_changed_block_is_an_error_and_takes_nothing_in() {
        let dir = tempfile::tempdir().unwrap();
        let db = sled::open(dir.path()).unwrap();
        let rows: Changed = (0..100_u8)
            .map(|n| (vec![n], Some(vec![n; 1000])))
            .collect();
        let mut batch = sled::Batch::default();
        assert!(stage(&db, &mut batch, b"p", &rows).unwrap());
        db.apply_batch(batch).unwrap();
        let (key, value) = db.iter().next_back().unwrap().unwrap();
        let mut changed = value.to_vec();
        *changed.last_mut().unwrap() ^= 1;
        db.insert(key, changed).unwrap();
        assert!(find(&db, b"p", &[99]).is_err());
        assert!(find(&db, b"p", &[0]).unwrap().is_some());
        let mut batch = sled::Batch::default();
        assert!(!stage(&db, &mut batch, b"p", &rows).unwrap());
        let before: Vec<_> = db.iter().map(Result::unwrap).collect();
        db.apply_batch(batch).unwrap();
        assert_eq!(before, db.iter().map(Result::unwrap).collect::<Vec<_>>());
    }
}
