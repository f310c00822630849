//! Removing bodies from sealed segments: a segment that holds one is rewritten as a whole, compressed, and takes its own name.
//!
//! A frame without its bodies is filled up with zeros, so no position changes, and neither does what a footer says. A crash
//! leaves the segment before or after; doing it again finds what is left to do.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use super::packed::Segment;
use super::packing::{Patches, Source, remove_leftover, replace, replacing};
use super::scan::{self, Frame, Scan, SegmentFile, segments};
use super::{Kind, Position, frame, record};
use crate::disk::{Disk, Part, crash_at};
use crate::removal::Doomed;

/// Rewrites the sealed segments of `span` that hold a body that is to go; how many those were.
pub(crate) fn thin_all(
    disk: &Disk,
    dir: &Path,
    span: &Range<Position>,
    doomed: &Doomed,
) -> Result<u64, scan::Error> {
    let failed = |source| scan::Error::Io {
        path: dir.to_path_buf(),
        source,
    };
    {
        // What a crash left of one that was being compressed may hold any body.
        let _replacing = replacing();
        remove_leftover(disk, Part::Removal, dir).map_err(failed)?;
    }
    let mut rewritten = 0_u64;
    let all = segments(disk, dir)?;
    for (segment, next) in all.iter().zip(all.iter().skip(1)) {
        if next.base <= span.start || segment.base >= span.end {
            continue;
        }
        let _replacing = replacing();
        let patches = patches(disk, dir, segment, next.base, doomed)?;
        if patches.is_empty() {
            continue;
        }
        let source = Segment::open(disk, segment).map_err(failed)?;
        let source = Source {
            segment: &source,
            length: next.base.since(segment.base),
            patches: &patches,
        };
        let stop = AtomicBool::new(false);
        replace((disk, Part::Removal), dir, segment, &source, &stop).map_err(failed)?;
        rewritten = rewritten.saturating_add(1);
        crash_at("removal.segment");
    }
    // An earlier attempt may have died before the names were durable.
    disk.sync_dir(Part::Removal, dir).map_err(failed)?;
    Ok(rewritten)
}

/// The first event of `span` that still has a body that is to go: where its frame begins.
pub(crate) fn first_left(
    disk: &Disk,
    dir: &Path,
    span: &Range<Position>,
    doomed: &Doomed,
) -> Result<Option<Position>, scan::Error> {
    let mut scan = Scan::new(disk, dir, span.start, Position::ZERO)?;
    while let Some(frame) = scan.next_frame()? {
        if frame.position >= span.end {
            break;
        }
        if thinned(&frame, doomed).is_some() {
            return Ok(Some(frame.position));
        }
    }
    Ok(None)
}

/// The frames of one segment that change.
fn patches(
    disk: &Disk,
    dir: &Path,
    segment: &SegmentFile,
    end: Position,
    doomed: &Doomed,
) -> Result<Patches, scan::Error> {
    let mut patches = Patches::new();
    let mut scan = Scan::new(disk, dir, segment.base, Position::ZERO)?;
    while let Some(frame) = scan.next_frame()? {
        if frame.position >= end {
            break;
        }
        if let Some(payload) = thinned(&frame, doomed) {
            let patch = frame::thinned(&frame.head, &payload).ok_or_else(|| scan::Error::Io {
                path: segment.path.clone(),
                source: io::Error::other("a frame became longer without its bodies"),
            })?;
            patches.insert(frame.head.offset, patch);
        }
    }
    Ok(patches)
}

/// The payload without the bodies that are to go, if it holds any.
fn thinned(frame: &Frame, doomed: &Doomed) -> Option<Vec<u8>> {
    if frame.head.kind != Kind::Events {
        return None;
    }
    record::thin(&frame.payload, |_, header| doomed.reason(header))
}
