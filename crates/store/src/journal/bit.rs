//! The one bit that is wrong, by a checksum that is right about all others.
//!
//! CRC32C tells any two bits of less than 2^31 apart, so a single one that was flipped has a place of its own. Bytes that are
//! wrong in another way may seem to be: whoever mends one looks at what it was mended to.

/// The polynomial, its bits as the checksum takes them: the lowest of a byte first.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// One bit of some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bit {
    pub(crate) byte: usize,
    pub(crate) mask: u8,
}

impl Bit {
    pub(crate) fn flip(self, bytes: &mut [u8]) {
        if let Some(byte) = bytes.get_mut(self.byte) {
            *byte ^= self.mask;
        }
    }
}

/// Which bit of so many bytes is flipped, if one is: they add up to `found`, and should to `expected`. A bit of the checksum
/// itself is none of theirs.
pub(crate) fn flipped(bytes: usize, found: u32, expected: u32) -> Option<Bit> {
    let wanted = found ^ expected;
    let mut differs = POLYNOMIAL;
    for byte in (0..bytes).rev() {
        for bit in (0..8).rev() {
            if differs == wanted {
                let mask = 1 << bit;
                return Some(Bit { byte, mask });
            }
            let carried = differs & 1 == 1;
            differs = (differs >> 1) ^ if carried { POLYNOMIAL } else { 0 };
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_is_found_and_two_are_not_taken_for_one() {
        let sound: Vec<u8> = (0..=u8::MAX).cycle().take(777).collect();
        let expected = crc32c::crc32c(&sound);
        for at in 0..sound.len() * 8 {
            let bit = Bit {
                byte: at / 8,
                mask: 1 << (at % 8),
            };
            let mut bytes = sound.clone();
            bit.flip(&mut bytes);
            let found = crc32c::crc32c(&bytes);
            assert_eq!(flipped(bytes.len(), found, expected), Some(bit));
            bytes[(at / 8 + 1) % 777] ^= 0x10;
            let found = crc32c::crc32c(&bytes);
            assert_eq!(flipped(bytes.len(), found, expected), None, "{at}");
        }
        // A bit of the checksum.
        assert_eq!(flipped(777, expected ^ 0x400, expected), None);
    }
}
