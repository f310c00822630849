//! Evidence blobs: present, and of the bytes that their digest says.

use std::collections::BTreeSet;

use countersign_chain::sha256;
use countersign_ids::Digest;

use super::fault::{Checked, Fault, absent, bad};
use crate::source::Source;

/// The blobs of a source, each checked whenever it is read.
pub(crate) struct Blobs<'a> {
    source: &'a dyn Source,
    named: BTreeSet<Digest>,
}

impl<'a> Blobs<'a> {
    /// Blobs from this source.
    pub(crate) fn new(source: &'a dyn Source) -> Self {
        Self {
            source,
            named: BTreeSet::new(),
        }
    }

    /// Reads a blob that an event names.
    pub(crate) fn get(&mut self, digest: &Digest) -> Checked<Vec<u8>> {
        self.named.insert(*digest);
        match self.source.blob(digest)? {
            None => Err(absent("blob", format!("blob `{digest}` is missing"))),
            Some(bytes) if sha256(&bytes) == *digest => Ok(bytes),
            Some(_) => Err(bad("blob", format!("blob `{digest}` has other bytes"))),
        }
    }

    /// Checks a blob that an event names, once.
    pub(crate) fn require(&mut self, digest: &Digest) -> Checked {
        if self.named.contains(digest) {
            Ok(())
        } else {
            self.get(digest).map(drop)
        }
    }

    /// Checks a blob that an event names without needing it: it may be absent, but not have other bytes.
    pub(crate) fn attached(&mut self, digest: &Digest) -> Checked {
        match self.require(digest) {
            Err(Fault::Absent(..)) => Ok(()),
            other => other,
        }
    }

    /// Whether some body named it.
    pub(crate) fn is_named(&self, digest: &Digest) -> bool {
        self.named.contains(digest)
    }

    /// How many different ones were named.
    pub(crate) fn count(&self) -> u64 {
        self.named.len() as u64
    }

    /// The source.
    pub(crate) fn source(&self) -> &'a dyn Source {
        self.source
    }
}
