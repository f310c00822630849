//! A data directory as a source, live or stopped: its journal up to the last whole frame, nothing else, and no lock.

mod survey;

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::path::Path;

use countersign_chain::Header;
use countersign_ids::{Digest, EventType, LedgerId};
use countersign_projections::has_read_models;
use countersign_store::read::{Frame, Reader, Stored};
use countersign_store::{Error, Position};

use self::survey::Survey;
use crate::pipeline;
use crate::source::{
    Chunk, Chunks, Entry, Form, Item, Kind, Source, SourceError, Stream, VisitNote, VisitTile,
    Wanted,
};
use crate::verdict::{Findings, Level};

/// The families of the events that order removals and prunings.
const REMOVALS: &[&str] = &["retention", "chain"];

/// An opened data directory.
#[derive(Debug)]
pub struct Directory {
    path: String,
    reader: Reader,
    kind: Kind,
    survey: OnceCell<Survey>,
    threads: usize,
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
            threads: pipeline::threads(0),
        })
    }

    /// What reads the files.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// How many events read models are folded from.
    pub(crate) fn folded_count(&self) -> Result<u64, SourceError> {
        let folded = |chain: &str| chain.parse().is_ok_and(|chain| has_read_models(&chain));
        let sizes = self.survey()?.sizes.iter();
        let counted = sizes.filter(|(chain, _)| folded(chain));
        Ok(counted.map(|(_, size)| size).sum())
    }

    fn survey(&self) -> Result<&Survey, SourceError> {
        if let Some(survey) = self.survey.get() {
            return Ok(survey);
        }
        let survey = survey::take(&self.reader, self.kind, self.threads)
            .map_err(|error| source_error(&self.path, error))?;
        Ok(self.survey.get_or_init(|| survey))
    }

    /// Every frame that the survey found, in order.
    fn frames(&self) -> Result<Frames<'_>, SourceError> {
        let parts = self.survey()?.parts.clone();
        let (reader, path) = (&self.reader, self.path.as_str());
        let part = move |(from, end): (Position, Position)| {
            let (frames, error) = match reader.frames_from(from, None) {
                Ok(frames) => (Some(frames), None),
                Err(error) => (None, Some(Err(source_error(path, error)))),
            };
            let within = move |frame: &Result<Frame, Error>| match frame {
                Ok(frame) => frame.position() <= end,
                // Damage was found by the survey, and everything before it was handed out.
                Err(Error::Damaged(_)) => false,
                Err(_) => true,
            };
            frames
                .into_iter()
                .flatten()
                .take_while(within)
                .map(move |frame| frame.map_err(|error| source_error(path, error)))
                .chain(error)
        };
        Ok(Box::new(parts.into_iter().flat_map(part)))
    }
}

/// Whether events of this type tell of bodies or events that are gone.
fn is_removal(event_type: &EventType) -> bool {
    REMOVALS.contains(&event_type.family().as_str())
}

/// The frames of the journal, to be pulled from any thread.
type Frames<'d> = Box<dyn Iterator<Item = Result<Frame, SourceError>> + Send + 'd>;

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

    fn check_framing(
        &mut self,
        threads: usize,
        findings: &mut Findings,
    ) -> Result<(), SourceError> {
        self.threads = threads;
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

    fn removes_behind(&self) -> Result<bool, SourceError> {
        if self.kind != Kind::Live {
            return Ok(false);
        }
        let end = self.survey()?.parts.last().map(|(_, end)| *end);
        let failed = |error| source_error(&self.path, error);
        let frames = self
            .reader
            .frames_from(end.unwrap_or(Position::ZERO), None)
            .map_err(failed)?;
        for frame in frames {
            match frame {
                Ok(Frame::Events(events)) => {
                    let removes = |stored: Stored<'_>| {
                        Header::parse(stored.header)
                            .is_ok_and(|header| is_removal(&header.event_type))
                    };
                    if events.stored().any(removes) {
                        return Ok(true);
                    }
                }
                Ok(Frame::Checkpoint { .. } | Frame::Pruned { .. }) => {}
                // Behind the end it is being written.
                Err(Error::Damaged(_)) => return Ok(false),
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(false)
    }

    fn stream<'s>(&'s self, wanted: &'s Wanted<'s>) -> Result<Stream<'s>, SourceError> {
        let items = |chunk: Result<Chunk, SourceError>| match chunk {
            Ok(chunk) => chunk.items(wanted).into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        };
        Ok(Box::new(self.chunks(wanted)?.flat_map(items)))
    }

    fn chunks<'s>(&'s self, _: &'s Wanted<'s>) -> Result<Chunks<'s>, SourceError> {
        let chunk = |frame| match frame {
            Ok(Frame::Events(events)) => Some(Ok(Chunk::Frame(events))),
            Ok(Frame::Checkpoint { .. } | Frame::Pruned { .. }) => None,
            Err(error) => Some(Err(error)),
        };
        Ok(Box::new(self.frames()?.filter_map(chunk)))
    }

    fn platform(&self) -> Result<Stream<'_>, SourceError> {
        let Some(records) = self.survey()?.platform.all() else {
            return self.stream(&|chain| chain == "platform");
        };
        let entry = |record: &countersign_chain::Record| {
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
        for frame in self.frames()? {
            if let Frame::Checkpoint { chain, note, .. } = frame? {
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

    fn tiles(&self, visit: &mut VisitTile<'_>) -> Result<(), SourceError> {
        for frame in self.frames()? {
            if let Frame::Pruned { stump, .. } = frame? {
                let chain = stump.chain.to_string();
                for mark in stump.marks {
                    visit(&chain, mark.base.cut, mark.node);
                }
            }
        }
        Ok(())
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
