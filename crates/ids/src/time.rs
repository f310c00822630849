//! Times: RFC 3339 in UTC with milliseconds, in exactly one form.

use std::fmt;

use crate::{
    Invalid,
    text::{Plain, put_digits, textual},
};

/// A moment between 1970 and 9999, to the millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

const DAY_MILLIS: u64 = 86_400_000;

impl Time {
    /// The first moment.
    pub const MIN: Self = Self(0);
    /// The last moment: the end of the year 9999.
    pub const MAX: Self = Self(253_402_300_799_999);

    /// Takes milliseconds since 1970; anything later than the last moment is the last moment.
    #[must_use]
    pub const fn from_unix_millis(millis: u64) -> Self {
        if millis > Self::MAX.0 {
            Self::MAX
        } else {
            Self(millis)
        }
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub const fn unix_millis(self) -> u64 {
        self.0
    }

    /// A later moment, or the last one.
    #[must_use]
    pub const fn plus_millis(self, millis: u64) -> Self {
        Self::from_unix_millis(self.0.saturating_add(millis))
    }

    /// An earlier moment, or the first one.
    #[must_use]
    pub const fn minus_millis(self, millis: u64) -> Self {
        Self(self.0.saturating_sub(millis))
    }

    /// How long after `earlier` this is, in milliseconds; 0 if it is not after it.
    #[must_use]
    pub const fn millis_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    fn parse(text: &str) -> Result<Self, Invalid> {
        Self::read(text).ok_or_else(|| {
            Invalid::new(
                "a time",
                "it follows YYYY-MM-DDThh:mm:ss.sssZ and is a real moment",
                text,
            )
        })
    }

    fn read(text: &str) -> Option<Self> {
        let bytes: &[u8; 24] = text.as_bytes().try_into().ok()?;
        let [
            y0,
            y1,
            y2,
            y3,
            b'-',
            m0,
            m1,
            b'-',
            d0,
            d1,
            b'T',
            h0,
            h1,
            b':',
            i0,
            i1,
            b':',
            s0,
            s1,
            b'.',
            f0,
            f1,
            f2,
            b'Z',
        ] = *bytes
        else {
            return None;
        };
        let (year, month, day) = (
            number(&[y0, y1, y2, y3])?,
            number(&[m0, m1])?,
            number(&[d0, d1])?,
        );
        let (hour, minute, second) = (number(&[h0, h1])?, number(&[i0, i1])?, number(&[s0, s1])?);
        let real = year >= 1970
            && (1..=12).contains(&month)
            && (1..=days_in(year, month)).contains(&day)
            && hour < 24
            && minute < 60
            && second < 60;
        if !real {
            return None;
        }
        let seconds = (hour * 60 + minute) * 60 + second;
        Some(Self(
            days_before(year, month, day) * DAY_MILLIS + seconds * 1000 + number(&[f0, f1, f2])?,
        ))
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |value, digit| {
        digit
            .is_ascii_digit()
            .then(|| value * 10 + u64::from(digit - b'0'))
    })
}

const fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

const fn days_in(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 0000-03-01 to 1970-01-01, in the count below.
const EPOCH_DAYS: u64 = 719_468;

/// Days since 1970, counted in years that begin in March, so that the leap day comes last.
const fn days_before(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year / 400, year % 400);
    let month = (month + 9) % 12;
    let of_year = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - EPOCH_DAYS
}

/// The year, month and day that begin that many days after 1970.
const fn date_after(days: u64) -> (u64, u64, u64) {
    let days = days + EPOCH_DAYS;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year_of_era;
    (if month <= 2 { year + 1 } else { year }, month, day)
}

impl Plain for Time {
    fn put(&self, out: &mut Vec<u8>) {
        let (days, millis) = (self.0 / DAY_MILLIS, self.0 % DAY_MILLIS);
        let (year, month, day) = date_after(days);
        let seconds = millis / 1000;
        put_digits::<4>(out, year);
        for (before, part) in [
            (b'-', month),
            (b'-', day),
            (b'T', seconds / 3600),
            (b':', seconds / 60 % 60),
            (b':', seconds % 60),
        ] {
            out.push(before);
            put_digits::<2>(out, part);
        }
        out.push(b'.');
        put_digits::<3>(out, millis % 1000);
        out.push(b'Z');
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, millis) = (self.0 / DAY_MILLIS, self.0 % DAY_MILLIS);
        let (year, month, day) = date_after(days);
        let (seconds, fraction) = (millis / 1000, millis % 1000);
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:03}Z"
        )
    }
}

textual!(
    Time,
    "a time",
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$"
);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_have_one_form() {
        for (text, millis) in [
            ("1970-01-01T00:00:00.000Z", Some(0)),
            ("2000-02-29T12:34:56.789Z", Some(951_827_696_789)),
            ("2026-11-22T04:00:00.000Z", Some(1_795_320_000_000)),
            ("9999-12-31T23:59:59.999Z", Some(Time::MAX.unix_millis())),
            ("1969-12-31T23:59:59.999Z", None),
            ("2026-02-29T00:00:00.000Z", None),
            ("2100-02-29T00:00:00.000Z", None),
            ("2026-00-01T00:00:00.000Z", None),
            ("2026-13-01T00:00:00.000Z", None),
            ("2026-04-31T00:00:00.000Z", None),
            ("2026-01-01T24:00:00.000Z", None),
            ("2026-01-01T00:60:00.000Z", None),
            ("2026-12-31T23:59:60.000Z", None),
            ("2026-01-01T00:00:00Z", None),
            ("2026-01-01T00:00:00.0000Z", None),
            ("2026-01-01T00:00:00.000z", None),
            ("2026-01-01t00:00:00.000Z", None),
            ("2026-01-01 00:00:00.000Z", None),
            ("2026-01-01T00:00:00.000+00:00", None),
            ("2026-01-01T00:00:00,000Z", None),
            ("+026-01-01T00:00:00.000Z", None),
            ("", None),
        ] {
            let parsed = text.parse::<Time>().ok();
            assert_eq!(parsed.map(Time::unix_millis), millis, "`{text}`");
            assert!(parsed.is_none_or(|time| time.to_string() == text));
        }
    }

    #[test]
    fn times_stay_within_their_bounds() {
        assert_eq!(Time::from_unix_millis(u64::MAX), Time::MAX);
        assert_eq!(Time::MAX.plus_millis(1), Time::MAX);
        assert_eq!(Time::MIN.minus_millis(1), Time::MIN);
        assert_eq!(
            Time::from_unix_millis(5).millis_since(Time::from_unix_millis(7)),
            0
        );
    }

    proptest! {
        #[test]
        fn printing_and_parsing_are_inverse(millis in 0..=Time::MAX.unix_millis()) {
            let time = Time::from_unix_millis(millis);
            prop_assert_eq!(time.to_string().parse::<Time>().unwrap(), time);
            let mut plain = Vec::new();
            time.put(&mut plain);
            prop_assert_eq!(String::from_utf8(plain).unwrap(), time.to_string());
        }

        #[test]
        fn dates_agree_with_an_independent_calendar(days in 0_u64..2_932_896) {
            let (mut year, mut rest) = (1970, days);
            while rest >= 365 + u64::from(is_leap(year)) {
                rest -= 365 + u64::from(is_leap(year));
                year += 1;
            }
            let mut month = 1;
            while rest >= days_in(year, month) {
                rest -= days_in(year, month);
                month += 1;
            }
            prop_assert_eq!(date_after(days), (year, month, rest + 1));
            prop_assert_eq!(days_before(year, month, rest + 1), days);
        }
    }
}
