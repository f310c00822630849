//! Why a text is not the value that it should be.

/// A text that does not follow the grammar of the value that it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {what}: {rule}")]
pub struct Invalid {
    what: &'static str,
    rule: &'static str,
    text: String,
}

/// Longer input is cut in the message, so that a refusal never repeats a flood.
const SHOWN_CHARS_MAX: usize = 80;

impl Invalid {
    /// Names the value that was expected, the rule that it breaks, and the text.
    #[must_use]
    pub fn new(what: &'static str, rule: &'static str, text: &str) -> Self {
        let mut shown: String = text
            .chars()
            .take(SHOWN_CHARS_MAX)
            .flat_map(char::escape_default)
            .collect();
        if text.chars().nth(SHOWN_CHARS_MAX).is_some() {
            shown.push('…');
        }
        Self {
            what,
            rule,
            text: shown,
        }
    }

    /// What was expected, with its article: `a site id`.
    #[must_use]
    pub const fn what(&self) -> &'static str {
        self.what
    }
}
