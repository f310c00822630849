//! What an action would change: the plan, computed from two releases or two documents, whole and never shortened.
//!
//! The plan is canonical JSON in the event that proposes; its digest stands in the action object. docs/format.md, "Plans".

use std::collections::BTreeMap;

use countersign_evidence::PinnedDocument;
use countersign_evidence::wire::{self, JsonObject, WireError};
use countersign_ids::Digest;
use serde_json::{Value, json};

use crate::manifest::{File, Manifest};

/// Largest plan; with its event it fits a body.
pub const PLAN_BYTES_MAX: usize = 128 * 1024;

/// A plan: what changes, and how much of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The whole plan.
    pub object: JsonObject,
    /// Pages of the site whose address appears, disappears or shows other bytes.
    pub pages_changed: u64,
    /// Pages that disappear.
    pub pages_removed: u64,
    /// One sentence: `changes 3 files, adds 2, removes 1 (5 pages)`.
    pub summary: String,
}

impl Plan {
    /// From what is live to what would be; `from` is none where nothing was ever published.
    #[must_use]
    pub fn release<'a>(from: Option<(&Digest, &'a Manifest)>, to: (&Digest, &'a Manifest)) -> Self {
        fn files_of(manifest: &Manifest) -> BTreeMap<&str, &File> {
            let files = manifest.files.iter();
            files.map(|file| (file.path.as_str(), file)).collect()
        }
        let before = from
            .map(|(_, manifest)| files_of(manifest))
            .unwrap_or_default();
        let after = files_of(to.1);
        let beyond = |files: &BTreeMap<&str, &'a File>, others: &BTreeMap<&str, &File>| {
            let new = files.iter().filter(|(path, _)| !others.contains_key(*path));
            new.map(|(_, file)| *file).collect::<Vec<_>>()
        };
        let (added, removed) = (beyond(&after, &before), beyond(&before, &after));
        let changed: Vec<(&File, &File)> = after
            .values()
            .filter_map(|file| Some((*before.get(file.path.as_str())?, *file)))
            .filter(|(old, new)| old.digest != new.digest || old.media_type != new.media_type)
            .collect();
        let pages = pages(from.map(|(_, manifest)| manifest), to.1);
        let summary = format!(
            "changes {}, adds {}, removes {} ({} added, {} removed)",
            count(changed.len(), "file"),
            added.len(),
            removed.len(),
            count(pages.added.len(), "page"),
            pages.removed.len(),
        );
        let listed =
            |file: &&File| json!({"bytes": file.bytes, "digest": file.digest, "path": file.path});
        let object = json!({
            "v": 1,
            "kind": "release",
            "from": from.map_or_else(|| "-".to_owned(), |(digest, _)| digest.to_string()),
            "from_label": from.map_or("-", |(_, manifest)| &manifest.label),
            "to": to.0,
            "to_label": to.1.label,
            "files_added": added.iter().map(listed).collect::<Vec<_>>(),
            "files_removed": removed.iter().map(listed).collect::<Vec<_>>(),
            "files_changed": changed.iter().map(|(old, new)| json!({
                "path": new.path, "before": old.digest, "after": new.digest,
                "bytes_before": old.bytes, "bytes_after": new.bytes,
            })).collect::<Vec<_>>(),
            "files_unchanged": after.len().saturating_sub(added.len()).saturating_sub(changed.len()),
            "pages_added": pages.added,
            "pages_removed": pages.removed,
            "pages_probed": to.1.pages,
        });
        let touched = pages.added.len() + pages.removed.len();
        let html_changed = changed
            .iter()
            .filter(|(_, new)| new.media_type.starts_with("text/html"))
            .count();
        Self {
            object: object_of(object),
            pages_changed: length(touched + html_changed),
            pages_removed: length(pages.removed.len()),
            summary,
        }
    }

    /// From the document pinned at a site to the one that would replace it.
    #[must_use]
    pub fn document(from: (&Digest, &PinnedDocument), to: (&Digest, &PinnedDocument)) -> Self {
        let people = |document: &PinnedDocument| -> Vec<String> {
            document
                .approvers
                .iter()
                .map(|held| format!("{}/{}", held.approver, held.credential))
                .collect()
        };
        let (before, after) = (people(from.1), people(to.1));
        let added: Vec<&String> = after.iter().filter(|held| !before.contains(held)).collect();
        let removed: Vec<&String> = before.iter().filter(|held| !after.contains(held)).collect();
        let summary = format!(
            "adds {}, removes {}, of a site's own document",
            count(added.len(), "key"),
            removed.len()
        );
        let object = json!({
            "v": 1,
            "kind": "document",
            "from": from.0,
            "to": to.0,
            "approvers_added": added,
            "approvers_removed": removed,
            "before": from.1,
            "after": to.1,
        });
        Self {
            object: object_of(object),
            pages_changed: 0,
            pages_removed: 0,
            summary,
        }
    }

    /// `plan_digest`, if the plan is small enough to stand in an event.
    pub fn digest(&self) -> Result<Option<Digest>, WireError> {
        let bytes = wire::canonical(&self.object)?;
        Ok((bytes.len() <= PLAN_BYTES_MAX).then(|| countersign_chain::sha256(&bytes)))
    }
}

/// `1 page`, `2 pages`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    if number == 1 {
        format!("1 {noun}")
    } else {
        format!("{number} {noun}s")
    }
}

struct Pages {
    added: Vec<String>,
    removed: Vec<String>,
}

fn pages(from: Option<&Manifest>, to: &Manifest) -> Pages {
    let none = Vec::new();
    let before = from.map_or(&none, |manifest| &manifest.pages);
    let missing = |of: &[String], other: &[String]| {
        of.iter()
            .filter(|page| !other.contains(page))
            .cloned()
            .collect()
    };
    Pages {
        added: missing(&to.pages, before),
        removed: missing(before, &to.pages),
    }
}

fn length(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn object_of(value: Value) -> JsonObject {
    match value {
        Value::Object(members) => JsonObject(members.into_iter().collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            JsonObject::default()
        }
    }
}
