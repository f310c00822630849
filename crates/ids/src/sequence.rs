//! Positions in chains and families.

use std::fmt;

use crate::{EventHash, Invalid, text::textual};

/// A position, dense from 0. Written with 20 digits, so that text sorts like numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Sequence(u64);

impl Sequence {
    /// The first position.
    pub const ZERO: Self = Self(0);

    /// Takes a number as a position.
    #[must_use]
    pub const fn new(value: u64) -> Self {
        Self(value)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The position after this one. The last one has none, and stays: a dense chain never gets there.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The 20 digits.
    #[must_use]
    pub fn padded(self) -> String {
        self.to_string()
    }

    fn parse(text: &str) -> Result<Self, Invalid> {
        let digits = text.len() == 20 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse()
            .ok()
            .filter(|_| digits)
            .map(Self)
            .ok_or_else(|| Invalid::new("a sequence", "it has 20 digits and fits 64 bits", text))
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:020}", self.0)
    }
}

textual!(Sequence, "a sequence", "^[0-9]{20}$");

/// An event of the platform chain that came before: `<sequence> <hash>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlatformHead {
    /// Its position in the platform chain.
    pub sequence: Sequence,
    /// Its hash.
    pub hash: EventHash,
}

impl PlatformHead {
    fn parse(text: &str) -> Result<Self, Invalid> {
        text.split_once(' ')
            .and_then(|(sequence, hash)| {
                Some(Self {
                    sequence: sequence.parse().ok()?,
                    hash: hash.parse().ok()?,
                })
            })
            .ok_or_else(|| {
                Invalid::new(
                    "a platform head",
                    "it is a sequence of 20 digits, a space and an event hash",
                    text,
                )
            })
    }
}

impl fmt::Display for PlatformHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.sequence, self.hash)
    }
}

textual!(
    PlatformHead,
    "a platform head",
    "^[0-9]{20} blake3:[0-9a-f]{64}$"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_have_twenty_digits() {
        for (text, value) in [
            ("00000000000000000000", Some(0)),
            ("00000000000000000042", Some(42)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("0000000000000000042", None),
            ("000000000000000000042", None),
            ("+0000000000000000042", None),
            ("0000000000000000004a", None),
            ("", None),
        ] {
            let parsed = text.parse::<Sequence>().ok();
            assert_eq!(parsed.map(Sequence::get), value, "`{text}`");
            assert!(parsed.is_none_or(|parsed| parsed.padded() == text));
        }
        assert_eq!(Sequence::ZERO.next().get(), 1);
    }

    #[test]
    fn platform_heads_are_a_sequence_and_a_hash() {
        let head = PlatformHead {
            sequence: Sequence::new(7),
            hash: EventHash::from_bytes([3; 32]),
        };
        assert_eq!(head.to_string().parse::<PlatformHead>().unwrap(), head);
        let hash = EventHash::from_bytes([3; 32]);
        for refused in [
            format!("7 {hash}"),
            format!("{}  {hash}", head.sequence),
            format!("{}", head.sequence),
        ] {
            assert!(refused.parse::<PlatformHead>().is_err(), "`{refused}`");
        }
    }
}
