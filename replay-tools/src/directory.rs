//! A data directory as a source, live or stopped: its journal up to the last whole frame, nothing else, and no lock.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::path::Path;

use countersign_chain::{Body, Record};
use countersign_ids::{Digest, LedgerId};
use countersign_store::read::{Item as StoreItem, Reader};
use countersign_store::{Error, Position};

use crate::source::{
    Entry, Form, Item, Kind, Source, SourceError, Stream, VisitNote, Wanted, chain_named,
};
use crate::verdict::{Findings, Level};

/// Bytes of checkpoints, and of the platform chain, that are kept in memory.
const KEPT_BYTES_MAX: usize = 8 << 20;

/// An opened data directory.
#[derive(Debug)]
pub struct Directory {
    path: String,
    reader: Reader,
    kind: Kind,
    survey: OnceCell<Survey>,
}

/// What one reading of the whole journal found. Later readings end where it ended, although a live one grows.
#[derive(Debug, Default)]
struct Survey {
    /// What can be read: from here to the end of an item there, part after part. Between two parts is damage.
    parts: Vec<(Position, Position)>,
    sizes: BTreeMap<String, u64>,
    nameless: u64,
    torn_bytes: u64,
    damage: Vec<String>,
    notes: Kept<(String, String)>,
    platform: Kept<Record>,
}

/// Small things that are needed again, kept while they are few; otherwise the journal is read once more for them.
#[derive(Debug)]
struct Kept<T> {
    items: Vec<T>,
    bytes: usize,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        let (items, bytes) = (Vec::new(), 0);
        Self { items, bytes }
    }
}

impl<T> Kept<T> {
    fn keep(&mut self, item: T, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes <= KEPT_BYTES_MAX {
            self.items.push(item);
        } else {
            self.items = Vec::new();
        }
    }

    /// All of them, unless they were too many.
    fn all(&self) -> Option<&[T]> {
        (self.bytes <= KEPT_BYTES_MAX).then_some(&self.items)
    }
}

impl Directory {
    /// Finds the ledger in a directory.
    pub fn open(path: &Path) -> Result<Self, SourceError> {
        let shown = path.display().to_string();
        let reader = Reader::open(path).map_err(|error| source_error(&shown, error))?;
        let kind = if reader.layout().in_use() {
            Kind::Live
        } else {
            Kind::Stopped
        };
        Ok(Self {
            path: shown,
            reader,
            kind,
            survey: OnceCell::new(),
        })
    }

    /// What reads the files.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    fn survey(&self) -> Result<&Survey, SourceError> {
        if let Some(survey) = self.survey.get() {
            return Ok(survey);
        }
        let survey = self.take_survey()?;
        Ok(self.survey.get_or_init(|| survey))
    }

    fn take_survey(&self) -> Result<Survey, SourceError> {
        let mut survey = Survey::default();
        let mut next = Some(Position::ZERO);
        while let Some(from) = next {
            next = self.survey_from(from, &mut survey)?;
        }
        Ok(survey)
    }

    /// Reads on until the end, or until damage; then gives where the next segment begins, if there is one.
    fn survey_from(
        &self,
        from: Position,
        survey: &mut Survey,
    ) -> Result<Option<Position>, SourceError> {
        let failed = |error| source_error(&self.path, error);
        let mut end = from;
        let mut items = match self.reader.journal_from(from) {
            Ok(items) => items,
            Err(error @ Error::Damaged(_)) => return self.behind_damage(from, &error, survey),
            Err(error) => return Err(failed(error)),
        };
        for item in &mut items {
            match item {
                Ok(StoreItem::Events { position, records }) => {
                    end = position;
                    for record in records {
                        survey.note(record);
                    }
                }
                Ok(StoreItem::Checkpoint {
                    position,
                    chain,
                    note,
                }) => {
                    end = position;
                    let bytes = note.len();
                    survey.notes.keep((chain.to_string(), note), bytes);
                }
                Err(error @ Error::Damaged(_)) => {
                    survey.parts.push((from, end));
                    return self.behind_damage(end, &error, survey);
                }
                Err(error) => return Err(failed(error)),
            }
        }
        survey.parts.push((from, end));
        // The tail of a live ledger is being written now; only a stopped one has a torn tail.
        if self.kind == Kind::Stopped {
            survey.torn_bytes = items.end().torn.map_or(0, |torn| torn.bytes);
        }
        Ok(None)
    }

    /// Notes damage; what stands in the segments behind it can still be read.
    fn behind_damage(
        &self,
        at: Position,
        error: &Error,
        survey: &mut Survey,
    ) -> Result<Option<Position>, SourceError> {
        let message = match error {
            Error::Damaged(error) => error.to_string(),
            error => error.to_string(),
        };
        if survey.damage.last() != Some(&message) {
            survey.damage.push(message);
        }
        let segments = self.reader.segments();
        let segments = segments.map_err(|error| source_error(&self.path, error))?;
        let mut bases = segments.into_iter().map(|segment| segment.base);
        Ok(bases.find(|base| *base > at))
    }

    /// Every item that the survey found, in order.
    fn items(&self) -> Result<Items<'_>, SourceError> {
        let parts = self.survey()?.parts.clone();
        let (reader, path) = (&self.reader, self.path.as_str());
        let part = move |(from, end): (Position, Position)| {
            let (items, error) = match reader.journal_from(from) {
                Ok(items) => (Some(items), None),
                Err(error) => (None, Some(Err(source_error(path, error)))),
            };
            let within = move |item: &Result<StoreItem, Error>| match item {
                Ok(StoreItem::Events { position, .. } | StoreItem::Checkpoint { position, .. }) => {
                    *position <= end
                }
                // Damage was found by the survey, and everything before it was handed out.
                Err(Error::Damaged(_)) => false,
                Err(_) => true,
            };
            items
                .into_iter()
                .flatten()
                .take_while(within)
                .map(move |item| item.map_err(|error| source_error(path, error)))
                .chain(error)
        };
        Ok(Box::new(parts.into_iter().flat_map(part)))
    }
}

