//! Opens a bundle's zip and refuses every byte that the encoder would not have written.
//!
//! The directory is read once, as claims; the claims are encoded again and compared with the file. Content is not read
//! here: its checksums belong to whoever streams it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use super::{END_BYTES, END64_BYTES, LOCATOR_BYTES, MAX_U16, MAX_U32, Member, end_records};

/// A directory larger than this is not read: about two million members.
const DIRECTORY_BYTES_MAX: u64 = 256 << 20;
/// How far from the end an ordinary zip may keep its end record.
const END_SEARCH_BYTES: u64 = 65_535 + END_BYTES + 1;

/// Why a file was not opened as a bundle.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It cannot be read as a zip at all (exit 2).
    #[error("not readable as a bundle: {0}")]
    Unreadable(String),
    /// It is a zip, but not the one zip that a bundle may be (exit 1).
    #[error("zip framing: {0}")]
    Framing(String),
    /// The file could not be read (exit 64).
    #[error("cannot read the file")]
    Io(#[from] io::Error),
}

/// An opened bundle.
#[derive(Debug)]
pub struct Archive {
    file: File,
    members: BTreeMap<String, Member>,
}

/// What the end record claims.
struct End {
    count: u64,
    directory_bytes: u64,
    directory_offset: u64,
    /// Bytes of all end records together.
    records_bytes: u64,
}

impl Archive {
    /// Reads the directory and checks every byte of framing.
    pub fn open(file: File) -> Result<Self, OpenError> {
        let length = file.metadata()?.len();
        let end = find_end(&file, length)?;
        if end.directory_bytes > DIRECTORY_BYTES_MAX {
            return Err(unreadable("its directory is larger than 256 MiB"));
        }
        let directory_end = length.saturating_sub(end.records_bytes);
        if end.directory_offset.checked_add(end.directory_bytes) != Some(directory_end) {
            return Err(framing(
                "something stands before, between or after the members",
            ));
        }
        let directory = read_at(&file, end.directory_offset, end.directory_bytes)?;
        let records = read_at(&file, directory_end, end.records_bytes)?;
        if records != end_records(end.count, end.directory_bytes, end.directory_offset) {
            return Err(framing("the end record has other fields than the format's"));
        }
        let members = parse_directory(&directory)?;
        if members.len() as u64 != end.count {
            return Err(framing(
                "the end record counts other members than the directory",
            ));
        }
        let mut offset = 0;
        for member in &members {
            if member.offset != offset {
                return Err(framing(&format!(
                    "member `{}` is not where the one before it ends",
                    member.name
                )));
            }
            let expected = member.local_header();
            if read_at(&file, offset, expected.len() as u64)? != expected {
                return Err(framing(&format!(
                    "the header of member `{}` has other fields than the format's",
                    member.name
                )));
            }
            offset = member.end_offset();
        }
        if offset != end.directory_offset {
            return Err(framing("the directory is not where the last member ends"));
        }
        let count = members.len();
        if !members.is_sorted_by(|left, right| left.name.as_bytes() < right.name.as_bytes()) {
            return Err(framing("the names are not sorted, or one stands twice"));
        }
        let members: BTreeMap<_, _> = members
            .into_iter()
            .map(|member| (member.name.clone(), member))
            .collect();
        debug_assert_eq!(members.len(), count);
        Ok(Self { file, members })
    }

    /// Every member in order of its name.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// The member of this name.
    pub fn member(&self, name: &str) -> Option<&Member> {
        self.members.get(name)
    }

    /// A reader of one member's content.
    pub fn content(&self, name: &str) -> Option<Content<'_>> {
        let member = self.members.get(name)?;
        Some(Content {
            file: &self.file,
            at: member.data_offset(),
            left: member.size,
        })
    }
}

/// Streams the content of one member.
#[derive(Debug)]
pub struct Content<'a> {
    file: &'a File,
    at: u64,
    left: u64,
}

impl Read for Content<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let Some(buffer) = buffer.get_mut(..wanted) else {
            return Ok(0);
        };
        let read = self.file.read_at(buffer, self.at)?;
        if read == 0 && wanted != 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at = self.at.saturating_add(read as u64);
        self.left = self.left.saturating_sub(read as u64);
        Ok(read)
    }
}

fn unreadable(reason: &str) -> OpenError {
    OpenError::Unreadable(reason.to_owned())
}

fn framing(reason: &str) -> OpenError {
    OpenError::Framing(reason.to_owned())
}

