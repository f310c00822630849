//! Family `deploy`: what can be deployed.

use countersign_ids::{Digest, SiteId};

use crate::declare::events;

events! {
    /// What can be deployed.
    Deploy = "deploy" Evidence;

    /// A release of a static site was added. It can be proposed.
    ReleaseAdded = "release-added" v 1 on Tenant about "the site" {
        /// The site.
        pub site: SiteId,
        /// SHA-256 of the release's manifest.
        pub release: Digest,
        /// What people call it.
        pub label: String,
        /// The manifest and every file that it names, sorted.
        pub attachments: Vec<Digest>,
    }
}
