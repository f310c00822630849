//! An event as it is read: its bytes, and what its header says.

use std::sync::Arc;

use countersign_chain::{Body, Header, Record, Verified, body_hash, event_hash, genesis_hash};
use countersign_ids::{ChainId, EventHash, LedgerId, Sequence};

use crate::Error;

/// One event; cheap to clone. Its header follows the formats, and a body that is present is the one that the header names.
#[derive(Debug, Clone)]
pub struct Entry(Arc<Stored>);

#[derive(Debug)]
struct Stored {
    header: Header,
    hash: EventHash,
    record: Record,
}

impl Entry {
    /// Parts that were made together, or that verification took apart.
    pub(crate) fn from_parts(header: Header, hash: EventHash, record: Record) -> Self {
        Self(Arc::new(Stored {
            header,
            hash,
            record,
        }))
    }

    /// An event whose place in its chain was verified.
    #[must_use]
    pub fn from_verified(verified: Verified) -> Self {
        let (header, hash, record) = verified.into_parts();
        Self::from_parts(header, hash, record)
    }

    /// The attributes of E.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.0.header
    }

    /// The hash of E.
    #[must_use]
    pub fn hash(&self) -> EventHash {
        self.0.hash
    }

    /// The bytes: E, and salt and B or why they are absent.
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.0.record
    }

    /// Where it stands in its chain.
    #[must_use]
    pub fn sequence(&self) -> Sequence {
        self.0.header.sequence
    }

    /// B, if it is there; sealed when the event is personal.
    #[must_use]
    pub fn body(&self) -> Option<&[u8]> {
        match &self.0.record.body {
            Body::Present { bytes, .. } => Some(bytes),
            Body::Absent(_) => None,
        }
    }
}

impl From<Verified> for Entry {
    fn from(verified: Verified) -> Self {
        let (header, hash, record) = verified.into_parts();
        Self::from_parts(header, hash, record)
    }
}

/// Checks a run of events of one chain that begins at `first`: headers, hashes, bodies and links.
///
/// `previous` is the hash of the event before, where it is known. What only the whole chain can tell (family sequences,
/// times, command ids) was checked when the events were written and is checked again by the auditor.
pub(crate) fn verify_run(
    ledger: &LedgerId,
    chain: &ChainId,
    first: u64,
    previous: Option<EventHash>,
    records: Vec<Record>,
) -> Result<Vec<Entry>, Error> {
    let mut previous = previous.or_else(|| (first == 0).then(|| genesis_hash(ledger, chain)));
    let mut entries = Vec::with_capacity(records.len());
    for (sequence, record) in (first..).zip(records) {
        let broken = |reason: &str| Error::ChainDamaged {
            chain: chain.clone(),
            sequence: Sequence::new(sequence),
            reason: reason.to_owned(),
        };
        let header = Header::parse(&record.header).map_err(|error| broken(&error.to_string()))?;
        if header.chain != *chain || header.ledger != *ledger || header.sequence.get() != sequence {
            return Err(broken("another event stands here"));
        }
        if previous.is_some_and(|hash| hash != header.prevhash) {
            return Err(broken("it does not link to the event before"));
        }
        if let Body::Present { salt, bytes } = &record.body
            && body_hash(salt, bytes) != header.bodyhash
        {
            return Err(broken("the body is not the one that the header names"));
        }
        let hash = event_hash(&record.header);
        previous = Some(hash);
        entries.push(Entry::from_parts(header, hash, record));
    }
    Ok(entries)
}
