//! Positions in chains and families.

use std::fmt;

use crate::{
    EventHash, Invalid,
    text::{Plain, put_digits, textual},
};

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

impl Plain for Sequence {
    fn put(&self, out: &mut Vec<u8>) {
        put_digits::<20>(out, self.0);
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

impl Plain for PlatformHead {
    fn put(&self, out: &mut Vec<u8>) {
        self.sequence.put(out);
        out.push(b' ');
        self.hash.put(out);
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
    fn plain_text_is_the_text() {
        fn check(value: &(impl Plain + fmt::Display)) {
            let mut out = Vec::new();
            value.put(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), value.to_string());
        }
        for number in [0, 1, 9, 10, 1_234_567_890, u64::MAX] {
            let sequence = Sequence::new(number);
            let hash = EventHash::from_bytes([0xa7; 32]);
            check(&sequence);
            check(&PlatformHead { sequence, hash });
            check(&crate::Time::from_unix_millis(number));
            check(&crate::Time::from_unix_millis(
                951_827_696_789 + number % 86_400_000,
            ));
        }
        check(&crate::Salt::from_bytes([0x0f; 16]));
        check(
            &"019aa5c0-1b2c-7def-8abc-0123456789ab"
                .parse::<crate::EventId>()
                .unwrap(),
        );
        for chain in ["platform", "acme", "acme.beats"] {
            check(&chain.parse::<crate::ChainId>().unwrap());
            check(&chain.parse::<crate::SubjectRef>().unwrap());
        }
        check(&"a-b_c.d".parse::<crate::SiteId>().unwrap());
        for version in [1, 12, u32::MAX] {
            check(&crate::EventType::new("site", "document-pinned", version).unwrap());
        }
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
