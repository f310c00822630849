//! Family `beat`: heartbeats.

use countersign_evidence::Envelope;

use crate::declare::events;

events! {
    /// Heartbeats.
    Beat = "beat" Evidence;

    /// A connector's heartbeat was accepted.
    Received = "received" v 1 on Beats about "the site" {
        /// The heartbeat, signed by the connector.
        pub envelope: Envelope,
    }
}
