//! I-JSON in, RFC 8785 out: the only JSON that is hashed or signed here.
//!
//! [`check`] accepts one object as docs/format.md section 2 allows it: no name twice, no lone surrogate, no byte order mark,
//! integers only, bounded depth. [`canonical`] writes RFC 8785. No digest depends on the order in which a map was filled.

use serde::Serialize;
use serde_json::Value;
use std::{borrow::Cow, collections::BTreeSet, fmt::Write as _};

use countersign_ids::limits;

/// The largest integer that every JSON reader keeps exactly (RFC 7493 section 2.2).
pub const INTEGER_MAX: u64 = limits::JSON_INTEGER_MAX;

/// Why some bytes are not acceptable JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not JSON at all.
    #[error("not JSON: {0}")]
    Syntax(String),
    /// The outermost value is not an object.
    #[error("the outermost value is not an object")]
    NotAnObject,
    /// A name occurs twice in one object.
    #[error("the name `{0}` occurs twice in one object")]
    DuplicateName(String),
    /// A fraction, an exponent, or an integer that some readers would round.
    #[error("the number `{0}` is not an integer within ±(2^53−1)")]
    Number(String),
    /// Nested deeper than allowed.
    #[error("nested more than {max} deep", max = limits::JSON_DEPTH_MAX)]
    TooDeep,
    /// Starts with a byte order mark.
    #[error("starts with a byte order mark")]
    ByteOrderMark,
    /// Well formed, but not written the canonical way (RFC 8785).
    #[error("not written as RFC 8785 asks")]
    NotCanonical,
}

/// Checks that `bytes` are one I-JSON object.
///
/// # Errors
/// The first rule that the bytes break.
pub fn check(bytes: &[u8]) -> Result<(), Error> {
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return Err(Error::ByteOrderMark);
    }
    let text = std::str::from_utf8(bytes).map_err(|error| Error::Syntax(error.to_string()))?;
    let mut scanner = Scanner { text, at: 0 };
    scanner.space();
    if scanner.peek() != Some(b'{') {
        // Say "not JSON" rather than "not an object" where that is the truth.
        return Err(match serde_json::from_str::<serde::de::IgnoredAny>(text) {
            Ok(_) => Error::NotAnObject,
            Err(error) => Error::Syntax(error.to_string()),
        });
    }
    scanner.value(1)?;
    scanner.space();
    if scanner.peek().is_some() {
        Err(scanner.syntax("something follows the object"))
    } else {
        Ok(())
    }
}

/// Checks `bytes` and parses them.
///
/// # Errors
/// As [`check`].
pub fn parse(bytes: &[u8]) -> Result<Value, Error> {
    check(bytes)?;
    serde_json::from_slice(bytes).map_err(|error| Error::Syntax(error.to_string()))
}

/// Parses bytes that must already be their own canonical form.
///
/// # Errors
/// As [`check`], and [`Error::NotCanonical`].
pub fn parse_canonical(bytes: &[u8]) -> Result<Value, Error> {
    let value = parse(bytes)?;
    if canonical(&value)? == bytes {
        Ok(value)
    } else {
        Err(Error::NotCanonical)
    }
}

/// The RFC 8785 bytes of `value`.
///
/// # Errors
/// A number that is not an integer within ±(2^53−1), or nesting past the limit.
pub fn canonical(value: &Value) -> Result<Vec<u8>, Error> {
    let mut out = String::new();
    write_value(&mut out, value, 1)?;
    Ok(out.into_bytes())
}

/// The RFC 8785 bytes of anything that serialises.
///
/// # Errors
/// As [`canonical`], or when `value` does not serialise to JSON.
pub fn to_canonical<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, Error> {
    canonical(&serde_json::to_value(value).map_err(|error| Error::Syntax(error.to_string()))?)
}

fn write_value(out: &mut String, value: &Value, depth: usize) -> Result<(), Error> {
    if depth > limits::JSON_DEPTH_MAX + 1 {
        return Err(Error::TooDeep);
    }
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => {
            let integer = number
                .as_i64()
                .filter(|integer| integer.unsigned_abs() <= INTEGER_MAX);
            let integer = integer.ok_or_else(|| Error::Number(number.to_string()))?;
            let _ = write!(out, "{integer}");
        }
        Value::String(text) => write_string(out, text),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_value(out, item, depth + 1)?;
            }
            out.push(']');
        }
        Value::Object(members) => {
            let mut names: Vec<&String> = members.keys().collect();
            // RFC 8785 section 3.2.3: by UTF-16 code units.
            names.sort_by(|left, right| left.encode_utf16().cmp(right.encode_utf16()));
            out.push('{');
            for (index, name) in names.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_string(out, name);
                out.push(':');
                write_value(out, members.get(name).unwrap_or(&Value::Null), depth + 1)?;
            }
            out.push('}');
        }
    }
    Ok(())
}

