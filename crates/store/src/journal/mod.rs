//! The journal: preallocated segment files of frames, the truth that everything else is made from.
//!
//! - `frame`: the bytes of one frame;
//! - `files`: the segments by their names;
//! - `scan`: reading frames in order, and telling a torn tail from damage (design rule 5.2);
//! - `window`: what stands in one segment;
//! - `bit`: one flipped bit, found by a checksum;
//! - `hole`: where no whole frame stands any more;
//! - `segment`: appending frames in groups, one fdatasync a group;
//! - `footer`: what a sealed segment says about itself;
//! - `packed`, `packing`: sealed segments compressed, to read and to make;
//! - `mending`: what was damaged, written again;
//! - `thinning`: bodies that go, removed from sealed segments;
//! - `pruning`: events that go, and what is left in their place;
//! - `record`: events inside a frame.

mod bit;
mod files;
pub(crate) mod footer;
pub(crate) mod frame;
pub(crate) mod hole;
pub(crate) mod mending;
pub(crate) mod packed;
pub(crate) mod packing;
pub(crate) mod pruning;
pub(crate) mod record;
pub(crate) mod scan;
pub(crate) mod segment;
#[cfg(test)]
mod tests;
pub(crate) mod thinning;
mod window;

pub(crate) use frame::Kind;
pub(crate) use window::whole;

use std::fmt;

/// A place in the journal: bytes since its beginning, over all segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position(u64);

impl Position {
    /// The beginning of the journal.
    pub const ZERO: Self = Self(0);

    /// Takes a number of bytes.
    #[must_use]
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The number of bytes.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The position so many bytes later.
    #[must_use]
    pub const fn plus(self, bytes: u64) -> Self {
        Self(self.0.saturating_add(bytes))
    }

    /// Bytes between an earlier position and this one.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The length of a buffer as a number of bytes in a file.
pub(crate) fn bytes(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// How many bytes there are up to the last one that is not zero.
///
/// Blank pages are compared as a whole: a preallocated segment is mostly blank, and is looked through at every opening.
pub(crate) fn used_of(part: &[u8]) -> usize {
    static BLANK: [u8; 4096] = [0; 4096];
    let mut end = part.len();
    for page in part.rchunks(BLANK.len()) {
        if BLANK.get(..page.len()) != Some(page) {
            let blank = page.iter().rev().take_while(|byte| **byte == 0).count();
            return end.saturating_sub(blank);
        }
        end = end.saturating_sub(page.len());
    }
    0
}
