//! Names of things: chains, tenants, sites, actions, people, connectors, tokens and events.

use std::{fmt, sync::Arc};

use uuid::Uuid;

use crate::{
    Invalid, limits,
    text::{Plain, textual},
};

fn is_label(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

/// A label of lower-case letters and digits, then those and the `others`, at most `bytes_max` long.
fn follows(text: &str, others: &[u8], bytes_max: usize) -> bool {
    let bytes = text.as_bytes();
    bytes.len() <= bytes_max
        && bytes.first().is_some_and(|first| is_label(*first))
        && bytes
            .iter()
            .all(|byte| is_label(*byte) || others.contains(byte))
}

macro_rules! names {
    ($($(#[$doc:meta])* $type:ident, $what:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(Arc<str>);

        impl $type {
            fn parse(text: &str) -> Result<Self, Invalid> {
                if follows(text, b"._-", limits::NAME_BYTES_MAX) {
                    Ok(Self(text.into()))
                } else {
                    Err(Invalid::new($what, "it follows [a-z0-9][a-z0-9._-]{0,62}", text))
                }
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Plain for $type {
            fn put(&self, out: &mut Vec<u8>) {
                self.0.put(out);
            }
        }

        impl From<&$type> for SubjectRef {
            fn from(name: &$type) -> Self {
                Self(Arc::clone(&name.0))
            }
        }

        textual!($type, $what, "^[a-z0-9][a-z0-9._-]{0,62}$");
    )*};
}

names! {
    /// What a connector stands beside.
    SiteId, "a site id";
    /// One proposed change to a site.
    ActionId, "an action id";
    /// A person who may approve.
    ApproverId, "an approver id";
    /// One key of an approver.
    CredentialId, "a credential id";
    /// The program beside a site.
    ConnectorId, "a connector id";
    /// A bearer token, never its secret.
    TokenId, "a token id";
    /// Whoever sends a command: a pseudonymous id, never an address.
    ActorId, "an actor id";
    /// Whom a personal body is about; random per tenant, never derived from the person.
    DataSubject, "a data subject";
    /// A declared freeze.
    FreezeId, "a freeze id";
}

/// What an event is about: the value of the header attribute `subject`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubjectRef(Arc<str>);

impl SubjectRef {
    fn parse(text: &str) -> Result<Self, Invalid> {
        if follows(text, b"._-", limits::SUBJECT_BYTES_MAX) {
            Ok(Self(text.into()))
        } else {
            Err(Invalid::new(
                "a subject",
                "it follows [a-z0-9][a-z0-9._-]{0,127}",
                text,
            ))
        }
    }

    /// The subject as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SubjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Plain for SubjectRef {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
    }
}

impl From<&ChainId> for SubjectRef {
    fn from(chain: &ChainId) -> Self {
        Self(chain.to_string().into())
    }
}

impl From<&TenantId> for SubjectRef {
    fn from(tenant: &TenantId) -> Self {
        Self(Arc::clone(&tenant.0))
    }
}

textual!(SubjectRef, "a subject", "^[a-z0-9][a-z0-9._-]{0,127}$");

/// The unit of isolation. Its chain has the same name; `platform` is reserved.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantId(Arc<str>);

const PLATFORM: &str = "platform";
const BEATS: &str = ".beats";

impl TenantId {
    fn parse(text: &str) -> Result<Self, Invalid> {
        if text == PLATFORM {
            return Err(Invalid::new("a tenant id", "`platform` is reserved", text));
        }
        if !follows(text, b"-", limits::NAME_BYTES_MAX) {
            return Err(Invalid::new(
                "a tenant id",
                "it follows [a-z0-9][a-z0-9-]{0,62}",
                text,
            ));
        }
        Ok(Self(text.into()))
    }

    /// The tenant as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The chain of what happened in this tenant.
    #[must_use]
    pub fn chain(&self) -> ChainId {
        ChainId(Kind::Tenant(self.clone()))
    }

    /// The chain of its connectors' heartbeats.
    #[must_use]
    pub fn beats(&self) -> ChainId {
        ChainId(Kind::Beats(self.clone()))
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

textual!(TenantId, "a tenant id", "^[a-z0-9][a-z0-9-]{0,62}$");

/// One chain of the ledger: the platform's, a tenant's, or a tenant's heartbeats.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainId(Kind);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Kind {
    Platform,
    Tenant(TenantId),
    Beats(TenantId),
}

impl ChainId {
    fn parse(text: &str) -> Result<Self, Invalid> {
        if text == PLATFORM {
            return Ok(Self::platform());
        }
        let kind = match text.strip_suffix(BEATS) {
            Some(tenant) => TenantId::parse(tenant).map(Kind::Beats),
            None => TenantId::parse(text).map(Kind::Tenant),
        };
        kind.map(Self).map_err(|_| {
            Invalid::new(
                "a chain id",
                "it is `platform`, a tenant id, or a tenant id and `.beats`",
                text,
            )
        })
    }

    /// The chain of what belongs to no tenant.
    #[must_use]
    pub const fn platform() -> Self {
        Self(Kind::Platform)
    }

    /// Whether it is the platform's chain.
    #[must_use]
    pub const fn is_platform(&self) -> bool {
        matches!(self.0, Kind::Platform)
    }

    /// Whether it holds heartbeats.
    #[must_use]
    pub const fn is_beats(&self) -> bool {
        matches!(self.0, Kind::Beats(_))
    }

    /// The tenant that it belongs to; none for the platform.
    #[must_use]
    pub const fn tenant(&self) -> Option<&TenantId> {
        match &self.0 {
            Kind::Platform => None,
            Kind::Tenant(tenant) | Kind::Beats(tenant) => Some(tenant),
        }
    }
}

impl Plain for ChainId {
    fn put(&self, out: &mut Vec<u8>) {
        match &self.0 {
            Kind::Platform => PLATFORM.put(out),
            Kind::Tenant(tenant) => tenant.0.put(out),
            Kind::Beats(tenant) => {
                tenant.0.put(out);
                BEATS.put(out);
            }
        }
    }
}

impl fmt::Display for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Platform => f.write_str(PLATFORM),
            Kind::Tenant(tenant) => f.write_str(&tenant.0),
            Kind::Beats(tenant) => write!(f, "{}{BEATS}", tenant.0),
        }
    }
}

textual!(
    ChainId,
    "a chain id",
    r"^[a-z0-9][a-z0-9-]{0,62}(\.beats)?$"
);

/// The id of an event: a UUID of version 7 in lower case. It names the event; it does not order it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(Uuid);

impl EventId {
    fn parse(text: &str) -> Result<Self, Invalid> {
        let invalid = || {
            Invalid::new(
                "an event id",
                "it is a hyphenated UUIDv7 in lower case",
                text,
            )
        };
        let uuid = Uuid::try_parse(text).map_err(|_| invalid())?;
        let mut printed = Uuid::encode_buffer();
        if *uuid.as_hyphenated().encode_lower(&mut printed) != *text {
            return Err(invalid());
        }
        Self::from_uuid(uuid).ok_or_else(invalid)
    }

    /// Takes a UUID if it is of version 7 and of the RFC's variant.
    #[must_use]
    pub fn from_uuid(uuid: Uuid) -> Option<Self> {
        let ours = uuid.get_version_num() == 7 && uuid.get_variant() == uuid::Variant::RFC4122;
        ours.then_some(Self(uuid))
    }

    /// The UUID.
    #[must_use]
    pub const fn uuid(&self) -> Uuid {
        self.0
    }
}

impl Plain for EventId {
    fn put(&self, out: &mut Vec<u8>) {
        let mut text = Uuid::encode_buffer();
        self.0.as_hyphenated().encode_lower(&mut text).put(out);
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

textual!(
    EventId,
    "an event id",
    "^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"
);

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: std::str::FromStr + fmt::Display>(cases: &[(&str, bool)]) {
        for (text, accepted) in cases {
            match text.parse::<T>() {
                Ok(value) => {
                    assert!(accepted, "`{text}` was accepted");
                    assert_eq!(value.to_string(), *text, "parse and print are inverse");
                }
                Err(_) => assert!(!accepted, "`{text}` was refused"),
            }
        }
    }

    #[test]
    fn names_follow_their_grammar() {
        let longest = "a".repeat(63);
        let too_long = "a".repeat(64);
        check::<SiteId>(&[
            ("s", true),
            ("shop-1.example_x", true),
            ("0", true),
            (&longest, true),
            (&too_long, false),
            ("", false),
            ("-a", false),
            (".a", false),
            ("A", false),
            ("a b", false),
            ("a/b", false),
            ("ä", false),
            ("a\n", false),
        ]);
    }

    #[test]
    fn subjects_may_be_longer_and_name_a_chain_of_heartbeats() {
        check::<SubjectRef>(&[
            (&"a".repeat(128), true),
            (&"a".repeat(129), false),
            ("t.beats", true),
        ]);
        let longest: TenantId = "t".repeat(63).parse().unwrap();
        let subject = SubjectRef::from(&longest.beats());
        assert_eq!(subject.as_str().parse::<SubjectRef>().unwrap(), subject);
    }

    #[test]
    fn tenants_and_chains_keep_platform_apart() {
        check::<TenantId>(&[
            ("acme", true),
            ("acme-2", true),
            ("platform", false),
            ("-", false),
            ("acme.beats", false),
            ("a_b", false),
            ("", false),
        ]);
        check::<ChainId>(&[
            ("platform", true),
            ("acme", true),
            ("acme.beats", true),
            ("platform.beats", false),
            (".beats", false),
            ("acme.beats.beats", false),
            ("acme.", false),
            ("Acme", false),
        ]);
    }

    #[test]
    fn chains_know_their_tenant() {
        let tenant: TenantId = "acme".parse().unwrap();
        for (chain, platform, beats, owner) in [
            (ChainId::platform(), true, false, None),
            (tenant.chain(), false, false, Some(&tenant)),
            (tenant.beats(), false, true, Some(&tenant)),
        ] {
            assert_eq!(
                (chain.is_platform(), chain.is_beats(), chain.tenant()),
                (platform, beats, owner)
            );
        }
    }

    #[test]
    fn event_ids_are_lower_case_uuids_of_version_7() {
        check::<EventId>(&[
            ("019aa5c0-1b2c-7def-8abc-0123456789ab", true),
            ("019AA5C0-1B2C-7DEF-8ABC-0123456789AB", false),
            ("019aa5c01b2c7def8abc0123456789ab", false),
            ("{019aa5c0-1b2c-7def-8abc-0123456789ab}", false),
            ("019aa5c0-1b2c-4def-8abc-0123456789ab", false),
            ("019aa5c0-1b2c-7def-0abc-0123456789ab", false),
            ("", false),
        ]);
    }

    #[test]
    fn a_refusal_never_repeats_a_flood() {
        let flood = "\u{7}".repeat(10_000);
        let message = flood.parse::<SiteId>().unwrap_err().to_string();
        assert!(message.len() < 1_000, "{message}");
        assert!(!message.contains('\u{7}'), "control characters are escaped");
    }
}