fn write_string(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            control if control < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

/// A strict reader that builds nothing: it sees what a parser that keeps the last of two names would hide.
struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn syntax(&self, what: &str) -> Error {
        Error::Syntax(format!("{what} at byte {}", self.at))
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self, expected: u8, what: &str) -> Result<(), Error> {
        if self.peek() == Some(expected) {
            self.at += 1;
            Ok(())
        } else {
            Err(self.syntax(what))
        }
    }

    fn value(&mut self, depth: usize) -> Result<(), Error> {
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => self.string().map(drop),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            _ => Err(self.syntax("a value is missing")),
        }
    }

    fn word(&mut self, word: &str) -> Result<(), Error> {
        let end = self.at + word.len();
        if self.text.as_bytes().get(self.at..end) == Some(word.as_bytes()) {
            self.at = end;
            Ok(())
        } else {
            Err(self.syntax("an unknown word stands"))
        }
    }

    fn object(&mut self, depth: usize) -> Result<(), Error> {
        if depth > limits::JSON_DEPTH_MAX {
            return Err(Error::TooDeep);
        }
        self.take(b'{', "`{` is missing")?;
        let mut names = Names::default();
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.space();
            let name = self.string()?;
            if let Some(name) = names.add(name) {
                return Err(Error::DuplicateName(name));
            }
            self.space();
            self.take(b':', "`:` is missing")?;
            self.space();
            self.value(depth + 1)?;
            self.space();
            if self.peek() == Some(b',') {
                self.at += 1;
            } else {
                return self.take(b'}', "`}` is missing");
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<(), Error> {
        if depth > limits::JSON_DEPTH_MAX {
            return Err(Error::TooDeep);
        }
        self.take(b'[', "`[` is missing")?;
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.space();
            self.value(depth + 1)?;
            self.space();
            if self.peek() == Some(b',') {
                self.at += 1;
            } else {
                return self.take(b']', "`]` is missing");
            }
        }
    }

    fn number(&mut self) -> Result<(), Error> {
        let start = self.at;
        while matches!(
            self.peek(),
            Some(b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9')
        ) {
            self.at += 1;
        }
        let text = self.text.get(start..self.at).unwrap_or_default();
        let digits = text.strip_prefix('-').unwrap_or(text);
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        if plain && digits.len() > 1 && digits.starts_with('0') {
            return Err(self.syntax("a number starts with 0"));
        }
        // RFC 8785 writes -0 as 0, so -0 could never be canonical.
        let integer = text
            .parse::<i64>()
            .ok()
            .filter(|integer| integer.unsigned_abs() <= INTEGER_MAX && text != "-0");
        if plain && integer.is_some() {
            Ok(())
        } else {
            Err(Error::Number(text.to_owned()))
        }
    }

    /// Reads one string and returns it unescaped, since that is how names are compared.
    fn string(&mut self) -> Result<Cow<'a, str>, Error> {
        let start = self.at;
        self.take(b'"', "`\"` is missing")?;
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let plain = rest
            .iter()
            .position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f));
        if let Some(length) = plain.filter(|end| rest.get(*end) == Some(&b'"')) {
            let inside = self.text.get(self.at..self.at + length);
            self.at += length + 1;
            return Ok(Cow::Borrowed(inside.unwrap_or_default()));
        }
        loop {
            match self.peek() {
                None => return Err(self.syntax("a string does not end")),
                Some(b'"') => break,
                Some(b'\\') => self.at += 2,
                Some(_) => self.at += 1,
            }
        }
        self.at += 1;
        let raw = self
            .text
            .as_bytes()
            .get(start..self.at)
            .ok_or_else(|| self.syntax("a string does not end"))?;
        // serde_json refuses control characters, bad escapes and lone surrogates.
        serde_json::from_slice(raw)
            .map(Cow::Owned)
            .map_err(|error| Error::Syntax(format!("{error}, in the string at byte {start}")))
    }
}

/// The names of one object: the first few are compared one by one, which is all that most objects need.
#[derive(Default)]
struct Names<'a> {
    first: Vec<Cow<'a, str>>,
    others: BTreeSet<Cow<'a, str>>,
}

impl<'a> Names<'a> {
    const FIRST: usize = 16;

