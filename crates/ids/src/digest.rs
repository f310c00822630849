//! Hashes, digests and other fixed strings of bytes. They are written here and computed in `chain`.

use std::fmt;

use crate::{
    Invalid,
    text::{Plain, textual},
};

/// Decodes lower-case hexadecimal digits of exactly `N` bytes.
fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return None;
    }
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    Some(bytes)
}

macro_rules! bytes {
    ($($(#[$doc:meta])* $type:ident, $length:literal, $prefix:literal, $what:literal, $pattern:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type([u8; $length]);

        impl $type {
            fn parse(text: &str) -> Result<Self, Invalid> {
                text.strip_prefix($prefix)
                    .and_then(decode)
                    .map(Self)
                    .ok_or_else(|| Invalid::new($what, concat!("it follows ", $pattern), text))
            }

            /// Takes the raw bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; $length]) -> Self {
                Self(bytes)
            }

            /// The raw bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $length] {
                &self.0
            }

            /// The bytes in lower-case hexadecimal, without the prefix.
            #[must_use]
            pub fn hex(&self) -> String {
                hex::encode(self.0)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                const LENGTH: usize = $length * 2;
                let mut digits = [0; LENGTH];
                hex::encode_to_slice(self.0, &mut digits).map_err(|_| fmt::Error)?;
                f.write_str($prefix)?;
                f.write_str(std::str::from_utf8(&digits).map_err(|_| fmt::Error)?)
            }
        }

        impl Plain for $type {
            fn put(&self, out: &mut Vec<u8>) {
                const LENGTH: usize = $length * 2;
                let mut digits = [0; LENGTH];
                // A buffer of twice the length always holds the digits.
                hex::encode_to_slice(self.0, &mut digits).ok();
                $prefix.put(out);
                out.extend_from_slice(&digits);
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($type), "({})"), self)
            }
        }

        textual!($type, $what, $pattern);
    )*};
}

bytes! {
    /// The ledger: SHA-256 of the raw genesis key.
    LedgerId, 32, "", "a ledger id", "^[0-9a-f]{64}$";
    /// BLAKE3 of a header, or of a chain's genesis.
    EventHash, 32, "blake3:", "an event hash", "^blake3:[0-9a-f]{64}$";
    /// BLAKE3 of a salt and a body.
    BodyHash, 32, "blake3:", "a body hash", "^blake3:[0-9a-f]{64}$";
    /// BLAKE3 of the key that seals a body: it commits to the key.
    BodyKey, 32, "blake3:", "a body key commitment", "^blake3:[0-9a-f]{64}$";
    /// SHA-256 of a blob or of something signed.
    Digest, 32, "sha256:", "a digest", "^sha256:[0-9a-f]{64}$";
    /// The salt of a body; it lives and dies with the body.
    Salt, 16, "", "a salt", "^[0-9a-f]{32}$";
    /// The id of a command; it never comes twice in a chain.
    CommandId, 16, "", "a command id", "^[0-9a-f]{32}$";
    /// What a request said, so that a repeated command with another request is refused.
    RequestDigest, 16, "", "a request digest", "^[0-9a-f]{32}$";
    /// A number used once, made by a signer.
    Nonce, 16, "", "a nonce", "^[0-9a-f]{32}$";
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: std::str::FromStr + fmt::Display>(text: &str, accepted: bool) {
        match text.parse::<T>() {
            Ok(value) => {
                assert!(accepted, "`{text}` was accepted");
                assert_eq!(value.to_string(), text);
            }
            Err(_) => assert!(!accepted, "`{text}` was refused"),
        }
    }

    #[test]
    fn digests_are_lower_case_hexadecimal_with_their_prefix() {
        let hex = "0123456789abcdef".repeat(4);
        check::<Digest>(&format!("sha256:{hex}"), true);
        check::<EventHash>(&format!("blake3:{hex}"), true);
        check::<LedgerId>(&hex, true);
        for refused in [
            String::new(),
            hex.clone(),
            format!("blake3:{hex}"),
            format!("SHA256:{hex}"),
            format!("sha256:{}", hex.to_uppercase()),
            format!("sha256:{hex}0"),
            format!("sha256:{hex}00"),
            format!("sha256: {hex}"),
            "sha256:".to_owned(),
        ] {
            check::<Digest>(&refused, false);
        }
        check::<Nonce>(&"0f".repeat(16), true);
        check::<Nonce>(&"0F".repeat(16), false);
        check::<Nonce>(&"0f".repeat(15), false);
    }
}
