//! What is verified: a data directory or a bundle, behind one trait.
//!
//! A source hands out bytes and says where they stand; it judges its own container only. Both implementations stream:
//! nothing of the size of a chain is ever in memory.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;

use countersign_chain::Record;
use countersign_ids::{Digest, LedgerId};
use serde::Serialize;

use crate::directory::Directory;
use crate::verdict::Findings;

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

/// Takes one event after another, and may have enough.
pub type Visit<'v> = dyn FnMut(Entry, &mut Findings) -> Result<ControlFlow<()>, SourceError> + 'v;

/// Takes one checkpoint after another: chain, the size its place claims, note.
pub type VisitNote<'v> = dyn FnMut(&str, Option<u64>, &[u8]) -> Result<(), SourceError> + 'v;

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

    /// Checks the container itself; called once, before anything else is read.
    fn check_framing(&mut self, findings: &mut Findings) -> Result<(), SourceError>;

    /// Bytes at the end that were being written when the writer died.
    fn torn_bytes(&self) -> u64 {
        0
    }

    /// Hands out every event of the chains that `wanted` names, per chain in order, platform first where wanted.
    ///
    /// MUST give the same events each time it is called.
    fn events(
        &self,
        wanted: &dyn Fn(&str) -> bool,
        findings: &mut Findings,
        visit: &mut Visit<'_>,
    ) -> Result<(), SourceError>;

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
pub(crate) fn chain_named(header: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(header).ok()?;
    let (_, rest) = text.split_once("\"source\":\"/ledgers/")?;
    let (source, _) = rest.split_once('"')?;
    let (_, chain) = source.split_once("/chains/")?;
    chain
        .parse::<countersign_ids::ChainId>()
        .ok()
        .map(|chain| chain.to_string())
}
