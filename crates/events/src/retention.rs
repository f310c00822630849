//! Family `retention`: how long bodies are kept, and what was removed. Each removal is ordered by one event and receipted by another.

use countersign_ids::{ChainId, DataSubject, Digest, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::declare::events;

/// Consecutive events of one chain, both ends included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// The chain.
    pub chain: ChainId,
    /// The first sequence.
    pub from: u64,
    /// The last sequence.
    pub to: u64,
}

impl Range {
    /// Whether it holds this event.
    #[must_use]
    pub fn holds(&self, chain: &ChainId, sequence: u64) -> bool {
        self.chain == *chain && (self.from..=self.to).contains(&sequence)
    }
}

/// The digest over all rows of one projection of the chain, as docs/format.md says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RowsDigest {
    /// The projection.
    pub projection: String,
    /// Its version: another one makes other rows.
    pub version: u32,
    /// SHA-256 over its rows.
    pub digest: Digest,
}

events! {
    /// How long bodies are kept, and what was removed.
    Retention = "retention" Evidence;

    /// The tenant said how long operational bodies are kept.
    Set = "set" v 1 on Tenant about "`retention`" {
        /// Days after which an operational body is removed; 0 removes it as soon as removal runs.
        pub operational_days: u32,
    }

    /// The tenant said how long its heartbeats are kept. Before that they are kept for ever.
    BeatsSet = "beats-set" v 1 on Tenant about "`retention`" {
        /// Days after which heartbeats are pruned; 0 prunes them as soon as they are recorded.
        pub beats_days: u32,
    }

    /// The retention of operational bodies ended: B and salt of the operational events in the ranges are removed from here
    /// on. Their headers stay.
    Expired = "expired" v 1 on Tenant about "`retention`" {
        /// No operational event in the ranges is younger.
        pub until: Time,
        /// Where they stand.
        pub ranges: Vec<Range>,
    }

    /// A person's data was erased: the key that sealed it is destroyed from here on, and no other is made under that name.
    ///
    /// The sealed bodies stay as they are; nobody can open them again.
    Erased = "erased" v 1 on Tenant about "the data subject" {
        /// Whose: a random name, which says nothing about the person.
        pub datasubject: DataSubject,
        /// Where the bodies stand that the key sealed: those of this data subject in the ranges.
        pub ranges: Vec<Range>,
    }

    /// The receipt of a removal: done everywhere in this ledger, and the read models are what they were.
    Removed = "removed" v 1 on Tenant about "the subject of the event that ordered the removal" {
        /// The sequence of the event that ordered it.
        pub ordered: u64,
        /// How many bodies were removed, or made unreadable.
        pub bodies: u64,
        /// The read models of the chain, folded up to and with that event, before anything was removed.
        pub before: Vec<RowsDigest>,
        /// The same, folded from what is left.
        pub after: Vec<RowsDigest>,
    }
}
