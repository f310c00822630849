//! RFC 8785 straight from a value to its bytes.
//!
//! Members are written as they come and put in order when their object ends, if they did not come in order: most types declare
//! them so, and then nothing is copied. What this refuses, no reader of signed bytes would accept either.

use std::{borrow::Cow, cmp::Ordering, io::Write as _, ops::Range};

use countersign_ids::limits;
use serde::{Serialize, ser};
use serde_json::Value;

use super::{Error, INTEGER_MAX};

impl ser::Error for Error {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self::Syntax(message.to_string())
    }
}

/// Writes one value.
pub(super) struct Writer<'a> {
    out: &'a mut Vec<u8>,
    depth: usize,
}

impl<'a> Writer<'a> {
    pub(super) const fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, depth: 1 }
    }

    /// One value further in.
    const fn inner(out: &'a mut Vec<u8>, depth: usize) -> Self {
        Self {
            out,
            depth: depth + 1,
        }
    }

    fn word(self, word: &str) -> Result<(), Error> {
        self.fits()?;
        self.out.extend_from_slice(word.as_bytes());
        Ok(())
    }

    const fn fits(&self) -> Result<(), Error> {
        if self.depth > limits::JSON_DEPTH_MAX + 1 {
            return Err(Error::TooDeep);
        }
        Ok(())
    }

    fn integer<I: Copy + ToString + TryInto<i64>>(self, integer: I) -> Result<(), Error> {
        self.fits()?;
        let integer = integer
            .try_into()
            .ok()
            .filter(|integer: &i64| integer.unsigned_abs() <= INTEGER_MAX)
            .ok_or_else(|| Error::Number(integer.to_string()))?;
        write!(self.out, "{integer}").map_err(ser::Error::custom)
    }

    fn text(self, text: &str) -> Result<(), Error> {
        self.fits()?;
        string(self.out, text);
        Ok(())
    }

    fn array(self) -> Result<Items<'a>, Error> {
        self.fits()?;
        self.out.push(b'[');
        Ok(Items {
            out: self.out,
            depth: self.depth,
            end: "]",
            empty: true,
        })
    }

    fn object(self) -> Result<Members<'a>, Error> {
        self.fits()?;
        self.out.push(b'{');
        Ok(Members {
            start: self.out.len(),
            out: self.out,
            depth: self.depth,
            end: "}",
            members: Vec::new(),
            name: None,
            ordered: true,
        })
    }

    /// The object with one member that names a variant; what the variant holds comes next.
    fn variant(self, variant: &str) -> Result<Self, Error> {
        self.fits()?;
        self.out.push(b'{');
        string(self.out, variant);
        self.out.push(b':');
        Ok(Writer::inner(self.out, self.depth))
    }
}

