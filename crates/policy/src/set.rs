//! A policy set: files of Cedar, validated strictly against the schema, named, digested, ready to evaluate.

use std::{collections::BTreeMap, fmt};

use cedar_policy::{Policy, PolicyId, Schema, ValidationMode, Validator};
use countersign_chain::{json, sha256};
use countersign_ids::Digest;
use serde::{Deserialize, Serialize};

use crate::{Error, fitting::Fitting};

/// The schema that every policy is validated against.
pub const SCHEMA: &str = include_str!("../../../schemas/policy/countersign.cedarschema");

/// The policies that a new installation starts with: name and text of each file.
pub const DEFAULTS: &[(&str, &str)] = &[
    (
        "containment.cedar",
        include_str!("../../../schemas/policy/default/containment.cedar"),
    ),
    (
        "document.cedar",
        include_str!("../../../schemas/policy/default/document.cedar"),
    ),
    (
        "duties.cedar",
        include_str!("../../../schemas/policy/default/duties.cedar"),
    ),
    (
        "floor.cedar",
        include_str!("../../../schemas/policy/default/floor.cedar"),
    ),
    (
        "freeze.cedar",
        include_str!("../../../schemas/policy/default/freeze.cedar"),
    ),
    (
        "kinds.cedar",
        include_str!("../../../schemas/policy/default/kinds.cedar"),
    ),
    (
        "publish.cedar",
        include_str!("../../../schemas/policy/default/publish.cedar"),
    ),
    (
        "readiness.cedar",
        include_str!("../../../schemas/policy/default/readiness.cedar"),
    ),
    (
        "rollback.cedar",
        include_str!("../../../schemas/policy/default/rollback.cedar"),
    ),
];

/// All files together.
const BYTES_MAX: usize = 1024 * 1024;
const ID_BYTES_MAX: usize = 128;

/// Policies that fit the schema. Parsed once; evaluating borrows it.
pub struct PolicySet {
    pub(crate) fitting: Fitting,
    pub(crate) policies: cedar_policy::PolicySet,
    reasons: BTreeMap<String, String>,
    blob: Vec<u8>,
    digest: Digest,
}

/// The evidence blob: everything that a decision under this set depends on.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Blob {
    v: u8,
    schema: String,
    policies: BTreeMap<String, String>,
}

impl PolicySet {
    /// The policies of a new installation.
    ///
    /// # Errors
    /// Never for the files that this crate was built with; the type is the one of `load`.
    pub fn defaults() -> Result<Self, Error> {
        Self::load(
            DEFAULTS
                .iter()
                .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
                .collect(),
        )
    }

    /// Takes policy files, by name, if every one of them is sound.
    ///
    /// # Errors
    /// The first thing that is wrong; a policy set is never used in part.
    pub fn load(files: BTreeMap<String, String>) -> Result<Self, Error> {
        Self::build(&Blob {
            v: 1,
            schema: SCHEMA.to_owned(),
            policies: files,
        })
    }

    /// Reads a recorded policy set, with the schema of its time.
    ///
    /// # Errors
    /// The bytes are not such a blob, or the policies in it are not sound.
    pub fn from_blob(bytes: &[u8]) -> Result<Self, Error> {
        let blob: Blob = serde_json::from_slice(bytes).map_err(|error| Error::Blob {
            detail: error.to_string(),
        })?;
        if blob.v != 1 {
            return Err(Error::Blob {
                detail: format!("version {} is not known", blob.v),
            });
        }
        Self::build(&blob)
    }

    fn build(blob: &Blob) -> Result<Self, Error> {
        if blob.policies.is_empty() {
            return Err(Error::Empty);
        }
        if blob.policies.values().map(String::len).sum::<usize>() > BYTES_MAX {
            return Err(Error::TooLarge { limit: BYTES_MAX });
        }
        let schema = parse_schema(&blob.schema)?;
        let mut policies = cedar_policy::PolicySet::new();
        let mut reasons = BTreeMap::new();
        for (file, text) in &blob.policies {
            read_file(file, text, &mut policies, &mut reasons)?;
        }
        if reasons.is_empty() {
            return Err(Error::Empty);
        }
        validate(&schema, &policies)?;
        let bytes = json::to_canonical(blob).map_err(|error| Error::Blob {
            detail: error.to_string(),
        })?;
        let digest = sha256(&bytes);
        Ok(Self {
            fitting: Fitting::new(schema, blob.schema == SCHEMA)?,
            policies,
            reasons,
            blob: bytes,
            digest,
        })
    }

    /// The canonical bytes of all files and the schema: an evidence blob.
    #[must_use]
    pub fn blob(&self) -> &[u8] {
        &self.blob
    }

    /// The digest of the blob.
    #[must_use]
    pub const fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The names of the policies, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.reasons.keys().map(String::as_str)
    }

    /// What a policy says in plain words.
    #[must_use]
    pub fn reason(&self, policy: &str) -> Option<&str> {
        self.reasons.get(policy).map(String::as_str)
    }
}

impl fmt::Debug for PolicySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicySet")
            .field("digest", &self.digest)
            .field("policies", &self.reasons.len())
            .finish_non_exhaustive()
    }
}

fn parse_schema(text: &str) -> Result<Schema, Error> {
    let (schema, _warnings) =
        Schema::from_cedarschema_str(text).map_err(|error| Error::Schema {
            detail: error.to_string(),
        })?;
    Ok(schema)
}

/// Adds the policies of one file under the names that they carry: Cedar itself would call them `policy0`, `policy1`.
fn read_file(
    file: &str,
    text: &str,
    policies: &mut cedar_policy::PolicySet,
    reasons: &mut BTreeMap<String, String>,
) -> Result<(), Error> {
    let parsed: cedar_policy::PolicySet =
        text.parse()
            .map_err(|error: cedar_policy::ParseErrors| Error::Syntax {
                file: file.to_owned(),
                detail: error.to_string(),
            })?;
    if parsed.num_of_templates() > 0 {
        return Err(Error::Template {
            file: file.to_owned(),
        });
    }
    for policy in parsed.policies() {
        let name = named(file, policy)?;
        let reason = policy
            .annotation("reason")
            .map(str::trim)
            .filter(|reason| !reason.is_empty());
        let Some(reason) = reason else {
            return Err(Error::Unreasoned {
                file: file.to_owned(),
                policy: name,
            });
        };
        let renamed = policy.new_id(PolicyId::new(&name));
        if reasons.insert(name.clone(), reason.to_owned()).is_some()
            || policies.add(renamed).is_err()
        {
            return Err(Error::Twice {
                file: file.to_owned(),
                policy: name,
            });
        }
    }
    Ok(())
}

fn named(file: &str, policy: &Policy) -> Result<String, Error> {
    let sound = |name: &&str| {
        (1..=ID_BYTES_MAX).contains(&name.len())
            && name.bytes().all(|byte| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte)
            })
    };
    policy
        .annotation("id")
        .filter(sound)
        .map(str::to_owned)
        .ok_or_else(|| Error::Unnamed {
            file: file.to_owned(),
        })
}

fn validate(schema: &Schema, policies: &cedar_policy::PolicySet) -> Result<(), Error> {
    let result = Validator::new(schema.clone()).validate(policies, ValidationMode::Strict);
    if result.validation_passed() {
        return Ok(());
    }
    let detail = result
        .validation_errors()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n");
    Err(Error::Invalid { detail })
}
