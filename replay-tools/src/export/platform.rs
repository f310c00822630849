//! One tenant: its chains whole, and of the platform chain what proves their keys, their people and their heads.

use std::collections::{BTreeMap, BTreeSet};

use countersign_chain::{Header, Record, TlogProof};
use countersign_events::chain::Chain;
use countersign_events::heads::Heads;
use countersign_events::keys::Keys;
use countersign_events::{Event, platform};
use countersign_evidence::KeyStatement;
use countersign_ids::Digest;

use super::parts::Parts;
use super::pruned;
use super::whole::{self, spool};
use super::{ExportError, Scope};
use crate::bundle::line;
use crate::bundle::manifest::FormName;
use crate::bundle::names;
use crate::progress::Progress;
use crate::source::{Entry, Form, GO_ON, Source, Wanted};
use crate::verdict::Findings;
use crate::verify::leaves::{Head, LeafTree};
use crate::verify::platform::{HeadsEntry, HeadsPage};
use crate::verify::read_checkpoint;

const PLATFORM: &str = "platform";

/// What is known of the platform chain after reading it once.
#[derive(Debug, Default)]
struct Survey {
    /// Leaves are the headers.
    tree: LeafTree,
    /// Sequences of `heads.recorded`.
    heads: BTreeSet<u64>,
    /// Sequences that every tenant's bundle holds: keys, and the first heads after a key's end.
    always: BTreeSet<u64>,
    /// A key ended, and no heads were recorded since.
    ended: bool,
}

/// Collects every member of a tenant's bundle.
pub(super) fn collect(
    source: &dyn Source,
    tenant: &str,
    scope: &Scope,
    parts: &mut Parts,
    progress: &mut Progress,
) -> Result<(), ExportError> {
    let beats = format!("{tenant}.beats");
    if source
        .chains()
        .get(PLATFORM)
        .is_some_and(|(form, _)| *form == Form::Sparse)
    {
        return Err(ExportError::Sparse);
    }
    if tenant == PLATFORM || !source.chains().contains_key(tenant) {
        return Err(ExportError::NoTenant(tenant.to_owned()));
    }
    progress.step("events");
    let ours = |chain: &str| chain == tenant || chain == beats;
    let mut cuts = pruned::cuts(source)?;
    let sizes = whole::chains(source, (&ours, &mut cuts), scope, parts, progress)?;
    let mut named = named(source, &ours)?;
    if let Some(cut) = cuts.get(&beats) {
        named.extend([cut.at, cut.heads]);
    }
    progress.step("platform chain");
    let survey = survey(source)?;
    let (size, note) = anchor(source, &survey, &named)?;
    let held: BTreeSet<u64> = survey
        .always
        .iter()
        .chain(&named)
        .copied()
        .filter(|at| *at < size)
        .chain(size.checked_sub(1))
        .collect();
    write_platform(source, &held, &survey.tree, (size, &note), &sizes, parts)?;
    parts
        .small(&names::checkpoint(PLATFORM, size), note.as_bytes())
        .map_err(spool)?;
    parts.chain(PLATFORM, FormName::Sparse, size);
    for (chain, size) in &sizes {
        parts.chain(chain, whole::form(&cuts, chain), *size);
    }
    pruned::tiles(source, cuts, &ours, parts)?;
    whole::checkpoints(source, &ours, parts)?;
    whole::finish(source, parts)
}

/// Platform events that the tenant's chain names and cannot be judged without.
fn named(source: &dyn Source, ours: &Wanted<'_>) -> Result<BTreeSet<u64>, ExportError> {
    let mut named = BTreeSet::new();
    source.events(ours, &mut Findings::default(), &mut |entry, _| {
        let Ok(header) = Header::parse(&entry.record.header) else {
            return GO_ON;
        };
        if let (Some(head), false) = (&header.platformhead, header.chain.is_beats()) {
            named.insert(head.sequence.get());
        }
        if let Some(Event::Platform(platform::Platform::Noted(noted))) = whole::read(&entry.record)
            && let Ok(restated) = Header::parse(noted.header.as_bytes())
        {
            named.insert(restated.sequence.get());
        }
        GO_ON
    })?;
    Ok(named)
}

fn survey(source: &dyn Source) -> Result<Survey, ExportError> {
    let mut survey = Survey::default();
    source.events(
        &|chain| chain == PLATFORM,
        &mut Findings::default(),
        &mut |entry, _| {
            let at = survey.tree.len();
            survey.tree.push(&entry.record.header);
            match whole::read(&entry.record) {
                Some(Event::Keys(Keys::Created(_))) => {
                    survey.always.insert(at);
                }
                Some(Event::Keys(Keys::Changed(changed))) => {
                    survey.always.insert(at);
                    survey.ended |= ends_key(changed.envelope.unverified_payload());
                }
                Some(Event::Heads(_)) => {
                    survey.heads.insert(at);
                    if std::mem::take(&mut survey.ended) {
                        survey.always.insert(at);
                    }
                }
                _ => {}
            }
            GO_ON
        },
    )?;
    Ok(survey)
}

