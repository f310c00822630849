//! The one zip a bundle may be: stored members, sorted names, fixed fields (docs/format.md section 6).
//!
//! Not a zip library. The encoder below is the definition; the reader re-encodes what a file claims and compares bytes,
//! so there is no second opinion about what is allowed.

mod read;
mod write;

pub use read::{Archive, OpenError};
pub use write::Writer;

/// Field values at and above which ZIP64 is needed.
const MAX_U32: u64 = 0xFFFF_FFFF;
const MAX_U16: u64 = 0xFFFF;
const LOCAL_BYTES: u64 = 30;
const END_BYTES: u64 = 22;
const END64_BYTES: u64 = 56;
const LOCATOR_BYTES: u64 = 20;

/// What the directory says about one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Name, with `/` between folders.
    pub name: String,
    /// Length of the content in bytes.
    pub size: u64,
    /// CRC-32 of the content.
    pub crc: u32,
    /// Offset of the local header from the start of the file.
    pub offset: u64,
}

impl Member {
    fn is_large(&self) -> bool {
        self.size >= MAX_U32 || self.offset >= MAX_U32
    }

    fn version_needed(&self) -> u16 {
        if self.is_large() { 45 } else { 20 }
    }

    /// Offset of the first byte of content.
    pub(crate) fn data_offset(&self) -> u64 {
        let extra = if self.size >= MAX_U32 { 20 } else { 0 };
        self.offset
            .saturating_add(LOCAL_BYTES)
            .saturating_add(self.name.len() as u64)
            .saturating_add(extra)
    }

    /// Offset of the first byte after the content.
    pub(crate) fn end_offset(&self) -> u64 {
        self.data_offset().saturating_add(self.size)
    }

    fn common(&self, out: &mut Vec<u8>, extra: u16) {
        put16(out, self.version_needed());
        put16(out, 0); // flags
        put16(out, 0); // method: stored
        put16(out, 0); // time
        put16(out, 0x0021); // date: 1980-01-01
        put32(out, u64::from(self.crc));
        put32(out, self.size.min(MAX_U32));
        put32(out, self.size.min(MAX_U32));
        put16(out, u16::try_from(self.name.len()).unwrap_or(u16::MAX));
        put16(out, extra);
    }

    /// The local header, up to the first byte of content.
    pub(crate) fn local_header(&self) -> Vec<u8> {
        let large = self.size >= MAX_U32;
        let mut out = b"PK\x03\x04".to_vec();
        self.common(&mut out, if large { 20 } else { 0 });
        out.extend_from_slice(self.name.as_bytes());
        if large {
            put16(&mut out, 1);
            put16(&mut out, 16);
            put64(&mut out, self.size);
            put64(&mut out, self.size);
        }
        out
    }

    /// The entry in the central directory.
    pub(crate) fn central_entry(&self) -> Vec<u8> {
        let mut extra = Vec::new();
        if self.size >= MAX_U32 {
            put64(&mut extra, self.size);
            put64(&mut extra, self.size);
        }
        if self.offset >= MAX_U32 {
            put64(&mut extra, self.offset);
        }
        let extra_bytes = u16::try_from(extra.len()).unwrap_or(0);
        let mut out = b"PK\x01\x02".to_vec();
        put16(&mut out, 0x0314);
        self.common(&mut out, if extra_bytes == 0 { 0 } else { extra_bytes + 4 });
        put16(&mut out, 0); // comment
        put16(&mut out, 0); // disk
        put16(&mut out, 0); // internal attributes
        put32(&mut out, 0o100_644 << 16);
        put32(&mut out, self.offset.min(MAX_U32));
        out.extend_from_slice(self.name.as_bytes());
        if extra_bytes != 0 {
            put16(&mut out, 1);
            put16(&mut out, extra_bytes);
            out.extend_from_slice(&extra);
        }
        out
    }
}

/// The records that close the file, for a directory of `count` entries and `size` bytes at `offset`.
fn end_records(count: u64, size: u64, offset: u64) -> Vec<u8> {
    let mut out = Vec::new();
    if count >= MAX_U16 || size >= MAX_U32 || offset >= MAX_U32 {
        out.extend_from_slice(b"PK\x06\x06");
        put64(&mut out, END64_BYTES - 12);
        put16(&mut out, 0x0314);
        put16(&mut out, 45);
        put32(&mut out, 0);
        put32(&mut out, 0);
        put64(&mut out, count);
        put64(&mut out, count);
        put64(&mut out, size);
        put64(&mut out, offset);
        out.extend_from_slice(b"PK\x06\x07");
        put32(&mut out, 0);
        put64(&mut out, offset.saturating_add(size));
        put32(&mut out, 1);
    }
    out.extend_from_slice(b"PK\x05\x06");
    put16(&mut out, 0);
    put16(&mut out, 0);
    let entries = u16::try_from(count).unwrap_or(u16::MAX);
    put16(&mut out, entries);
    put16(&mut out, entries);
    put32(&mut out, size.min(MAX_U32));
    put32(&mut out, offset.min(MAX_U32));
    put16(&mut out, 0); // comment
    out
}

fn put16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put32(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&u32::try_from(value).unwrap_or(u32::MAX).to_le_bytes());
}

