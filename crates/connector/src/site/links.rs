//! What a page asks a browser to load or to follow: the values of `href`, `src` and `srcset` and what its styles refer to,
//! found by a plain scan.
//!
//! Not an HTML parser: it reads tags and quoted attributes and skips comments and the text of scripts. A page
//! that hides a reference from this scan hides it from the probe only, never from the digest.

use super::css;

/// The most references of one page that are looked at.
pub(super) const REFERENCES_MAX: usize = 2_000;

/// What a page refers to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Links {
    /// The address that the references are relative to, where it is not the page's own.
    pub(super) base: Option<String>,
    /// The references, in order, each once.
    pub(super) references: Vec<String>,
}

/// Finds what a page refers to.
pub(super) fn links(page: &str) -> Links {
    let mut links = Links::default();
    let mut rest = page;
    while let Some((_, after)) = rest.split_once('<') {
        if let Some(comment) = after.strip_prefix("!--") {
            rest = comment.split_once("-->").map_or("", |(_, rest)| rest);
            continue;
        }
        let (tag, after) = split_tag(after);
        let (text, behind) = split_text(tag, after);
        let mut values = attributes(tag);
        if name(tag) == "style" {
            values.extend(css::references(text));
        }
        if name(tag) == "base" {
            links.base = links.base.or_else(|| values.into_iter().next());
        } else {
            for value in values {
                if links.references.len() < REFERENCES_MAX
                    && !value.is_empty()
                    && !links.references.contains(&value)
                {
                    links.references.push(value);
                }
            }
        }
        rest = behind;
    }
    links
}

/// The name of a tag, in lower case.
fn name(tag: &str) -> String {
    let name = tag
        .split(|character: char| !character.is_ascii_alphanumeric())
        .next();
    name.unwrap_or("").to_ascii_lowercase()
}

/// Splits behind the `>` that ends a tag; one inside quotes does not.
fn split_tag(text: &str) -> (&str, &str) {
    let mut quote = None;
    for (at, character) in text.char_indices() {
        match (quote, character) {
            (None, '>') => {
                return (
                    text.get(..at).unwrap_or(""),
                    text.get(at + 1..).unwrap_or(""),
                );
            }
            (None, '"' | '\'') => quote = Some(character),
            (Some(open), close) if open == close => quote = None,
            _ => {}
        }
    }
    (text, "")
}

/// Behind a script or a style comes text that is no markup: that text, and what is behind it.
fn split_text<'a>(tag: &str, after: &'a str) -> (&'a str, &'a str) {
    let end = match name(tag).as_str() {
        "script" => "</script",
        "style" => "</style",
        _ => return ("", after),
    };
    let lower = after.to_ascii_lowercase();
    let at = lower.find(end).unwrap_or(after.len());
    after.split_at_checked(at).unwrap_or((after, ""))
}

fn attributes(tag: &str) -> Vec<String> {
    let mut values = Vec::new();
    let mut rest = tag;
    while let Some((before, after)) = rest.split_once('=') {
        let name = before
            .trim_end()
            .rsplit(|character: char| character.is_whitespace() || "\"'/".contains(character))
            .next();
        let name = name.unwrap_or("").to_ascii_lowercase();
        let after = after.trim_start();
        let (value, behind) = match after.chars().next() {
            Some(quote @ ('"' | '\'')) => after
                .get(1..)
                .and_then(|text| text.split_once(quote))
                .unwrap_or(("", "")),
            _ => after.split_once(char::is_whitespace).unwrap_or((after, "")),
        };
        let value = value.trim().replace("&amp;", "&");
        match name.as_str() {
            "href" | "src" => values.push(value),
            "style" => values.extend(css::references(&value.replace("&quot;", "\""))),
            // A data URL holds commas of its own, and nothing that could be missing.
            "srcset" if value.contains("data:") => {}
            "srcset" => values.extend(
                value
                    .split(',')
                    .filter_map(|each| each.split_whitespace().next().map(str::to_owned)),
            ),
            _ => {}
        }
        rest = behind;
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_found_where_a_browser_finds_them() {
        for (page, expected) in [
            (
                r#"<a href="/a">x</a><img src='b.png' alt="a>b">"#,
                vec!["/a", "b.png"],
            ),
            (r#"<link rel=stylesheet href=site.css >"#, vec!["site.css"]),
            (r#"<LINK HREF = "site.css"/>"#, vec!["site.css"]),
            (
                r#"<!-- <img src="no.png"> --><img src="yes.png">"#,
                vec!["yes.png"],
            ),
            (
                r#"<script>var a = "<img src='no.png'>";</script><script src="a.js"></script>"#,
                vec!["a.js"],
            ),
            (
                r#"<style>a{}</style><img srcset="a.png 1x, b.png 2x">"#,
                vec!["a.png", "b.png"],
            ),
            (
                r#"<img data-src="no.png" src="a?x=1&amp;y=2"><img src="a?x=1&amp;y=2">"#,
                vec!["a?x=1&y=2"],
            ),
            (
                r#"<style>a{b:url(a.png)}</style><p style="b:url(&quot;c.png&quot;)">url(no.png)"#,
                vec!["a.png", "c.png"],
            ),
            (r#"<a title="href=no" href="ä.html">"#, vec!["ä.html"]),
            ("<a href=\"unclosed", vec![]),
            ("1 < 2 and 3 > 2", vec![]),
            (
                r#"<img srcset="data:image/png;base64,AAAA 1x, b.png 2x" src="c.png">"#,
                vec!["c.png"],
            ),
            ("", vec![]),
        ] {
            assert_eq!(links(page).references, expected, "{page}");
        }
    }

    #[test]
    fn the_first_base_counts() {
        let page = r#"<base href="/docs/"><base href="/no/"><img src="a.png">"#;
        let expected = Links {
            base: Some("/docs/".to_owned()),
            references: vec!["a.png".to_owned()],
        };
        assert_eq!(links(page), expected);
    }
}
