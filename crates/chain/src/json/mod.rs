//! I-JSON in, RFC 8785 out: the only JSON that is hashed or signed here.
//!
//! [`check`] accepts one object as docs/format.md section 2 allows it: no name twice, no lone surrogate, no byte order mark,
//! integers only, bounded depth. [`canonical`] writes RFC 8785. No digest depends on the order in which a map was filled.

use serde::Serialize;
use serde_json::Value;

use countersign_ids::limits;

mod scan;
mod write;

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
    scan::object(text)
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
    to_canonical(value)
}

/// The RFC 8785 bytes of anything that serialises.
///
/// # Errors
/// As [`canonical`], a name that occurs twice, or when `value` does not serialise to JSON.
pub fn to_canonical<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, Error> {
    let mut out = Vec::new();
    value.serialize(write::Writer::new(&mut out))?;
    Ok(out)
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
