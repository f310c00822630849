//! The members of a bundle in the making: spooled to disk, with their sizes and checksums.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use countersign_ids::{Digest, LedgerId};
use sha2::{Digest as _, Sha256};

use crate::bundle::manifest::{ChainEntry, FORMAT, FileEntry, FormName, Manifest};
use crate::bundle::{COMPRESS_FROM_BYTES, names};
use crate::source::Source;

/// Bytes of a chain that are kept before they are written.
const BUFFER_BYTES: usize = 16 << 10;
/// zstd's level: 3 is its default, and what makes the bytes the same everywhere is that it is fixed.
const ZSTD_LEVEL: i32 = 3;

/// Where a member's bytes are until they are written.
#[derive(Debug, Clone)]
enum Place {
    /// In the file of small members.
    Small(u64),
    /// In a file of its own.
    Own(PathBuf),
    /// In the source.
    Blob(Digest),
}

/// One member.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub size: u64,
    pub crc: u32,
    digest: Digest,
    place: Place,
}

/// The events of one chain on their way to a file.
#[derive(Debug, Default)]
struct Lines {
    buffer: Vec<u8>,
    sums: Sums,
}

/// Everything that goes into a bundle.
#[derive(Debug)]
pub(super) struct Parts {
    folder: PathBuf,
    lines: BTreeMap<String, Lines>,
    pub members: BTreeMap<String, Part>,
    pub chains: BTreeMap<String, ChainEntry>,
    pub blobs: BTreeSet<Digest>,
    pub events: u64,
    pub warnings: Vec<String>,
}

impl Parts {
    pub(super) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_path_buf(),
            lines: BTreeMap::new(),
            members: BTreeMap::new(),
            chains: BTreeMap::new(),
            blobs: BTreeSet::new(),
            events: 0,
            warnings: Vec::new(),
        }
    }

    /// Appends one event line to its chain.
    pub(super) fn line(&mut self, chain: &str, line: &[u8]) -> io::Result<()> {
        if !self.lines.contains_key(chain) {
            self.lines.insert(chain.to_owned(), Lines::default());
        }
        let path = self.chain_file(chain);
        if let Some(lines) = self.lines.get_mut(chain) {
            lines.sums.update(line);
            lines.buffer.extend_from_slice(line);
            if lines.buffer.len() >= BUFFER_BYTES {
                flush(&path, &mut lines.buffer)?;
            }
        }
        self.events += 1;
        Ok(())
    }

    fn chain_file(&self, chain: &str) -> PathBuf {
        self.folder.join(format!("{chain}.jsonl"))
    }

    /// Closes the files of events; large ones are compressed.
    pub(super) fn finish_lines(&mut self) -> io::Result<()> {
        for (chain, mut lines) in std::mem::take(&mut self.lines) {
            let path = self.chain_file(&chain);
            flush(&path, &mut lines.buffer)?;
            let name = names::events(&chain);
            if lines.sums.size < COMPRESS_FROM_BYTES {
                let part = lines.sums.part(Place::Own(path));
                self.members.insert(name, part);
                continue;
            }
            let packed = self.folder.join(format!("{chain}.jsonl.zst"));
            let sums = compress(&path, &packed, lines.sums.size)?;
            std::fs::remove_file(&path)?;
            self.members
                .insert(format!("{name}.zst"), sums.part(Place::Own(packed)));
        }
        Ok(())
    }

    /// Adds a small member; one of the same name is replaced.
    pub(super) fn small(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(self.small_file())?;
        let at = file.seek(SeekFrom::End(0))?;
        file.write_all(bytes)?;
        let mut sums = Sums::default();
        sums.update(bytes);
        self.members
            .insert(name.to_owned(), sums.part(Place::Small(at)));
        Ok(())
    }

    fn small_file(&self) -> PathBuf {
        self.folder.join("small")
    }

    /// Adds the blobs that were named, from the source.
    pub(super) fn add_blobs(
        &mut self,
        source: &dyn Source,
    ) -> Result<(), crate::source::SourceError> {
        let mut missing = Vec::new();
        for digest in &self.blobs {
            let Some(bytes) = source.blob(digest)? else {
                missing.push(*digest);
                continue;
            };
            let mut sums = Sums::default();
            sums.update(&bytes);
            self.members
                .insert(names::blob(digest), sums.part(Place::Blob(*digest)));
        }
        for digest in missing {
            self.blobs.remove(&digest);
            self.warnings.push(format!(
                "blob `{digest}` is missing, and so the bundle lacks it"
            ));
        }
        Ok(())
    }

    /// What the bundle says it holds.
    pub(super) fn manifest(&self, ledger: LedgerId) -> Manifest {
        let entry = |part: &Part| FileEntry {
            bytes: part.size,
            digest: part.digest,
        };
        Manifest {
            chains: self.chains.clone(),
            files: self
                .members
                .iter()
                .map(|(name, part)| (name.clone(), entry(part)))
                .collect(),
            format: FORMAT.to_owned(),
            ledger,
        }
    }

    /// A chain of the bundle.
    pub(super) fn chain(&mut self, chain: &str, form: FormName, size: u64) {
        self.chains
            .insert(chain.to_owned(), ChainEntry { form, size });
    }

    /// A reader of a member's bytes.
    pub(super) fn open(&self, part: &Part, source: &dyn Source) -> io::Result<Box<dyn Read>> {
        match &part.place {
            Place::Own(path) => Ok(Box::new(File::open(path)?)),
            Place::Small(at) => {
                let mut file = File::open(self.small_file())?;
                file.seek(SeekFrom::Start(*at))?;
                Ok(Box::new(file.take(part.size)))
            }
            Place::Blob(digest) => {
                let bytes = source
                    .blob(digest)
                    .map_err(io::Error::other)?
                    .unwrap_or_default();
                Ok(Box::new(Cursor::new(bytes)))
            }
        }
    }
}

