//! Outcomes that no control plane took: kept as files, so that nothing that happened here is lost unheard.
//!
//! `state/unsaid/<order digest>-<result>.json`, canonical JSON. An outcome comes here when the control plane refused it for
//! good, or when somebody decided to pair with another site or ledger before it was taken. Nothing here is read back by this
//! program but the names: what follows from such an outcome is for people.

use std::path::PathBuf;

use countersign_evidence::{Envelope, wire};
use countersign_ids::Time;
use serde::Serialize;

use crate::{
    Error,
    config::Layout,
    files,
    report::{Report, word},
};

/// Why an outcome was not taken, when somebody pairs elsewhere before it was.
pub(crate) const PAIRED_ELSEWHERE: &str = "paired-elsewhere";

/// One outcome, and why nobody took it.
#[derive(Debug, Serialize)]
struct Unsaid<'a> {
    v: u8,
    kept_at: Time,
    /// The code of the refusal, or `paired-elsewhere`.
    why: &'a str,
    outcome: &'a Report,
    /// The message as it was signed, if it came so far: it may have been heard.
    #[serde(skip_serializing_if = "Option::is_none")]
    envelope: Option<&'a Envelope>,
}

/// Keeps an outcome, durably, and says so; what was kept before under the same name says the same. Gives the file.
pub(crate) fn keep(
    layout: &Layout,
    report: &Report,
    envelope: Option<&Envelope>,
    why: &str,
    now: Time,
) -> Result<Option<PathBuf>, Error> {
    let Report::Outcome {
        order_digest,
        result,
        ..
    } = report
    else {
        return Ok(None);
    };
    let directory = layout.unsaid();
    files::make_private_directory(&directory).map_err(Error::io(&directory))?;
    let path = directory.join(format!("{}-{}.json", order_digest.hex(), word(*result)));
    let unsaid = Unsaid {
        v: 1,
        kept_at: now,
        why,
        outcome: report,
        envelope,
    };
    let bytes = wire::canonical(&unsaid).map_err(|error| Error::Message(error.into()))?;
    files::replace(&path, &bytes, files::OWNER_ONLY).map_err(Error::io(&path))?;
    tracing::error!(order = %order_digest, result = word(*result), why, file = %path.display(),
        "the control plane has not taken this outcome; it is kept here");
    Ok(Some(path))
}

/// The files of the outcomes that nobody took, in the order of their names.
pub(crate) fn kept(layout: &Layout) -> Result<Vec<PathBuf>, Error> {
    let directory = layout.unsaid();
    let entries = match std::fs::read_dir(&directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(Error::io(&directory))?,
    };
    let mut kept = Vec::new();
    for entry in entries {
        let path = entry.map_err(Error::io(&directory))?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            kept.push(path);
        }
    }
    kept.sort();
    Ok(kept)
}
