//! Figures: what the ledger does per second, per event and per byte, beside what the machine could do at best.
//!
//! Started by `cargo xtask bench [NAME…] [--json FILE]`, always in the release profile. Ours goes through the calls that HTTP
//! uses; the limit beside it is measured in the same run, interleaved where the disk's mood matters.

mod arrays;
mod audit;
mod child;
mod conditions;
mod corpus;
mod cpu;
mod http;
mod limit;
mod load;
mod peer;
mod policy;
mod report;
mod signatures;
mod stage;
mod walk;
mod whole;
mod writing;

use anyhow::{Context, Result, bail};
use report::Figure;
use std::path::{Path, PathBuf};

/// A figure's name, and what measures it.
type Measure = (&'static str, fn(&Run) -> Result<Vec<Figure>>);

/// Every figure, in the order of the table.
const MEASURES: &[Measure] = &[
    ("lone", writing::lone),
    ("writers", writing::writers),
    ("batches", writing::batches),
    ("peer", peer::sled_per_event),
    ("policy", policy::decisions),
    ("signatures", signatures::signatures),
    ("whole", whole::whole),
    ("audit", audit::audit),
    ("propose", http::propose),
    ("arrays", arrays::arrays),
];

/// What was asked for.
#[derive(Debug)]
pub(crate) struct Run {
    names: Vec<String>,
    json: Option<PathBuf>,
    /// Events of the whole ledger.
    pub(crate) events: u64,
}

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [child, role, directory] = words.as_slice()
        && child == "--child"
    {
        return child::be(role, Path::new(directory));
    }
    let run = arguments(words)?;
    let unknown = run
        .names
        .iter()
        .find(|name| !MEASURES.iter().any(|(known, _)| known == name));
    if let Some(name) = unknown {
        let known: Vec<&str> = MEASURES.iter().map(|(name, _)| *name).collect();
        bail!("no figure `{name}`; there are {}", known.join(", "));
    }
    let conditions = conditions::Conditions::now(Path::new("."))?;
    conditions.show();
    let mut figures = Vec::new();
    for (name, measure) in MEASURES {
        if run.names.is_empty() || run.names.iter().any(|wanted| wanted == name) {
            report::progress(format_args!("measuring {name}"));
            figures
                .extend(measure(&run).with_context(|| format!("`{name}` could not be measured"))?);
        }
    }
    report::table(&figures)?;
    if let Some(path) = run.json {
        report::json(&figures, &path)?;
        conditions.write(&figures, &path)?;
    }
    Ok(())
}

/// Names and options. Cargo itself adds `--bench`.
fn arguments(words: Vec<String>) -> Result<Run> {
    let mut run = Run {
        names: Vec::new(),
        json: None,
        events: 1_000_000,
    };
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--bench" => {}
            "--json" => run.json = Some(words.next().context("--json needs a file")?.into()),
            "--events" => run.events = words.next().context("--events needs a number")?.parse()?,
            option if option.starts_with('-') => bail!("no option `{option}`"),
            name => run.names.push(name.to_owned()),
        }
    }
    Ok(run)
}
