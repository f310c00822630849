//! A sealed segment, compressed: the same bytes under the same name, in blocks that can be read each for itself.
//!
//! Positions mean what they meant before: whoever reads a segment sees the bytes that were written, whichever way they lie on
//! disk. Field widths are fixed by docs/format.md section 5; all integers are big-endian. How a segment becomes compressed is
//! `packing`.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::scan::SegmentFile;
use super::{Position, bit, bytes};
use crate::digests;
use crate::disk::{Disk, File};

/// What a compressed segment begins with.
const MAGIC: [u8; 4] = *b"CSJZ";
/// Blocks of version 1 are plain zstd frames; those of version 2 have their digests apart. Only the latter are written.
const VERSIONS: [u8; 2] = [1, 2];
const VERSION: u8 = 2;
/// Magic (4), version (1), zero (3), position of the first byte (8), length before compression (8), bytes of a block (4), blocks (4).
const FIXED_BYTES: usize = 32;
/// Compressed length (4) and CRC32C (4) of each block.
const ENTRY_BYTES: usize = 8;
/// Bytes of a block before compression; the last one may be shorter.
pub(crate) const BLOCK_BYTES: usize = 1024 * 1024;
/// So that a forged number cannot make a reader allocate: 64 GiB of segment.
const BLOCKS_MAX: usize = 64 * 1024;

/// One block: where it lies, and what its bytes add up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) length: u32,
    pub(crate) crc: u32,
}

/// Blocks, each with where it lies.
type Blocks = Vec<(u64, Block)>;

/// The bytes of a segment, whichever way they lie on disk.
#[derive(Debug)]
pub(crate) enum Segment {
    Plain(File),
    Packed(Packed),
    /// No file is there any more; so many zeros.
    Absent(u64),
}

/// What becomes of a part of a compressed segment that is not what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Damaged {
    /// Reading it fails.
    IsRefused,
    /// It reads as if no bit were flipped, if that is all that is wrong; otherwise as zeros, in which no frame stands.
    IsBlank,
}

impl Damaged {
    const fn is_blank(self) -> bool {
        matches!(self, Self::IsBlank)
    }
}

/// A compressed segment that is read.
#[derive(Debug)]
pub(crate) struct Packed {
    file: File,
    damaged: Damaged,
    version: u8,
    length: u64,
    blocks: Arc<[(u64, Block)]>,
    /// A bit was flipped, and what is read is without that.
    flawed: Arc<AtomicBool>,
    /// The block that was read last.
    last: Mutex<Option<(usize, Arc<Vec<u8>>)>>,
}

impl Segment {
    /// Opens a segment. [`io::ErrorKind::InvalidData`] if it is compressed and damaged.
    pub(crate) fn open(disk: &Disk, segment: &SegmentFile) -> io::Result<Self> {
        Self::open_as(disk, segment, Damaged::IsRefused)
    }

    pub(crate) fn open_as(
        disk: &Disk,
        segment: &SegmentFile,
        damaged: Damaged,
    ) -> io::Result<Self> {
        let file = disk.open(&segment.path)?;
        let mut fixed = [0; FIXED_BYTES];
        let read = file.read_at(&mut fixed, 0)?;
        let is_packed = fixed.starts_with(&MAGIC) || (damaged.is_blank() && is_nearly(&fixed));
        if read < FIXED_BYTES || !is_packed {
            return Ok(Self::Plain(file));
        }
        let (mut flawed, mut version) = (false, version(&fixed));
        let (length, blocks) = match table(&file, &fixed, segment.base) {
            Ok(told) => told,
            Err(error) if error.kind() == io::ErrorKind::InvalidData && damaged.is_blank() => {
                let length = segment.next.map_or(0, |next| next.since(segment.base));
                let mended = mended_table(&file, segment.base, length)?;
                flawed = mended.is_some();
                let (known, blocks) = mended.unwrap_or_else(|| (version, unknown(length)));
                version = known;
                (length, blocks)
            }
            Err(error) => return Err(error),
        };
        Ok(Self::Packed(Packed {
            file,
            damaged,
            version,
            length,
            blocks: blocks.into(),
            flawed: Arc::new(AtomicBool::new(flawed)),
            last: Mutex::default(),
        }))
    }

    /// Whether a bit was flipped in what was read so far, and mended in what was given.
    pub(crate) fn is_flawed(&self) -> bool {
        match self {
            Self::Plain(_) | Self::Absent(_) => false,
            Self::Packed(packed) => packed.flawed.load(Ordering::Acquire),
        }
    }

    pub(crate) const fn is_packed(&self) -> bool {
        matches!(self, Self::Packed(_))
    }

    /// How many bytes were written into it.
    pub(crate) fn length(&self) -> io::Result<u64> {
        match self {
            Self::Plain(file) => file.length(),
            Self::Packed(packed) => Ok(packed.length),
            Self::Absent(length) => Ok(*length),
        }
    }

