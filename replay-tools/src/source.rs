//! What is verified: a data directory or a bundle, behind one trait.
//!
//! A source hands out bytes and says where they stand; it judges its own container only. Both implementations stream:
//! nothing of the size of a chain is ever in memory.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;

use countersign_chain::merkle::Node;
use countersign_chain::{Body, Record};
use countersign_ids::{ChainId, Digest, LedgerId};
use countersign_store::read::Events;
use serde::Serialize;

use crate::directory::Directory;
use crate::pipeline::Weighed;
use crate::verdict::{Findings, Level};

/// How much of a chain the source holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// Every event from 0.
    Whole,
    /// Some events, each with its proof.
    Sparse,
}

/// The kind of source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A data directory that a server has open.
    Live,
    /// A data directory that nobody has open.
    Stopped,
    /// A bundle file.
    Bundle,
}

impl Kind {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Live => "data directory, in use",
            Self::Stopped => "data directory, stopped",
            Self::Bundle => "bundle",
        }
    }
}

/// One event as it stands in the source.
#[derive(Debug)]
pub struct Entry {
    /// The chain it belongs to.
    pub chain: String,
    /// Its bytes; nothing about them is verified.
    pub record: Record,
}

/// Why a source cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The file or directory cannot be opened or read (exit 64).
    #[error("cannot read `{path}`")]
    Io {
        /// What was read.
        path: String,
        /// Why not.
        #[source]
        error: io::Error,
    },
    /// It is no ledger and no bundle, or one of an unknown version (exit 2).
    #[error("`{path}` is not readable as a ledger: {reason}")]
    Unreadable {
        /// What was read.
        path: String,
        /// Why not.
        reason: String,
    },
    /// Its container contradicts the format so far that nothing in it can be read (exit 1).
    #[error("`{path}`: {reason}")]
    Framing {
        /// What was read.
        path: String,
        /// Why not.
        reason: String,
    },
}

/// What a source hands out, in order.
#[derive(Debug)]
pub enum Item {
    /// An event.
    Event(Entry),
    /// Something wrong with the container, where it was met.
    Fault(Fault),
}

/// Items as they lie in the source: taking them apart is work for any thread.
#[derive(Debug)]
pub enum Chunk {
    /// One item.
    Item(Item),
    /// All events of one command, of chains that are wanted or not.
    Frame(Events),
}

impl Chunk {
    /// Its items of the chains that `wanted` names.
    pub fn items(self, wanted: &Wanted<'_>) -> Vec<Item> {
        match self {
            Self::Item(item) => vec![item],
            Self::Frame(events) => {
                let events = events.stored().filter_map(|stored| {
                    let chain = chain_named(stored.header).filter(|chain| wanted(chain))?;
                    let (chain, record) = (chain.to_owned(), stored.to_record());
                    Some(Item::Event(Entry { chain, record }))
                });
                events.collect()
            }
        }
    }
}

impl Weighed for Chunk {
    fn weight(&self) -> usize {
        match self {
            Self::Item(item) => item.weight(),
            Self::Frame(events) => events.bytes(),
        }
    }
}

impl Weighed for Item {
    fn weight(&self) -> usize {
        match self {
            Self::Event(entry) => {
                entry
                    .record
                    .header
                    .len()
                    .saturating_add(match &entry.record.body {
                        Body::Present { bytes, .. } => bytes.len(),
                        Body::Absent(_) => 0,
                    })
            }
            Self::Fault(_) => 0,
        }
    }
}

/// A container that is not what it should be.
#[derive(Debug)]
pub struct Fault {
    /// The event that could not be read, after which its chain is not believed; none where it belongs to no event.
    pub at: Option<(String, u64)>,
    /// The rule.
    pub rule: &'static str,
    /// In words.
    pub message: String,
}

impl Fault {
    /// Notes it.
    pub(crate) fn record(self, findings: &mut Findings) {
        match self.at {
            Some((chain, at)) => {
                findings.violation(Level::Framing, self.rule, &chain, at, self.message);
                findings.break_chain(&chain);
            }
            None => findings.violation_of_source(Level::Framing, self.rule, self.message),
        }
    }
}

/// The items of a source, to be pulled from any thread.
pub type Stream<'s> = Box<dyn Iterator<Item = Result<Item, SourceError>> + Send + 's>;

/// The chunks of a source, to be pulled from any thread.
pub type Chunks<'s> = Box<dyn Iterator<Item = Result<Chunk, SourceError>> + Send + 's>;

/// Chooses chains by name.
pub type Wanted<'w> = dyn Fn(&str) -> bool + Sync + 'w;

/// Takes one event after another, and may have enough.
pub type Visit<'v> = dyn FnMut(Entry, &mut Findings) -> Result<ControlFlow<()>, SourceError> + 'v;

/// Takes one checkpoint after another: chain, the size its place claims, note.
pub type VisitNote<'v> = dyn FnMut(&str, Option<u64>, &[u8]) -> Result<(), SourceError> + 'v;

/// Takes one hash of a pruned chain's tree after another: chain, size, hash.
pub type VisitTile<'v> = dyn FnMut(&str, u64, Node) + 'v;

/// Goes on with the next event.
pub(crate) const GO_ON: Result<ControlFlow<()>, SourceError> = Ok(ControlFlow::Continue(()));

/// A ledger or part of one.
pub trait Source {
    /// Where it is from.
    fn path(&self) -> &str;

    /// The kind of source.
    fn kind(&self) -> Kind;

    /// The ledger that it claims to be.
    fn ledger(&self) -> LedgerId;

