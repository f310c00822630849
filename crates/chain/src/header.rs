//! The header E: a flat JSON object of strings whose bytes are hashed, stored and handed out, never written again.
//!
//! [`Header::parse`] accepts exactly the bytes that [`Header::to_bytes`] writes (docs/format.md section 1).

use countersign_ids::{
    Actor, ActorId, AuthType, BodyHash, BodyKey, ChainId, CommandId, DataSubject, EventHash,
    EventId, EventType, Invalid, LedgerId, Plain, PlatformHead, RequestDigest, Retention, Sequence,
    SiteId, SubjectRef, Time, limits,
};
use std::str::FromStr;

const SPEC_VERSION: &str = "1.0";
const OPEN: &str = "application/json";
const SEALED: &str = "application/vnd.countersign.sealed+json";
/// What nearly every header fits into.
const USUAL_BYTES: usize = 1024;

/// The attributes of one event. The content type follows from the retention class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The ledger, from `source`.
    pub ledger: LedgerId,
    /// The chain, from `source`.
    pub chain: ChainId,
    /// The event's id.
    pub id: EventId,
    /// What happened.
    pub event_type: EventType,
    /// The aggregate that it happened to.
    pub subject: SubjectRef,
    /// The site, where there is one.
    pub site: Option<SiteId>,
    /// When: the larger of the writer's clock and the chain's last time.
    pub time: Time,
    /// How long the body is kept; `personal` means sealed.
    pub retention: Retention,
    /// Dense from 0 in the chain.
    pub sequence: Sequence,
    /// Dense from 0 in chain and family.
    pub familysequence: Sequence,
    /// Hash of the event before, or the genesis hash.
    pub prevhash: EventHash,
    /// Hash of salt and body.
    pub bodyhash: BodyHash,
    /// Commitment to the key of a sealed body.
    pub bodykey: Option<BodyKey>,
    /// Whose key that is.
    pub datasubject: Option<DataSubject>,
    /// Who caused it.
    pub actor: Actor,
    /// The command that it belongs to.
    pub commandid: CommandId,
    /// The request that asked for it.
    pub requestdigest: Option<RequestDigest>,
    /// The platform event that came before it.
    pub platformhead: Option<PlatformHead>,
    /// Ties together what belongs together for the caller.
    pub correlationid: Option<String>,
    /// The event that caused it.
    pub causationid: Option<EventId>,
    /// W3C trace context.
    pub traceparent: Option<String>,
    /// The epoch of the chain's owner, where there are several nodes.
    pub ownerepoch: Option<u64>,
}

