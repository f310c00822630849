//! A progress line on standard error, and only where that is a terminal.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Events between two updates.
const EVERY: u64 = 1024;

/// Counts events as they pass.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    count: u64,
}

impl Progress {
    /// Shows progress if standard error is a terminal.
    pub fn on_terminal() -> Self {
        let bar = if std::io::stderr().is_terminal() {
            ProgressBar::new_spinner()
        } else {
            ProgressBar::hidden()
        };
        if let Ok(style) =
            ProgressStyle::with_template("{spinner} {msg} {human_pos} events, {per_sec}")
        {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar, count: 0 }
    }

    /// Shows nothing.
    pub fn hidden() -> Self {
        Self {
            bar: ProgressBar::hidden(),
            count: 0,
        }
    }

    /// Says how many events there will be, so that the time left can be told.
    pub fn expect(&self, events: Option<u64>) {
        let Some(events) = events else { return };
        self.bar.set_length(events);
        let style =
            "{spinner} {msg} [{bar:30}] {human_pos} of {human_len} events, {per_sec}, {eta} left";
        if let Ok(style) = ProgressStyle::with_template(style) {
            self.bar.set_style(style);
        }
    }

    /// Names what is being done.
    pub fn step(&self, what: &'static str) {
        self.bar.set_message(what);
    }

    /// Counts one event.
    pub fn event(&mut self) {
        self.count += 1;
        if self.count.is_multiple_of(EVERY) {
            self.bar.set_position(self.count);
        }
    }

    /// Clears the line.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