    /// The chains that it claims to hold, with the size it claims. MUST hold `platform`.
    fn chains(&self) -> BTreeMap<String, (Form, Option<u64>)>;

    /// Checks the container itself, on so many threads; called once, before anything else is read.
    fn check_framing(&mut self, threads: usize, findings: &mut Findings)
    -> Result<(), SourceError>;

    /// Bytes at the end that were being written when the writer died.
    fn torn_bytes(&self) -> u64 {
        0
    }

    /// Whether the removal of bodies or events was ordered behind the end of what is read here.
    fn removes_behind(&self) -> Result<bool, SourceError> {
        Ok(false)
    }

    /// Every event of the chains that `wanted` names, per chain in order.
    ///
    /// MUST give the same items each time it is called.
    fn stream<'s>(&'s self, wanted: &'s Wanted<'s>) -> Result<Stream<'s>, SourceError>;

    /// The same, not taken apart: [`Chunk::items`] does that, with the same `wanted`.
    fn chunks<'s>(&'s self, wanted: &'s Wanted<'s>) -> Result<Chunks<'s>, SourceError> {
        let chunks = self.stream(wanted)?.map(|item| item.map(Chunk::Item));
        Ok(Box::new(chunks))
    }

    /// Every event of the platform chain.
    fn platform(&self) -> Result<Stream<'_>, SourceError> {
        self.stream(&|chain| chain == "platform")
    }

    /// How many events there are, where that is known.
    fn event_count(&self) -> Option<u64> {
        None
    }

    /// Hands the events to a visitor, one after another.
    fn events(
        &self,
        wanted: &Wanted<'_>,
        findings: &mut Findings,
        visit: &mut Visit<'_>,
    ) -> Result<(), SourceError> {
        for item in self.stream(wanted)? {
            match item? {
                Item::Event(entry) => {
                    if visit(entry, findings)?.is_break() {
                        break;
                    }
                }
                Item::Fault(fault) => fault.record(findings),
            }
        }
        Ok(())
    }

    /// Hands out every checkpoint: chain, the size its place claims, note.
    fn checkpoints(&self, visit: &mut VisitNote<'_>) -> Result<(), SourceError>;

    /// A blob by digest; nothing about its bytes is verified.
    fn blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, SourceError>;

    /// Blobs that the source names by itself, where it can list them cheaply.
    fn blob_names(&self) -> Vec<Digest> {
        Vec::new()
    }

    /// The inclusion proof of one event of a sparse chain.
    fn proof(&self, chain: &str, sequence: u64) -> Result<Option<Vec<u8>>, SourceError> {
        let _ = (chain, sequence);
        Ok(None)
    }

    /// Hands out what is kept of the trees of pruned chains: chain, size, and the hash of the 256 leaves that end there; per chain in
    /// order.
    fn tiles(&self, visit: &mut VisitTile<'_>) -> Result<(), SourceError> {
        let _ = visit;
        Ok(())
    }

    /// Whether the source says that a chain was pruned, where it says such things.
    fn says_pruned(&self, chain: &str) -> Option<bool> {
        let _ = chain;
        None
    }

    /// The data directory, where it is one.
    fn directory(&self) -> Option<&Directory> {
        None
    }

    /// The heads page of one `heads.recorded`.
    fn heads_page(&self, sequence: u64) -> Result<Option<Vec<u8>>, SourceError> {
        let _ = sequence;
        Ok(None)
    }
}

/// The chain that a header says it belongs to, found without trusting the rest of it.
pub(crate) fn chain_named(header: &[u8]) -> Option<&str> {
    chain_text(header).filter(|chain| chain.parse::<ChainId>().is_ok())
}

/// The same, whether or not it can be the name of a chain. A header has few slashes, and most of them stand in its `source`.
pub(crate) fn chain_text(header: &[u8]) -> Option<&str> {
    let mut rest = header;
    while let Some(slash) = rest.iter().rposition(|byte| *byte == b'/') {
        rest = rest.get(..slash)?;
        let Some(ledger) = rest.strip_suffix(b"/chains") else {
            continue;
        };
        let begin = ledger.iter().rposition(|byte| *byte == b'"')?;
        let (field, value) = ledger.split_at_checked(begin)?;
        if !field.ends_with(b"\"source\":") || !value.starts_with(b"\"/ledgers/") {
            continue;
        }
        let chain = header.get(slash.saturating_add(1)..)?;
        let end = chain.iter().position(|byte| *byte == b'"')?;
        return std::str::from_utf8(chain.get(..end)?).ok();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_is_found_wherever_the_source_stands() {
        let long = "a/chains/".repeat(200);
        for (header, chain) in [
            (r#"{"source":"/ledgers/ab/chains/acme"}"#, Some("acme")),
            (
                r#"{"source":"/ledgers/ab/chains/acme.beats","type":"a/b"}"#,
                Some("acme.beats"),
            ),
            (r#"{"source":"/ledgers/ab/chains/Acme"}"#, None),
            (r#"{"source":"/ledgers/ab/chains/acme"#, None),
            (r#"{"xsource":"/ledgers/ab/chains/acme"}"#, None),
            (r#"{"source":"ledgers/ab/chains/acme"}"#, None),
            (r#"{"source":"/ledgers/ab"}"#, None),
            ("", None),
            ("/chains/", None),
        ] {
            assert_eq!(chain_named(header.as_bytes()), chain, "{header}");
            let followed = header.replace('}', &format!(r#","z":"{long}"}}"#));
            assert_eq!(
                chain_named(followed.as_bytes()),
                chain,
                "{header}, followed"
            );
        }
    }
}