    /// Fills the buffer from `at` on, as far as there are bytes; returns how many there were.
    pub(crate) fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.read_at(buffer, at),
            Self::Packed(packed) => packed.read_at(buffer, at),
            Self::Absent(length) => {
                let left = usize::try_from(length.saturating_sub(at)).unwrap_or(usize::MAX);
                let read = left.min(buffer.len());
                buffer.get_mut(..read).unwrap_or_default().fill(0);
                Ok(read)
            }
        }
    }

    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Plain(file) => Self::Plain(file.try_clone()?),
            Self::Absent(length) => Self::Absent(*length),
            Self::Packed(packed) => Self::Packed(Packed {
                file: packed.file.try_clone()?,
                damaged: packed.damaged,
                version: packed.version,
                length: packed.length,
                blocks: Arc::clone(&packed.blocks),
                flawed: Arc::clone(&packed.flawed),
                last: Mutex::default(),
            }),
        })
    }
}

impl Packed {
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let mut read = 0;
        while let Some(rest) = buffer.get_mut(read..).filter(|rest| !rest.is_empty()) {
            let from = usize::try_from(at)
                .unwrap_or(usize::MAX)
                .saturating_add(read);
            let Some(block) = self.block(from / BLOCK_BYTES)? else {
                break;
            };
            let there = block.get(from % BLOCK_BYTES..).unwrap_or_default();
            let part = there.len().min(rest.len());
            if part == 0 {
                break;
            }
            if let Some((to, from)) = rest.get_mut(..part).zip(there.get(..part)) {
                to.copy_from_slice(from);
            }
            read = read.saturating_add(part);
        }
        Ok(read)
    }

    fn block(&self, number: usize) -> io::Result<Option<Arc<Vec<u8>>>> {
        let Some((at, block)) = self.blocks.get(number).copied() else {
            return Ok(None);
        };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, held)) = last.as_ref().filter(|(held, _)| *held == number) {
            return Ok(Some(Arc::clone(held)));
        }
        let start = bytes(number).saturating_mul(bytes(BLOCK_BYTES));
        let whole = self.length.saturating_sub(start).min(bytes(BLOCK_BYTES));
        let whole = usize::try_from(whole).unwrap_or_default();
        let unpacked = match self.unpack(at, block, whole)? {
            Some(unpacked) => unpacked,
            None if self.damaged.is_blank() => vec![0; whole],
            None => {
                return Err(damaged(&format!("block {number} of a compressed segment")));
            }
        };
        let unpacked = Arc::new(unpacked);
        *last = Some((number, Arc::clone(&unpacked)));
        Ok(Some(unpacked))
    }

    /// The bytes of a block that lies at `at`; `None` if they are not what was written.
    fn unpack(&self, at: u64, block: Block, whole: usize) -> io::Result<Option<Vec<u8>>> {
        let length = usize::try_from(block.length).unwrap_or(usize::MAX);
        let mut packed = vec![0; length.min(2 * BLOCK_BYTES)];
        if self.file.read_at(&mut packed, at)? < length {
            return Ok(None);
        }
        let found = crc32c::crc32c(&packed);
        let is_flawed = found != block.crc;
        if is_flawed {
            let flipped = || bit::flipped(packed.len(), found, block.crc);
            let Some(flipped) = self.damaged.is_blank().then(flipped).flatten() else {
                return Ok(None);
            };
            flipped.flip(&mut packed);
        }
        let unpacked = if self.version == 1 {
            zstd::bulk::decompress(&packed, BLOCK_BYTES).ok()
        } else {
            digests::unpack(&packed, BLOCK_BYTES)
        };
        let unpacked = unpacked.filter(|unpacked| unpacked.len() == whole);
        if is_flawed && unpacked.is_some() {
            self.flawed.store(true, Ordering::Release);
        }
        Ok(unpacked)
    }
}

fn version(fixed: &[u8; FIXED_BYTES]) -> u8 {
    fixed.get(4).copied().unwrap_or_default()
}

/// What the head says: how many bytes were written into the segment, and its blocks.
fn table(file: &File, fixed: &[u8; FIXED_BYTES], base: Position) -> io::Result<(u64, Blocks)> {
    let broken = || damaged("the head of a compressed segment");
    let (length, blocks) = size(fixed, base).ok_or_else(broken)?;
    let mut table = vec![0; blocks * ENTRY_BYTES + 4];
    if file.read_at(&mut table, bytes(FIXED_BYTES))? < table.len() {
        return Err(broken());
    }
    Ok((length, placed(file, fixed, &table)?))
}

/// How many bytes were written into the segment, and how many blocks they are.
fn size(fixed: &[u8; FIXED_BYTES], base: Position) -> Option<(u64, usize)> {
    let number = |at: usize| {
        let bytes = fixed.get(at..).and_then(|rest| rest.first_chunk());
        bytes.map_or(0, |bytes| u64::from_be_bytes(*bytes))
    };
    let short = |at: usize| {
        let bytes = fixed.get(at..).and_then(|rest| rest.first_chunk());
        bytes.map_or(0, |bytes| u32::from_be_bytes(*bytes))
    };
    let (length, blocks) = (number(16), usize::try_from(short(28)).unwrap_or(usize::MAX));
    let expected = length.div_ceil(bytes(BLOCK_BYTES));
    let known = VERSIONS.contains(&version(fixed))
        && fixed.get(5..8) == Some(&[0, 0, 0])
        && number(8) == base.get()
        && short(24) == u32::try_from(BLOCK_BYTES).unwrap_or_default()
        && bytes(blocks) == expected
        && blocks <= BLOCKS_MAX;
    known.then_some((length, blocks))
}

