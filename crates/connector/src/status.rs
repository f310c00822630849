//! What a connector says of itself at the site, from its own files: works while it runs, and while nothing else does.

use std::path::{Path, PathBuf};

use countersign_ids::{ConnectorId, Digest, LedgerId, SiteId, TenantId};
use serde::Serialize;

use crate::{Error, config::Layout, journal::Journal, lock, site::Releases, state::State, unsaid};

/// The state of a connector, for people and for `--json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Whose connector it is; absent before it was paired.
    pub pairing: Option<PairedWith>,
    /// The process that runs it; absent while none does.
    pub running: Option<Running>,
    /// `normal`, or `quiet` with the reason.
    pub mode: String,
    /// Why it is quiet.
    pub quiet: Option<String>,
    /// The live release, `-` before the first.
    pub current: String,
    /// The releases that are kept.
    pub releases: Vec<Digest>,
    /// The order that was begun and not ended.
    pub unfinished: Option<String>,
    /// How many messages wait for the control plane.
    pub waiting: usize,
    /// The files of outcomes that no control plane took.
    pub unsaid: Vec<PathBuf>,
    /// The size of the last checkpoint that it accepted.
    pub checkpoint_size: u64,
}

/// Whose connector it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PairedWith {
    /// The ledger.
    pub ledger: LedgerId,
    /// The tenant.
    pub tenant: TenantId,
    /// The site.
    pub site: SiteId,
    /// The connector.
    pub connector: ConnectorId,
    /// The generation.
    pub generation: u64,
    /// The digest of the pinned document.
    pub document: Option<Digest>,
    /// Its version.
    pub document_version: u64,
}

/// A running connector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Running {
    /// The process id.
    pub pid: String,
    /// Where the live site is served; absent until it is.
    pub site: Option<String>,
    /// Where previews are served; absent until they are.
    pub preview: Option<String>,
}

/// Reads what the connector in `dir` says of itself; changes nothing.
pub fn status(dir: &Path) -> Result<Status, Error> {
    let layout = Layout::new(dir);
    let state = Journal::look(&layout.journal())?.unwrap_or_default();
    let releases = Releases::look(&layout.site());
    let kept = if layout.site().join("releases").is_dir() {
        releases.list()?
    } else {
        Default::default()
    };
    let current = releases
        .current()?
        .map_or_else(|| "-".to_owned(), |release| release.to_string());
    let (action, beat) = (&state.unanswered.action, &state.unanswered.beat);
    Ok(Status {
        pairing: paired_with(&state)?,
        running: lock::holder(&layout)?,
        mode: if state.quiet.is_some() {
            "quiet"
        } else {
            "normal"
        }
        .to_owned(),
        quiet: state
            .quiet
            .map(|quiet| format!("{}: {}", quiet.code, quiet.detail)),
        current,
        releases: kept.into_iter().collect(),
        unfinished: state
            .execution
            .map(|execution| execution.action.to_string()),
        waiting: state.outbox.len() + usize::from(action.is_some()) + usize::from(beat.is_some()),
        unsaid: unsaid::kept(&layout)?,
        checkpoint_size: state.checkpoint.size,
    })
}

fn paired_with(state: &State) -> Result<Option<PairedWith>, Error> {
    let Some(pairing) = &state.pairing else {
        return Ok(None);
    };
    let document = state.document.as_ref();
    Ok(Some(PairedWith {
        ledger: pairing.ledger,
        tenant: pairing.tenant.clone(),
        site: pairing.site.clone(),
        connector: pairing.connector.clone(),
        generation: pairing.generation,
        document: document.map(|document| document.digest()).transpose()?,
        document_version: document.map_or(0, |document| document.version),
    }))
}