/// Why some bytes are not a header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Larger than a header may be.
    #[error("the header has {0} bytes, more than {max}", max = limits::HEADER_BYTES_MAX)]
    TooLarge(usize),
    /// Not a flat object of plain strings without white space.
    #[error("the header is not a flat object of plain strings at byte {0}")]
    Shape(usize),
    /// Names are not sorted, or one occurs twice.
    #[error("the attribute `{0}` is out of order or repeated")]
    Order(String),
    /// A name that the format does not know.
    #[error("the attribute `{0}` is unknown")]
    Unknown(String),
    /// A required attribute is not there.
    #[error("the attribute `{0}` is missing")]
    Missing(&'static str),
    /// A value that the attribute cannot have.
    #[error("the attribute `{name}` is wrong")]
    Value {
        /// The attribute.
        name: &'static str,
        /// What is wrong.
        #[source]
        source: Invalid,
    },
    /// A value that contradicts another.
    #[error("{0}")]
    Contradiction(&'static str),
}

/// Attribute names in the order in which they stand, which is the order of their bytes.
const NAMES: [&str; 24] = [
    "authid",
    "authtype",
    "bodyhash",
    "bodykey",
    "causationid",
    "commandid",
    "correlationid",
    "datacontenttype",
    "datasubject",
    "familysequence",
    "id",
    "ownerepoch",
    "platformhead",
    "prevhash",
    "requestdigest",
    "retention",
    "sequence",
    "site",
    "source",
    "specversion",
    "subject",
    "time",
    "traceparent",
    "type",
];

impl Header {
    /// E. `correlationid` and `traceparent` must satisfy [`check_text`].
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(USUAL_BYTES);
        let content_type = if self.retention == Retention::Personal {
            SEALED
        } else {
            OPEN
        };
        let epoch = self.ownerepoch.map(|epoch| epoch.to_string());
        put(&mut out, "{\"authid\":\"", &self.actor.id);
        put(&mut out, "\",\"authtype\":\"", self.actor.kind.as_str());
        put(&mut out, "\",\"bodyhash\":\"", &self.bodyhash);
        put_some(&mut out, "\",\"bodykey\":\"", self.bodykey.as_ref());
        put_some(&mut out, "\",\"causationid\":\"", self.causationid.as_ref());
        put(&mut out, "\",\"commandid\":\"", &self.commandid);
        put_some(
            &mut out,
            "\",\"correlationid\":\"",
            self.correlationid.as_deref(),
        );
        put(&mut out, "\",\"datacontenttype\":\"", content_type);
        put_some(&mut out, "\",\"datasubject\":\"", self.datasubject.as_ref());
        put(&mut out, "\",\"familysequence\":\"", &self.familysequence);
        put(&mut out, "\",\"id\":\"", &self.id);
        put_some(&mut out, "\",\"ownerepoch\":\"", epoch.as_deref());
        put_some(
            &mut out,
            "\",\"platformhead\":\"",
            self.platformhead.as_ref(),
        );
        put(&mut out, "\",\"prevhash\":\"", &self.prevhash);
        put_some(
            &mut out,
            "\",\"requestdigest\":\"",
            self.requestdigest.as_ref(),
        );
        put(&mut out, "\",\"retention\":\"", self.retention.as_str());
        put(&mut out, "\",\"sequence\":\"", &self.sequence);
        put_some(&mut out, "\",\"site\":\"", self.site.as_ref());
        put(&mut out, "\",\"source\":\"/ledgers/", &self.ledger);
        put(&mut out, "/chains/", &self.chain);
        put(&mut out, "\",\"specversion\":\"", SPEC_VERSION);
        put(&mut out, "\",\"subject\":\"", &self.subject);
        put(&mut out, "\",\"time\":\"", &self.time);
        put_some(
            &mut out,
            "\",\"traceparent\":\"",
            self.traceparent.as_deref(),
        );
        put(&mut out, "\",\"type\":\"", &self.event_type);
        out.extend_from_slice(b"\"}");
        out
    }

    /// Reads E.
    ///
    /// # Errors
    /// The first rule that the bytes break.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() > limits::HEADER_BYTES_MAX {
            return Err(Error::TooLarge(bytes.len()));
        }
        let attributes = Attributes::read(bytes)?;
        if attributes.required("specversion")? != SPEC_VERSION {
            return Err(Error::Contradiction("`specversion` is not 1.0"));
        }
        let (ledger, chain) = parse_source(attributes.required("source")?)?;
        let header = Self {
            ledger,
            chain,
            id: attributes.parse("id")?,
            event_type: attributes.parse("type")?,
            subject: attributes.parse("subject")?,
            site: attributes.parse_some("site")?,
            time: attributes.parse("time")?,
            retention: attributes.parse("retention")?,
            sequence: attributes.parse("sequence")?,
            familysequence: attributes.parse("familysequence")?,
            prevhash: attributes.parse("prevhash")?,
            bodyhash: attributes.parse("bodyhash")?,
            bodykey: attributes.parse_some("bodykey")?,
            datasubject: attributes.parse_some("datasubject")?,
            actor: Actor {
                kind: attributes.parse::<AuthType>("authtype")?,
                id: attributes.parse::<ActorId>("authid")?,
            },
            commandid: attributes.parse("commandid")?,
            requestdigest: attributes.parse_some("requestdigest")?,
            platformhead: attributes.parse_some("platformhead")?,
            correlationid: attributes.text("correlationid")?,
            causationid: attributes.parse_some("causationid")?,
            traceparent: attributes.text("traceparent")?,
            ownerepoch: attributes.epoch()?,
        };
        header.agree(attributes.required("datacontenttype")?)?;
        Ok(header)
    }

    /// Rules that tie attributes to each other.
    fn agree(&self, content_type: &str) -> Result<(), Error> {
        let personal = self.retention == Retention::Personal;
        if content_type != if personal { SEALED } else { OPEN } {
            return Err(Error::Contradiction(
                "`datacontenttype` does not go with `retention`",
            ));
        }
        if self.bodykey.is_some() != personal || self.datasubject.is_some() != personal {
            return Err(Error::Contradiction(
                "`bodykey` and `datasubject` stand exactly where the body is sealed",
            ));
        }
        if self.chain.is_platform() && self.platformhead.is_some() {
            return Err(Error::Contradiction(
                "`platformhead` never stands on `platform`",
            ));
        }
        if self.chain.is_beats() && self.platformhead.is_none() {
            return Err(Error::Contradiction(
                "every event of a `.beats` chain has a `platformhead`",
            ));
        }
        let needs_head = names_platform(&self.event_type);
        if needs_head && self.platformhead.is_none() {
            return Err(Error::Contradiction("this event has a `platformhead`"));
        }
        if !needs_head && !self.chain.is_beats() && self.platformhead.is_some() {
            return Err(Error::Contradiction("this event has no `platformhead`"));
        }
        Ok(())
    }

    /// The attribute `source`, which the seal of a personal body names.
    #[must_use]
    pub fn source(&self) -> String {
        source(&self.ledger, &self.chain)
    }
}

/// Whether events of this type name the platform chain's head; on a `.beats` chain every event does.
#[must_use]
pub fn names_platform(event_type: &EventType) -> bool {
    matches!(
        (event_type.family().as_str(), event_type.fact()),
        ("action", "authorized") | ("platform", "noted")
    )
}

/// The attribute `source` of a chain's events.
#[must_use]
pub fn source(ledger: &LedgerId, chain: &ChainId) -> String {
    format!("/ledgers/{ledger}/chains/{chain}")
}

