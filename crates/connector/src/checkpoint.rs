//! Checkpoints that come outside of an order, with a heartbeat's answer or a pairing: signed, not smaller, an extension.
//!
//! Of two checkpoints that do not extend each other one is a lie. The connector keeps the first and says so.

use countersign_chain::merkle;
use countersign_evidence::{KeyRing, checks, message::TreeHead, refusal::Refusal, wire::ProofHash};
use countersign_ids::{ChainId, Digest, limits};

/// Opens the checkpoint of `chain` and checks that it extends `accepted`.
pub(crate) fn check(
    ring: &KeyRing,
    chain: &ChainId,
    note: &str,
    proof: &[ProofHash],
    accepted: &TreeHead,
) -> Result<TreeHead, Refusal> {
    let head = checks::open_checkpoint(ring, chain, note)?;
    if head.size < accepted.size {
        return Err(Refusal::CheckpointBehind {
            accepted: accepted.size,
            found: head.size,
        });
    }
    if proof.len() > limits::PROOF_HASHES_MAX {
        return Err(Refusal::Malformed("a proof is too long".to_owned()));
    }
    let nodes: Vec<merkle::Node> = proof.iter().map(|hash| *hash.as_bytes()).collect();
    merkle::verify_consistency(
        accepted.size,
        head.size,
        accepted.root.as_bytes(),
        &head.root,
        &nodes,
    )
    .map_err(|_| Refusal::Consistency)?;
    Ok(TreeHead {
        size: head.size,
        root: Digest::from_bytes(head.root),
    })
}

/// How many signed checkpoints in a row may come without a good proof before that counts as a second history.
pub(crate) const UNPROVEN_MAX: u32 = 3;

/// Whether a refusal says that there may be two histories: a proof is not signed, so one alone may be spoiled on the way.
pub(crate) const fn is_unproven(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::Consistency)
}

/// Whether the checkpoint is signed, of the size of the accepted one, and has another root: there are two histories.
pub(crate) fn contradicts(
    ring: &KeyRing,
    chain: &ChainId,
    note: &str,
    accepted: &TreeHead,
) -> bool {
    checks::open_checkpoint(ring, chain, note)
        .is_ok_and(|head| head.size == accepted.size && head.root != *accepted.root.as_bytes())
}
