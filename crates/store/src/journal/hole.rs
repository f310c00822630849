//! A part of the journal that was durable and in which no whole frame stands.
//!
//! What its bytes still say is a hint and no more: it names the chains that may have lost something, and is never read as truth.

use std::collections::BTreeSet;
use std::path::Path;

use countersign_ids::ChainId;

use super::frame::{self, HEAD_BYTES, Kind};
use super::packed::{Damaged, Segment};
use super::scan::{self, segments};
use super::{Position, bytes};
use crate::disk::Disk;

/// What stands in front of a chain's id in every header.
const IN_FRONT: &[u8] = b"/chains/";
/// What stands behind it.
const BEHIND: u8 = b'"';

/// A part of the journal that was durable and in which no whole frame stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hole {
    /// Behind the last whole frame before it.
    pub(crate) from: Position,
    /// Where the next whole frame begins, or a segment, or what the log reached.
    pub(crate) to: Position,
    /// The segment that it is in; none where the file of one is missing.
    pub(crate) segment: Option<Position>,
    /// Whether it reaches to the end of its segment, the footer included.
    pub(crate) ends: bool,
    /// What is wrong where it begins.
    pub(crate) what: String,
}

impl Hole {
    /// For whoever reads no further.
    pub(crate) fn error(&self) -> scan::Error {
        scan::Error::Damaged {
            at: self.from,
            what: self.what.clone(),
        }
    }

    /// The chains whose events stood in it; `None` if its bytes do not tell.
    ///
    /// They tell only where the heads of frames lead from its one end to the other: anything else may hide a frame of anybody.
    pub(crate) fn chains(
        &self,
        disk: &Disk,
        dir: &Path,
    ) -> Result<Option<BTreeSet<ChainId>>, scan::Error> {
        let all = segments(disk, dir)?;
        let Some(file) = all.into_iter().find(|file| Some(file.base) == self.segment) else {
            return Ok(None);
        };
        let failed = |source| scan::Error::Io {
            path: file.path.clone(),
            source,
        };
        let segment = Segment::open_as(disk, &file, Damaged::IsBlank).map_err(failed)?;
        let (mut at, end) = (self.from.since(file.base), self.to.since(file.base));
        let mut chains = BTreeSet::new();
        while at < end {
            let mut fixed = [0; HEAD_BYTES];
            segment.read_at(&mut fixed, at).map_err(failed)?;
            let Ok(head) = frame::head(&fixed, file.base, at) else {
                return Ok(None);
            };
            at = at.saturating_add(bytes(HEAD_BYTES));
            if head.kind == Kind::Events {
                let mut payload = vec![0; head.length];
                segment.read_at(&mut payload, at).map_err(failed)?;
                let mut told = named(&payload).peekable();
                if told.peek().is_none() {
                    return Ok(None);
                }
                chains.extend(told);
            } else if head.kind == Kind::Pruned {
                return Ok(None);
            }
            at = at.saturating_add(bytes(head.length));
        }
        Ok((at == end).then_some(chains))
    }
}

/// The ids that stand in these bytes as they do in headers.
fn named(bytes: &[u8]) -> impl Iterator<Item = ChainId> + '_ {
    let places = bytes.windows(IN_FRONT.len()).enumerate();
    places.filter_map(move |(at, part)| {
        let rest = (part == IN_FRONT).then(|| bytes.get(at + IN_FRONT.len()..))??;
        let length = rest.iter().position(|byte| *byte == BEHIND)?;
        std::str::from_utf8(rest.get(..length)?).ok()?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_are_named_as_headers_name_them() {
        let bytes = br#"\x00{"source":"/ledgers/00/chains/blog.beats","x":"/chains/No" /chains/shop" /chains/cut"#;
        let found: Vec<String> = named(bytes).map(|chain| chain.to_string()).collect();
        assert_eq!(found, ["blog.beats", "shop"]);
    }
}
