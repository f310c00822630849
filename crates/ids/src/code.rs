//! Stable codes of failures that an operator can meet; each has a page in docs/errors/.

use std::fmt;

/// The stable name of a failure, and its title.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Code {
    /// The name in kebab case; also the name of its page.
    pub id: &'static str,
    /// One line for people.
    pub title: &'static str,
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id)
    }
}
