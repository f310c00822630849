//! The blobs that plans are computed from, read once: a manifest is asked for by every proposal of its release.
//!
//! A blob never changes, and its digest and its reader were checked when it was read.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use countersign_domain::Source;
use countersign_ids::{ChainId, Digest};

/// Bytes of blobs that are held; past it all are forgotten, which costs a read each.
const BYTES_MAX: usize = 8 * 1024 * 1024;

/// Blobs in memory, by the chain that may read them.
#[derive(Debug, Default)]
pub(crate) struct Sources(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    blobs: BTreeMap<(ChainId, Digest), Source>,
    bytes: usize,
}

impl Sources {
    pub(crate) fn get(&self, chain: &ChainId, digest: &Digest) -> Option<Source> {
        self.held().blobs.get(&(chain.clone(), *digest)).cloned()
    }

    pub(crate) fn add(&self, chain: &ChainId, digest: Digest, source: &Source) {
        let bytes = source.bytes().len();
        let mut held = self.held();
        if held.bytes.saturating_add(bytes) > BYTES_MAX {
            *held = Held::default();
        }
        if bytes <= BYTES_MAX {
            held.bytes = held.bytes.saturating_add(bytes);
            held.blobs.insert((chain.clone(), digest), source.clone());
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // Only ever added to or replaced, so a panic elsewhere leaves it usable.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_bounded_and_each_chain_has_its_own() {
        let sources = Sources::default();
        let (acme, other) = ("acme".parse().unwrap(), "other".parse().unwrap());
        let digest = |number| Digest::from_bytes([number; 32]);
        let source = Source::new(vec![7; BYTES_MAX / 2]);
        sources.add(&acme, digest(1), &source);
        sources.add(&acme, digest(2), &source);
        assert_eq!(sources.get(&acme, &digest(1)), Some(source.clone()));
        assert_eq!(sources.get(&other, &digest(1)), None);
        sources.add(&acme, digest(3), &source);
        assert_eq!(sources.get(&acme, &digest(1)), None);
        assert_eq!(sources.get(&acme, &digest(3)), Some(source));
        sources.add(&acme, digest(4), &Source::new(vec![7; BYTES_MAX + 1]));
        assert_eq!(sources.get(&acme, &digest(4)), None);
    }
}
