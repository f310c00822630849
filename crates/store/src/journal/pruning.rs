//! Removing whole events from sealed segments: a frame of a chain that was pruned becomes a *stump*, as long as it was.
//!
//! A stump names the chain, and behind each 256th event of it the hash of the subtree that ends there and the base of the chain
//! from there on: that is enough to go on from any of them. Segments are rewritten from the cut backwards, so whatever a crash
//! leaves is a beginning of the chain, then stumps up to the cut.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use countersign_chain::merkle::{Frontier, Node, leaf_hash};
use countersign_chain::{Base, CUT_EVENTS, ChainState, Header, json};
use countersign_ids::ChainId;

use super::frame::{put, take};
use super::packed::Segment;
use super::packing::{Patches, Source, remove_leftover, replace, replacing};
use super::scan::{self, Frame, Scan, SegmentFile, segments};
use super::{Kind, Position, frame, record};
use crate::disk::{Disk, Part, crash_at};
use crate::log::tiles::TILE_LEVELS;

/// The end of so many events of a chain: the hash of the last subtree of level 8, and what follows continues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The hash of the 256 leaves before the cut.
    pub node: Node,
    /// What the chain begins with from here on.
    pub base: Base,
}

/// What is left in place of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stump {
    /// The chain.
    pub chain: ChainId,
    /// Where a cut may be among the events that stood here, in order.
    pub marks: Vec<Mark>,
}

impl Stump {
    /// Reads the payload of a frame; `None` if it is anything else.
    pub(crate) fn parse(mut payload: &[u8]) -> Option<Self> {
        let chain = std::str::from_utf8(take(&mut payload)?)
            .ok()?
            .parse()
            .ok()?;
        let mut marks = Vec::new();
        while !payload.is_empty() {
            let node = take(&mut payload)?.try_into().ok()?;
            let base: Base = serde_json::from_slice(take(&mut payload)?).ok()?;
            if !base.is_whole() {
                return None;
            }
            marks.push(Mark { node, base });
        }
        Some(Self { chain, marks })
    }

    /// The last byte is never zero: zeros fill the frame up.
    fn payload(&self) -> io::Result<Vec<u8>> {
        let mut payload = Vec::new();
        put(&mut payload, self.chain.to_string().as_bytes());
        for mark in &self.marks {
            put(&mut payload, &mark.node);
            let base = json::to_canonical(&mark.base).map_err(io::Error::other)?;
            put(&mut payload, &base);
        }
        Ok(payload)
    }
}

/// What is to go: the events of a chain before the cut.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Before<'a> {
    pub(crate) chain: &'a ChainId,
    pub(crate) cut: u64,
}

impl Before<'_> {
    /// The last event of a frame of this chain of which all are to go.
    fn last(&self, frame: &Frame) -> Option<u64> {
        if frame.head.kind != Kind::Events {
            return None;
        }
        let mut last = None;
        for header in record::headers(&frame.payload) {
            let header = Header::parse(header).ok()?;
            if header.chain != *self.chain || header.sequence.get() >= self.cut {
                return None;
            }
            last = Some(header.sequence.get());
        }
        last
    }
}

/// Where following a chain begins.
#[derive(Debug, Clone)]
pub(crate) struct Begin {
    pub(crate) state: ChainState,
    pub(crate) tree: Frontier,
}

/// Follows the events before the cut in this part of the journal: the marks behind every 256th of them.
///
/// What stands there already is left of an earlier pruning, or of this one before a crash.
pub(crate) fn marks(
    disk: &Disk,
    dir: &Path,
    span: &Range<Position>,
    before: Before<'_>,
    begin: Begin,
) -> Result<BTreeMap<u64, Mark>, scan::Error> {
    let Begin {
        mut state,
        mut tree,
    } = begin;
    let mut marks = BTreeMap::new();
    let mut scan = Scan::new(disk, dir, span.start, Position::ZERO)?;
    while let Some(frame) = scan.next_frame()? {
        if frame.position >= span.end || state.size() >= before.cut {
            break;
        }
        let damaged = |what: String| scan::Error::Damaged {
            at: frame.position,
            what,
        };
        if let Some(stump) = stump(&frame)?.filter(|stump| stump.chain == *before.chain) {
            for mark in stump.marks {
                let base = &mark.base;
                if base.cut > state.size() && base.cut <= before.cut {
                    state = ChainState::at(state.ledger(), before.chain, base);
                    tree = base.tree().unwrap_or_default();
                    marks.insert(base.cut, mark);
                }
            }
            continue;
        }
        if frame.head.kind != Kind::Events {
            continue;
        }
        let ours = format!("/chains/{}\"", before.chain);
        if !record::headers(&frame.payload).any(|header| contains(header, ours.as_bytes())) {
            continue;
        }
        for event in record::decode(&frame.payload).unwrap_or_default() {
            let header =
                Header::parse(&event.header).map_err(|error| damaged(error.to_string()))?;
            let next = header.chain == *before.chain
                && header.sequence.get() >= state.size()
                && state.size() < before.cut;
            if !next {
                continue;
            }
            state
                .follow(&event)
                .map_err(|broken| damaged(broken.to_string()))?;
            let mut node = None;
            tree.push_completing(leaf_hash(&event.header), |level, _, completed| {
                if level == TILE_LEVELS {
                    node = Some(completed);
                }
            });
            if let (Some(node), Some(base)) = (node, Base::of(&state, &tree)) {
                marks.insert(base.cut, Mark { node, base });
            }
        }
    }
    Ok(marks)
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|part| part == wanted)
}

