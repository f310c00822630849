//! One event read and hashed on its own, before it has a place in any chain.
//!
//! This is most of the work of following a chain and needs nothing of the events before, so it can be done in any order and
//! on any thread; [`crate::ChainState::advance`] then compares. Only hashing makes one.

use crate::merkle::{self, Node};
use crate::{Body, Header, Record, body_hash, event_hash, header};
use countersign_ids::EventHash;

/// An event whose bytes were read as a header and hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hashed {
    header: Header,
    hash: EventHash,
    body_fits: bool,
    record: Record,
}

/// Bytes that are no header; they stand in a chain all the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no header")]
pub struct NoHeader {
    /// The event.
    pub record: Record,
    /// What is wrong with it.
    #[source]
    pub source: header::Error,
}

impl Hashed {
    /// Reads and hashes an event.
    ///
    /// # Errors
    /// E is no header.
    pub fn of(record: Record) -> Result<Self, Box<NoHeader>> {
        let header = match Header::parse(&record.header) {
            Ok(header) => header,
            Err(source) => return Err(Box::new(NoHeader { record, source })),
        };
        let body_fits = match &record.body {
            Body::Present { salt, bytes } => body_hash(salt, bytes) == header.bodyhash,
            Body::Absent(_) => true,
        };
        Ok(Self {
            hash: event_hash(&record.header),
            header,
            body_fits,
            record,
        })
    }

    /// Its attributes.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The hash of E.
    #[must_use]
    pub const fn hash(&self) -> EventHash {
        self.hash
    }

    /// The leaf of E in its chain's tree.
    #[must_use]
    pub fn leaf(&self) -> Node {
        merkle::leaf_hash(&self.record.header)
    }

    /// Whether salt and B hash to `bodyhash`; an absent body contradicts nothing.
    #[must_use]
    pub const fn body_fits(&self) -> bool {
        self.body_fits
    }

    /// Its bytes.
    #[must_use]
    pub const fn record(&self) -> &Record {
        &self.record
    }

    pub(crate) fn into_parts(self) -> (Header, EventHash, Record) {
        (self.header, self.hash, self.record)
    }
}
