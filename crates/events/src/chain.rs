//! Family `chain`: chains and their numbers.

use countersign_chain::Base;
use countersign_ids::{ChainId, Time};

use crate::declare::events;

events! {
    /// The chains themselves.
    Chain = "chain" Evidence;

    /// A chain got its number. It may be opened from here on.
    Announced = "announced" v 1 on Platform about "the chain" {
        /// The chain.
        pub chain: ChainId,
        /// Its number, dense from 0: its leaf in the recorded heads.
        pub number: u64,
    }

    /// The chain began: its event 0, which repeats what was announced.
    Opened = "opened" v 1 on Opened about "the chain" {
        /// The chain.
        pub chain: ChainId,
        /// Its number, as announced.
        pub number: u64,
    }

    /// A tenant's heartbeats were pruned: the events before a cut are removed from here on, and the chain begins with a base.
    ///
    /// What it begins with was recorded before, and the tenant said how long its heartbeats are kept.
    Pruned = "pruned" v 1 on Platform about "the chain" {
        /// The chain of heartbeats.
        pub chain: ChainId,
        /// The sequence, in the tenant's chain, of the event that says how long heartbeats are kept.
        pub policy: u64,
        /// No event before the cut is younger.
        pub until: Time,
        /// The sequence of the recorded heads that cover every event before the cut.
        pub heads: u64,
        /// What the chain begins with.
        pub base: Base,
    }

    /// The receipt of a pruning: journal and log hold no event before the cut any more.
    Cleared = "cleared" v 1 on Platform about "the chain" {
        /// The chain of heartbeats.
        pub chain: ChainId,
        /// The sequence of the event that ordered it.
        pub ordered: u64,
        /// How many events went by it.
        pub events: u64,
    }
}
