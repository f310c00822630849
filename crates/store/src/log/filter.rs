//! A filter of ten bits a key: says "certainly new" from memory, so that the common command reads nothing.

/// Bits for every key.
const BITS_PER_KEY: usize = 10;
/// Bits that are set for a key; 7 of 10 is close to the best, one false alarm in a hundred.
const PROBES: u64 = 7;

/// Which keys may be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Filter {
    bits: Vec<u8>,
}

impl Filter {
    pub(crate) fn for_keys(keys: usize) -> Self {
        Self {
            bits: vec![0; keys.saturating_mul(BITS_PER_KEY).div_ceil(8).max(8)],
        }
    }

    pub(crate) const fn from_bytes(bits: Vec<u8>) -> Self {
        Self { bits }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bits
    }

    pub(crate) fn insert(&mut self, key: &[u8; 16]) {
        for bit in probes(key, self.bits.len()) {
            if let Some(byte) = self.bits.get_mut(bit / 8) {
                *byte |= 1 << (bit % 8);
            }
        }
    }

    pub(crate) fn may_contain(&self, key: &[u8; 16]) -> bool {
        probes(key, self.bits.len()).all(|bit| {
            self.bits
                .get(bit / 8)
                .is_some_and(|byte| byte & (1 << (bit % 8)) != 0)
        })
    }
}

/// Keys are hashes or carry 74 random bits, so their halves serve as the two hash functions.
fn probes(key: &[u8; 16], bytes: usize) -> impl Iterator<Item = usize> {
    let key = u128::from_be_bytes(*key);
    let low = u64::try_from(key & u128::from(u64::MAX)).unwrap_or_default();
    let high = u64::try_from(key >> 64)
        .unwrap_or_default()
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
        | 1;
    let bits = u64::try_from(bytes.saturating_mul(8))
        .unwrap_or(u64::MAX)
        .max(1);
    (0..PROBES).map(move |probe| {
        usize::try_from(low.wrapping_add(high.wrapping_mul(probe)) % bits).unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u64) -> [u8; 16] {
        *blake3::hash(&number.to_be_bytes())
            .as_bytes()
            .first_chunk()
            .unwrap()
    }

    #[test]
    fn every_key_is_found_and_few_others_are() {
        let mut filter = Filter::for_keys(4000);
        (0..4000).for_each(|number| filter.insert(&key(number)));
        assert!((0..4000).all(|number| filter.may_contain(&key(number))));
        let false_alarms = (4000..14_000)
            .filter(|number| filter.may_contain(&key(*number)))
            .count();
        assert!(false_alarms < 300, "{false_alarms} of 10000");
    }
}
