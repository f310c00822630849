//! Where xtask talks: lines on standard error.

use std::fmt::Arguments;
use std::io::Write;

/// Writes one line to standard error; a closed stream is no reason to stop.
pub(crate) fn line(text: Arguments<'_>) {
    writeln!(std::io::stderr(), "{text}").ok();
}