/// Writes a string: what needs no escape is copied as it is.
fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    let escaped = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..=0x1f);
    while let Some((plain, byte, behind)) = rest
        .iter()
        .position(escaped)
        .and_then(|at| Some((rest.get(..at)?, *rest.get(at)?, rest.get(at + 1..)?)))
    {
        out.extend_from_slice(plain);
        escape(out, byte);
        rest = behind;
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

fn escape(out: &mut Vec<u8>, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let short = match byte {
        0x8 => b'b',
        b'\t' => b't',
        b'\n' => b'n',
        0xc => b'f',
        b'\r' => b'r',
        b'"' | b'\\' => byte,
        _ => {
            let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'0');
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&[digit(byte >> 4), digit(byte & 0xf)]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// RFC 8785 section 3.2.3: by UTF-16 code units, which for ASCII is by bytes.
fn compare(left: &str, right: &str) -> Ordering {
    if left.is_ascii() && right.is_ascii() {
        left.cmp(right)
    } else {
        left.encode_utf16().cmp(right.encode_utf16())
    }
}

macro_rules! integers {
    ($($of:ident $integer:ty),*) => {$(
        fn $of(self, integer: $integer) -> Result<(), Error> {
            self.integer(integer)
        }
    )*};
}

impl<'a> ser::Serializer for Writer<'a> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Items<'a>;
    type SerializeTuple = Items<'a>;
    type SerializeTupleStruct = Items<'a>;
    type SerializeTupleVariant = Items<'a>;
    type SerializeMap = Members<'a>;
    type SerializeStruct = Members<'a>;
    type SerializeStructVariant = Members<'a>;

    fn serialize_bool(self, truth: bool) -> Result<(), Error> {
        self.word(if truth { "true" } else { "false" })
    }

    integers!(
        serialize_i8 i8, serialize_i16 i16, serialize_i32 i32, serialize_i64 i64, serialize_i128 i128,
        serialize_u8 u8, serialize_u16 u16, serialize_u32 u32, serialize_u64 u64, serialize_u128 u128
    );

    fn serialize_f32(self, number: f32) -> Result<(), Error> {
        Err(Error::Number(number.to_string()))
    }

    fn serialize_f64(self, number: f64) -> Result<(), Error> {
        Err(Error::Number(number.to_string()))
    }

    fn serialize_char(self, character: char) -> Result<(), Error> {
        self.text(character.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, text: &str) -> Result<(), Error> {
        self.text(text)
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<(), Error> {
        self.collect_seq(bytes)
    }

    fn serialize_none(self) -> Result<(), Error> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Error> {
        self.word("null")
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Error> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<(), Error> {
        self.text(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        let Self { out, depth } = self;
        value.serialize(Writer { out, depth }.variant(variant)?)?;
        out.push(b'}');
        Ok(())
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Items<'a>, Error> {
        self.array()
    }

    fn serialize_tuple(self, _: usize) -> Result<Items<'a>, Error> {
        self.array()
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Items<'a>, Error> {
        self.array()
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Items<'a>, Error> {
        let items = self.variant(variant)?.array()?;
        Ok(Items { end: "]}", ..items })
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Members<'a>, Error> {
        self.object()
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Members<'a>, Error> {
        self.object()
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Members<'a>, Error> {
        let members = self.variant(variant)?.object()?;
        Ok(Members {
            end: "}}",
            ..members
        })
    }
}

/// An array under way.
pub(super) struct Items<'a> {
    out: &'a mut Vec<u8>,
    depth: usize,
    end: &'static str,
    empty: bool,
}

impl Items<'_> {
    fn item<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        if !std::mem::replace(&mut self.empty, false) {
            self.out.push(b',');
        }
        value.serialize(Writer::inner(self.out, self.depth))
    }

    fn close(self) {
        self.out.extend_from_slice(self.end.as_bytes());
    }
}

/// An object under way.
pub(super) struct Members<'a> {
    out: &'a mut Vec<u8>,
    depth: usize,
    end: &'static str,
    /// Where the first member begins.
    start: usize,
    /// Every member's name, and where it stands with its value.
    members: Vec<(Cow<'static, str>, Range<usize>)>,
    /// The name whose value comes next.
    name: Option<String>,
    ordered: bool,
}

impl Members<'_> {
    fn member<T: Serialize + ?Sized>(
        &mut self,
        name: Cow<'static, str>,
        value: &T,
    ) -> Result<(), Error> {
        if let Some((last, _)) = self.members.last() {
            self.out.push(b',');
            self.ordered &= compare(last, &name) == Ordering::Less;
        }
        let start = self.out.len();
        string(self.out, &name);
        self.out.push(b':');
        value.serialize(Writer::inner(self.out, self.depth))?;
        self.members.push((name, start..self.out.len()));
        Ok(())
    }

    fn close(mut self) -> Result<(), Error> {
        if !self.ordered {
            self.order()?;
        }
        self.out.extend_from_slice(self.end.as_bytes());
        Ok(())
    }

    fn order(&mut self) -> Result<(), Error> {
        self.members
            .sort_by(|(left, _), (right, _)| compare(left, right));
        let mut before: Option<&str> = None;
        let mut ordered = Vec::with_capacity(self.out.len().saturating_sub(self.start));
        for (name, range) in &self.members {
            if before.replace(name) == Some(name) {
                return Err(Error::DuplicateName(name.to_string()));
            }
            if !ordered.is_empty() {
                ordered.push(b',');
            }
            ordered.extend_from_slice(self.out.get(range.clone()).unwrap_or_default());
        }
        self.out.truncate(self.start);
        self.out.append(&mut ordered);
        Ok(())
    }
}

macro_rules! items {
    ($($of:ident $item:ident),*) => {$(
        impl ser::$of for Items<'_> {
            type Ok = ();
            type Error = Error;

            fn $item<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
                self.item(value)
            }

            fn end(self) -> Result<(), Error> {
                self.close();
                Ok(())
            }
        }
    )*};
}

items!(
    SerializeSeq serialize_element,
    SerializeTuple serialize_element,
    SerializeTupleStruct serialize_field,
    SerializeTupleVariant serialize_field
);

macro_rules! members {
    ($($of:ident),*) => {$(
        impl ser::$of for Members<'_> {
            type Ok = ();
            type Error = Error;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), Error> {
                self.member(Cow::Borrowed(name), value)
            }

            fn end(self) -> Result<(), Error> {
                self.close()
            }
        }
    )*};
}

members!(SerializeStruct, SerializeStructVariant);

impl ser::SerializeMap for Members<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        self.name = Some(name_of(key)?);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        let name = self.name.take();
        let name = name.ok_or_else(|| ser::Error::custom("a value has no name"))?;
        self.member(Cow::Owned(name), value)
    }

    fn end(self) -> Result<(), Error> {
        self.close()
    }
}

/// The name of a member: a string, or a number written as one.
fn name_of<T: Serialize + ?Sized>(key: &T) -> Result<String, Error> {
    match serde_json::to_value(key) {
        Ok(Value::String(name)) => Ok(name),
        Ok(Value::Number(number)) => Ok(number.to_string()),
        Ok(_) => Err(ser::Error::custom("the name of a member is a string")),
        Err(error) => Err(ser::Error::custom(error)),
    }
}

#[cfg(test)]
mod tests;