fn put64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Cursor, Read, Write};

    fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new());
        for (name, bytes) in members {
            writer
                .member(
                    name,
                    bytes.len() as u64,
                    crc32fast::hash(bytes),
                    &mut &bytes[..],
                )
                .unwrap();
        }
        writer.finish().unwrap()
    }

    fn open(bytes: &[u8]) -> Result<Archive, OpenError> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        Archive::open(file)
    }

    fn sample() -> Vec<u8> {
        zip(&[
            ("README.txt", b"hello"),
            ("blobs/sha256/a", b""),
            ("manifest.json", b"{}"),
        ])
    }

    #[test]
    fn writes_exactly_the_fields_of_the_format() {
        let bytes = zip(&[("a", b"hi")]);
        let crc = crc32fast::hash(b"hi").to_le_bytes();
        let mut expected = b"PK\x03\x04\x14\0\0\0\0\0\0\0\x21\0".to_vec();
        expected.extend_from_slice(&crc);
        expected.extend_from_slice(b"\x02\0\0\0\x02\0\0\0\x01\0\0\0ahi");
        expected.extend_from_slice(b"PK\x01\x02\x14\x03\x14\0\0\0\0\0\0\0\x21\0");
        expected.extend_from_slice(&crc);
        expected
            .extend_from_slice(b"\x02\0\0\0\x02\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\xa4\x81\0\0\0\0a");
        expected.extend_from_slice(b"PK\x05\x06\0\0\0\0\x01\0\x01\0\x2f\0\0\0\x21\0\0\0\0\0");
        assert_eq!(bytes, expected);
    }

    #[test]
    fn reads_back_what_it_wrote() {
        let archive = open(&sample()).unwrap();
        let names: Vec<_> = archive
            .members()
            .map(|member| member.name.clone())
            .collect();
        assert_eq!(names, ["README.txt", "blobs/sha256/a", "manifest.json"]);
        let mut content = String::new();
        archive
            .content("README.txt")
            .unwrap()
            .read_to_string(&mut content)
            .unwrap();
        assert_eq!(content, "hello");
    }

    #[test]
    fn names_out_of_order_or_twice_are_refused_by_the_writer() {
        let mut writer = Writer::new(Cursor::new(Vec::new()));
        writer.member("b", 0, 0, &mut &b""[..]).unwrap();
        assert!(writer.member("b", 0, 0, &mut &b""[..]).is_err());
        assert!(writer.member("a", 0, 0, &mut &b""[..]).is_err());
    }

    #[test]
    fn every_changed_byte_of_the_framing_is_a_violation() {
        let sound = sample();
        let archive = open(&sound).unwrap();
        let content: Vec<u64> = archive
            .members()
            .flat_map(|member| member.data_offset()..member.end_offset())
            .collect();
        for at in 0..sound.len() {
            if content.contains(&(at as u64)) {
                continue;
            }
            let mut bytes = sound.clone();
            bytes[at] ^= 0x01;
            assert!(open(&bytes).is_err(), "byte {at} can be changed unseen");
        }
    }

    #[test]
    fn a_prefix_suffix_or_comment_is_a_violation_and_a_truncated_file_is_unreadable() {
        let sound = sample();
        let mut prefixed = b"x".to_vec();
        prefixed.extend_from_slice(&sound);
        assert!(matches!(open(&prefixed), Err(OpenError::Framing(_))));
        let mut suffixed = sound.clone();
        suffixed.push(0);
        assert!(matches!(open(&suffixed), Err(OpenError::Framing(_))));
        let mut commented = sound.clone();
        let length = commented.len();
        commented[length - 2] = 1;
        commented.push(b'c');
        assert!(matches!(open(&commented), Err(OpenError::Framing(_))));
        for cut in 0..sound.len() {
            assert!(open(&sound[..cut]).is_err());
        }
        assert!(matches!(
            open(&sound[..sound.len() / 2]),
            Err(OpenError::Unreadable(_))
        ));
        assert!(matches!(open(b""), Err(OpenError::Unreadable(_))));
    }

    #[test]
    fn more_than_65534_members_take_zip64_records() {
        let mut writer = Writer::new(Vec::new());
        for number in 0..65_536_u32 {
            writer
                .member(&format!("{number:05}"), 0, 0, &mut &b""[..])
                .unwrap();
        }
        let bytes = writer.finish().unwrap();
        assert!(bytes.windows(4).any(|four| four == b"PK\x06\x06"));
        assert_eq!(open(&bytes).unwrap().members().count(), 65_536);
    }

    #[test]
    fn large_sizes_and_offsets_take_zip64_fields() {
        let large = Member {
            name: "x".into(),
            size: MAX_U32,
            crc: 0,
            offset: 7,
        };
        assert_eq!(large.local_header().len() as u64, LOCAL_BYTES + 1 + 20);
        assert_eq!(large.central_entry().len(), 46 + 1 + 4 + 16);
        let far = Member {
            name: "x".into(),
            size: 3,
            crc: 0,
            offset: MAX_U32 + 1,
        };
        assert_eq!(far.local_header().len() as u64, LOCAL_BYTES + 1);
        assert_eq!(far.central_entry().len(), 46 + 1 + 4 + 8);
    }
}
