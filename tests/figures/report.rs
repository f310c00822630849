//! A figure, the table, and one JSON object per line.

use anyhow::{Context, Result};
use serde::Serialize;
use std::fmt::Arguments;
use std::io::Write;
use std::path::Path;

/// What was measured beside ours, in the same run.
#[derive(Debug, Serialize)]
pub(crate) struct Limit {
    pub(crate) name: &'static str,
    pub(crate) value: f64,
}

/// One figure. What is not skipped is what a line of `--json` holds.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) ours: f64,
    pub(crate) limit: Option<Limit>,
    /// Ours divided by the limit.
    pub(crate) ratio: Option<f64>,
    /// What the ratio should be, or ours where nothing stands beside it.
    pub(crate) goal: Option<f64>,
    pub(crate) met: Option<bool>,
    /// With what it was measured.
    #[serde(skip)]
    pub(crate) how: String,
}

impl Figure {
    /// A figure without anything beside it; its unit goes into its name.
    pub(crate) fn plain(name: &str, unit: &str, ours: f64) -> Self {
        Self {
            name: format!("{name} ({unit})"),
            ours,
            limit: None,
            ratio: None,
            goal: None,
            met: None,
            how: String::new(),
        }
    }

    /// With what was measured beside it.
    pub(crate) fn beside(mut self, name: &'static str, value: f64) -> Self {
        self.ratio = (value > 0.0).then(|| self.ours / value);
        self.limit = Some(Limit { name, value });
        self
    }

    /// With the largest ratio that is good enough; where nothing stands beside it, the largest value.
    pub(crate) fn at_most(mut self, goal: f64) -> Self {
        self.goal = Some(goal);
        self.met = Some(self.ratio.unwrap_or(self.ours) <= goal);
        self
    }

    /// With the smallest ratio that is good enough.
    pub(crate) fn at_least(mut self, goal: f64) -> Self {
        self.goal = Some(goal);
        self.met = Some(self.ratio.unwrap_or(self.ours) >= goal);
        self
    }

    /// With what it was measured with.
    pub(crate) fn how(mut self, how: impl Into<String>) -> Self {
        self.how = how.into();
        self
    }
}

/// The middle of the sorted values.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// A line on standard error.
pub(crate) fn progress(text: Arguments<'_>) {
    writeln!(std::io::stderr(), "{text}").ok();
}

/// The table, on standard output.
pub(crate) fn table(figures: &[Figure]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{:44} {:>12} {:>12} {:>6} {:>6} {:3}  beside",
        "figure", "ours", "limit", "ratio", "goal", "met"
    )?;
    for figure in figures {
        let number = |value: Option<f64>| {
            value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"))
        };
        let met = figure.met.map_or("-", |met| if met { "yes" } else { "no" });
        writeln!(
            out,
            "{:44} {:>12.1} {:>12} {:>6} {:>6} {:3}  {}",
            figure.name,
            figure.ours,
            figure
                .limit
                .as_ref()
                .map_or_else(|| "-".to_owned(), |limit| format!("{:.1}", limit.value)),
            number(figure.ratio),
            number(figure.goal),
            met,
            figure.limit.as_ref().map_or("", |limit| limit.name),
        )?;
    }
    for figure in figures {
        writeln!(out, "{}: {}", figure.name, figure.how)?;
    }
    Ok(())
}

/// One JSON object per figure and line.
pub(crate) fn json(figures: &[Figure], path: &Path) -> Result<()> {
    let mut text = String::new();
    for figure in figures {
        text.push_str(&serde_json::to_string(figure)?);
        text.push('\n');
    }
    std::fs::write(path, text).with_context(|| format!("cannot write `{}`", path.display()))
}
