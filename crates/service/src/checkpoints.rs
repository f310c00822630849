//! Checkpoints: what a chain was, signed; and the heads of all chains, recorded on the platform's.
//!
//! A note is signed over durable events only, and its own frame is durable before it leaves the process.

use std::collections::BTreeMap;

use countersign_chain::checkpoint::{head_leaf, origin};
use countersign_chain::merkle::{Frontier, leaf_hash};
use countersign_chain::note::Verifier;
use countersign_chain::{Checkpoint, CommandKey, TreeHead};
use countersign_domain::Blob;
use countersign_events::Event;
use countersign_events::Heads as RecordedHeads;
use countersign_events::heads::Recorded;
use countersign_ids::{Actor, ChainId, Digest, EventId, Sequence};
use countersign_store::{Append, Condition, Ledger, NewEvent, Stamp};
use ed25519_dalek::SigningKey;

use crate::Error;
use crate::engine::decode;
use crate::platform::HeadsBasis;

/// Lines of one leaf in a list of heads.
const LEAF_LINES: usize = 5;
/// Events that are read at a time.
const PAGE: u64 = 512;

/// Signs what a chain is now; the last checkpoint again where nothing came since and the key is the same.
pub(crate) async fn sign(
    ledger: &Ledger,
    ledger_origin: &str,
    key: &SigningKey,
    chain: &ChainId,
) -> Result<countersign_store::Checkpoint, Error> {
    let head = ledger.tree_head(chain)?;
    let origin = origin(ledger_origin, chain);
    if let Some(last) = ledger
        .last_checkpoint(chain)
        .filter(|last| last.size == head.size)
    {
        let ours = Verifier::new(&origin, key.verifying_key()).map_err(Error::internal)?;
        if Checkpoint::open(last.note.as_bytes(), &[ours]).is_ok() {
            return Ok(last);
        }
    }
    let head = TreeHead {
        size: head.size,
        root: head.root,
    };
    let note = Checkpoint { origin, head }
        .sign(key)
        .map_err(Error::internal)?;
    Ok(ledger.record_checkpoint(chain, note).await?)
}

/// The heads of all announced chains: the event, and the blob with the leaves that changed.
#[derive(Debug)]
pub(crate) struct Heads {
    pub(crate) event: Recorded,
    /// None where nothing changed since.
    pub(crate) blob: Option<Blob>,
    pub(crate) sizes: BTreeMap<ChainId, u64>,
}

/// Collects the heads of the chains in order of their numbers. `before` has the sizes in the heads before, where this
/// process recorded them.
pub(crate) fn collect(
    ledger: &Ledger,
    basis: &HeadsBasis,
    before: &BTreeMap<ChainId, u64>,
) -> Result<Heads, Error> {
    let mut sizes = BTreeMap::new();
    let mut tree = Frontier::new();
    let mut changed = Vec::new();
    for (number, chain) in (0_u64..).zip(&basis.chains) {
        if ledger.is_damaged(chain) {
            // It may have lost its end: what was recorded of it stays so until somebody decides.
            let kept = recorded_leaf(ledger, chain)?;
            let begun = kept.is_none() && number >= basis.recorded;
            let leaf = match kept {
                Some(leaf) => leaf,
                None => leaf(ledger, chain, 0)?,
            };
            if begun {
                changed.extend_from_slice(&leaf);
            }
            sizes.insert(chain.clone(), ledger.recorded(chain));
            tree.push(leaf_hash(&leaf));
            continue;
        }
        let head = ledger.tree_head(chain)?;
        let leaf = leaf(ledger, chain, head.size)?;
        let before = before
            .get(chain)
            .copied()
            .unwrap_or_else(|| ledger.recorded(chain));
        if number >= basis.recorded || before < head.size {
            changed.extend_from_slice(&leaf);
        }
        sizes.insert(chain.clone(), head.size);
        tree.push(leaf_hash(&leaf));
    }
    let blob = (!changed.is_empty()).then(|| Blob {
        digest: countersign_chain::sha256(&changed),
        bytes: changed,
    });
    let event = Recorded {
        size: tree.size(),
        root: Digest::from_bytes(tree.root()),
        keys: basis.keys,
        blobs: blob.iter().map(|blob| blob.digest).collect(),
    };
    Ok(Heads { event, blob, sizes })
}

fn leaf(ledger: &Ledger, chain: &ChainId, size: u64) -> Result<Vec<u8>, Error> {
    let root = ledger.root_at(chain, size)?;
    let last = size
        .checked_sub(1)
        .map(|last| ledger.event(chain, Sequence::new(last)))
        .transpose()?;
    Ok(head_leaf(
        &chain.to_string(),
        &TreeHead { size, root },
        last.map(|entry| entry.hash()).as_ref(),
    ))
}

/// The newest leaf of a chain in the heads that were recorded.
fn recorded_leaf(ledger: &Ledger, chain: &ChainId) -> Result<Option<Vec<u8>>, Error> {
    let platform = ChainId::platform();
    let mut end = ledger.head(&platform).map_or(0, |head| head.size);
    while let Some(last) = end.checked_sub(1) {
        let from = last.saturating_sub(PAGE);
        let page = usize::try_from(end - from).map_err(Error::internal)?;
        for entry in ledger.read(&platform, from, page)?.iter().rev() {
            if entry.header().event_type.family().as_str() != "heads" {
                continue;
            }
            let corrupt = |detail| Error::Corrupt {
                chain: ChainId::platform(),
                sequence: entry.sequence(),
                detail,
            };
            let Some(Event::Heads(heads)) = decode(entry).map_err(corrupt)? else {
                continue;
            };
            let RecordedHeads::Recorded(recorded) = heads;
            for digest in recorded.blobs {
                let leaves = ledger.blobs().read(&digest)?;
                if let Some(leaf) = leaf_of(&leaves, chain) {
                    return Ok(Some(leaf));
                }
            }
        }
        end = from;
    }
    Ok(None)
}

/// The leaf of one chain in a list of leaves, each of so many lines.
fn leaf_of(leaves: &[u8], chain: &ChainId) -> Option<Vec<u8>> {
    let lines: Vec<&str> = std::str::from_utf8(leaves)
        .ok()?
        .split_inclusive('\n')
        .collect();
    let named = format!("{chain}\n");
    let found = lines
        .chunks(LEAF_LINES)
        .find(|leaf| leaf.get(1).is_some_and(|line| *line == named))?;
    Some(found.concat().into_bytes())
}

/// A command of the platform's chain that is caused by its newest event, and refused if that is not the newest any more.
pub(crate) fn append(
    event: impl Into<Event>,
    subject: &str,
    actor: Actor,
    last: (EventId, u64),
) -> Result<Append, Error> {
    let (cause, seen) = last;
    let event = event.into();
    let new = NewEvent {
        event_type: event.event_type(),
        subject: subject.parse()?,
        site: None,
        retention: event.retention(),
        body: event.encode().map_err(Error::internal)?,
        seal: None,
        platformhead: Stamp::None,
        valid: None,
    };
    let key = CommandKey::Event(cause);
    Ok(Append {
        condition: Some(Condition::unchanged(seen)),
        causation: Some(cause),
        ..Append::new(ChainId::platform(), actor, key, vec![new])
    })
}