fn read_at(file: &File, offset: u64, bytes: u64) -> Result<Vec<u8>, OpenError> {
    let bytes = usize::try_from(bytes).map_err(|_| unreadable("it is too large"))?;
    let mut buffer = vec![0; bytes];
    match file.read_exact_at(&mut buffer, offset) {
        Ok(()) => Ok(buffer),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(framing("a member reaches past the end"))
        }
        Err(error) => Err(error.into()),
    }
}

fn find_end(file: &File, length: u64) -> Result<End, OpenError> {
    let tail_start = length.saturating_sub(END_SEARCH_BYTES);
    let tail = read_at(file, tail_start, length - tail_start)?;
    let at = tail
        .windows(4)
        .rposition(|four| four == b"PK\x05\x06")
        .ok_or_else(|| {
            unreadable("it has no zip directory (truncated, or another kind of file)")
        })?;
    let record = tail.get(at..).unwrap_or_default();
    if record.len() as u64 != END_BYTES {
        return Err(framing(
            "the end record is cut, or a comment or other bytes follow it",
        ));
    }
    let mut fields = Fields(record.get(8..).unwrap_or_default());
    let (_, count) = (fields.u16()?, fields.u16()?);
    let (directory_bytes, directory_offset) = (fields.u32()?, fields.u32()?);
    if count < MAX_U16 && directory_bytes < MAX_U32 && directory_offset < MAX_U32 {
        return Ok(End {
            count,
            directory_bytes,
            directory_offset,
            records_bytes: END_BYTES,
        });
    }
    let records_bytes = END_BYTES + LOCATOR_BYTES + END64_BYTES;
    let start = length
        .checked_sub(records_bytes)
        .ok_or_else(|| framing("the ZIP64 records are missing"))?;
    let large = read_at(file, start, END64_BYTES)?;
    let mut fields = Fields(large.get(32..).unwrap_or_default());
    let (count, directory_bytes, directory_offset) = (fields.u64()?, fields.u64()?, fields.u64()?);
    Ok(End {
        count,
        directory_bytes,
        directory_offset,
        records_bytes,
    })
}

/// Reads the claims of the directory: whatever else stands in it shows when it is encoded again.
fn parse_directory(directory: &[u8]) -> Result<Vec<Member>, OpenError> {
    let mut rest = directory;
    let mut members = Vec::new();
    while !rest.is_empty() {
        let mut fields = Fields(rest.get(16..).unwrap_or_default());
        let crc = u32::try_from(fields.u32()?).unwrap_or_default();
        let (_, mut size) = (fields.u32()?, fields.u32()?);
        let (name_bytes, extra_bytes) = (fields.u16()?, fields.u16()?);
        let mut fields = Fields(rest.get(42..).unwrap_or_default());
        let mut offset = fields.u32()?;
        let name = fields.take(name_bytes)?;
        let mut extra = Fields(fields.take(extra_bytes)?);
        if extra_bytes != 0 {
            extra.take(4)?;
            if size == MAX_U32 {
                size = extra.u64()?;
                extra.take(8)?;
            }
            if offset == MAX_U32 {
                offset = extra.u64()?;
            }
        }
        let name = std::str::from_utf8(name).map_err(|_| framing("a name is not UTF-8"))?;
        let member = Member {
            name: name.to_owned(),
            size,
            crc,
            offset,
        };
        let entry = member.central_entry();
        let Some(after) = rest.strip_prefix(entry.as_slice()) else {
            return Err(framing(&format!(
                "the entry of member {name:?} has other fields than the format's"
            )));
        };
        rest = after;
        members.push(member);
    }
    Ok(members)
}

/// Little-endian fields; running out is a framing violation.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, bytes: u64) -> Result<&'a [u8], OpenError> {
        let bytes = usize::try_from(bytes).map_err(|_| framing("a length is too large"))?;
        let (taken, rest) = self
            .0
            .split_at_checked(bytes)
            .ok_or_else(|| framing("the directory ends inside an entry"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self, bytes: u64) -> Result<u64, OpenError> {
        Ok(self
            .take(bytes)?
            .iter()
            .rev()
            .fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    fn u16(&mut self) -> Result<u64, OpenError> {
        self.number(2)
    }

    fn u32(&mut self) -> Result<u64, OpenError> {
        self.number(4)
    }

    fn u64(&mut self) -> Result<u64, OpenError> {
        self.number(8)
    }
}
