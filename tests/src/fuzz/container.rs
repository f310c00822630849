//! What holds events: frames of a journal, and bundles with their manifest and lines.

use super::refused;
use countersign_replay::bundle::{Bundle, line, manifest::Manifest};
use countersign_replay::progress::Progress;
use countersign_replay::source::{Source as _, SourceError};
use countersign_replay::verdict::Demands;
use countersign_replay::verify::{Pins, verify};
use countersign_store::read::{Item, Reader};
use countersign_store::{Ledger, Options};
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::OnceLock;

/// Where targets that need a file put it; one directory a process and thread.
fn scratch(name: &str) -> io::Result<PathBuf> {
    static DIRECTORY: OnceLock<Option<tempfile::TempDir>> = OnceLock::new();
    let directory = DIRECTORY
        .get_or_init(|| tempfile::tempdir().ok())
        .as_ref()
        .ok_or_else(|| io::Error::other("no temporary directory"))?;
    let thread = format!("{name}-{:?}", std::thread::current().id());
    Ok(directory.path().join(thread.replace(['(', ')'], "")))
}

/// A first segment of a journal: whatever is in it, its reader ends in order.
pub(super) fn frame(bytes: &[u8]) -> String {
    let Ok(root) = scratch("journal") else {
        return "no place".to_owned();
    };
    if !root.exists() {
        let options = Options {
            segment_bytes: 4096,
            ..Options::default()
        };
        let made = Ledger::create(&root, [7; 32], &options);
        assert!(made.is_ok(), "no ledger: {made:?}");
    }
    let segment = root.join("journal").join(format!("{:020}.seg", 0));
    let written = fs::write(&segment, bytes);
    assert!(written.is_ok(), "the segment is not written: {written:?}");
    let items = Reader::open(&root).and_then(|reader| reader.journal());
    let mut items = match items {
        Ok(items) => items,
        Err(error) => return refused(&error),
    };
    let mut said = String::new();
    for item in items.by_ref() {
        match item {
            Ok(Item::Events { records, .. }) => {
                said.push_str(&format!("{} events, ", records.len().min(3)))
            }
            Ok(Item::Checkpoint { .. }) => said.push_str("checkpoint, "),
            Ok(Item::Pruned { .. }) => said.push_str("pruned, "),
            Err(error) => return format!("{said}{}", refused(&error)),
        }
        said.truncate(60);
    }
    format!("{said}end")
}

/// Gives every frame that begins where one should the checksum of its bytes.
pub(super) fn mend_frame(bytes: &mut [u8]) {
    let mut at = 0;
    while let Some(rest) = bytes.get_mut(at..)
        && let Some((head, behind)) = rest.split_first_chunk_mut::<40>()
    {
        let [.., a, b, c, d, _, _, _, _] = *head;
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        let Some(payload) = behind.get(..length) else {
            return;
        };
        let (covered, crc) = head.split_at_mut(36);
        let sum = crc32c::crc32c_append(crc32c::crc32c(covered), payload);
        crc.copy_from_slice(&sum.to_be_bytes());
        at += 40 + length;
    }
}

/// A whole bundle, verified: nothing in it makes the auditor give up.
pub(super) fn bundle(bytes: &[u8]) -> String {
    let Ok(path) = scratch("bundle") else {
        return "no place".to_owned();
    };
    let written = fs::write(&path, bytes);
    assert!(written.is_ok(), "the bundle is not written: {written:?}");
    let mut bundle = match Bundle::open(&path) {
        Ok(bundle) => bundle,
        Err(SourceError::Unreadable { reason, .. } | SourceError::Framing { reason, .. }) => {
            return refused(&reason);
        }
        Err(error @ SourceError::Io { .. }) => return refused(&error),
    };
    let chains = bundle.chains().len().min(3);
    match verify(
        &mut bundle,
        &Pins::default(),
        &Demands::default(),
        &mut Progress::hidden(),
    ) {
        Ok(verdict) => format!("{chains} chains, exit {}", verdict.exit),
        Err(error) => refused(&error),
    }
}

/// One line of a bundle's events.
pub(super) fn line(bytes: &[u8]) -> String {
    match line::parse(bytes) {
        Ok(record) => {
            let written = line::write(&record);
            assert!(
                written.is_ok_and(|written| written.strip_suffix(b"\n") == Some(bytes)),
                "a line is read that is not written so"
            );
            "line".to_owned()
        }
        Err(error) => refused(&error),
    }
}

/// The manifest of a bundle.
pub(super) fn manifest(bytes: &[u8]) -> String {
    match Manifest::parse(bytes) {
        Ok(manifest) => {
            let written = manifest.to_bytes();
            assert!(
                written.is_ok_and(|written| written == bytes),
                "a manifest is read that is not written so"
            );
            "manifest".to_owned()
        }
        Err(error) => refused(&error),
    }
}
