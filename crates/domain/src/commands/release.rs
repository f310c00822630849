//! Adds a release of a static site: its manifest was read, and its files are blobs of the tenant.

use std::collections::BTreeSet;

use countersign_events::deploy::ReleaseAdded;
use countersign_ids::{Digest, SiteId};

use super::Facts;
use crate::decision::{Decision, Draft, Guard};
use crate::manifest::Manifest;
use crate::rejection::Rejection;
use crate::tenant::Tenant;
use crate::text;

/// Adds a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddRelease {
    /// The site.
    pub site: SiteId,
    /// SHA-256 of the manifest.
    pub release: Digest,
    /// What people call it; the manifest's own label.
    pub label: String,
    /// The manifest, as it stands in the tenant's blobs.
    pub manifest: Vec<u8>,
}

impl AddRelease {
    pub(super) fn decide(&self, tenant: &Tenant, _: &Facts) -> Result<Decision, Rejection> {
        let site = tenant.site(&self.site)?;
        text::line("label", &self.label, crate::manifest::LABEL_BYTES_MAX)?;
        let (digest, manifest) =
            Manifest::parse(&self.manifest).map_err(|_| Rejection::ManifestMalformed)?;
        if digest != self.release || manifest.label != self.label {
            return Err(Rejection::ReleaseMismatch {
                release: self.release,
            });
        }
        if site.releases.contains_key(&self.release) {
            return Err(Rejection::ReleaseExists {
                release: self.release,
            });
        }
        let attachments: BTreeSet<Digest> = manifest.blobs().into_iter().chain([digest]).collect();
        let added = ReleaseAdded {
            site: self.site.clone(),
            release: self.release,
            label: self.label.clone(),
            attachments: attachments.into_iter().collect(),
        };
        Ok(Decision::of([Draft::new(added, &self.site).at(&self.site)])
            .unless([Guard::site(&self.site)]))
    }
}
