//! Family `chain`: chains and their numbers.

use countersign_ids::ChainId;

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
}
