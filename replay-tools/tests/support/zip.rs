//! Bundles taken apart, changed and put together again, with a manifest that says what they hold.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use countersign_chain::{json, sha256};
use countersign_replay::bundle::manifest::{FileEntry, Manifest};
use countersign_replay::zip::{Archive, Writer};

/// The members of a bundle.
pub(crate) type Members = BTreeMap<String, Vec<u8>>;

pub(crate) fn read(path: &Path) -> Members {
    let archive = Archive::open(File::open(path).unwrap()).unwrap();
    let names: Vec<String> = archive
        .members()
        .map(|member| member.name.clone())
        .collect();
    names
        .into_iter()
        .map(|name| {
            let mut bytes = Vec::new();
            archive
                .content(&name)
                .unwrap()
                .read_to_end(&mut bytes)
                .unwrap();
            (name, bytes)
        })
        .collect()
}

/// Writes the members with a manifest that fits them: what a forger would do.
pub(crate) fn write(path: &Path, mut members: Members) {
    let mut manifest = Manifest::parse(&members["manifest.json"]).unwrap();
    manifest.files = members
        .iter()
        .filter(|(name, _)| *name != "manifest.json")
        .map(|(name, bytes)| {
            (
                name.clone(),
                FileEntry {
                    bytes: bytes.len() as u64,
                    digest: sha256(bytes),
                },
            )
        })
        .collect();
    for (chain, entry) in &mut manifest.chains {
        if let Some(events) = members.get(&format!("events/{chain}.jsonl"))
            && entry.form != countersign_replay::bundle::manifest::FormName::Sparse
        {
            entry.size = events.iter().filter(|byte| **byte == b'\n').count() as u64;
        }
    }
    members.insert(
        "manifest.json".to_owned(),
        json::to_canonical(&manifest).unwrap(),
    );
    write_as_is(path, &members);
}

/// Writes the members as they are.
pub(crate) fn write_as_is(path: &Path, members: &Members) {
    let mut writer = Writer::new(Vec::new());
    for (name, bytes) in members {
        writer
            .member(
                name,
                bytes.len() as u64,
                crc32fast::hash(bytes),
                &mut bytes.as_slice(),
            )
            .unwrap();
    }
    std::fs::write(path, writer.finish().unwrap()).unwrap();
}

/// The lines of a chain, without their ends.
pub(crate) fn lines(members: &Members, chain: &str) -> Vec<String> {
    let text = String::from_utf8(members[&format!("events/{chain}.jsonl")].clone()).unwrap();
    text.lines().map(str::to_owned).collect()
}

pub(crate) fn set_lines(members: &mut Members, chain: &str, lines: &[String]) {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    members.insert(format!("events/{chain}.jsonl"), text.into_bytes());
}

/// Edits the headers of a chain and links it again, as whoever holds every key could; its checkpoints are dropped.
pub(crate) fn relink(
    members: &mut Members,
    chain: &str,
    mut edit: impl FnMut(usize, &mut countersign_chain::Header),
) {
    let mut previous = None;
    let mut changed = Vec::new();
    for (at, line) in lines(members, chain).iter().enumerate() {
        let mut line: serde_json::Value = serde_json::from_str(line).unwrap();
        let raw = line["header"].as_str().unwrap().as_bytes();
        let mut header = countersign_chain::Header::parse(raw).unwrap();
        edit(at, &mut header);
        if let Some(previous) = previous {
            header.prevhash = previous;
        }
        let raw = header.to_bytes();
        previous = Some(countersign_chain::event_hash(&raw));
        line["header"] = serde_json::Value::String(String::from_utf8(raw).unwrap());
        changed.push(String::from_utf8(json::canonical(&line).unwrap()).unwrap());
    }
    set_lines(members, chain, &changed);
    members.retain(|name, _| !name.starts_with(&format!("checkpoints/{chain}/")));
}
