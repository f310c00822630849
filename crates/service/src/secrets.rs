//! Randomness and the secrets made of it: bearer tokens, nonces, names of new things.

use countersign_chain::sha256;
use countersign_ids::{Digest, Nonce, TokenId};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::Error;

const PREFIX: &str = "csk";
const SECRET_BYTES: usize = 32;
const NAME_BYTES: usize = 10;

/// Random bytes from the system.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| Error::Randomness {
        detail: error.to_string(),
    })?;
    Ok(bytes)
}

/// A number used once.
pub(crate) fn nonce() -> Result<Nonce, Error> {
    random().map(Nonce::from_bytes)
}

/// A name nobody chose: 80 random bits behind a letter that says what it names.
pub(crate) fn name(letter: char) -> Result<String, Error> {
    Ok(format!("{letter}{}", hex::encode(random::<NAME_BYTES>()?)))
}

/// A bearer token: `csk_<id>_<64 hex digits>`. Whoever has the text has its rights; only its digest is stored.
pub struct BearerToken {
    id: TokenId,
    secret: Zeroizing<[u8; SECRET_BYTES]>,
}

impl BearerToken {
    /// Makes a new one.
    pub(crate) fn generate(id: TokenId) -> Result<Self, Error> {
        Ok(Self {
            id,
            secret: Zeroizing::new(random()?),
        })
    }

    /// Reads the text that a caller presents.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (prefix, rest) = text.split_once('_')?;
        let (id, secret) = rest.rsplit_once('_')?;
        let mut bytes = Zeroizing::new([0; SECRET_BYTES]);
        let lower = secret
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase());
        hex::decode_to_slice(secret, bytes.as_mut_slice()).ok()?;
        (prefix == PREFIX && lower).then_some(())?;
        Some(Self {
            id: id.parse().ok()?,
            secret: bytes,
        })
    }

    /// Its name.
    #[must_use]
    pub const fn id(&self) -> &TokenId {
        &self.id
    }

    /// SHA-256 of the secret bytes: what the ledger holds.
    #[must_use]
    pub fn digest(&self) -> Digest {
        sha256(self.secret.as_slice())
    }

    /// Whether this is the secret of the stored digest, in a time that does not depend on where they differ.
    #[must_use]
    pub fn matches(&self, stored: &Digest) -> bool {
        self.digest().as_bytes().ct_eq(stored.as_bytes()).into()
    }

    /// The text, shown to whoever asked for the token, once.
    #[must_use]
    pub fn reveal(&self) -> Zeroizing<String> {
        Zeroizing::new(format!(
            "{PREFIX}_{}_{}",
            self.id,
            hex::encode(self.secret.as_slice())
        ))
    }
}

impl std::fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BearerToken({}, …)", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_read_as_they_were_shown() {
        let token = BearerToken::generate("t_1".parse().unwrap()).unwrap();
        let text = token.reveal();
        let read = BearerToken::parse(&text).unwrap();
        assert_eq!(read.id(), token.id());
        assert!(read.matches(&token.digest()));
        assert!(
            !BearerToken::generate("t_1".parse().unwrap())
                .unwrap()
                .matches(&token.digest())
        );
        assert!(!format!("{token:?}").contains(&hex::encode(token.secret.as_slice())));
        for wrong in [
            "",
            "csk",
            "csk_a",
            "csk_a_00",
            &text.replace("csk", "csx"),
            &text.to_uppercase(),
            &format!("{}0", *text),
        ] {
            assert!(BearerToken::parse(wrong).is_none(), "`{wrong}`");
        }
    }
}
