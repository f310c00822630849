//! The whole ledger: every event, every checkpoint, every evidence blob.

use std::collections::BTreeMap;

use countersign_chain::{Absence, Body, Header, Record, body_hash};
use countersign_events::Event;
use countersign_ids::Retention;

use super::parts::Parts;
use super::pruned::{self, Cuts};
use super::{ExportError, README, Scope};
use crate::bundle::manifest::FormName;
use crate::bundle::{line, names};
use crate::progress::Progress;
use crate::source::{Entry, Form, GO_ON, Source, SourceError, Wanted};
use crate::verdict::Findings;
use crate::verify::{attachments, evidence_blobs};

/// Collects every member of the bundle.
pub(super) fn collect(
    source: &dyn Source,
    scope: &Scope,
    parts: &mut Parts,
    progress: &mut Progress,
) -> Result<(), ExportError> {
    if source
        .chains()
        .values()
        .any(|(form, _)| *form == Form::Sparse)
    {
        return Err(ExportError::Sparse);
    }
    progress.step("events");
    let mut cuts = pruned::cuts(source)?;
    let sizes = chains(source, (&|_| true, &mut cuts), scope, parts, progress)?;
    for (chain, size) in sizes {
        parts.chain(&chain, form(&cuts, &chain), size);
    }
    pruned::tiles(source, cuts, &|_| true, parts)?;
    progress.step("checkpoints and blobs");
    checkpoints(source, &|_| true, parts)?;
    finish(source, parts)
}

/// The form of a chain that is not sparse.
pub(super) fn form(cuts: &Cuts, chain: &str) -> FormName {
    if cuts.contains_key(chain) {
        FormName::Pruned
    } else {
        FormName::Whole
    }
}

/// What every bundle ends with.
pub(super) fn finish(source: &dyn Source, parts: &mut Parts) -> Result<(), ExportError> {
    parts.finish_lines().map_err(spool)?;
    parts.add_blobs(source)?;
    parts.small("README.txt", README.as_bytes()).map_err(spool)
}

/// Writes the lines of chains, whole or from their cut on, and notes the blobs that their bodies name.
pub(super) fn chains(
    source: &dyn Source,
    (wanted, cuts): (&Wanted<'_>, &mut Cuts),
    scope: &Scope,
    parts: &mut Parts,
    progress: &mut Progress,
) -> Result<BTreeMap<String, u64>, ExportError> {
    let mut sizes: BTreeMap<String, u64> = BTreeMap::new();
    let mut failed = None;
    source.events(wanted, &mut Findings::default(), &mut |entry, _| {
        progress.event();
        if pruned::is_before(cuts, &entry) {
            return GO_ON;
        }
        if let Err(error) = event(&entry, scope, parts) {
            failed = Some(error);
            return Ok(std::ops::ControlFlow::Break(()));
        }
        *sizes.entry(entry.chain).or_default() += 1;
        GO_ON
    })?;
    failed.map_or(Ok(sizes), Err)
}

/// One event: its line, and the blobs that it names.
pub(super) fn event(entry: &Entry, scope: &Scope, parts: &mut Parts) -> Result<(), ExportError> {
    let withheld = scope.withholds(&entry.record);
    let text = line::write(withheld.as_ref().unwrap_or(&entry.record)).map_err(|error| {
        ExportError::NotText {
            chain: entry.chain.clone(),
            error,
        }
    })?;
    parts.line(&entry.chain, &text).map_err(spool)?;
    if let Some(event) = read(&entry.record) {
        parts.blobs.extend(evidence_blobs(&event));
        if scope.attachments {
            parts.blobs.extend(attachments(&event));
        }
    }
    Ok(())
}

impl Scope {
    /// The event without its body, where that is of another time than was asked for.
    fn withholds(&self, record: &Record) -> Option<Record> {
        let header = Header::parse(&record.header).ok()?;
        let here = header.retention == Retention::Evidence || self.period.holds(header.time);
        let present = matches!(record.body, Body::Present { .. });
        (present && !here).then(|| Record {
            header: record.header.clone(),
            body: Body::Absent(Absence::Withheld),
        })
    }
}

/// The event, if its body is what its header says and can be read.
pub(super) fn read(record: &Record) -> Option<Event> {
    let header = Header::parse(&record.header).ok()?;
    let Body::Present { salt, bytes } = &record.body else {
        return None;
    };
    let readable =
        header.retention != Retention::Personal && body_hash(salt, bytes) == header.bodyhash;
    Event::decode(&header.event_type, bytes)
        .ok()
        .filter(|_| readable)
}

/// Copies the checkpoints of chains; of two for one size the later stays.
pub(super) fn checkpoints(
    source: &dyn Source,
    wanted: &Wanted<'_>,
    parts: &mut Parts,
) -> Result<(), ExportError> {
    let mut failed = None;
    source.checkpoints(&mut |chain, size, note| {
        if wanted(chain)
            && let Some(size) = size.or_else(|| crate::verify::checkpoint_size(note))
            && let Err(error) = parts.small(&names::checkpoint(chain, size), note)
        {
            failed = Some(error);
        }
        Ok(())
    })?;
    failed.map_or(Ok(()), |error| Err(spool(error)))
}

/// A failure of the files that hold the parts until the bundle is written.
pub(super) fn spool(error: std::io::Error) -> ExportError {
    ExportError::Source(SourceError::Io {
        path: "the bundle's parts".to_owned(),
        error,
    })
}
