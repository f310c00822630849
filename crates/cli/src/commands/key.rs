//! `countersign key`: an approver's key, made and shown on this machine.

use crate::arguments::Key;
use crate::{keys, output};
use anyhow::Result;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use countersign_evidence::words::digest_words;
use ed25519_dalek::SigningKey;
use serde_json::json;
use std::process::ExitCode;

/// Words of a key's digest that two people compare.
const WORDS: usize = 6;

pub(crate) fn run(arguments: &Key, as_json: bool) -> Result<ExitCode> {
    let (file, key) = match arguments {
        Key::New { file } => (file, keys::create(file)?),
        Key::Show { file } => (file, keys::read(file)?),
    };
    let shown = public(&key);
    let shown = json!({ "file": file, "alg": "ed25519", "key": shown.0, "words": shown.1 });
    output::either(as_json, &shown, |value| {
        let mut facts = output::Facts::default();
        for name in ["file", "alg", "key", "words"] {
            facts.add(name, output::field(value, &format!("/{name}")));
        }
        facts.text()
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The public key in base64, and the words of its digest.
fn public(key: &SigningKey) -> (String, String) {
    let raw = key.verifying_key().to_bytes();
    (
        STANDARD.encode(raw),
        digest_words(&countersign_chain::sha256(&raw), WORDS),
    )
}
