//! Data on standard output, everything else on standard error.

use anyhow::{Context, Result};
use serde_json::Value;
use std::fmt::{Arguments, Write as _};
use std::io::Write;

/// A line for people, on standard error; a closed stream is no reason to stop.
pub(crate) fn note(text: Arguments<'_>) {
    writeln!(std::io::stderr(), "{text}").ok();
}

/// Data on standard output.
pub(crate) fn data(text: &str) -> Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| {
        if text.ends_with('\n') {
            Ok(())
        } else {
            out.write_all(b"\n")
        }
    });
    match written.and_then(|()| out.flush()) {
        // `countersign queue | head -1` is not a failure.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("could not write to standard output"),
    }
}

/// Prints `value` as JSON if asked to, else what `text` makes of it.
pub(crate) fn either(json: bool, value: &Value, text: impl FnOnce(&Value) -> String) -> Result<()> {
    if json {
        data(&serde_json::to_string_pretty(value)?)
    } else {
        data(&text(value))
    }
}

/// A member of an object as text: strings as they are, `-` where there is none.
pub(crate) fn field(value: &Value, path: &str) -> String {
    match value.pointer(path) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => "-".to_owned(),
        Some(other) => other.to_string(),
    }
}

/// Names and values below each other, names padded.
#[derive(Debug, Default)]
pub(crate) struct Facts(Vec<(String, String)>);

impl Facts {
    pub(crate) fn add(&mut self, name: impl Into<String>, value: impl Into<String>) -> &mut Self {
        self.0.push((name.into(), value.into()));
        self
    }

    pub(crate) fn text(&self) -> String {
        let width = self
            .0
            .iter()
            .map(|(name, _)| name.chars().count())
            .max()
            .unwrap_or(0);
        let mut text = String::new();
        for (name, value) in &self.0 {
            for (number, line) in value.lines().enumerate() {
                let name = if number == 0 { name.as_str() } else { "" };
                writeln!(text, "{name:width$}  {}", printable(line)).ok();
            }
        }
        text
    }
}

/// A table with a header line; columns as wide as they must be.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = header.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    let header: Vec<String> = header.iter().map(|cell| (*cell).to_owned()).collect();
    for row in std::iter::once(&header).chain(rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            write!(line, "{:width$}  ", printable(cell)).ok();
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Text that others wrote, made safe for a terminal: control characters and those that reorder text become `�`.
pub(crate) fn printable(text: &str) -> String {
    let unsafe_here = |character: char| {
        character.is_control()
            || matches!(character, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    text.chars()
        .map(|character| {
            if unsafe_here(character) {
                '\u{fffd}'
            } else {
                character
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Facts, printable, table};

    #[test]
    fn text_of_others_cannot_move_the_cursor_or_turn_around() {
        assert_eq!(
            printable("a\u{1b}[2Jb\u{202e}c\rd"),
            "a\u{fffd}[2Jb\u{fffd}c\u{fffd}d"
        );
    }

    #[test]
    fn columns_are_as_wide_as_they_must_be() {
        let rows = [
            vec!["long cell".to_owned(), "1".to_owned()],
            vec!["b".to_owned(), "22".to_owned()],
        ];
        assert_eq!(
            table(&["A", "B"], &rows),
            "A          B\nlong cell  1\nb          22\n"
        );
    }

    #[test]
    fn facts_keep_further_lines_under_the_value() {
        let mut facts = Facts::default();
        facts.add("plan", "one\ntwo").add("x", "y");
        assert_eq!(facts.text(), "plan  one\n      two\nx     y\n");
    }
}
