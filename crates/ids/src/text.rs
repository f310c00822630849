//! The text of a newtype: one macro that gives it everywhere (`FromStr`, `TryFrom<String>`, serde, JSON Schema), and [`Plain`].

/// Text that is written without the machinery of formatting, because headers are written for every event.
///
/// What it writes is exactly what `Display` writes.
pub trait Plain {
    /// Appends the text.
    fn put(&self, out: &mut Vec<u8>);
}

impl Plain for str {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }
}

/// Appends so many decimal digits, with zeros in front.
pub(crate) fn put_digits<const N: usize>(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [b'0'; N];
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789"
            .get(usize::try_from(number % 10).unwrap_or_default())
            .copied()
            .unwrap_or(b'0');
        number /= 10;
    }
    out.extend_from_slice(&digits);
}

/// Implements the textual traits for a type that has `fn parse(&str) -> Result<Self, Invalid>` and `Display`.
macro_rules! textual {
    ($type:ty, $name:literal, $pattern:expr) => {
        impl std::str::FromStr for $type {
            type Err = crate::Invalid;
            fn from_str(text: &str) -> Result<Self, crate::Invalid> {
                Self::parse(text)
            }
        }

        impl TryFrom<String> for $type {
            type Error = crate::Invalid;
            fn try_from(text: String) -> Result<Self, crate::Invalid> {
                Self::parse(&text)
            }
        }

        impl TryFrom<&str> for $type {
            type Error = crate::Invalid;
            fn try_from(text: &str) -> Result<Self, crate::Invalid> {
                Self::parse(text)
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> String {
                value.to_string()
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl serde::de::Visitor<'_> for Text {
                    type Value = $type;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str(concat!("a string with ", $name))
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$type, E> {
                        <$type>::parse(text).map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Text)
            }
        }

        impl schemars::JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "pattern": $pattern })
            }
        }
    };
}

pub(crate) use textual;