/// Checks a free attribute value: printable ASCII without `"` and `\`, not empty, bounded.
///
/// # Errors
/// Names the attribute if the value cannot stand there.
pub fn check_text(name: &'static str, value: &str) -> Result<(), Error> {
    let plain = value
        .bytes()
        .all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\');
    if plain && !value.is_empty() && value.len() <= limits::ATTRIBUTE_BYTES_MAX {
        Ok(())
    } else {
        Err(Error::Value {
            name,
            source: Invalid::new(
                "an attribute",
                "it is 1 to 128 printable ASCII characters",
                value,
            ),
        })
    }
}

fn parse_source(text: &str) -> Result<(LedgerId, ChainId), Error> {
    let wrong = |source| Error::Value {
        name: "source",
        source,
    };
    let (ledger, chain) = text
        .strip_prefix("/ledgers/")
        .and_then(|rest| rest.split_once("/chains/"))
        .ok_or_else(|| {
            wrong(Invalid::new(
                "a source",
                "it is /ledgers/<ledger>/chains/<chain>",
                text,
            ))
        })?;
    Ok((
        ledger.parse().map_err(wrong)?,
        chain.parse().map_err(wrong)?,
    ))
}

/// Appends what stands before a value, and the value. Nothing that a header holds is ever escaped.
fn put(out: &mut Vec<u8>, before: &str, value: &(impl Plain + ?Sized)) {
    out.extend_from_slice(before.as_bytes());
    value.put(out);
}

fn put_some(out: &mut Vec<u8>, before: &str, value: Option<&(impl Plain + ?Sized)>) {
    if let Some(value) = value {
        put(out, before, value);
    }
}

/// The values of a header, one place for each known name.
struct Attributes<'a>([Option<&'a str>; NAMES.len()]);

impl<'a> Attributes<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, Error> {
        let mut values = [None; NAMES.len()];
        let inner = bytes
            .strip_prefix(b"{")
            .and_then(|rest| rest.strip_suffix(b"}"))
            .ok_or(Error::Shape(0))?;
        let mut rest = inner;
        let mut from = 0;
        loop {
            let at = |rest: &[u8]| Error::Shape(inner.len() - rest.len() + 1);
            let (name, after) = quoted(rest).ok_or_else(|| at(rest))?;
            let after = after.strip_prefix(b":").ok_or_else(|| at(after))?;
            let (value, after) = quoted(after).ok_or_else(|| at(after))?;
            if value.is_empty() {
                return Err(at(after));
            }
            let Some(index) = NAMES.iter().position(|known| *known == name) else {
                return Err(Error::Unknown(name.to_owned()));
            };
            let slot = values
                .get_mut(index)
                .filter(|_| index >= from)
                .ok_or_else(|| Error::Order(name.to_owned()))?;
            *slot = Some(value);
            from = index + 1;
            match after.split_first() {
                None => return Ok(Self(values)),
                Some((b',', after)) => rest = after,
                Some(_) => return Err(at(after)),
            }
        }
    }

    fn get(&self, name: &'static str) -> Option<&'a str> {
        let index = NAMES.iter().position(|known| *known == name)?;
        self.0.get(index).copied().flatten()
    }

    fn required(&self, name: &'static str) -> Result<&'a str, Error> {
        self.get(name).ok_or(Error::Missing(name))
    }

    fn parse<T: FromStr<Err = Invalid>>(&self, name: &'static str) -> Result<T, Error> {
        self.required(name)?
            .parse()
            .map_err(|source| Error::Value { name, source })
    }

    fn parse_some<T: FromStr<Err = Invalid>>(
        &self,
        name: &'static str,
    ) -> Result<Option<T>, Error> {
        self.get(name)
            .map(str::parse)
            .transpose()
            .map_err(|source| Error::Value { name, source })
    }

    fn text(&self, name: &'static str) -> Result<Option<String>, Error> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        check_text(name, value)?;
        Ok(Some(value.to_owned()))
    }

    fn epoch(&self) -> Result<Option<u64>, Error> {
        let Some(text) = self.get("ownerepoch") else {
            return Ok(None);
        };
        let epoch = text
            .parse::<u64>()
            .ok()
            .filter(|epoch| epoch.to_string() == text);
        epoch.map(Some).ok_or_else(|| Error::Value {
            name: "ownerepoch",
            source: Invalid::new(
                "an epoch",
                "it is a decimal number without leading zeros",
                text,
            ),
        })
    }
}

/// One string between quotes, of printable ASCII without `"` and `\`, and what follows it.
fn quoted(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let bytes = bytes.strip_prefix(b"\"")?;
    let end = bytes.iter().position(|byte| *byte == b'"')?;
    let (inside, rest) = bytes.split_at_checked(end)?;
    if inside
        .iter()
        .any(|byte| !matches!(byte, b' '..=b'~') || *byte == b'\\')
    {
        return None;
    }
    Some((std::str::from_utf8(inside).ok()?, rest.strip_prefix(b"\"")?))
}

#[cfg(test)]
mod tests;
