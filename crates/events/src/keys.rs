//! Family `keys`: the ledger's key statements.

use countersign_evidence::Envelope;

use crate::declare::events;

events! {
    /// The ledger's own keys.
    Keys = "keys" Evidence;

    /// The ledger began with its first key statement. It is event 0 of the platform chain.
    Created = "created" v 1 on Platform about "`keys`" {
        /// The key statement, version 1.
        pub envelope: Envelope,
    }

    /// A key statement added, rotated or ended keys. The first recorded heads after it stand in the same append.
    Changed = "changed" v 1 on Platform about "`keys`" {
        /// The key statement.
        pub envelope: Envelope,
    }
}
