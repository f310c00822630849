//! What a sealed segment says about itself: per chain the first and last sequence and hash, and counts.
//!
//! Payload of the footer frame: number of chains (4), then per chain its id (length-prefixed), first sequence (8), hash of
//! the first event (32), last sequence (8), hash of the last (32), number of events (8); then the number of frames before the
//! footer (8) and SHA-256 (32) over all of that. docs/format.md section 5.

use std::collections::BTreeMap;

use countersign_chain::{Header, event_hash, sha256};
use countersign_ids::{ChainId, EventHash, Sequence};

use super::frame::put;
use super::scan::Frame;
use super::{Kind, record};

/// The events of one chain in one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    first: (Sequence, EventHash),
    last: (Sequence, EventHash),
    events: u64,
}

/// Collects what the footer will say, while its segment is written or read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Footer {
    chains: BTreeMap<ChainId, Range>,
    frames: u64,
}

impl Footer {
    /// Takes in a frame as it is read; one that seals a segment begins the next.
    pub(crate) fn read(&mut self, frame: &Frame) {
        match frame.head.kind {
            Kind::Footer => *self = Self::default(),
            Kind::Events => {
                for header in record::headers(&frame.payload) {
                    if let Ok(parsed) = Header::parse(header) {
                        self.event(&parsed.chain, parsed.sequence, event_hash(header));
                    }
                }
                self.frame();
            }
            Kind::Closed => {}
            _ => self.frame(),
        }
    }

    pub(crate) fn frame(&mut self) {
        self.frames = self.frames.saturating_add(1);
    }

    pub(crate) fn event(&mut self, chain: &ChainId, sequence: Sequence, hash: EventHash) {
        self.events(chain, (sequence, hash), (sequence, hash));
    }

    /// Takes in consecutive events, by the first and the last of them.
    pub(crate) fn events(
        &mut self,
        chain: &ChainId,
        first: (Sequence, EventHash),
        last: (Sequence, EventHash),
    ) {
        let events = last.0.get().saturating_sub(first.0.get()).saturating_add(1);
        if let Some(range) = self.chains.get_mut(chain) {
            range.last = last;
            range.events = range.events.saturating_add(events);
        } else {
            let range = Range {
                first,
                last,
                events,
            };
            self.chains.insert(chain.clone(), range);
        }
    }

    pub(crate) fn payload(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(
            &u32::try_from(self.chains.len())
                .unwrap_or(u32::MAX)
                .to_be_bytes(),
        );
        for (chain, range) in &self.chains {
            put(&mut out, chain.to_string().as_bytes());
            for (sequence, hash) in [range.first, range.last] {
                out.extend_from_slice(&sequence.get().to_be_bytes());
                out.extend_from_slice(hash.as_bytes());
            }
            out.extend_from_slice(&range.events.to_be_bytes());
        }
        out.extend_from_slice(&self.frames.to_be_bytes());
        let digest = sha256(&out);
        out.extend_from_slice(digest.as_bytes());
        out
    }
}
