//! A reader that builds nothing.

use std::{borrow::Cow, collections::BTreeSet};

use countersign_ids::limits;

use super::{Error, INTEGER_MAX};

/// Checks that `text` is one object.
pub(super) fn object(text: &str) -> Result<(), Error> {
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
