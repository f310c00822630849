//! What a style sheet asks a browser to load: `url(...)` and the strings of `@import`, found by a plain scan.
//!
//! Not a CSS parser: it knows comments, strings, escapes and names, and nothing of what a rule means. The bare strings of
//! `image-set()` are not found. What hides from this scan hides from the probe only, never from the digest.

use std::{iter::Peekable, str::Chars};

/// The references of a style sheet, or of the value of a `style` attribute, in their order.
pub(super) fn references(text: &str) -> Vec<String> {
    let mut scan = Scan {
        rest: text.chars().peekable(),
        found: Vec::new(),
    };
    scan.all();
    scan.found.retain(|reference| !reference.is_empty());
    scan.found
}

struct Scan<'a> {
    rest: Peekable<Chars<'a>>,
    found: Vec<String>,
}

impl Scan<'_> {
    fn all(&mut self) {
        let mut importing = false;
        while let Some(character) = self.rest.next() {
            match character {
                '/' if self.take('*') => self.comment(),
                '"' | '\'' => {
                    let text = self.string(character);
                    if importing {
                        self.found.push(text);
                    }
                    importing = false;
                }
                '@' => importing = self.name(None).eq_ignore_ascii_case("import"),
                '\\' => drop(self.escaped()),
                first if is_name(first) => {
                    let name = self.name(Some(first));
                    if name.eq_ignore_ascii_case("url") && self.take('(') {
                        let reference = self.reference();
                        self.found.push(reference);
                    }
                    importing = false;
                }
                other => importing = importing && other.is_ascii_whitespace(),
            }
        }
    }

    fn take(&mut self, wanted: char) -> bool {
        self.rest.next_if_eq(&wanted).is_some()
    }

    fn comment(&mut self) {
        let mut star = false;
        for character in self.rest.by_ref() {
            if star && character == '/' {
                return;
            }
            star = character == '*';
        }
    }

    fn name(&mut self, first: Option<char>) -> String {
        let mut name: String = first.into_iter().collect();
        while let Some(next) = self.rest.next_if(|next| is_name(*next)) {
            name.push(next);
        }
        name
    }

    /// Up to the quote that began it; a line that ends inside of it ends it too.
    fn string(&mut self, quote: char) -> String {
        let mut text = String::new();
        while let Some(character) = self.rest.next() {
            match character {
                end if end == quote || end == '\n' => break,
                '\\' => text.extend(self.escaped()),
                other => text.push(other),
            }
        }
        text
    }

    /// Behind `url(`: a string, or everything up to the parenthesis.
    fn reference(&mut self) -> String {
        while self.rest.next_if(char::is_ascii_whitespace).is_some() {}
        if let Some(quote) = self.rest.next_if(|next| matches!(next, '"' | '\'')) {
            return self.string(quote);
        }
        let mut text = String::new();
        while let Some(character) = self.rest.next() {
            match character {
                ')' => break,
                '\\' => text.extend(self.escaped()),
                other => text.push(other),
            }
        }
        text.trim().to_owned()
    }

    /// What stands behind a backslash: up to six hexadecimal digits, the end of a line, or a character as it is.
    fn escaped(&mut self) -> Option<char> {
        let mut digits = String::new();
        while digits.len() < 6 {
            match self.rest.next_if(char::is_ascii_hexdigit) {
                Some(digit) => digits.push(digit),
                None => break,
            }
        }
        if digits.is_empty() {
            return self.rest.next().filter(|next| *next != '\n');
        }
        self.rest.next_if(char::is_ascii_whitespace);
        u32::from_str_radix(&digits, 16)
            .ok()
            .and_then(char::from_u32)
    }
}

const fn is_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '-' | '_') || !character.is_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_found_where_a_browser_finds_them() {
        for (sheet, expected) in [
            ("a{background:url(a.png)}", vec!["a.png"]),
            ("a{background:URL( \"a b.png\" )}", vec!["a b.png"]),
            (
                "a{background: url('a)b.png') , url(c.png)}",
                vec!["a)b.png", "c.png"],
            ),
            (
                "@import 'base.css'; @import url(more.css) screen;",
                vec!["base.css", "more.css"],
            ),
            ("@IMPORT/**/\"base.css\"", vec!["base.css"]),
            (
                "@font-face{src:local('no'),url(f.woff2)format('woff2')}",
                vec!["f.woff2"],
            ),
            (
                "/* url(no.png) */ a{content:'url(no.png)'} b{c:url(yes.png)}",
                vec!["yes.png"],
            ),
            ("@charset 'utf-8'; a{content:\"\\\"url(no.png)\"}", vec![]),
            (
                "a{b:url(a\\)b.png)} c{d:url(\\61 .png)}",
                vec!["a)b.png", "a.png"],
            ),
            ("a{b:curl(no.png);c:url-prefix(no)}", vec![]),
            (
                "a{b:url()} c{d:url(#mask)} e{f:url(data:,x)}",
                vec!["#mask", "data:,x"],
            ),
            ("a{b:url(unclosed", vec!["unclosed"]),
            ("a{b:url('unclosed", vec!["unclosed"]),
            ("/* unclosed url(no.png)", vec![]),
            ("\\", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(references(sheet), expected, "{sheet}");
        }
    }
}