/// What is left in place of a frame, if that was pruned.
pub(crate) fn stump(frame: &Frame) -> Result<Option<Stump>, scan::Error> {
    if frame.head.kind != Kind::Pruned {
        return Ok(None);
    }
    let malformed = || scan::Error::Damaged {
        at: frame.position,
        what: "what is left of pruned events is malformed".to_owned(),
    };
    Stump::parse(&frame.payload).ok_or_else(malformed).map(Some)
}

/// Rewrites the sealed segments of `span` that hold an event before the cut, the last one first; how many those were.
pub(crate) fn prune_all(
    disk: &Disk,
    dir: &Path,
    span: &Range<Position>,
    before: Before<'_>,
    marks: &BTreeMap<u64, Mark>,
) -> Result<u64, scan::Error> {
    let failed = |source| scan::Error::Io {
        path: dir.to_path_buf(),
        source,
    };
    {
        let _replacing = replacing();
        remove_leftover(disk, Part::Removal, dir).map_err(failed)?;
    }
    let mut rewritten = 0_u64;
    let all = segments(disk, dir)?;
    let sealed: Vec<_> = all.iter().zip(all.iter().skip(1)).collect();
    for (segment, next) in sealed.into_iter().rev() {
        if next.base <= span.start || segment.base >= span.end {
            continue;
        }
        let _replacing = replacing();
        let patches = patches(disk, dir, (segment, next.base), before, marks)?;
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
        crash_at("pruning.segment");
    }
    disk.sync_dir(Part::Removal, dir).map_err(failed)?;
    Ok(rewritten)
}

/// The first frame of `span` that still holds events before the cut.
pub(crate) fn first_left(
    disk: &Disk,
    dir: &Path,
    span: &Range<Position>,
    before: Before<'_>,
) -> Result<Option<Position>, scan::Error> {
    let mut scan = Scan::new(disk, dir, span.start, Position::ZERO)?;
    while let Some(frame) = scan.next_frame()? {
        if frame.position >= span.end {
            break;
        }
        if before.last(&frame).is_some() {
            return Ok(Some(frame.position));
        }
    }
    Ok(None)
}

fn patches(
    disk: &Disk,
    dir: &Path,
    (segment, end): (&SegmentFile, Position),
    before: Before<'_>,
    marks: &BTreeMap<u64, Mark>,
) -> Result<Patches, scan::Error> {
    let failed = |source| scan::Error::Io {
        path: segment.path.clone(),
        source,
    };
    let mut patches = Patches::new();
    let mut scan = Scan::new(disk, dir, segment.base, Position::ZERO)?;
    while let Some(frame) = scan.next_frame()? {
        if frame.position >= end {
            break;
        }
        let Some(last) = before.last(&frame) else {
            continue;
        };
        let events = record::headers(&frame.payload).count() as u64;
        let first = last.saturating_add(1).saturating_sub(events);
        let here = marks.range(first.saturating_add(1)..=last.saturating_add(1));
        let stump = Stump {
            chain: before.chain.clone(),
            marks: here.map(|(_, mark)| mark.clone()).collect(),
        };
        let payload = stump.payload().map_err(failed)?;
        let patch = frame::pruned(&frame.head, &payload).ok_or_else(|| {
            failed(io::Error::other(
                "a frame has no room for what is left of it",
            ))
        })?;
        patches.insert(frame.head.offset, patch);
    }
    Ok(patches)
}

/// Whether every place where a cut may be has its mark, from behind `from` up to the cut.
pub(crate) fn are_whole(marks: &BTreeMap<u64, Mark>, from: u64, cut: u64) -> bool {
    let mut wanted = (from / CUT_EVENTS + 1..=cut / CUT_EVENTS).map(|group| group * CUT_EVENTS);
    wanted.all(|cut| marks.contains_key(&cut))
}
