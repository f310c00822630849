//! Bytes compressed with their digests apart: of every run of 64 lower-case hexadecimal digits the 32 bytes that it spells.
//!
//! Digests are random, so they cost what they are: apart from the text they cost half before compression and not more behind
//! it, and the text between them compresses for itself. Any bytes come back as they were: where digits stood is written down.
//!
//! Length of the text (4), number of digests (4), length of the next frame (4); a zstd frame over the text; one over the digests,
//! if there are any. The text is, per digest, how many bytes stand between it and the one before (in sevens of bits, the lowest
//! first, all but the last with the eighth bit set), then all bytes that stand between. Integers are big-endian.

use std::io;

/// Hexadecimal digits of one digest.
const DIGITS: usize = 64;
const DIGEST_BYTES: usize = 32;
const HEAD_BYTES: usize = 12;
const LEVEL: i32 = 1;

/// Compresses any bytes.
pub(crate) fn pack(raw: &[u8]) -> io::Result<Vec<u8>> {
    let (mut gaps, mut between, mut digests) = (Vec::new(), Vec::new(), Vec::new());
    let mut rest = raw;
    while let Some(at) = find(rest)
        && let Some((before, found)) = rest.split_at_checked(at)
        && let Some((digits, behind)) = found.split_first_chunk::<DIGITS>()
    {
        let mut digest = [0; DIGEST_BYTES];
        hex::decode_to_slice(digits, &mut digest).map_err(io::Error::other)?;
        put_number(&mut gaps, before.len());
        between.extend_from_slice(before);
        digests.extend_from_slice(&digest);
        rest = behind;
    }
    let text = [gaps.as_slice(), &between, rest].concat();
    let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes();
    let packed = zstd::bulk::compress(&text, LEVEL)?;
    let mut value = Vec::with_capacity(HEAD_BYTES + packed.len() + digests.len() + 32);
    value.extend_from_slice(&number(text.len()));
    value.extend_from_slice(&number(digests.len() / DIGEST_BYTES));
    value.extend_from_slice(&number(packed.len()));
    value.extend_from_slice(&packed);
    if !digests.is_empty() {
        value.extend_from_slice(&zstd::bulk::compress(&digests, LEVEL)?);
    }
    Ok(value)
}

/// What was packed, at most `max` bytes; `None` if the bytes are anything else.
pub(crate) fn unpack(value: &[u8], max: usize) -> Option<Vec<u8>> {
    let (text_bytes, value) = take_length(value)?;
    let (count, value) = take_length(value)?;
    let (packed, value) = take_length(value)?;
    let (text, digests) = value.split_at_checked(packed)?;
    // A digest takes more digits than its gap takes bytes, so the text is never longer than what it was.
    let fits = count <= max / DIGITS && text_bytes <= max;
    let text = fits.then(|| decompress(text, text_bytes))??;
    let digests = match count {
        0 => digests.is_empty().then(Vec::new)?,
        _ => decompress(digests, count.saturating_mul(DIGEST_BYTES))?,
    };
    let mut gaps = text.as_slice();
    let mut between = text.as_slice();
    for _ in 0..count {
        take_number(&mut between)?;
    }
    let mut raw = Vec::with_capacity(between.len().saturating_add(count.saturating_mul(DIGITS)));
    for digest in digests.chunks_exact(DIGEST_BYTES) {
        let (before, rest) = between.split_at_checked(take_number(&mut gaps)?)?;
        raw.extend_from_slice(before);
        let mut digits = [0; DIGITS];
        hex::encode_to_slice(digest, &mut digits).ok()?;
        raw.extend_from_slice(&digits);
        between = rest;
    }
    raw.extend_from_slice(between);
    (raw.len() <= max).then_some(raw)
}

fn decompress(frame: &[u8], length: usize) -> Option<Vec<u8>> {
    let bytes = zstd::bulk::decompress(frame, length).ok()?;
    (bytes.len() == length).then_some(bytes)
}

/// Where the first run of so many digits begins. Looked at from its end, so that text without digits is skipped.
fn find(bytes: &[u8]) -> Option<usize> {
    let mut from = 0_usize;
    loop {
        let window = bytes.get(from..from.checked_add(DIGITS)?)?;
        match window.iter().rposition(|byte| !is_digit(*byte)) {
            None => return Some(from),
            Some(other) => from = from.checked_add(other)?.checked_add(1)?,
        }
    }
}

const fn is_digit(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

fn take_length(value: &[u8]) -> Option<(usize, &[u8])> {
    let (length, rest) = value.split_first_chunk::<4>()?;
    Some((usize::try_from(u32::from_be_bytes(*length)).ok()?, rest))
}

fn put_number(out: &mut Vec<u8>, mut number: usize) {
    loop {
        let low = u8::try_from(number & 0x7f).unwrap_or_default();
        number >>= 7;
        if number == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

fn take_number(bytes: &mut &[u8]) -> Option<usize> {
    let mut number = 0_usize;
    for shift in (0..32).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= usize::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAX: usize = 1 << 20;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]
        #[test]
        fn any_bytes_come_back_and_no_more_than_is_allowed(
            parts in prop::collection::vec(
                prop_oneof![
                    prop::collection::vec(any::<u8>(), 0..40),
                    "[0-9a-f]{0,200}".prop_map(String::into_bytes),
                    "[0-9A-F]{64}".prop_map(String::into_bytes),
                    "\"[0-9a-f]{64}\"".prop_map(String::into_bytes),
                    prop::collection::vec(Just(b'x'), 100..300),
                ],
                0..12,
            ),
            cut in any::<prop::sample::Index>(),
        ) {
            let raw = parts.concat();
            let packed = pack(&raw).unwrap();
            prop_assert_eq!(unpack(&packed, raw.len()), Some(raw.clone()));
            prop_assert_eq!(unpack(&packed, MAX), Some(raw.clone()));
            prop_assert!(raw.is_empty() || unpack(&packed, raw.len() - 1).is_none());
            prop_assert_eq!(unpack(&packed[..cut.index(packed.len())], MAX), None);
        }

        #[test]
        fn bytes_that_nobody_packed_are_refused_or_bounded(value in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(unpack(&value, MAX).is_none_or(|raw| raw.len() <= MAX));
        }
    }

    #[test]
    fn random_digests_cost_what_they_are() {
        let digests: String = (0..1000_u32)
            .map(|n| format!("{{\"digest\":\"{}\"}}", blake3::hash(&n.to_be_bytes())))
            .collect();
        let packed = pack(digests.as_bytes()).unwrap().len();
        let together = zstd::bulk::compress(digests.as_bytes(), LEVEL).unwrap();
        assert!(packed < 32_500, "{packed}");
        assert!(packed < together.len(), "{}", together.len());
    }
}
