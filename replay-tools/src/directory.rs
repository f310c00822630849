//! A data directory as a source, live or stopped: its journal up to the last whole frame, nothing else, and no lock.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::path::Path;

use countersign_chain::Record;
use countersign_ids::{Digest, LedgerId};
use countersign_store::read::{Item, Reader};
use countersign_store::{Error, Position};

use crate::source::{Entry, Form, Kind, Source, SourceError, Visit, VisitNote, chain_named};
use crate::verdict::{Findings, Level};

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
    end: Position,
    sizes: BTreeMap<String, u64>,
    nameless: u64,
    torn_bytes: u64,
    damage: Option<String>,
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
        let mut items = self
            .reader
            .journal()
            .map_err(|error| source_error(&self.path, error))?;
        for item in &mut items {
            match item {
                Ok(Item::Events { position, records }) => {
                    survey.end = position;
                    for record in records {
                        match chain_named(&record.header) {
                            Some(chain) => *survey.sizes.entry(chain).or_default() += 1,
                            None => survey.nameless += 1,
                        }
                    }
                }
                Ok(Item::Checkpoint { position, .. }) => survey.end = position,
                Err(Error::Damaged(error)) => survey.damage = Some(error.to_string()),
                Err(error) => return Err(source_error(&self.path, error)),
            }
        }
        // The tail of a live ledger is being written now; only a stopped one has a torn tail.
        if self.kind == Kind::Stopped && survey.damage.is_none() {
            survey.torn_bytes = items.end().torn.map_or(0, |torn| torn.bytes);
        }
        Ok(survey)
    }

    /// Every item up to where the survey ended.
    fn items(&self) -> Result<impl Iterator<Item = Result<Item, SourceError>> + '_, SourceError> {
        let end = self.survey()?.end;
        let items = self
            .reader
            .journal()
            .map_err(|error| source_error(&self.path, error))?;
        let within = move |item: &Result<Item, Error>| match item {
            Ok(Item::Events { position, .. } | Item::Checkpoint { position, .. }) => {
                *position <= end
            }
            // Damage was found by the survey, and everything before it was handed out.
            Err(Error::Damaged(_)) => false,
            Err(_) => true,
        };
        Ok(items
            .take_while(within)
            .map(|item| item.map_err(|error| source_error(&self.path, error))))
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
        if let Some(damage) = &survey.damage {
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

    fn events(
        &self,
        wanted: &dyn Fn(&str) -> bool,
        findings: &mut Findings,
        visit: &mut Visit<'_>,
    ) -> Result<(), SourceError> {
        for item in self.items()? {
            let Item::Events { records, .. } = item? else {
                continue;
            };
            for record in records {
                let Some(chain) = chain_of(&record).filter(|chain| wanted(chain)) else {
                    continue;
                };
                if visit(Entry { chain, record }, findings)?.is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn checkpoints(&self, visit: &mut VisitNote<'_>) -> Result<(), SourceError> {
        for item in self.items()? {
            if let Item::Checkpoint { chain, note, .. } = item? {
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

fn chain_of(record: &Record) -> Option<String> {
    chain_named(&record.header)
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
