//! What one reading of the whole journal finds: what can be read, which chains there are, checkpoints, the platform chain.
//!
//! Segments are read beside each other. What one of them says about its own frames does not depend on the ones before, and
//! each reading goes on to the first frame of the next, so that a gap between two is seen.

use std::collections::BTreeMap;

use countersign_chain::Record;
use countersign_ids::ChainId;
use countersign_store::read::{Events, Frame, Reader};
use countersign_store::{Error, Position};

use crate::pipeline::{self, Weighed};
use crate::source::{Kind, chain_text};

/// Bytes of checkpoints, and of the platform chain, that are kept in memory.
const KEPT_BYTES_MAX: usize = 8 << 20;
/// The same of one segment, of which several are under way.
const SEGMENT_KEPT_BYTES_MAX: usize = 2 << 20;

/// What one reading of the whole journal found. Later readings end where it ended, although a live one grows.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// What can be read: from here to the end of a frame there, part after part. Between two parts is damage.
    pub parts: Vec<(Position, Position)>,
    /// Events by chain.
    pub sizes: BTreeMap<String, u64>,
    /// Events that name no chain.
    pub nameless: u64,
    /// Bytes at the end of a stopped journal that were being written when the writer died.
    pub torn_bytes: u64,
    /// What is wrong, once each.
    pub damage: Vec<String>,
    /// Checkpoints: chain and note.
    pub notes: Kept<(String, String)>,
    /// The platform chain.
    pub platform: Kept<Record>,
    /// Whether the last part ends where the next segment begins.
    whole: bool,
}

/// Small things that are needed again, kept while they are few; otherwise the journal is read once more for them.
#[derive(Debug)]
pub(super) struct Kept<T> {
    items: Vec<T>,
    bytes: usize,
    over: bool,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        let (items, bytes, over) = (Vec::new(), 0, false);
        Self { items, bytes, over }
    }
}

impl<T> Kept<T> {
    fn keep(&mut self, item: T, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.items.push(item);
        self.bound(SEGMENT_KEPT_BYTES_MAX);
    }

    fn join(&mut self, behind: Self) {
        self.bytes = self.bytes.saturating_add(behind.bytes);
        self.over |= behind.over;
        self.items.extend(behind.items);
        self.bound(KEPT_BYTES_MAX);
    }

    fn bound(&mut self, bytes_max: usize) {
        self.over |= self.bytes > bytes_max;
        if self.over {
            self.items = Vec::new();
        }
    }

    /// All of them, unless they were too many.
    pub(super) fn all(&self) -> Option<&[T]> {
        (!self.over).then_some(&self.items)
    }
}

/// From where a reading goes, and where the next one begins.
#[derive(Debug, Clone, Copy)]
struct Range {
    from: Position,
    until: Option<Position>,
}

impl Weighed for Range {
    fn weight(&self) -> usize {
        // Each is worth a thread of its own.
        usize::MAX
    }
}

/// Reads the whole journal.
pub(super) fn take(reader: &Reader, kind: Kind, threads: usize) -> Result<Survey, Error> {
    let mut bases = vec![Position::ZERO];
    bases.extend(reader.segments()?.iter().map(|segment| segment.base));
    bases.dedup();
    let behind = bases.iter().skip(1).copied().map(Some).chain([None]);
    let ranges: Vec<Range> = bases
        .iter()
        .zip(behind)
        .map(|(from, until)| Range { from: *from, until })
        .collect();
    let mut whole = Survey::default();
    pipeline::run(
        ranges.into_iter().map(Ok::<_, Error>),
        threads,
        |range| read(reader, kind, range),
        |found| {
            whole.join(found?);
            Ok(())
        },
    )?;
    Ok(whole)
}

/// Reads on until the end of a range, or until damage.
fn read(reader: &Reader, kind: Kind, range: Range) -> Result<Survey, Error> {
    let mut survey = Survey::default();
    let mut end = range.from;
    let mut frames = match reader.frames_from(range.from, range.until) {
        Ok(frames) => frames,
        Err(Error::Damaged(error)) => {
            survey.damage.push(error.to_string());
            return Ok(survey);
        }
        Err(error) => return Err(error),
    };
    for frame in &mut frames {
        match frame {
            Ok(frame) => {
                end = frame.position();
                survey.note(frame);
            }
            Err(Error::Damaged(error)) => {
                survey.damage.push(error.to_string());
                survey.parts.push((range.from, end));
                return Ok(survey);
            }
            Err(error) => return Err(error),
        }
    }
    survey.parts.push((range.from, end));
    survey.whole = true;
    // The tail of a live ledger is being written now; only a stopped one has a torn tail.
    if kind == Kind::Stopped {
        survey.torn_bytes = frames.end().torn.map_or(0, |torn| torn.bytes);
    }
    Ok(survey)
}

impl Survey {
    fn note(&mut self, frame: Frame) {
        match frame {
            Frame::Events(events) => self.events(&events),
            Frame::Checkpoint { chain, note, .. } => {
                let bytes = note.len();
                self.notes.keep((chain.to_string(), note), bytes);
            }
            Frame::Pruned { .. } => {}
        }
    }

    fn events(&mut self, events: &Events) {
        for stored in events.stored() {
            let Some(chain) = chain_text(stored.header) else {
                self.nameless += 1;
                continue;
            };
            match self.sizes.get_mut(chain) {
                Some(size) => *size += 1,
                None if chain.parse::<ChainId>().is_ok() => {
                    self.sizes.insert(chain.to_owned(), 1);
                }
                None => {
                    self.nameless += 1;
                    continue;
                }
            }
            if chain == "platform" {
                let body = stored.body().map_or(0, <[u8]>::len);
                let bytes = stored.header.len().saturating_add(body);
                self.platform.keep(stored.to_record(), bytes);
            }
        }
    }

    /// Adds what was found in the segment behind.
    fn join(&mut self, behind: Self) {
        let mut parts = behind.parts.into_iter();
        if self.whole
            && let Some(last) = self.parts.last_mut()
            && let Some((from, end)) = parts.next()
        {
            // A segment without a frame of its own does not take back what was read before it.
            last.1 = if end > from { end } else { last.1 };
        }
        self.parts.extend(parts);
        self.whole = behind.whole;
        for (chain, size) in behind.sizes {
            *self.sizes.entry(chain).or_default() += size;
        }
        self.nameless += behind.nameless;
        self.torn_bytes = behind.torn_bytes;
        for damage in behind.damage {
            if self.damage.last() != Some(&damage) {
                self.damage.push(damage);
            }
        }
        self.notes.join(behind.notes);
        self.platform.join(behind.platform);
    }
}
