//! One event read and hashed on its own, before it has a place in any chain.
//!
//! This is most of the work of following a chain and needs nothing of the events before, so it can be done in any order and
//! on any thread; [`crate::ChainState::advance`] then compares. Only hashing makes one: of bytes that were read, or of the
//! bytes that a writer makes of a header and a body.

use crate::merkle::{self, Node};
use crate::{Absence, Body, Header, Record, body_hash, event_hash, header};
use countersign_ids::{BodyHash, EventHash, Salt};

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

/// Salt and B, hashed. Only hashing makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashedBody {
    salt: Salt,
    bytes: Vec<u8>,
    hash: BodyHash,
}

impl HashedBody {
    /// Hashes a body.
    #[must_use]
    pub fn of(salt: Salt, bytes: Vec<u8>) -> Self {
        Self {
            hash: body_hash(&salt, &bytes),
            salt,
            bytes,
        }
    }

    /// B.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What `bodyhash` of its event is.
    #[must_use]
    pub const fn hash(&self) -> BodyHash {
        self.hash
    }

    /// The same salt with other bytes B.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Vec<u8>)) -> Self {
        change(&mut self.bytes);
        Self::of(self.salt, self.bytes)
    }
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

    /// Writes E of a header, which names the hash of this body whatever it named before, and hashes it.
    ///
    /// The header must be one that [`Header::parse`] would read again.
    #[must_use]
    pub fn made(mut header: Header, body: HashedBody) -> Self {
        header.bodyhash = body.hash;
        let bytes = header.to_bytes();
        debug_assert_eq!(Header::parse(&bytes).as_ref(), Ok(&header), "it reads back");
        Self {
            hash: event_hash(&bytes),
            header,
            body_fits: true,
            record: Record {
                header: bytes,
                body: Body::Present {
                    salt: body.salt,
                    bytes: body.bytes,
                },
            },
        }
    }

    /// The same event without its body: E stays as it is, and so does its hash.
    #[must_use]
    pub fn without_body(&self, reason: Absence) -> Self {
        Self {
            header: self.header.clone(),
            hash: self.hash,
            body_fits: true,
            record: Record {
                header: self.record.header.clone(),
                body: Body::Absent(reason),
            },
        }
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

    /// B, where it is present.
    #[must_use]
    pub fn body(&self) -> Option<&[u8]> {
        match &self.record.body {
            Body::Present { bytes, .. } => Some(bytes),
            Body::Absent(_) => None,
        }
    }

    /// Its bytes.
    #[must_use]
    pub const fn record(&self) -> &Record {
        &self.record
    }
}
