//! One event as it is stored: the bytes E, and salt and B or the reason why they are absent.

use countersign_ids::Salt;
use std::{fmt, str::FromStr};

/// Why a body is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Absence {
    /// Its retention ended.
    Expired,
    /// It was erased.
    Erased,
    /// It was kept back here; another copy may hold it.
    Withheld,
}

impl Absence {
    /// Its one form, everywhere.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Erased => "erased",
            Self::Withheld => "withheld",
        }
    }
}

impl fmt::Display for Absence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Absence {
    type Err = UnknownAbsence;

    fn from_str(text: &str) -> Result<Self, UnknownAbsence> {
        match text {
            "expired" => Ok(Self::Expired),
            "erased" => Ok(Self::Erased),
            "withheld" => Ok(Self::Withheld),
            other => Err(UnknownAbsence(other.to_owned())),
        }
    }
}

/// A reason that is none of the three.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no reason for an absent body")]
pub struct UnknownAbsence(String);

/// A body, or why it is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// It is there.
    Present {
        /// 16 random bytes that live and die with B.
        salt: Salt,
        /// B, as first written.
        bytes: Vec<u8>,
    },
    /// It is not.
    Absent(Absence),
}

/// The stored bytes of one event. Nothing about them is verified yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// E.
    pub header: Vec<u8>,
    /// Salt and B, or the reason.
    pub body: Body,
}
