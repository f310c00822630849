//! How far long work is, with the time that is left; on standard error, and only where that is a terminal.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal as _;
use std::time::Duration;

/// A bar over a number of bytes or events.
#[derive(Debug)]
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// Over `bytes` of work.
    pub(crate) fn bytes(what: &'static str, bytes: u64) -> Self {
        let template = "{msg} {wide_bar} {bytes}/{total_bytes}, {eta} left";
        Self::of(what, bytes, template)
    }

    fn of(what: &'static str, length: u64, template: &str) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::new(length);
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(what);
        bar.enable_steady_tick(Duration::from_millis(200));
        Self(bar)
    }

    /// Over so many events.
    pub(crate) fn events(what: &'static str, events: u64) -> Self {
        let template = "{msg} {wide_bar} {pos}/{len} events, {eta} left";
        Self::of(what, events, template)
    }

    /// So many are done, from the beginning.
    pub(crate) fn at(&self, done: u64) {
        self.0.set_position(done);
    }

    /// The work is done; the line goes.
    pub(crate) fn finish(&self) {
        self.0.finish_and_clear();
    }
}
