//! `cargo xtask tidy`: house rules that no compiler checks.
//!
//! Every rule returns findings; all of them are printed, and one is enough to fail.

mod configuration;
mod dependencies;
mod edges;
mod error_pages;
mod requirements;
mod sources;

use crate::{report, run};
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Something that breaks a rule: where, and what to do about it.
#[derive(Debug)]
pub(crate) struct Finding(pub(crate) String);

/// A tracked file, with its path from the root.
#[derive(Debug)]
pub(crate) struct Source {
    path: String,
    /// Absent for what is not UTF-8.
    text: Option<String>,
}

/// What `cargo metadata` says, as far as the rules need it.
#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    packages: Vec<Package>,
    workspace_members: Vec<String>,
    resolve: Option<Resolve>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    license_file: Option<String>,
    source: Option<String>,
    manifest_path: PathBuf,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Dependency {
    name: String,
    kind: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Node {
    id: String,
    features: Vec<String>,
}

impl Metadata {
    /// The packages of this workspace.
    fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages
            .iter()
            .filter(|package| self.workspace_members.contains(&package.id))
    }
}

/// Runs every rule and prints what it finds.
pub(crate) fn run() -> Result<()> {
    let root = run::root()?;
    let metadata = metadata()?;
    let sources = tracked(&root)?;
    let mut findings = Vec::new();
    findings.extend(edges::check(&metadata));
    findings.extend(dependencies::check(&metadata));
    findings.extend(configuration::check(&metadata, &root)?);
    findings.extend(sources::check(&sources));
    findings.extend(error_pages::check(&sources));
    findings.extend(requirements::check(&sources));
    for Finding(text) in &findings {
        report::line(format_args!("tidy: {text}"));
    }
    if !findings.is_empty() {
        bail!("tidy found {} thing(s)", findings.len());
    }
    Ok(())
}

fn metadata() -> Result<Metadata> {
    let command = run::cargo(&["metadata", "--format-version", "1", "--locked"])?;
    serde_json::from_slice(&run::output(command)?)
        .context("`cargo metadata` gave something unreadable")
}

/// Every file that git tracks or would track.
fn tracked(root: &Path) -> Result<Vec<Source>> {
    let mut git = std::process::Command::new("git");
    git.args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ])
    .current_dir(root);
    let listed = String::from_utf8(run::output(git)?).context("a file name is not UTF-8")?;
    let mut sources = Vec::new();
    for path in listed.split('\0').filter(|path| !path.is_empty()) {
        // Deleted but still in the index.
        let Ok(bytes) = std::fs::read(root.join(path)) else {
            continue;
        };
        sources.push(Source {
            path: path.to_owned(),
            text: String::from_utf8(bytes).ok(),
        });
    }
    Ok(sources)
}
