//! Writes a bundle's zip front to back, without seeking: size and checksum of a member are known before it begins.

use std::io::{self, Read, Write};

use super::{Member, end_records};

/// Writes members in order of their names.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    offset: u64,
    members: Vec<Member>,
}

impl<W: Write> Writer<W> {
    /// Starts an empty archive.
    pub fn new(out: W) -> Self {
        Self {
            out,
            offset: 0,
            members: Vec::new(),
        }
    }

    /// Writes one member, whose `content` must have exactly this size and CRC-32.
    pub fn member(
        &mut self,
        name: &str,
        size: u64,
        crc: u32,
        content: &mut dyn Read,
    ) -> io::Result<()> {
        if self
            .members
            .last()
            .is_some_and(|last| last.name.as_bytes() >= name.as_bytes())
        {
            return Err(io::Error::other(format!("member `{name}` is out of order")));
        }
        let member = Member {
            name: name.to_owned(),
            size,
            crc,
            offset: self.offset,
        };
        self.out.write_all(&member.local_header())?;
        let copied = io::copy(&mut content.take(size), &mut self.out)?;
        if copied != size {
            return Err(io::Error::other(format!("member `{name}` ended early")));
        }
        self.offset = member.end_offset();
        self.members.push(member);
        Ok(())
    }

    /// Writes the directory and gives the output back.
    pub fn finish(mut self) -> io::Result<W> {
        let mut directory_bytes = 0_u64;
        for member in &self.members {
            let entry = member.central_entry();
            directory_bytes = directory_bytes.saturating_add(entry.len() as u64);
            self.out.write_all(&entry)?;
        }
        self.out.write_all(&end_records(
            self.members.len() as u64,
            directory_bytes,
            self.offset,
        ))?;
        self.out.flush()?;
        Ok(self.out)
    }
}
