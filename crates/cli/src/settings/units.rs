//! Values of settings as people write them: `10s`, `64MiB`, `json`. A bare number is refused: its unit would be a guess.

use serde::Deserialize;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// A value that is read from text and shown as the text that gives it again.
pub(crate) trait Text: Sized {
    /// Reads it; the error says what would do.
    fn parse(text: &str) -> Result<Self, String>;
    /// Shows it.
    fn text(&self) -> String;
}

/// A time longer than none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Span(Duration);

const SPANS: &[(&str, u64)] = &[
    ("d", 24 * 60 * 60 * 1000),
    ("h", 60 * 60 * 1000),
    ("m", 60 * 1000),
    ("s", 1000),
    ("ms", 1),
];

impl Span {
    pub(crate) const fn of(duration: Duration) -> Self {
        Self(duration)
    }

    pub(crate) const fn get(self) -> Duration {
        self.0
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match with_unit(text, SPANS) {
            Some(0) | None => Err(format!(
                "`{text}` is not a time such as `500ms`, `10s`, `5m`, `12h` or `7d`"
            )),
            Some(millis) => Ok(Self(Duration::from_millis(millis))),
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        shown(f, millis, SPANS)
    }
}

/// A number of bytes, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Size(u64);

const SIZES: &[(&str, u64)] = &[
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

impl Size {
    pub(crate) const fn of(bytes: u64) -> Self {
        Self(bytes)
    }

    pub(crate) const fn get(self) -> u64 {
        self.0
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match with_unit(text, SIZES) {
            Some(0) | None => Err(format!(
                "`{text}` is not a size such as `4096B`, `512KiB`, `64MiB` or `2GiB`"
            )),
            Some(bytes) => Ok(Self(bytes)),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        shown(f, self.0, SIZES)
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => Err(format!("`{other}` is neither `text` nor `json`")),
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

macro_rules! by_display {
    ($($type:ty),*) => {$(
        impl TryFrom<String> for $type {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                text.parse()
            }
        }

        impl Text for $type {
            fn parse(text: &str) -> Result<Self, String> {
                text.parse()
            }

            fn text(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

by_display!(Span, Size, LogFormat);

impl Text for PathBuf {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(Self::from(text))
    }

    fn text(&self) -> String {
        self.display().to_string()
    }
}

impl Text for String {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }

    fn text(&self) -> String {
        self.clone()
    }
}

impl Text for SocketAddr {
    fn parse(text: &str) -> Result<Self, String> {
        text.parse()
            .map_err(|_| format!("`{text}` is not an address such as `127.0.0.1:7400`"))
    }

    fn text(&self) -> String {
        self.to_string()
    }
}

impl Text for usize {
    fn parse(text: &str) -> Result<Self, String> {
        text.parse()
            .map_err(|_| format!("`{text}` is not a whole number"))
    }

    fn text(&self) -> String {
        self.to_string()
    }
}

/// A whole number and one of the units.
fn with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// In the largest unit that leaves no rest.
fn shown(f: &mut fmt::Formatter<'_>, value: u64, units: &[(&str, u64)]) -> fmt::Result {
    for (name, factor) in units {
        if value.checked_rem(*factor) == Some(0) {
            let number = value.checked_div(*factor).unwrap_or(value);
            return write!(f, "{number}{name}");
        }
    }
    write!(f, "{value}")
}

#[cfg(test)]
mod tests {
    use super::{LogFormat, Size, Span, Text};

    #[track_caller]
    fn check<T: Text + std::fmt::Debug>(text: &str, shown: Result<&str, &str>) {
        match (T::parse(text), shown) {
            (Ok(value), Ok(shown)) => assert_eq!(value.text(), shown, "`{text}`"),
            (Err(error), Err(part)) => assert!(error.contains(part), "`{text}`: {error}"),
            (read, wanted) => panic!("`{text}`: {read:?}, not {wanted:?}"),
        }
    }

    #[test]
    fn units_are_read_and_shown() {
        check::<Span>("90s", Ok("90s"));
        check::<Span>("120s", Ok("2m"));
        check::<Span>("1500ms", Ok("1500ms"));
        check::<Span>("48h", Ok("2d"));
        check::<Size>("65536KiB", Ok("64MiB"));
        check::<Size>("1000B", Ok("1000B"));
        check::<LogFormat>("json", Ok("json"));
    }

    #[test]
    fn what_has_no_unit_or_means_nothing_is_refused_with_an_example() {
        for wrong in [
            "",
            "10",
            "10 s",
            "s",
            "0s",
            "-1s",
            "1.5h",
            "10S",
            "1w",
            "999999999999999999d",
        ] {
            check::<Span>(wrong, Err("`500ms`"));
        }
        for wrong in ["", "64", "64MB", "64mib", "0B", "99999999999TiB"] {
            check::<Size>(wrong, Err("`64MiB`"));
        }
        check::<LogFormat>("xml", Err("neither"));
    }
}
