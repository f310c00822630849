//! What is derived from the declarations: JSON Schemas, their released lock, the table of docs/events.md.
//!
//! Bytes only; writing and comparing files is `cargo xtask gen`. Members are sorted here, so no feature of a JSON crate
//! that some other crate of the build turns on can change a byte.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::{Spec, all};

/// Where the schemas go.
pub const SCHEMAS: &str = "schemas/events";
/// The lock of released schemas, in that directory.
pub const INDEX: &str = "index.json";

/// A released schema that was edited.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the schema of `{0}` is released and was edited: declare the next version and an upcast in its place"
)]
pub struct ReleasedChanged(pub String);

/// Why the lock cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// It is not a JSON object of strings.
    #[error("`{INDEX}` is not an object of digests by type: {0}")]
    Malformed(String),
    /// A released schema differs.
    #[error(transparent)]
    Changed(#[from] ReleasedChanged),
    /// A released type is gone.
    #[error(
        "the released type `{0}` is not declared any more; stored events of it could not be read"
    )]
    Gone(String),
}

/// The schema of one type: JSON Schema 2020-12, titled with the type.
pub fn schema(spec: &Spec) -> Value {
    let mut schema = spec.raw_schema();
    if let Some(members) = schema.as_object_mut() {
        members.insert(
            "$schema".to_owned(),
            "https://json-schema.org/draft/2020-12/schema".into(),
        );
        members.insert("title".to_owned(), spec.event_type.to_string().into());
        members.insert("description".to_owned(), sentences(spec.doc).into());
    }
    sorted(schema)
}

/// The file of each schema, by name in [`SCHEMAS`], and the index with the digest of each.
pub fn files() -> BTreeMap<String, Vec<u8>> {
    let mut index = Map::new();
    let mut files = BTreeMap::new();
    for spec in all() {
        let bytes = pretty(&schema(spec));
        index.insert(
            spec.event_type.to_string(),
            countersign_chain::sha256(&bytes).to_string().into(),
        );
        files.insert(format!("{}.json", spec.event_type), bytes);
    }
    files.insert(INDEX.to_owned(), pretty(&sorted(Value::Object(index))));
    files
}

/// Checks the declarations against the committed index: a type that stands there never changes and never goes.
pub fn check_released(index: &[u8]) -> Result<(), IndexError> {
    let released: BTreeMap<String, String> =
        serde_json::from_slice(index).map_err(|error| IndexError::Malformed(error.to_string()))?;
    let files = files();
    for (event_type, digest) in released {
        let Some(bytes) = files.get(&format!("{event_type}.json")) else {
            return Err(IndexError::Gone(event_type));
        };
        if countersign_chain::sha256(bytes).to_string() != digest {
            return Err(ReleasedChanged(event_type).into());
        }
    }
    Ok(())
}

/// docs/events.md: one row per type.
pub fn documentation() -> String {
    let mut out = String::from(
        "# Events\n\nGenerated from the declarations in `crates/events`; `cargo xtask gen` writes it. The exact members of each body\n\
         stand in `schemas/events/`, the header in [format.md](format.md).\n\n\
         | type | class | chain | subject | meaning |\n| --- | --- | --- | --- | --- |\n",
    );
    for spec in all() {
        let (kind, chains) = (&spec.event_type, spec.chains.as_str());
        // Writing to a string cannot fail.
        let _infallible = writeln!(
            out,
            "| [`{kind}`](../schemas/events/{kind}.json) | {} | {chains} | {} | {} |",
            spec.retention,
            spec.subject,
            sentences(spec.doc)
        );
    }
    out
}

/// Doc comments as one paragraph.
fn sentences(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let members: BTreeMap<String, Value> = members.into_iter().collect();
            Value::Object(
                members
                    .into_iter()
                    .map(|(name, value)| (name, sorted(value)))
                    .collect(),
            )
        }
        Value::Array(values) => Value::Array(values.into_iter().map(sorted).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    }
}

fn pretty(value: &Value) -> Vec<u8> {
    // `Value` prints itself in the alternate form without a path that fails.
    format!("{value:#}\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_released_schema_neither_changes_nor_goes() {
        let files = files();
        let index = files.get(INDEX).unwrap();
        check_released(index).unwrap();
        let text = String::from_utf8(index.clone()).unwrap();
        let gone = text.replace("action.unresolved.v1", "action.dreamed.v1");
        assert_eq!(
            check_released(gone.as_bytes()),
            Err(IndexError::Gone(
                "dev.countersign.action.dreamed.v1".to_owned()
            ))
        );
        let released =
            countersign_chain::sha256(&files["dev.countersign.action.unresolved.v1.json"])
                .to_string();
        let edited = text.replace(&released, &countersign_chain::sha256(b"").to_string());
        assert!(matches!(
            check_released(edited.as_bytes()),
            Err(IndexError::Changed(_))
        ));
        assert!(check_released(b"[]").is_err());
    }

    #[test]
    fn members_of_schemas_are_sorted_whatever_the_build() {
        let schema = String::from_utf8(pretty(&sorted(
            serde_json::json!({ "b": { "d": 1, "c": 2 }, "a": 0 }),
        )))
        .unwrap();
        assert_eq!(
            schema,
            "{\n  \"a\": 0,\n  \"b\": {\n    \"c\": 2,\n    \"d\": 1\n  }\n}\n"
        );
    }

    #[test]
    fn every_type_family_and_field_says_what_it_means() {
        for spec in all() {
            assert!(!spec.doc.trim().is_empty(), "{}", spec.event_type);
            let schema = schema(spec);
            for (name, member) in schema["properties"].as_object().unwrap() {
                assert!(
                    member["description"].is_string(),
                    "{} `{name}` has no description",
                    spec.event_type
                );
            }
        }
    }

    #[test]
    fn a_family_has_one_class() {
        let mut classes = BTreeMap::new();
        for spec in all() {
            let class = classes
                .entry(spec.event_type.family().as_str())
                .or_insert(spec.retention);
            assert_eq!(*class, spec.retention, "{}", spec.event_type);
        }
    }

    #[test]
    fn a_body_that_may_go_names_no_file_that_would_have_to_go_with_it() {
        for spec in all() {
            let schema = schema(spec).to_string();
            let names = ["\"blobs\"", "\"attachments\""];
            let named = names.iter().any(|name| schema.contains(name));
            let stays = spec.retention == countersign_ids::Retention::Evidence;
            assert!(stays || !named, "{}", spec.event_type);
        }
    }
}
