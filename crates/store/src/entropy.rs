//! Random bytes for ids, salts, keys and nonces, drawn from the system in pages.

use std::sync::{Mutex, PoisonError};

use zeroize::Zeroize;

const PAGE_BYTES: usize = 4096;

/// A page of random bytes, refilled when it is used up; no byte is handed out twice.
#[derive(Debug)]
pub(crate) struct Entropy(Mutex<Page>);

#[derive(Debug)]
struct Page {
    bytes: Box<[u8; PAGE_BYTES]>,
    used: usize,
}

impl Entropy {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Page {
            bytes: Box::new([0; PAGE_BYTES]),
            used: PAGE_BYTES,
        }))
    }

    /// So many random bytes; without a source of randomness there is no way to go on.
    pub(crate) fn draw<const N: usize>(&self) -> std::io::Result<[u8; N]> {
        let mut page = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if page.used.saturating_add(N) > PAGE_BYTES {
            getrandom::fill(page.bytes.as_mut_slice())
                .map_err(|error| std::io::Error::other(error.to_string()))?;
            page.used = 0;
        }
        let start = page.used;
        page.used = start.saturating_add(N);
        let mut drawn = [0; N];
        if let Some(part) = page
            .bytes
            .get_mut(start..)
            .and_then(|rest| rest.get_mut(..N))
        {
            drawn.copy_from_slice(part);
            part.zeroize();
        }
        Ok(drawn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_comes_twice_and_nothing_is_blank() {
        let entropy = Entropy::new();
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..1000 {
            assert!(seen.insert(entropy.draw::<26>().unwrap()));
        }
        assert!(!seen.contains(&[0; 26]));
    }
}
