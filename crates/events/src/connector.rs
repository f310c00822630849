//! Family `connector`: pairing.

use countersign_evidence::Envelope;
use countersign_ids::{Digest, SiteId, Time};

use crate::declare::events;

events! {
    /// Pairing of connectors.
    Connector = "connector" Evidence;

    /// A pairing code was made for a site. It can be used once, until it expires.
    Invited = "invited" v 1 on Tenant about "the site" {
        /// The site.
        pub site: SiteId,
        /// SHA-256 of the 16 secret bytes of the code.
        pub code_digest: Digest,
        /// The code does not count after this.
        pub expires: Time,
    }

    /// A connector paired with the site: its key and generation count from here on, older generations do not.
    Paired = "paired" v 1 on Tenant about "the site" {
        /// The connector's message, signed by its new key.
        pub envelope: Envelope,
    }
}
