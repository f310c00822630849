//! Names of events: `dev.countersign.<family>.<fact>.v<n>`.

use std::{borrow::Cow, fmt};

use crate::{
    Invalid, limits,
    text::{Plain, textual},
};

const PREFIX: &str = "dev.countersign.";

/// Whether the bytes are one label: `[a-z][a-z0-9-]*`, at most 63 long.
const fn is_label(bytes: &[u8]) -> bool {
    let Some((first, mut rest)) = bytes.split_first() else {
        return false;
    };
    if !first.is_ascii_lowercase() || bytes.len() > limits::NAME_BYTES_MAX {
        return false;
    }
    while let Some((byte, others)) = rest.split_first() {
        if !(byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-') {
            return false;
        }
        rest = others;
    }
    true
}

/// A family of events; it has exactly one retention class and its own dense sequence.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Family(Cow<'static, str>);

impl Family {
    /// Names a family in code. A name that is no label does not compile when this is used in a constant.
    #[must_use]
    pub const fn declared(family: &'static str) -> Self {
        assert!(is_label(family.as_bytes()), "a family is one label");
        Self(Cow::Borrowed(family))
    }

    fn parse(text: &str) -> Result<Self, Invalid> {
        if is_label(text.as_bytes()) {
            Ok(Self(Cow::Owned(text.to_owned())))
        } else {
            Err(Invalid::new(
                "a family",
                "it follows [a-z][a-z0-9-]{0,62}",
                text,
            ))
        }
    }

    /// The family as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

textual!(Family, "a family", "^[a-z][a-z0-9-]{0,62}$");

/// The type of an event: its family, the fact that it states, and the version of its body.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventType {
    family: Family,
    fact: Cow<'static, str>,
    version: u32,
}

impl EventType {
    /// Names a type in code. A malformed one does not compile when this is used in a constant.
    #[must_use]
    pub const fn declared(family: &'static str, fact: &'static str, version: u32) -> Self {
        assert!(is_label(fact.as_bytes()), "a fact is one label");
        assert!(version > 0, "versions count from 1");
        Self {
            family: Family::declared(family),
            fact: Cow::Borrowed(fact),
            version,
        }
    }

    /// Puts a type together from its parts.
    ///
    /// # Errors
    /// When a part is not one label, or the version is 0.
    pub fn new(family: &str, fact: &str, version: u32) -> Result<Self, Invalid> {
        let family = Family::parse(family)?;
        if !is_label(fact.as_bytes()) {
            return Err(Invalid::new(
                "a fact",
                "it follows [a-z][a-z0-9-]{0,62}",
                fact,
            ));
        }
        if version == 0 {
            return Err(Invalid::new("a version", "versions count from 1", "0"));
        }
        Ok(Self {
            family,
            fact: Cow::Owned(fact.to_owned()),
            version,
        })
    }

    fn parse(text: &str) -> Result<Self, Invalid> {
        Self::split(text)
            .and_then(|(family, fact, version)| Self::new(family, fact, version).ok())
            .ok_or_else(|| {
                Invalid::new(
                    "an event type",
                    "it follows dev.countersign.<family>.<fact>.v<n>",
                    text,
                )
            })
    }

    fn split(text: &str) -> Option<(&str, &str, u32)> {
        let mut labels = text.strip_prefix(PREFIX)?.split('.');
        let (family, fact, version) = (labels.next()?, labels.next()?, labels.next()?);
        let digits = version.strip_prefix('v')?;
        let canonical =
            digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
        (canonical && labels.next().is_none()).then_some((family, fact, digits.parse().ok()?))
    }

    /// The family.
    #[must_use]
    pub const fn family(&self) -> &Family {
        &self.family
    }

    /// The fact, in the past tense.
    #[must_use]
    pub fn fact(&self) -> &str {
        &self.fact
    }

    /// The version of the body, from 1.
    #[must_use]
    pub const fn version(&self) -> u32 {
        self.version
    }
}

impl Plain for EventType {
    fn put(&self, out: &mut Vec<u8>) {
        PREFIX.put(out);
        self.family.as_str().put(out);
        out.push(b'.');
        self.fact.put(out);
        out.extend_from_slice(b".v");
        match self.version {
            1 => out.push(b'1'),
            version => version.to_string().put(out),
        }
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}.{}.v{}", self.family, self.fact, self.version)
    }
}

textual!(
    EventType,
    "an event type",
    r"^dev\.countersign\.[a-z][a-z0-9-]{0,62}\.[a-z][a-z0-9-]{0,62}\.v[1-9][0-9]*$"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_five_labels() {
        const PINNED: EventType = EventType::declared("site", "document-pinned", 1);
        assert_eq!(
            PINNED.to_string(),
            "dev.countersign.site.document-pinned.v1"
        );
        assert_eq!(
            "dev.countersign.site.document-pinned.v1"
                .parse::<EventType>()
                .unwrap(),
            PINNED
        );
        for (text, accepted) in [
            ("dev.countersign.action.proposed.v1", true),
            ("dev.countersign.action.proposed.v12", true),
            ("dev.countersign.action.proposed.v0", false),
            ("dev.countersign.action.proposed.v01", false),
            ("dev.countersign.action.proposed.v+1", false),
            ("dev.countersign.action.proposed.v", false),
            ("dev.countersign.action.proposed.1", false),
            ("dev.countersign.action.proposed", false),
            ("dev.countersign.action.proposed.v1.v1", false),
            ("dev.countersign.Action.proposed.v1", false),
            ("dev.countersign.-action.proposed.v1", false),
            ("dev.countersign.1action.proposed.v1", false),
            ("dev.countersign..proposed.v1", false),
            ("com.countersign.action.proposed.v1", false),
            ("dev.countersign.action.proposed.v4294967296", false),
            ("", false),
        ] {
            match text.parse::<EventType>() {
                Ok(parsed) => {
                    assert!(accepted, "`{text}` was accepted");
                    assert_eq!(parsed.to_string(), text);
                }
                Err(_) => assert!(!accepted, "`{text}` was refused"),
            }
        }
    }
}