    /// Takes a name in, or gives back one that was there before.
    fn add(&mut self, name: Cow<'a, str>) -> Option<String> {
        if self.first.contains(&name) || self.others.contains(&name) {
            return Some(name.into_owned());
        }
        if self.first.len() < Self::FIRST {
            self.first.push(name);
        } else {
            self.others.insert(name);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn refuses(text: &[u8], expected: fn(&Error) -> bool) {
        let error = check(text).expect_err("it was accepted");
        assert!(
            expected(&error),
            "{}: {error}",
            String::from_utf8_lossy(text)
        );
    }

    #[test]
    fn i_json_is_strict() {
        for accepted in [
            "{}",
            " { \"a\" : [1,-2,null,true,\"\\ud83d\\ude00\"] } ",
            "{\"a\":{\"a\":1}}",
            "{\"n\":9007199254740991}",
        ] {
            assert_eq!(check(accepted.as_bytes()), Ok(()), "{accepted}");
        }
        refuses(b"\xef\xbb\xbf{}", |error| {
            matches!(error, Error::ByteOrderMark)
        });
        refuses(b"[]", |error| matches!(error, Error::NotAnObject));
        refuses(
            b"{\"a\":1,\"\\u0061\":2}",
            |error| matches!(error, Error::DuplicateName(name) if name == "a"),
        );
        refuses(b"{\"a\":{\"b\":1,\"b\":1}}", |error| {
            matches!(error, Error::DuplicateName(_))
        });
        for number in [
            "1.5",
            "1e3",
            "9007199254740992",
            "-9007199254740992",
            "-0",
            "1.0",
            "-",
            "99999999999999999999",
            "-9223372036854775808",
        ] {
            refuses(format!("{{\"a\":{number}}}").as_bytes(), |error| {
                matches!(error, Error::Number(_))
            });
        }
        for syntax in [
            "",
            "{",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{} {}",
            "{\"a\":01}",
            "{a:1}",
            "{\"a\":tru}",
            "nul",
            "{\"a\":\"\n\"}",
            "{\"a\":\"\\ud800\"}",
            "{\"a\":\"\\udc00x\"}",
            "{\"a\":\"\\x\"}",
            "{\"a\":[1,]}",
            "{\"a",
            "{\"a\\",
        ] {
            refuses(syntax.as_bytes(), |error| matches!(error, Error::Syntax(_)));
        }
        refuses(b"{\"a\":\"\xff\"}", |error| {
            matches!(error, Error::Syntax(_))
        });
        let deep = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(check(deep(31).as_bytes()), Ok(()));
        refuses(deep(32).as_bytes(), |error| matches!(error, Error::TooDeep));
    }

    #[test]
    fn a_name_is_compared_with_every_other_as_it_is_read() {
        let names = |last: &str| {
            let names: Vec<String> = (0..40).map(|name| format!("\"n{name}\":0")).collect();
            format!("{{{},\"{last}\":1}}", names.join(","))
        };
        assert_eq!(check(names("n40").as_bytes()), Ok(()));
        for again in ["n0", "n15", "n16", "n39", "\\u006e0", "n3\\u0039"] {
            refuses(names(again).as_bytes(), |error| {
                matches!(error, Error::DuplicateName(_))
            });
        }
    }

    #[test]
    fn names_sort_by_utf16() {
        let value = serde_json::json!({"\u{fb33}": 1, "\u{1f600}": 2, "a": 3, "B": 4, "": 5});
        assert_eq!(
            String::from_utf8(canonical(&value).unwrap()).unwrap(),
            "{\"\":5,\"B\":4,\"a\":3,\"\u{1f600}\":2,\"\u{fb33}\":1}"
        );
        assert!(parse_canonical(b"{\"a\":1}").is_ok());
        assert_eq!(parse_canonical(b"{\"a\": 1}"), Err(Error::NotCanonical));
        for number in [serde_json::json!(0.5), i64::MIN.into(), u64::MAX.into()] {
            assert!(
                matches!(canonical(&number), Err(Error::Number(_))),
                "{number}"
            );
        }
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-(INTEGER_MAX as i64)..=INTEGER_MAX as i64).prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn canonical_agrees_with_the_reference(members in prop::collection::btree_map(any::<String>(), values(), 0..6)) {
            let value = Value::Object(members.into_iter().collect());
            let ours = canonical(&value).unwrap();
            prop_assert_eq!(&ours, &serde_json_canonicalizer::to_vec(&value).unwrap());
            prop_assert_eq!(parse_canonical(&ours).unwrap(), value);
        }
    }
}