fn flush(path: &Path, buffer: &mut Vec<u8>) -> io::Result<()> {
    // Opened for each flush: a ledger may have more chains than a process may have files.
    OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)?
        .write_all(buffer)?;
    buffer.clear();
    Ok(())
}

fn compress(from: &Path, to: &Path, size: u64) -> io::Result<Sums> {
    let out = Summed::new(File::create(to)?);
    let mut encoder = zstd::Encoder::new(out, ZSTD_LEVEL)?;
    encoder.set_pledged_src_size(Some(size))?;
    encoder.include_contentsize(true)?;
    io::copy(&mut File::open(from)?, &mut encoder)?;
    Ok(encoder.finish()?.sums)
}

/// Size, CRC-32 and SHA-256 of bytes as they go by.
#[derive(Debug, Default)]
pub(super) struct Sums {
    size: u64,
    crc: crc32fast::Hasher,
    sha: Sha256,
}

impl Sums {
    fn update(&mut self, bytes: &[u8]) {
        self.size = self.size.saturating_add(bytes.len() as u64);
        self.crc.update(bytes);
        self.sha.update(bytes);
    }

    fn part(self, place: Place) -> Part {
        let digest = Digest::from_bytes(self.sha.finalize().into());
        Part {
            size: self.size,
            crc: self.crc.finalize(),
            digest,
            place,
        }
    }
}

/// A writer that sums what goes through it.
#[derive(Debug)]
pub(super) struct Summed<W> {
    out: W,
    sums: Sums,
}

impl<W> Summed<W> {
    pub(super) fn new(out: W) -> Self {
        Self {
            out,
            sums: Sums::default(),
        }
    }

    /// The output, with the number of bytes and their SHA-256.
    pub(super) fn finish(self) -> (W, u64, Digest) {
        (
            self.out,
            self.sums.size,
            Digest::from_bytes(self.sums.sha.finalize().into()),
        )
    }
}

impl<W: Write> Write for Summed<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.out.write(buffer)?;
        self.sums.update(buffer.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
