//! `manifest.json`: what a bundle says it holds. Asserted; nobody signs it.

use std::collections::BTreeMap;

use countersign_chain::json;
use countersign_ids::{Digest, LedgerId};
use serde::{Deserialize, Serialize};

use crate::source::Form;

/// The format of bundles that this program writes and reads.
pub const FORMAT: &str = "countersign-bundle/1";

/// The manifest of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Every chain.
    pub chains: BTreeMap<String, ChainEntry>,
    /// Every member but the manifest itself.
    pub files: BTreeMap<String, FileEntry>,
    /// [`FORMAT`].
    pub format: String,
    /// The ledger.
    pub ledger: LedgerId,
}

/// What the manifest says about a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainEntry {
    /// `whole`, `sparse` or `pruned`.
    pub form: FormName,
    /// Of a whole or pruned chain the number of events that are here, of a sparse one the size of its checkpoint.
    pub size: u64,
}

/// A form, as written; forms of later versions are kept apart from garbage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FormName {
    /// Every event from 0.
    Whole,
    /// Some events, each with its proof.
    Sparse,
    /// Every event from a cut on.
    Pruned,
}

impl FormName {
    /// The form, where this program reads it.
    pub fn known(self) -> Option<Form> {
        match self {
            // Which events it lacks is what the platform chain says.
            Self::Whole | Self::Pruned => Some(Form::Whole),
            Self::Sparse => Some(Form::Sparse),
        }
    }
}

/// What the manifest says about a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Its length.
    pub bytes: u64,
    /// SHA-256 of its content.
    pub digest: Digest,
}

/// Why a manifest is refused.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Of a format that this program does not know: not readable here.
    #[error("bundle format `{0}` is not known here")]
    Format(String),
    /// Not a manifest.
    #[error("manifest.json: {0}")]
    Malformed(String),
}

impl Manifest {
    /// Reads a manifest: RFC 8785 bytes, exactly these members.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        let malformed = |error: &dyn std::fmt::Display| ManifestError::Malformed(error.to_string());
        let value = json::parse(bytes).map_err(|error| malformed(&error))?;
        let format = value.get("format").and_then(serde_json::Value::as_str);
        if let Some(format) = format.filter(|format| *format != FORMAT) {
            return Err(ManifestError::Format(format.to_owned()));
        }
        if json::canonical(&value).map_err(|error| malformed(&error))? != bytes {
            return Err(malformed(&"not canonical JSON (RFC 8785)"));
        }
        serde_json::from_value(value).map_err(|error| malformed(&error))
    }

    /// The RFC 8785 bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ManifestError> {
        json::to_canonical(self).map_err(|error| ManifestError::Malformed(error.to_string()))
    }
}
