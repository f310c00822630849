//! Figures: what the ledger does per second, per event and per byte, beside what the machine could do at best.
//!
//! Started by `cargo xtask bench [NAME…] [--json FILE]`, always in the release profile. Ours goes through the calls that HTTP
//! uses; the limit beside it is measured in the same run, interleaved where the disk's mood matters.

mod audit;
mod child;
mod conditions;
mod corpus;
mod http;
mod limit;
mod load;
mod report;
mod stage;
mod whole;
mod writing;

use anyhow::{Context, Result, bail};
use report::Figure;
use std::path::{Path, PathBuf};

/// A figure's name, and what measures it.
type Measure = (&'static str, fn() -> Result<Vec<Figure>>);

/// Every figure, in the order of the table.
const MEASURES: &[Measure] = &[
    ("lone", writing::lone),
    ("writers", writing::writers),
    ("batches", writing::batches),
    ("whole", whole::whole),
    ("audit", audit::audit),
    ("propose", http::propose),
];

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [child, role, directory] = words.as_slice()
        && child == "--child"
    {
        return child::be(role, Path::new(directory));
    }
    let (names, json) = arguments(words)?;
    let unknown = names
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
        if names.is_empty() || names.iter().any(|wanted| wanted == name) {
            report::progress(format_args!("measuring {name}"));
            figures.extend(measure().with_context(|| format!("`{name}` could not be measured"))?);
        }
    }
    report::table(&figures)?;
    if let Some(path) = json {
        report::json(&figures, &path)?;
        conditions.write(&figures, &path)?;
    }
    Ok(())
}

/// Names, and the file of `--json`. Cargo itself adds `--bench`.
fn arguments(words: Vec<String>) -> Result<(Vec<String>, Option<PathBuf>)> {
    let (mut names, mut json) = (Vec::new(), None);
    let mut arguments = words.into_iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--bench" => {}
            "--json" => {
                json = Some(PathBuf::from(
                    arguments.next().context("--json needs a file")?,
                ))
            }
            option if option.starts_with('-') => bail!("no option `{option}`"),
            name => names.push(name.to_owned()),
        }
    }
    Ok((names, json))
}
