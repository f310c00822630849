//! Checkpoints as notes: the sizes they name, and who signed them.

use std::collections::BTreeMap;

use countersign_chain::Checkpoint;
use countersign_chain::note::{Note, Verifier};
use countersign_evidence::ring::NotHeld;
use countersign_evidence::{KeyHistory, PublicKey, Role};
use ed25519_dalek::VerifyingKey;

use super::Sizes;
use super::fault::{Checked, absent, bad};
use super::pins::Pins;
use super::platform::Platform;
use crate::source::{Form, Source, SourceError};

/// The checkpoint of a sparse chain, under which its events are proved.
#[derive(Debug, Clone)]
pub(super) struct Anchor {
    /// The note, byte for byte.
    pub note: Vec<u8>,
    /// What it says.
    pub checkpoint: Checkpoint,
}

/// Sizes that checkpoints name, and the checkpoints of sparse chains.
pub(super) fn collect(
    source: &dyn Source,
) -> Result<(Sizes, BTreeMap<String, Vec<Anchor>>), SourceError> {
    let forms = source.chains();
    let mut sizes: Sizes = BTreeMap::new();
    let mut anchors: BTreeMap<String, Vec<Anchor>> = BTreeMap::new();
    source.checkpoints(&mut |chain, _, note| {
        let Ok(checkpoint) = read(note) else {
            return Ok(());
        };
        sizes
            .entry(chain.to_owned())
            .or_default()
            .insert(checkpoint.head.size);
        if forms
            .get(chain)
            .is_some_and(|(form, _)| *form == Form::Sparse)
        {
            anchors.entry(chain.to_owned()).or_default().push(Anchor {
                note: note.to_vec(),
                checkpoint,
            });
        }
        Ok(())
    })?;
    Ok((sizes, anchors))
}

/// The size that a pinned checkpoint names.
pub(super) fn pinned_size(pins: &Pins, sizes: &mut Sizes) {
    if let Some(Ok(checkpoint)) = pins.at_least.as_ref().map(|note| read(note.as_bytes())) {
        sizes
            .entry(chain_of(&checkpoint).to_owned())
            .or_default()
            .insert(checkpoint.head.size);
    }
}

/// The chain that an origin names.
pub(super) fn chain_of(checkpoint: &Checkpoint) -> &str {
    checkpoint.origin.rsplit('/').next().unwrap_or_default()
}

/// Reads a note without verifying it.
pub(super) fn read(note: &[u8]) -> Result<Checkpoint, String> {
    let note = Note::parse(note).map_err(|error| error.to_string())?;
    Checkpoint::parse(note.text()).map_err(|error| error.to_string())
}

/// Reads a note without verifying it, if it is one.
pub(crate) fn read_checkpoint(note: &[u8]) -> Option<Checkpoint> {
    read(note).ok()
}

/// A checkpoint key of the ledger signed it, and one that did held for that size.
pub(super) fn check_signature(
    note: &[u8],
    checkpoint: &Checkpoint,
    chain: &str,
    history: &KeyHistory,
    platform: &Platform,
) -> Checked {
    const RULE: &str = "checkpoint";
    let held = history
        .ring()
        .keys()
        .iter()
        .filter(|held| held.role == Role::Checkpoint);
    let keys = held.filter_map(|held| VerifyingKey::from_bytes(held.key.as_bytes()).ok());
    let known: Vec<Verifier> = keys
        .filter_map(|key| Verifier::new(&checkpoint.origin, key).ok())
        .collect();
    let note = Note::parse(note).map_err(|error| bad(RULE, error))?;
    let signers = note.verify(&known).map_err(|error| bad(RULE, error))?;
    let mut refusal = None;
    for signer in signers {
        let key = PublicKey::from_bytes(signer.key().to_bytes());
        let size = checkpoint.head.size;
        let held = if chain == "platform" {
            history.holds_for_platform_size(Role::Checkpoint, &key, size)
        } else {
            history.holds_for_size(Role::Checkpoint, &key, size, |statement| {
                platform.end_size(statement, chain)
            })
        };
        match held {
            Ok(_) => return Ok(()),
            Err(error) => refusal = Some(error),
        }
    }
    match refusal {
        Some(error @ NotHeld::EndUnknown) => Err(absent("checkpoint-key", error)),
        Some(error) => Err(bad("checkpoint-key", error)),
        None => Err(bad(RULE, "no key of its own origin signed it")),
    }
}
