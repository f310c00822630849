//! An event as it is read: its bytes, and what its header says.

use std::sync::Arc;

use countersign_chain::{Hashed, Header, Record, Verified, genesis_hash};
use countersign_ids::{ChainId, EventHash, LedgerId, Sequence};

use crate::Error;

/// One event; cheap to clone. Its header follows the formats, and a body that is present is the one that the header names.
#[derive(Debug, Clone)]
pub struct Entry(Arc<Hashed>);

impl Entry {
    /// An event that was hashed; its place in its chain is for whoever follows the chain.
    pub(crate) fn of(hashed: Hashed) -> Self {
        Self(Arc::new(hashed))
    }

    /// What following its chain takes.
    pub(crate) fn hashed(&self) -> &Hashed {
        &self.0
    }

    /// An event whose place in its chain was verified.
    #[must_use]
    pub fn from_verified(verified: Verified) -> Self {
        Self::of(verified.into_hashed())
    }

    /// The attributes of E.
    #[must_use]
    pub fn header(&self) -> &Header {
        self.0.header()
    }

    /// The hash of E.
    #[must_use]
    pub fn hash(&self) -> EventHash {
        self.0.hash()
    }

    /// The bytes: E, and salt and B or why they are absent.
    #[must_use]
    pub fn record(&self) -> &Record {
        self.0.record()
    }

    /// Where it stands in its chain.
    #[must_use]
    pub fn sequence(&self) -> Sequence {
        self.0.header().sequence
    }

    /// B, if it is there; sealed when the event is personal.
    #[must_use]
    pub fn body(&self) -> Option<&[u8]> {
        self.0.body()
    }
}

impl From<Verified> for Entry {
    fn from(verified: Verified) -> Self {
        Self::from_verified(verified)
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
        let hashed = Hashed::of(record).map_err(|error| broken(&error.source.to_string()))?;
        let header = hashed.header();
        if header.chain != *chain || header.ledger != *ledger || header.sequence.get() != sequence {
            return Err(broken("another event stands here"));
        }
        if previous.is_some_and(|hash| hash != header.prevhash) {
            return Err(broken("it does not link to the event before"));
        }
        if !hashed.body_fits() {
            return Err(broken("the body is not the one that the header names"));
        }
        previous = Some(hashed.hash());
        entries.push(Entry::of(hashed));
    }
    Ok(entries)
}
