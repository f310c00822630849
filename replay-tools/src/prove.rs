//! The proof that one event is in the ledger: a `.tlog-proof` under the newest checkpoint that covers it.

use countersign_chain::merkle::{Subtree, fold, inclusion_plan, leaf_hash};
use countersign_chain::{CUT_EVENTS, TlogProof, TreeHead, merkle};

use crate::source::{Form, GO_ON, Source, SourceError};
use crate::verdict::Findings;
use crate::verify::{read_checkpoint, sequence_named};

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    /// The source.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// No such event.
    #[error("chain `{chain}` has no event {sequence} here")]
    NoEvent {
        /// The chain.
        chain: String,
        /// The sequence.
        sequence: u64,
    },
    /// Nothing signed covers it yet.
    #[error("no checkpoint of chain `{chain}` covers event {sequence}")]
    NoCheckpoint {
        /// The chain.
        chain: String,
        /// The sequence.
        sequence: u64,
    },
    /// The proof does not lead to the signed root: the chain or the checkpoint is damaged.
    #[error("the chain does not have the root that its checkpoint of size {0} signs")]
    Damaged(u64),
}

/// A complete subtree whose root is being made.
struct Piece {
    from: u64,
    to: u64,
    frontier: merkle::Frontier,
}

impl Piece {
    fn of(subtree: &Subtree) -> Self {
        let from = subtree.index << subtree.level;
        Self {
            from,
            to: from.saturating_add(1 << subtree.level),
            frontier: merkle::Frontier::new(),
        }
    }
}

/// Proves one event; in a part of a ledger the proof is the one that came with it.
pub fn prove(source: &dyn Source, chain: &str, sequence: u64) -> Result<TlogProof, ProveError> {
    let no_event = || ProveError::NoEvent {
        chain: chain.to_owned(),
        sequence,
    };
    let (form, _) = *source.chains().get(chain).ok_or_else(no_event)?;
    if form == Form::Sparse {
        let proof = source.proof(chain, sequence)?.ok_or_else(no_event)?;
        return TlogProof::parse(&proof).map_err(|_| no_event());
    }
    let no_checkpoint = || ProveError::NoCheckpoint {
        chain: chain.to_owned(),
        sequence,
    };
    let (head, note) = newest(source, chain, sequence)?.ok_or_else(no_checkpoint)?;
    let plan = inclusion_plan(sequence, head.size).ok_or_else(no_checkpoint)?;
    let mut steps: Vec<Vec<Piece>> = plan
        .iter()
        .map(|step| step.iter().map(Piece::of).collect())
        .collect();
    let mut leaf = None;
    pruned(source, chain, &mut steps)?;
    let mut at = 0_u64;
    let mut begun = false;
    source.events(
        &|of| of == chain,
        &mut Findings::default(),
        &mut |entry, _| {
            let node = leaf_hash(&entry.record.header);
            if !std::mem::replace(&mut begun, true) {
                at = sequence_named(&entry.record.header).unwrap_or(0);
            }
            if at == sequence {
                leaf = Some(node);
            }
            for piece in steps
                .iter_mut()
                .flatten()
                .filter(|piece| piece.from <= at && at < piece.to)
            {
                piece.frontier.push(node);
            }
            at += 1;
            if at < head.size {
                GO_ON
            } else {
                Ok(std::ops::ControlFlow::Break(()))
            }
        },
    )?;
    let roots = |step: &Vec<Piece>| {
        fold(
            &step
                .iter()
                .map(|piece| piece.frontier.root())
                .collect::<Vec<_>>(),
        )
    };
    let hashes: Vec<_> = steps.iter().map(roots).collect();
    let leaf = leaf.ok_or_else(no_event)?;
    merkle::verify_inclusion(&leaf, sequence, head.size, &hashes, &head.root)
        .map_err(|_| ProveError::Damaged(head.size))?;
    Ok(TlogProof {
        index: sequence,
        hashes,
        checkpoint: note,
    })
}

/// Fills in what is kept of a pruned chain's tree: a hash for each 256 of its first events, of which subtrees are made.
fn pruned(source: &dyn Source, chain: &str, steps: &mut [Vec<Piece>]) -> Result<(), SourceError> {
    source.tiles(&mut |of, size, node| {
        let at = size.saturating_sub(CUT_EVENTS);
        let holds = |piece: &&mut Piece| {
            piece.from <= at && size <= piece.to && piece.from.is_multiple_of(CUT_EVENTS)
        };
        if of == chain {
            let pieces = steps.iter_mut().flatten().filter(holds);
            pieces.for_each(|piece| piece.frontier.push(node));
        }
    })
}

/// The newest checkpoint of a chain that covers an event.
fn newest(
    source: &dyn Source,
    chain: &str,
    sequence: u64,
) -> Result<Option<(TreeHead, String)>, SourceError> {
    let mut best: Option<(TreeHead, String)> = None;
    source.checkpoints(&mut |of, _, note| {
        if of == chain
            && let Some(checkpoint) = read_checkpoint(note)
            && checkpoint.head.size > sequence
            && best
                .as_ref()
                .is_none_or(|(best, _)| best.size <= checkpoint.head.size)
        {
            best = Some((checkpoint.head, String::from_utf8_lossy(note).into_owned()));
        }
        Ok(())
    })?;
    Ok(best)
}
