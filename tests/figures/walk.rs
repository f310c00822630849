//! Reading a stopped ledger without anything around it: every event decoded and verified, and counted.

use anyhow::{Context, Result};
use countersign_chain::{Body, ChainState, Header};
use countersign_events::Event;
use countersign_ids::ChainId;
use countersign_store::read::{Item, Reader};
use std::collections::BTreeMap;
use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

/// What there was.
#[derive(Debug)]
pub(crate) struct Walked {
    pub(crate) events: u64,
    /// Bytes of headers, salts and bodies.
    pub(crate) bytes: u64,
    pub(crate) spent: Duration,
}

/// Decodes and verifies every event on one thread.
pub(crate) fn walk(root: &Path) -> Result<Walked> {
    let began = Instant::now();
    let reader = Reader::open(root)?;
    let ledger = reader.description().ledger;
    let mut chains: BTreeMap<ChainId, ChainState> = BTreeMap::new();
    let (mut events, mut bytes) = (0, 0);
    for item in reader.journal()? {
        let Item::Events { records, .. } = item? else {
            continue;
        };
        for record in records {
            let chain = Header::parse(&record.header)
                .context("a header is broken")?
                .chain;
            let state = chains
                .entry(chain.clone())
                .or_insert_with(|| ChainState::genesis(&ledger, &chain));
            let verified = state.follow(&record).context("a chain is broken")?;
            bytes += record.header.len();
            if let Body::Present { salt, bytes: body } = &record.body {
                bytes += salt.as_bytes().len() + body.len();
                // A sealed body is no event to anybody without its key.
                if verified.header().bodykey.is_none() {
                    black_box(Event::decode(&verified.header().event_type, body)?);
                }
            }
            events += 1;
        }
    }
    Ok(Walked {
        events,
        bytes: u64::try_from(bytes)?,
        spent: began.elapsed(),
    })
}

/// Bytes that a directory or file has allocated on disk.
pub(crate) fn bytes_of(path: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_dir() {
        return Ok(metadata.blocks() * 512);
    }
    fs::read_dir(path)?
        .map(|entry| bytes_of(&entry?.path()))
        .sum()
}
