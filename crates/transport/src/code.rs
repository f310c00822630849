//! The pairing code: what a person carries from the control plane to the site.
//!
//! `cs1.<base64url of 16 secret bytes>.<tenant>.<site>.<first 16 hex digits of the ledger id>`. The server stores only
//! the digest of the secret; the last part pins the genesis key before the first byte of it has come over the network.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use countersign_chain::sha256;
use countersign_ids::{Code, Digest, LedgerId, SiteId, TenantId};

use crate::codes;

const VERSION: &str = "cs1";
const LEDGER_DIGITS: usize = 16;

/// The text is no pairing code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the text is no pairing code: it reads cs1.<secret>.<tenant>.<site>.<ledger>")]
pub struct CodeError;

impl CodeError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> Code {
        codes::PAIRING_CODE_MALFORMED
    }
}

/// A pairing code. Its secret is shown by `Display` only, never by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct PairingCode {
    secret: [u8; 16],
    tenant: TenantId,
    site: SiteId,
    ledger: String,
}

impl PairingCode {
    /// Binds a fresh secret to one site of one ledger.
    #[must_use]
    pub fn new(secret: [u8; 16], tenant: TenantId, site: SiteId, ledger: &LedgerId) -> Self {
        Self {
            secret,
            tenant,
            site,
            ledger: ledger.hex().chars().take(LEDGER_DIGITS).collect(),
        }
    }

    /// SHA-256 of the secret: what the ledger holds.
    #[must_use]
    pub fn digest(&self) -> Digest {
        sha256(&self.secret)
    }

    /// The tenant.
    #[must_use]
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// The site.
    #[must_use]
    pub fn site(&self) -> &SiteId {
        &self.site
    }

    /// Whether the code was made for this ledger.
    #[must_use]
    pub fn is_of(&self, ledger: &LedgerId) -> bool {
        ledger.hex().starts_with(&self.ledger)
    }
}

impl fmt::Display for PairingCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{VERSION}.{}.{}.{}.{}",
            URL_SAFE_NO_PAD.encode(self.secret),
            self.tenant,
            self.site,
            self.ledger
        )
    }
}

impl fmt::Debug for PairingCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "PairingCode({VERSION}.….{}.{}.{})",
            self.tenant, self.site, self.ledger
        )
    }
}

impl FromStr for PairingCode {
    type Err = CodeError;

    fn from_str(text: &str) -> Result<Self, CodeError> {
        let parsed = || {
            let (version, rest) = text.trim().split_once('.')?;
            let (secret, rest) = rest.split_once('.')?;
            let (tenant, rest) = rest.split_once('.')?;
            // A site's name may hold dots, the others not.
            let (site, ledger) = rest.rsplit_once('.')?;
            let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            let whole =
                version == VERSION && ledger.len() == LEDGER_DIGITS && ledger.bytes().all(hex);
            whole.then_some(())?;
            Some(Self {
                secret: URL_SAFE_NO_PAD.decode(secret).ok()?.try_into().ok()?,
                tenant: tenant.parse().ok()?,
                site: site.parse().ok()?,
                ledger: ledger.to_owned(),
            })
        };
        parsed().ok_or(CodeError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_as_it_was_written() {
        let ledger = countersign_chain::ledger_id(&[7; 32]);
        let code = PairingCode::new(
            [9; 16],
            "acme".parse().unwrap(),
            "www.acme.example".parse().unwrap(),
            &ledger,
        );
        let text = code.to_string();
        assert_eq!(text.parse::<PairingCode>().unwrap(), code);
        assert!(code.is_of(&ledger));
        assert!(!code.is_of(&countersign_chain::ledger_id(&[8; 32])));
        assert_eq!(code.digest(), sha256(&[9; 16]));
        assert!(!format!("{code:?}").contains(&URL_SAFE_NO_PAD.encode([9; 16])));
        for wrong in [
            "",
            "cs1",
            &text.replace("cs1", "cs2"),
            &text.replace(".acme.", ".ACME."),
            text.strip_suffix(|_: char| true).unwrap(),
            &format!("{text}0"),
        ] {
            assert_eq!(wrong.parse::<PairingCode>(), Err(CodeError), "`{wrong}`");
        }
    }
}