fn ends_key(payload: &[u8]) -> bool {
    serde_json::from_slice::<KeyStatement>(payload).is_ok_and(|statement| !statement.end.is_empty())
}

/// The newest platform checkpoint that ends with recorded heads and covers everything the tenant names.
fn anchor(
    source: &dyn Source,
    survey: &Survey,
    named: &BTreeSet<u64>,
) -> Result<(u64, String), ExportError> {
    let mut best: Option<(u64, String)> = None;
    source.checkpoints(&mut |chain, _, note| {
        let Some(checkpoint) = (if chain == PLATFORM {
            read_checkpoint(note)
        } else {
            None
        }) else {
            return Ok(());
        };
        let size = checkpoint.head.size;
        let ends = size
            .checked_sub(1)
            .is_some_and(|last| survey.heads.contains(&last));
        if ends && best.as_ref().is_none_or(|(best, _)| *best <= size) {
            best = Some((size, String::from_utf8_lossy(note).into_owned()));
        }
        Ok(())
    })?;
    best.filter(|(size, _)| named.last().is_none_or(|last| last < size))
        .ok_or(ExportError::NoAnchor)
}

/// Reads the platform chain once more: lines and proofs of what is held, pages of the heads among it.
fn write_platform(
    source: &dyn Source,
    held: &BTreeSet<u64>,
    tree: &LeafTree,
    (size, note): (u64, &str),
    ours: &BTreeMap<String, u64>,
    parts: &mut Parts,
) -> Result<(), ExportError> {
    let mut heads = HeadsFold::default();
    let mut failed = None;
    let mut at = 0;
    source.events(
        &|chain| chain == PLATFORM,
        &mut Findings::default(),
        &mut |entry, _| {
            let outcome = (|| {
                if let Some(event) = whole::read(&entry.record) {
                    heads.follow(source, &event)?;
                    if let (Event::Heads(_), true) = (&event, held.contains(&at)) {
                        let page = serde_json::to_value(heads.page(ours))
                            .map_err(std::io::Error::other)
                            .map_err(spool)?;
                        let page = countersign_chain::json::canonical(&page)
                            .map_err(std::io::Error::other)
                            .map_err(spool)?;
                        parts.small(&names::heads(at), &page).map_err(spool)?;
                    }
                }
                if held.contains(&at) {
                    write_event(&entry, parts)?;
                    let proof = TlogProof {
                        index: at,
                        hashes: tree.path(at, size),
                        checkpoint: note.to_owned(),
                    };
                    parts
                        .small(&names::proof(PLATFORM, at), proof.to_string().as_bytes())
                        .map_err(spool)?;
                }
                Ok(())
            })();
            at += 1;
            match outcome {
                Ok(()) if at < size => GO_ON,
                Ok(()) => Ok(std::ops::ControlFlow::Break(())),
                Err(error) => {
                    failed = Some(error);
                    Ok(std::ops::ControlFlow::Break(()))
                }
            }
        },
    )?;
    failed.map_or(Ok(()), Err)
}

fn write_event(entry: &Entry, parts: &mut Parts) -> Result<(), ExportError> {
    let not_text = |error| ExportError::NotText {
        chain: PLATFORM.to_owned(),
        error,
    };
    let record: &Record = &entry.record;
    parts
        .line(PLATFORM, &line::write(record).map_err(not_text)?)
        .map_err(spool)
}

/// The recorded heads as they change.
#[derive(Debug, Default)]
struct HeadsFold {
    heads: Vec<Head>,
    numbers: BTreeMap<String, usize>,
    leaves: LeafTree,
}

impl HeadsFold {
    fn follow(&mut self, source: &dyn Source, event: &Event) -> Result<(), ExportError> {
        match event {
            Event::Chain(Chain::Announced(announced)) => {
                let head = Head::unopened(&announced.chain.to_string());
                self.numbers.insert(head.chain.clone(), self.heads.len());
                self.leaves.push(&head.to_bytes());
                self.heads.push(head);
            }
            Event::Heads(Heads::Recorded(recorded)) => {
                for digest in &recorded.blobs {
                    self.apply(source, digest)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn apply(&mut self, source: &dyn Source, digest: &Digest) -> Result<(), ExportError> {
        let damaged = || {
            ExportError::Damaged(format!(
                "the list of heads `{digest}` is missing or malformed"
            ))
        };
        let list = source.blob(digest)?.ok_or_else(damaged)?;
        for head in Head::parse_list(&list).ok_or_else(damaged)? {
            let number = *self.numbers.get(&head.chain).ok_or_else(damaged)?;
            self.leaves.set(number, &head.to_bytes());
            *self.heads.get_mut(number).ok_or_else(damaged)? = head;
        }
        Ok(())
    }

    fn page(&self, ours: &BTreeMap<String, u64>) -> HeadsPage {
        let size = self.leaves.len();
        let entry = |chain: &String| {
            let number = *self.numbers.get(chain)?;
            let (head, number) = (self.heads.get(number)?, number as u64);
            Some((
                chain.clone(),
                HeadsEntry::of(head, number, &self.leaves.path(number, size)),
            ))
        };
        HeadsPage {
            chains: ours.keys().filter_map(entry).collect(),
            size,
        }
    }
}
