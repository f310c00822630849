//! What was damaged, written again where it stood: whole frames into a plain segment, a compressed one as a whole.
//!
//! Whoever calls knows what stood there, from a checksum or from the log. A crash on the way leaves the damage, or part of it,
//! and it is found and mended again.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use super::Position;
use super::packed::{Damaged, Segment};
use super::packing::{Patches, Source, replace, replacing};
use super::scan::{self, SegmentFile, file_name, segments};
use crate::disk::{Disk, Part, crash_at};

/// What is to be written: frames by their positions, compressed segments of which a bit was flipped, and segments whose files
/// are missing, by their length.
#[derive(Debug, Default)]
pub(crate) struct Mended {
    pub(crate) frames: Patches,
    pub(crate) flawed: Vec<Position>,
    pub(crate) missing: Vec<(Position, u64)>,
    /// Parts that nothing mends: a compressed segment that holds one stays as it is.
    pub(crate) left: Vec<Position>,
}

impl Mended {
    /// Writes it; which segments were written.
    pub(crate) fn write(&self, disk: &Disk, dir: &Path) -> Result<Vec<Position>, scan::Error> {
        let mut written = Vec::new();
        for (base, length) in &self.missing {
            let segment = SegmentFile {
                base: *base,
                path: dir.join(file_name(*base)),
                next: Some(base.plus(*length)),
            };
            let _replacing = replacing();
            self.replace((disk, dir), &segment, &Segment::Absent(*length))?;
            written.push(*base);
        }
        for segment in segments(disk, dir)? {
            let frames = self.frames_of(&segment);
            let made = written.contains(&segment.base);
            if made || (frames.is_empty() && !self.flawed.contains(&segment.base)) {
                continue;
            }
            let failed = |source| scan::Error::Io {
                path: segment.path.clone(),
                source,
            };
            let _replacing = replacing();
            let opened = Segment::open_as(disk, &segment, Damaged::IsBlank).map_err(failed)?;
            if opened.is_packed() {
                if self
                    .left
                    .iter()
                    .any(|at| span(&segment).contains(&at.get()))
                {
                    continue;
                }
                self.replace((disk, dir), &segment, &opened)?;
            } else {
                write_over(disk, &segment.path, &frames).map_err(failed)?;
            }
            written.push(segment.base);
            crash_at("mending.segment");
        }
        Ok(written)
    }

    /// The frames of a segment, by their offsets in it.
    fn frames_of(&self, segment: &SegmentFile) -> Patches {
        let frames = self.frames.range(span(segment));
        let base = segment.base.get();
        frames
            .map(|(at, frame)| (at - base, frame.clone()))
            .collect()
    }

    fn replace(
        &self,
        (disk, dir): (&Disk, &Path),
        segment: &SegmentFile,
        opened: &Segment,
    ) -> Result<(), scan::Error> {
        let failed = |source| scan::Error::Io {
            path: segment.path.clone(),
            source,
        };
        let frames = self.frames_of(segment);
        let source = Source {
            segment: opened,
            length: opened.length().map_err(failed)?,
            patches: &frames,
        };
        let stop = AtomicBool::new(false);
        replace((disk, Part::Segment), dir, segment, &source, &stop).map_err(failed)
    }
}

/// Where the bytes of a segment stand in the journal.
fn span(segment: &SegmentFile) -> Range<u64> {
    segment.base.get()..segment.next.map_or(u64::MAX, Position::get)
}

fn write_over(disk: &Disk, path: &Path, frames: &Patches) -> io::Result<()> {
    let file = disk.open_to_write(path)?;
    for (at, frame) in frames {
        file.write_at(Part::Mending, frame, *at)?;
    }
    file.sync(Part::Mending)
}
