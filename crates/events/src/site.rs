//! Family `site`: sites, what is pinned there and what was seen there.

use countersign_evidence::{Envelope, PinnedDocument};
use countersign_ids::SiteId;

use crate::declare::events;
use crate::words::{ConnectorKind, Environment};

events! {
    /// Sites and what is pinned and seen at them.
    Site = "site" Evidence;

    /// A site exists. A connector can be invited to it.
    Registered = "registered" v 1 on Tenant about "the site" {
        /// The site.
        pub site: SiteId,
        /// What people call it.
        pub name: String,
        /// What kind of connector stands there.
        pub connector: ConnectorKind,
        /// What it is for.
        pub environment: Environment,
    }

    /// The document that the site pins from here on: whose approvals it believes, and how many at least.
    DocumentPinned = "document-pinned" v 1 on Tenant about "the site" {
        /// The pinned document.
        pub document: PinnedDocument,
    }

    /// The connector reported the state of the site.
    Observed = "observed" v 1 on Tenant about "the site" {
        /// The connector's message, with the member `observed`.
        pub envelope: Envelope,
    }
}
