//! One block of an index run: a few hundred sorted entries, column by column, so that what repeats compresses.
//!
//! The number of entries (4), the length of the packed keys (4), the keys by columns in one zstd frame, the values by columns
//! in another. A lookup that finds no key, as after a false alarm of the filter, never unpacks the values.

use super::runs::{Key, Pair};

/// Entries in one block.
pub(crate) const BLOCK_ENTRIES: usize = 1024;
const KEY_BYTES: usize = 16;
const LEVEL: i32 = 1;

/// A block that was read.
#[derive(Debug)]
pub(crate) struct Block<'a> {
    entries: usize,
    /// By columns.
    keys: Vec<u8>,
    values: &'a [u8],
}

/// The bytes of a block of sorted entries.
pub(crate) fn encode<const W: usize>(entries: &[Pair<W>]) -> std::io::Result<Vec<u8>> {
    let keys: Vec<&Key> = entries.iter().map(|entry| &entry.0).collect();
    let values: Vec<&[u8; W]> = entries.iter().map(|entry| &entry.1).collect();
    let keys = zstd::bulk::compress(&columns(&keys), LEVEL)?;
    let values = zstd::bulk::compress(&columns(&values), LEVEL)?;
    let number = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    Ok([
        number(entries.len()).as_slice(),
        &number(keys.len()),
        &keys,
        &values,
    ]
    .concat())
}

impl<'a> Block<'a> {
    /// Reads the keys; `None` if the bytes are no block.
    pub(crate) fn open(bytes: &'a [u8]) -> Option<Self> {
        let (entries, rest) = bytes.split_first_chunk::<4>()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let entries = usize::try_from(u32::from_be_bytes(*entries)).ok()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (keys, values) = rest.split_at_checked(length)?;
        let keys = unpack(keys, entries, KEY_BYTES)?;
        Some(Self {
            entries,
            keys,
            values,
        })
    }

    /// The value of a key; the outer `None` if the bytes are no block.
    pub(crate) fn find<const W: usize>(&self, key: &Key) -> Option<Option<[u8; W]>> {
        let (mut low, mut high) = (0, self.entries);
        while low < high {
            let middle = low.midpoint(high);
            match row::<KEY_BYTES>(&self.keys, self.entries, middle).cmp(key) {
                std::cmp::Ordering::Equal => {
                    let values = unpack(self.values, self.entries, W)?;
                    return Some(Some(row(&values, self.entries, middle)));
                }
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Some(None)
    }

    /// All entries, in order.
    pub(crate) fn entries<const W: usize>(&self) -> Option<Vec<Pair<W>>> {
        let values = unpack(self.values, self.entries, W)?;
        let entry = |at| {
            (
                row(&self.keys, self.entries, at),
                row(&values, self.entries, at),
            )
        };
        Some((0..self.entries).map(entry).collect())
    }
}

/// The bytes of all rows, first bytes first.
fn columns<const N: usize>(rows: &[&[u8; N]]) -> Vec<u8> {
    (0..N)
        .flat_map(|column| rows.iter().filter_map(move |row| row.get(column).copied()))
        .collect()
}

fn row<const N: usize>(columns: &[u8], rows: usize, at: usize) -> [u8; N] {
    std::array::from_fn(|column| columns.get(column * rows + at).copied().unwrap_or_default())
}

fn unpack(packed: &[u8], entries: usize, width: usize) -> Option<Vec<u8>> {
    let length = entries
        .checked_mul(width)
        .filter(|_| entries <= BLOCK_ENTRIES)?;
    zstd::bulk::decompress(packed, length)
        .ok()
        .filter(|bytes| bytes.len() == length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_reads_back_and_other_bytes_are_none() {
        let entries: Vec<Pair<3>> = (0..1000_u16)
            .map(|n| {
                (
                    *blake3::hash(&n.to_be_bytes())
                        .as_bytes()
                        .first_chunk()
                        .unwrap(),
                    n,
                )
            })
            .collect::<std::collections::BTreeMap<Key, u16>>()
            .into_iter()
            .map(|(key, n)| (key, [7, n.to_be_bytes()[0], n.to_be_bytes()[1]]))
            .collect();
        let bytes = encode(&entries).unwrap();
        let block = Block::open(&bytes).unwrap();
        assert_eq!(block.entries::<3>().unwrap(), entries);
        for (key, value) in &entries {
            assert_eq!(block.find::<3>(key), Some(Some(*value)));
        }
        assert_eq!(block.find::<3>(&[0; 16]), Some(None));
        assert_eq!(block.find::<3>(&[255; 16]), Some(None));
        assert!((0..bytes.len()).all(|cut| {
            Block::open(&bytes[..cut]).is_none_or(|block| block.entries::<3>().is_none())
        }));
    }
}
