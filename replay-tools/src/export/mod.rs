//! Writing a bundle: the whole ledger, or one tenant with what the platform chain proves about it.
//!
//! Copies bytes; it judges nothing, so a damaged ledger can be exported and its bundle says the same as the ledger. The
//! same ledger gives the same bytes. docs/format.md section 6.

mod parts;
mod platform;
mod pruned;
mod whole;

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter};
use std::path::Path;

use countersign_chain::json;
use countersign_ids::{Digest, Time};
use serde::Serialize;

use crate::bundle::line::LineError;
use crate::progress::Progress;
use crate::source::{Source, SourceError};
use crate::zip::Writer;
use parts::Parts;

/// What to export.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// Only this tenant.
    pub tenant: Option<String>,
    /// Release files and diffs too.
    pub attachments: bool,
    /// Of which times operational and personal bodies are in it; evidence always is.
    pub period: Period,
}

/// A period: both ends count, and where one is not given it is open.
#[derive(Debug, Clone, Copy, Default)]
pub struct Period {
    /// From then on.
    pub from: Option<Time>,
    /// Until then.
    pub until: Option<Time>,
}

impl Period {
    fn holds(&self, time: Time) -> bool {
        self.from.is_none_or(|from| from <= time) && self.until.is_none_or(|until| time <= until)
    }
}

/// What was written.
#[derive(Debug, Clone, Serialize)]
pub struct Exported {
    /// Chains.
    pub chains: u64,
    /// Events.
    pub events: u64,
    /// Blobs.
    pub blobs: u64,
    /// Size of the bundle.
    pub bytes: u64,
    /// SHA-256 of the bundle.
    pub digest: Digest,
    /// What the source lacks; the bundle's verdict will say so too.
    pub warnings: Vec<String>,
}

/// Why no bundle was written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The source cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The bundle cannot be written (exit 64).
    #[error("cannot write `{path}`")]
    Output {
        /// The bundle.
        path: String,
        /// Why not.
        #[source]
        error: io::Error,
    },
    /// An event has no form as a line (exit 1).
    #[error("chain `{chain}` holds an event that is no text")]
    NotText {
        /// The chain.
        chain: String,
        /// Why not.
        #[source]
        error: LineError,
    },
    /// There is no such tenant (exit 64).
    #[error("there is no tenant `{0}` in this ledger")]
    NoTenant(String),
    /// The platform chain is not whole, so nothing can be proved from it (exit 2).
    #[error("this source holds only a part of the platform chain; export from the ledger itself")]
    Sparse,
    /// No platform checkpoint ends with recorded heads and covers what the tenant needs (exit 2).
    #[error(
        "no platform checkpoint covers what this tenant names; stop the server cleanly, or wait for the next recorded heads"
    )]
    NoAnchor,
    /// The platform chain does not verify as far as the export needs it (exit 1).
    #[error("the platform chain is damaged: {0}")]
    Damaged(String),
}

impl ExportError {
    /// The exit code.
    pub const fn exit(&self) -> u8 {
        match self {
            Self::Output { .. } | Self::NoTenant(_) => 64,
            Self::Sparse | Self::NoAnchor => 2,
            Self::NotText { .. } | Self::Damaged(_) => 1,
            Self::Source(error) => error.exit(),
        }
    }
}

/// Writes a bundle to a file that does not exist yet. On an error no file is left behind.
pub fn export(
    source: &dyn Source,
    scope: &Scope,
    out: &Path,
    progress: &mut Progress,
) -> Result<Exported, ExportError> {
    let shown = out.display().to_string();
    let failed = |error| ExportError::Output {
        path: shown.clone(),
        error,
    };
    let folder = out
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or_else(|| Path::new("."));
    // Parts of a large ledger do not belong into a temporary file system in memory.
    let spool = tempfile::tempdir_in(folder).map_err(failed)?;
    let mut parts = Parts::new(spool.path());
    match &scope.tenant {
        None => whole::collect(source, scope, &mut parts, progress)?,
        Some(tenant) => platform::collect(source, tenant, scope, &mut parts, progress)?,
    }
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(out)
        .map_err(failed)?;
    let written = write(&mut parts, source, file).map_err(failed);
    if written.is_err() {
        fs::remove_file(out).map_err(failed)?;
    }
    let (bytes, digest) = written?;
    progress.finish();
    Ok(Exported {
        chains: parts.chains.len() as u64,
        events: parts.events,
        blobs: parts.blobs.len() as u64,
        bytes,
        digest,
        warnings: std::mem::take(&mut parts.warnings),
    })
}

/// Writes every member in order of its name, the manifest among them.
fn write(parts: &mut Parts, source: &dyn Source, file: File) -> io::Result<(u64, Digest)> {
    let manifest =
        json::to_canonical(&parts.manifest(source.ledger())).map_err(io::Error::other)?;
    parts.small("manifest.json", &manifest)?;
    let mut writer = Writer::new(parts::Summed::new(BufWriter::with_capacity(1 << 18, file)));
    for (name, part) in &parts.members {
        let mut content = parts.open(part, source)?;
        writer.member(name, part.size, part.crc, &mut content)?;
    }
    let (out, bytes, digest) = writer.finish()?.finish();
    let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    Ok((bytes, digest))
}

/// What every bundle says to whoever opens it with a double click.
const README: &str = "\
This is a Countersign bundle: a ledger, or one tenant's part of it, with everything that is needed to check it.

Check it:
    replay verify THIS_FILE.zip
    python verify.py THIS_FILE.zip --allow policy      (examples/verify; pip install blake3 cryptography)
Pin the genesis key with --genesis, from a source other than this file: without it, a ledger forged whole passes.

events/<chain>.jsonl        one event a line: header, body and salt (or why the body is absent)
checkpoints/<chain>/        signed sizes and roots of a chain's tree
proofs/<chain>/             inclusion proofs, where only a part of a chain is here
heads/                      paths of this tenant's chains into recorded heads
tiles/<chain>/              hashes of the tree of a pruned chain, before its cut
blobs/sha256/               policy sets, entity snapshots, view documents
manifest.json               what this file holds; nobody signs it

The format is docs/format.md of the project. Do not repack this file: its framing is part of what is checked.
";
