//! The few wire shapes that every signed thing shares: strict canonical parsing, `-` for none, base64 of fixed size.
//!
//! Bytes that were signed are read once, by [`parse`]: strict I-JSON, no unknown member, and byte-identical to their
//! own RFC 8785 form, so two parsers cannot read one signature differently (docs/format.md, "Canonical JSON").

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_chain as chain;
use countersign_ids::Digest;
use ed25519_dalek::{Signature, SigningKey, VerifyingKey};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why bytes are not the canonical JSON of the expected shape.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Not strict I-JSON, or not one object.
    #[error("not strict JSON: {0}")]
    Json(String),
    /// JSON, but not of this shape: a member is missing, unknown or of another type.
    #[error("not the expected members: {0}")]
    Shape(String),
    /// The right members in bytes that are not RFC 8785.
    #[error("the bytes are not canonical JSON (RFC 8785), or a member is unknown")]
    NotCanonical,
}

impl From<countersign_ids::Invalid> for WireError {
    fn from(invalid: countersign_ids::Invalid) -> Self {
        Self::Shape(invalid.to_string())
    }
}

/// Reads signed bytes: strict JSON, the exact members, and byte-identical to their own RFC 8785 form.
pub fn parse<T: DeserializeOwned + Serialize>(bytes: &[u8]) -> Result<T, WireError> {
    chain::json::check(bytes).map_err(|error| WireError::Json(error.to_string()))?;
    let value: T =
        serde_json::from_slice(bytes).map_err(|error| WireError::Shape(error.to_string()))?;
    if canonical(&value)? == bytes {
        Ok(value)
    } else {
        Err(WireError::NotCanonical)
    }
}

/// Writes the RFC 8785 bytes of a value.
pub fn canonical<T: Serialize>(value: &T) -> Result<Vec<u8>, WireError> {
    chain::json::to_canonical(value).map_err(|error| WireError::Json(error.to_string()))
}

/// The SHA-256 of the RFC 8785 bytes of a value.
pub fn canonical_digest<T: Serialize>(value: &T) -> Result<Digest, WireError> {
    Ok(chain::sha256(&canonical(value)?))
}

/// The member `v` of everything signed in this format: the integer 1, and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct V1;

impl Serialize for V1 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(1)
    }
}

impl<'de> Deserialize<'de> for V1 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u64::deserialize(deserializer)? {
            1 => Ok(Self),
            other => Err(D::Error::custom(format!(
                "version `{other}` is not known here"
            ))),
        }
    }
}

impl JsonSchema for V1 {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "V1".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "const": 1 })
    }
}

/// A value, or the string `-` where there is none: signed objects have no optional strings, so none can be dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrDash<T>(pub Option<T>);

impl<T> OrDash<T> {
    /// No value: `-` on the wire.
    pub const NONE: Self = Self(None);

    /// The value, if there is one.
    pub const fn get(&self) -> Option<&T> {
        self.0.as_ref()
    }
}

impl<T> From<T> for OrDash<T> {
    fn from(value: T) -> Self {
        Self(Some(value))
    }
}

impl<T: fmt::Display> fmt::Display for OrDash<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(value) => value.fmt(f),
            None => f.write_str("-"),
        }
    }
}

impl<T: fmt::Display> Serialize for OrDash<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, T: FromStr> Deserialize<'de> for OrDash<T>
where
    T::Err: fmt::Display,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "-" {
            return Ok(Self(None));
        }
        text.parse()
            .map(|value| Self(Some(value)))
            .map_err(D::Error::custom)
    }
}

impl<T: JsonSchema> JsonSchema for OrDash<T> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("{}OrDash", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let some = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [some, { "const": "-" }], "description": "A value, or `-` where there is none." })
    }
}

/// A JSON object whose members this format does not fix; it is written canonically wherever it is hashed.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JsonObject(pub BTreeMap<String, serde_json::Value>);

impl JsonObject {
    /// An object of string members: the common case.
    pub fn of_strings<K: Into<String>, V: Into<String>>(
        members: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        Self(
            members
                .into_iter()
                .map(|(k, v)| (k.into(), serde_json::Value::String(v.into())))
                .collect(),
        )
    }

    /// A member, if it is a string.
    pub fn text(&self, member: &str) -> Option<&str> {
        self.0.get(member).and_then(serde_json::Value::as_str)
    }

    /// The SHA-256 of its RFC 8785 bytes.
    pub fn digest(&self) -> Result<Digest, WireError> {
        canonical_digest(self)
    }
}

impl JsonSchema for JsonObject {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "JsonObject".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object" })
    }
}

macro_rules! base64_bytes {
    ($(#[$doc:meta])* $name:ident, $len:literal, $pattern:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $len]);

        impl $name {
            /// Wraps raw bytes.
            pub const fn from_bytes(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// The raw bytes.
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = WireError;

            fn from_str(text: &str) -> Result<Self, WireError> {
                let bytes = STANDARD.decode(text).map_err(|error| WireError::Shape(format!("base64: {error}")))?;
                let bytes = bytes.try_into().map_err(|_| {
                    WireError::Shape(format!("base64 of other than {} bytes", $len))
                })?;
                Ok(Self(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&STANDARD.encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern })
            }
        }
    };
}

base64_bytes!(
    /// A raw Ed25519 public key: base64 of 32 bytes. Whether it is a point is found when it verifies.
    PublicKey,
    32,
    "^[A-Za-z0-9+/]{43}=$"
);
base64_bytes!(
    /// An Ed25519 signature: base64 of 64 bytes.
    SignatureBytes,
    64,
    "^[A-Za-z0-9+/]{86}==$"
);
base64_bytes!(
    /// A SHA-256 node of a Merkle tree in a proof: base64 of 32 bytes, as in a tlog-proof.
    ProofHash,
    32,
    "^[A-Za-z0-9+/]{43}=$"
);

impl PublicKey {
    /// `sha256:` of the raw key: the `keyid` hint of DSSE envelopes.
    pub fn digest(&self) -> Digest {
        chain::sha256(&self.0)
    }

    /// Whether `signature` is this key's over `message`, by `verify_strict`: weak keys and malleable forms are refused.
    pub fn verifies(&self, message: &[u8], signature: &SignatureBytes) -> bool {
        VerifyingKey::from_bytes(&self.0)
            .and_then(|key| key.verify_strict(message, &Signature::from_bytes(&signature.0)))
            .is_ok()
    }
}

impl From<&SigningKey> for PublicKey {
    fn from(key: &SigningKey) -> Self {
        Self(key.verifying_key().to_bytes())
    }
}

impl SignatureBytes {
    /// Signs `message`.
    pub fn sign(key: &SigningKey, message: &[u8]) -> Self {
        use ed25519_dalek::Signer as _;
        Self(key.sign(message).to_bytes())
    }
}

/// Bytes of any length, as padded base64.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Base64(pub Vec<u8>);

impl FromStr for Base64 {
    type Err = WireError;

    fn from_str(text: &str) -> Result<Self, WireError> {
        STANDARD
            .decode(text)
            .map(Self)
            .map_err(|error| WireError::Shape(format!("base64: {error}")))
    }
}

impl fmt::Display for Base64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(&self.0))
    }
}

impl fmt::Debug for Base64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Base64({self})")
    }
}

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

impl JsonSchema for Base64 {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Base64".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$" })
    }
}