/// The blocks, from the bytes of the head behind its fixed part.
fn placed(file: &File, fixed: &[u8; FIXED_BYTES], table: &[u8]) -> io::Result<Blocks> {
    let (table, crc) = table.split_last_chunk::<4>().unwrap_or((&[], &[0; 4]));
    if crc32c::crc32c_append(crc32c::crc32c(fixed), table).to_be_bytes() != *crc {
        return Err(damaged("the head of a compressed segment"));
    }
    let mut at = bytes(FIXED_BYTES + table.len() + 4);
    let mut placed = Vec::with_capacity(table.len() / ENTRY_BYTES);
    for entry in table.chunks_exact(ENTRY_BYTES) {
        let (length, crc) = entry.split_at_checked(4).unwrap_or((&[], &[]));
        let number = |bytes: &[u8]| bytes.try_into().map_or(0, u32::from_be_bytes);
        let block = Block {
            length: number(length),
            crc: number(crc),
        };
        placed.push((at, block));
        at = at.saturating_add(block.length.into());
    }
    if file.length()? != at {
        return Err(damaged("the end of a compressed segment"));
    }
    Ok(placed)
}

/// Whether one bit is all that keeps these bytes from being those of a compressed segment.
fn is_nearly(fixed: &[u8; FIXED_BYTES]) -> bool {
    let differs = fixed
        .iter()
        .zip(MAGIC)
        .map(|(found, magic)| (found ^ magic).count_ones());
    differs.sum::<u32>() == 1
}

/// The version and the blocks of a segment of so many bytes whose head has one flipped bit.
fn mended_table(file: &File, base: Position, length: u64) -> io::Result<Option<(u8, Blocks)>> {
    let wanted = usize::try_from(head_bytes(length)).unwrap_or(usize::MAX);
    let mut head = vec![0; wanted.min(FIXED_BYTES + BLOCKS_MAX * ENTRY_BYTES + 4)];
    if file.read_at(&mut head, 0)? < wanted {
        return Ok(None);
    }
    let Some((covered, stored)) = head.split_last_chunk_mut::<4>() else {
        return Ok(None);
    };
    let (found, expected) = (crc32c::crc32c(covered), u32::from_be_bytes(*stored));
    if (found ^ expected).is_power_of_two() {
        *stored = found.to_be_bytes();
    } else if let Some(flipped) = bit::flipped(covered.len(), found, expected) {
        flipped.flip(covered);
    } else {
        return Ok(None);
    }
    let Some((fixed, table)) = head.split_first_chunk::<FIXED_BYTES>() else {
        return Ok(None);
    };
    let is_its = size(fixed, base).is_some_and(|(told, _)| told == length);
    let placed = is_its.then(|| placed(file, fixed, table).ok()).flatten();
    Ok(placed.map(|blocks| (version(fixed), blocks)))
}

/// The blocks of a segment whose head is damaged: nothing has the checksum of any of them.
fn unknown(length: u64) -> Blocks {
    let blocks = length.div_ceil(bytes(BLOCK_BYTES));
    let nowhere = Block { length: 0, crc: 1 };
    (0..blocks).map(|_| (0, nowhere)).collect()
}

/// The bytes of one block as they lie in a compressed segment.
pub(crate) fn pack(block: &[u8]) -> io::Result<Vec<u8>> {
    digests::pack(block)
}

/// The head of a compressed segment with these blocks.
pub(crate) fn head(base: Position, length: u64, blocks: &[Block]) -> Vec<u8> {
    let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX).to_be_bytes();
    let mut head = MAGIC.to_vec();
    head.extend_from_slice(&[VERSION, 0, 0, 0]);
    head.extend_from_slice(&base.get().to_be_bytes());
    head.extend_from_slice(&length.to_be_bytes());
    head.extend_from_slice(&number(BLOCK_BYTES));
    head.extend_from_slice(&number(blocks.len()));
    for block in blocks {
        head.extend_from_slice(&block.length.to_be_bytes());
        head.extend_from_slice(&block.crc.to_be_bytes());
    }
    let crc = crc32c::crc32c(&head);
    head.extend_from_slice(&crc.to_be_bytes());
    head
}

/// How long the head of a segment of so many bytes is.
pub(crate) fn head_bytes(length: u64) -> u64 {
    let blocks = length.div_ceil(bytes(BLOCK_BYTES));
    blocks
        .saturating_mul(bytes(ENTRY_BYTES))
        .saturating_add(bytes(FIXED_BYTES + 4))
}

fn damaged(what: &str) -> io::Error {
    let what = format!("{what} is not what was written");
    io::Error::new(io::ErrorKind::InvalidData, what)
}
