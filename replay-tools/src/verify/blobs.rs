//! Evidence blobs: present, and of the bytes that their digest says.

use std::collections::BTreeSet;

use countersign_chain::sha256;
use countersign_ids::Digest;

use super::fault::{Checked, Fault, absent, bad};
use crate::source::Source;

/// The blobs of a source, each checked whenever it is read.
pub(crate) struct Blobs<'a> {
    source: &'a dyn Source,
    /// Those that the source lists and no body named yet.
    unnamed: BTreeSet<Digest>,
    matched: BTreeSet<Digest>,
    /// Those that an earlier run matched, in events that are not read again.
    before: BTreeSet<Digest>,
}

impl<'a> Blobs<'a> {
    /// Blobs from this source.
    pub(crate) fn new(source: &'a dyn Source) -> Self {
        Self {
            source,
            unnamed: source.blob_names().into_iter().collect(),
            matched: BTreeSet::new(),
            before: BTreeSet::new(),
        }
    }

    /// Reads a blob that an event names.
    pub(crate) fn get(&mut self, digest: &Digest) -> Checked<Vec<u8>> {
        self.unnamed.remove(digest);
        match self.source.blob(digest)? {
            None => Err(absent("blob", format!("blob `{digest}` is missing"))),
            Some(bytes) if sha256(&bytes) == *digest => {
                self.matched.insert(*digest);
                Ok(bytes)
            }
            Some(_) => Err(bad("blob", format!("blob `{digest}` has other bytes"))),
        }
    }

    /// Checks a blob that an event names, until it was read and matched once.
    pub(crate) fn require(&mut self, digest: &Digest) -> Checked {
        if self.matched.contains(digest) {
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

    /// Blobs of the source that no body named.
    pub(crate) fn unnamed(&self) -> impl Iterator<Item = &Digest> {
        self.unnamed.iter()
    }

    /// How many different ones were named and matched.
    pub(crate) fn count(&self) -> u64 {
        self.matched.union(&self.before).count() as u64
    }

    /// These were named and matched by an earlier run.
    pub(crate) fn named_before(&mut self, named: BTreeSet<Digest>) {
        self.unnamed.retain(|digest| !named.contains(digest));
        self.before = named;
    }

    /// All that were named and matched.
    pub(crate) fn into_named(self) -> BTreeSet<Digest> {
        let mut named = self.matched;
        named.extend(self.before);
        named
    }

    /// The source.
    pub(crate) fn source(&self) -> &'a dyn Source {
        self.source
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use countersign_ids::LedgerId;

    use super::*;
    use crate::source::{Form, Kind, SourceError, Stream, VisitNote, Wanted};
    use crate::verdict::Findings;

    /// A source without any blob.
    struct Empty;

    impl Source for Empty {
        fn path(&self) -> &str {
            ""
        }
        fn kind(&self) -> Kind {
            Kind::Bundle
        }
        fn ledger(&self) -> LedgerId {
            "00".repeat(32).parse().unwrap()
        }
        fn chains(&self) -> BTreeMap<String, (Form, Option<u64>)> {
            BTreeMap::new()
        }
        fn check_framing(&mut self, _: usize, _: &mut Findings) -> Result<(), SourceError> {
            Ok(())
        }
        fn stream<'s>(&'s self, _: &'s Wanted<'s>) -> Result<Stream<'s>, SourceError> {
            Ok(Box::new(std::iter::empty()))
        }
        fn checkpoints(&self, _: &mut VisitNote<'_>) -> Result<(), SourceError> {
            Ok(())
        }
        fn blob(&self, _: &Digest) -> Result<Option<Vec<u8>>, SourceError> {
            Ok(None)
        }
    }

    #[test]
    fn evidence_that_an_attachment_named_first_is_still_missing() {
        let mut blobs = Blobs::new(&Empty);
        let digest = sha256(b"evidence");
        assert!(blobs.attached(&digest).is_ok());
        assert!(matches!(blobs.require(&digest), Err(Fault::Absent(..))));
    }
}
