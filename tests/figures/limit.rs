//! What the machine could do at best: a preallocated file, one write and one fdatasync.

use anyhow::{Context, Result};
use rustix::fs::{FallocateFlags, fallocate, fdatasync};
use std::fs::{File, OpenOptions};
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// How much is preallocated; writing starts again at the front when it is full.
const PREALLOCATED_BYTES: u64 = 256 * 1024 * 1024;

/// A preallocated file whose blocks are already written once, so that fdatasync has no metadata to write.
#[derive(Debug)]
pub(crate) struct Bare {
    file: File,
    end: u64,
}

impl Bare {
    pub(crate) fn create(directory: &Path) -> Result<Self> {
        let path = directory.join("bare");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)?;
        fallocate(&file, FallocateFlags::empty(), 0, PREALLOCATED_BYTES)
            .context("cannot preallocate")?;
        let zeroes = vec![0; 1024 * 1024];
        for block in 0..PREALLOCATED_BYTES / (1024 * 1024) {
            file.write_all_at(&zeroes, block * 1024 * 1024)?;
        }
        file.sync_all()?;
        Ok(Self { file, end: 0 })
    }

    /// One write and one fdatasync.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let length = u64::try_from(bytes.len())?;
        if self.end + length > PREALLOCATED_BYTES {
            self.end = 0;
        }
        self.file.write_all_at(bytes, self.end)?;
        self.end += length;
        fdatasync(&self.file)?;
        Ok(())
    }

    /// A group of events as a bare segment writes it: one BLAKE3 each, one CRC32C, one write, one fdatasync.
    pub(crate) fn group<'a>(&mut self, events: impl Iterator<Item = &'a [u8]>) -> Result<()> {
        let mut group = Vec::new();
        for event in events {
            group.extend_from_slice(blake3::hash(event).as_bytes());
            group.extend_from_slice(event);
        }
        let checksum = black_box(crc32c::crc32c(&group));
        group.extend_from_slice(&checksum.to_be_bytes());
        self.write(&group)
    }
}