/// The items of the journal, to be pulled from any thread.
type Items<'d> = Box<dyn Iterator<Item = Result<StoreItem, SourceError>> + Send + 'd>;

impl Survey {
    fn note(&mut self, record: Record) {
        let Some(chain) = chain_named(&record.header) else {
            self.nameless += 1;
            return;
        };
        match self.sizes.get_mut(&chain) {
            Some(size) => *size += 1,
            None => drop(self.sizes.insert(chain.clone(), 1)),
        }
        if chain == "platform" {
            let body = match &record.body {
                Body::Present { bytes, .. } => bytes.len(),
                Body::Absent(_) => 0,
            };
            let bytes = record.header.len().saturating_add(body);
            self.platform.keep(record, bytes);
        }
    }
}

impl Source for Directory {
    fn path(&self) -> &str {
        &self.path
    }

    fn kind(&self) -> Kind {
        self.kind
    }

    fn ledger(&self) -> LedgerId {
        self.reader.description().ledger
    }

    fn chains(&self) -> BTreeMap<String, (Form, Option<u64>)> {
        let sizes = self
            .survey()
            .map(|survey| survey.sizes.clone())
            .unwrap_or_default();
        let mut chains: BTreeMap<_, _> = sizes
            .into_keys()
            .map(|chain| (chain, (Form::Whole, None)))
            .collect();
        chains
            .entry("platform".to_owned())
            .or_insert((Form::Whole, None));
        chains
    }

    fn check_framing(&mut self, findings: &mut Findings) -> Result<(), SourceError> {
        let survey = self.survey()?;
        for damage in &survey.damage {
            findings.violation_of_source(Level::Framing, "journal", damage.clone());
        }
        if survey.nameless > 0 {
            let message = format!("{} events name no chain", survey.nameless);
            findings.violation_of_source(Level::Framing, "journal", message);
        }
        Ok(())
    }

    fn torn_bytes(&self) -> u64 {
        self.survey().map_or(0, |survey| survey.torn_bytes)
    }

    fn stream<'s>(&'s self, wanted: &'s Wanted<'s>) -> Result<Stream<'s>, SourceError> {
        let entries = move |item| -> Vec<Result<Item, SourceError>> {
            match item {
                Ok(StoreItem::Events { records, .. }) => {
                    let entry = |record: Record| {
                        let chain = chain_named(&record.header).filter(|chain| wanted(chain))?;
                        Some(Ok(Item::Event(Entry { chain, record })))
                    };
                    records.into_iter().filter_map(entry).collect()
                }
                Ok(StoreItem::Checkpoint { .. }) => Vec::new(),
                Err(error) => vec![Err(error)],
            }
        };
        Ok(Box::new(self.items()?.flat_map(entries)))
    }

    fn platform(&self) -> Result<Stream<'_>, SourceError> {
        let Some(records) = self.survey()?.platform.all() else {
            return self.stream(&|chain| chain == "platform");
        };
        let entry = |record: &Record| {
            Ok(Item::Event(Entry {
                chain: "platform".to_owned(),
                record: record.clone(),
            }))
        };
        Ok(Box::new(records.iter().map(entry)))
    }

    fn event_count(&self) -> Option<u64> {
        let sizes = &self.survey().ok()?.sizes;
        Some(
            sizes
                .values()
                .fold(0, |sum, size| sum.saturating_add(*size)),
        )
    }

    fn checkpoints(&self, visit: &mut VisitNote<'_>) -> Result<(), SourceError> {
        if let Some(notes) = self.survey()?.notes.all() {
            return notes
                .iter()
                .try_for_each(|(chain, note)| visit(chain, None, note.as_bytes()));
        }
        for item in self.items()? {
            if let StoreItem::Checkpoint { chain, note, .. } = item? {
                visit(&chain.to_string(), None, note.as_bytes())?;
            }
        }
        Ok(())
    }

    fn blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, SourceError> {
        match self.reader.blob(digest) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(Error::BlobUnknown { .. }) => Ok(None),
            // Other bytes than its digest says, whatever they are: no bytes have that digest either.
            Err(Error::BlobMismatch { .. }) => Ok(Some(Vec::new())),
            Err(error) => Err(source_error(&self.path, error)),
        }
    }

    fn directory(&self) -> Option<&Self> {
        Some(self)
    }
}

fn source_error(path: &str, error: Error) -> SourceError {
    match error {
        Error::Foreign { reason, .. } => SourceError::Unreadable {
            path: path.to_owned(),
            reason,
        },
        Error::Disk { path, source } => SourceError::Io {
            path: path.display().to_string(),
            error: source,
        },
        Error::Damaged(damage) => SourceError::Framing {
            path: path.to_owned(),
            reason: damage.to_string(),
        },
        error => SourceError::Unreadable {
            path: path.to_owned(),
            reason: error.to_string(),
        },
    }
}
