//! A blob that a plan is computed from, as whoever decides hands it over.
//!
//! What it says is read once, however many proposals are decided on it: a manifest may list thousands of files.

use std::sync::{Arc, OnceLock};

use countersign_ids::Digest;

use crate::manifest::Manifest;

/// The bytes of a blob. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Source(Arc<Held>);

#[derive(Debug)]
struct Held {
    bytes: Vec<u8>,
    /// None within: the bytes are no manifest.
    manifest: OnceLock<Option<(Digest, Manifest)>>,
}

impl Source {
    /// Holds these bytes; nothing is checked yet.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Held {
            bytes,
            manifest: OnceLock::new(),
        }))
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0.bytes
    }

    /// The release that they are, and its manifest; none if they are no manifest.
    pub(crate) fn manifest(&self) -> Option<&(Digest, Manifest)> {
        let read = || Manifest::parse(&self.0.bytes).ok();
        self.0.manifest.get_or_init(read).as_ref()
    }
}

impl PartialEq for Source {
    fn eq(&self, other: &Self) -> bool {
        self.0.bytes == other.0.bytes
    }
}

impl Eq for Source {}

impl From<Vec<u8>> for Source {
    fn from(bytes: Vec<u8>) -> Self {
        Self::new(bytes)
    }
}
