//! Values of settings as people write them: `10s`, `64MiB`, `json`. A bare number is refused: its unit would be a guess.

use countersign_api::Rate;
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

/// So many in a time, or without a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Pace(Option<Rate>);

const OFF: &str = "off";
const PACES: &[(&str, u64)] = &[("h", 60 * 60), ("m", 60), ("s", 1)];

impl Pace {
    pub(crate) const fn of(rate: Option<Rate>) -> Self {
        Self(rate)
    }

    pub(crate) const fn get(self) -> Option<Rate> {
        self.0
    }
}

impl FromStr for Pace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == OFF {
            return Ok(Self(None));
        }
        let read = || {
            let (count, unit) = text.split_once('/')?;
            let digits = count.bytes().all(|byte| byte.is_ascii_digit());
            let count = count.parse().ok().filter(|count| digits && *count > 0)?;
            let (_, seconds) = PACES.iter().find(|(name, _)| *name == unit)?;
            let per = Duration::from_secs(*seconds);
            Some(Self(Some(Rate { count, per })))
        };
        read().ok_or_else(|| {
            format!("`{text}` is not a rate such as `200/s`, `600/m` or `1000/h`, and not `off`")
        })
    }
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(Rate { count, per }) = self.0 else {
            return f.write_str(OFF);
        };
        let unit = PACES.iter().find(|(_, seconds)| *seconds == per.as_secs());
        write!(f, "{count}/{}", unit.map_or("s", |(name, _)| name))
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

by_display!(Span, Size, Pace, LogFormat);

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
    use super::{LogFormat, Pace, Size, Span, Text};

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
        check::<Pace>("200/s", Ok("200/s"));
        check::<Pace>("0600/m", Ok("600/m"));
        check::<Pace>("4294967295/h", Ok("4294967295/h"));
        check::<Pace>("off", Ok("off"));
        for wrong in [
            "",
            "200",
            "200/",
            "/s",
            "0/s",
            "-1/s",
            "+1/s",
            "1.5/s",
            "1/d",
            "1/ms",
            "4294967296/s",
            "1/s/s",
            "Off",
            "1 /s",
            "\u{661}/s",
        ] {
            check::<Pace>(wrong, Err("is not a rate such as"));
        }
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

    /// Whatever is read is shown as a text that is read as the same; nothing is read from half of a text.
    fn read_and_shown<T: Text + PartialEq + std::fmt::Debug>() -> Vec<String> {
        const PARTS: &[&str] = &[
            "0", "7", "19", "/", "s", "m", "off", "KiB", "-", ".", " ", "\u{661}",
        ];
        let mut texts = vec![String::new()];
        let mut read = Vec::new();
        for _ in 0..4 {
            texts = texts
                .iter()
                .flat_map(|text| PARTS.iter().map(move |part| format!("{text}{part}")))
                .collect();
            for text in &texts {
                if let Ok(value) = T::parse(text) {
                    assert_eq!(T::parse(&value.text()), Ok(value), "`{text}`");
                    read.push(text.clone());
                }
            }
        }
        read
    }

    #[test]
    fn every_short_text_is_read_as_it_is_shown_or_refused() {
        let rates = read_and_shown::<Pace>();
        assert!(rates.contains(&"off".to_owned()) && rates.contains(&"19/m".to_owned()));
        let is_rate = |text: &String| {
            let count = text.strip_suffix("/s").or_else(|| text.strip_suffix("/m"));
            text == "off" || count.is_some_and(|count| count.parse::<u32>().unwrap() > 0)
        };
        assert!(rates.iter().all(is_rate), "{rates:?}");
        let spans = read_and_shown::<Span>();
        assert!(
            spans.iter().all(|text| text.ends_with(['s', 'm'])),
            "{spans:?}"
        );
        let sizes = read_and_shown::<Size>();
        assert!(sizes.iter().all(|text| text.ends_with("KiB")), "{sizes:?}");
    }
}
