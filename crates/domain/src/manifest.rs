//! The manifest of one release of a static site: its files by digest, its pages, the base path it was built for.
//!
//! A release is its manifest: the release digest is the SHA-256 of these bytes, so a release cannot change. Canonical JSON;
//! docs/format.md, "Release manifests". Where the files are is not known here.

use std::collections::BTreeSet;

use countersign_chain as chain;
use countersign_evidence::wire::{self, V1, WireError};
use countersign_ids::Digest;
use serde::{Deserialize, Serialize};

/// Most files of a release.
pub const FILES_MAX: usize = 10_000;
/// Longest path of a file or page.
pub const PATH_BYTES_MAX: usize = 512;
/// Longest label of a release.
pub const LABEL_BYTES_MAX: usize = 128;

/// One file of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Relative path with `/`, without `.` and `..`.
    pub path: String,
    /// SHA-256 of its content.
    pub digest: Digest,
    /// Its size.
    pub bytes: u64,
    /// Its media type, as it is served.
    #[serde(rename = "type")]
    pub media_type: String,
}

/// A release manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The version of this format.
    pub v: V1,
    /// What people call the release.
    pub label: String,
    /// The pages that are probed: files of the release.
    pub pages: Vec<String>,
    /// All files, in order of path.
    pub files: Vec<File>,
    /// The base path that the pages were built for.
    pub base_path: String,
}

/// Why bytes are no release manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Not canonical JSON of these members.
    #[error("not a release manifest: {0}")]
    Malformed(#[from] WireError),
    /// Too long, empty, or with characters that no label has.
    #[error("`{0}` is no label: 1 to {LABEL_BYTES_MAX} printable characters")]
    Label(String),
    /// A path that could leave the release, or is out of order or twice there.
    #[error("`{0}` is no path of a release, stands twice, or is out of order")]
    Path(String),
    /// A page that is no file of the release, or stands twice.
    #[error("`{0}` is no page of the release, or stands twice")]
    Page(String),
    /// A base path that is no absolute URL path.
    #[error("`{0}` is no base path")]
    BasePath(String),
    /// No files, no pages, or too many.
    #[error("a release has 1 to {FILES_MAX} files and pages")]
    Count,
}

impl Manifest {
    /// Reads a manifest; its digest is the release.
    pub fn parse(bytes: &[u8]) -> Result<(Digest, Self), ManifestError> {
        let manifest: Self = wire::parse(bytes)?;
        manifest.check()?;
        Ok((chain::sha256(bytes), manifest))
    }

    /// The RFC 8785 bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ManifestError> {
        self.check()?;
        Ok(wire::canonical(self)?)
    }

    /// The digests of all files, each once.
    #[must_use]
    pub fn blobs(&self) -> BTreeSet<Digest> {
        self.files.iter().map(|file| file.digest).collect()
    }

    fn check(&self) -> Result<(), ManifestError> {
        if !is_label(&self.label) {
            return Err(ManifestError::Label(self.label.clone()));
        }
        let counted = |count: usize| (1..=FILES_MAX).contains(&count);
        if !counted(self.files.len()) || !counted(self.pages.len()) {
            return Err(ManifestError::Count);
        }
        let mut before = "";
        for file in &self.files {
            if !is_path(&file.path) || file.path.as_str() <= before {
                return Err(ManifestError::Path(file.path.clone()));
            }
            before = &file.path;
        }
        let mut seen = BTreeSet::new();
        let files: BTreeSet<&String> = self.files.iter().map(|file| &file.path).collect();
        for page in &self.pages {
            if !files.contains(page) || !seen.insert(page) {
                return Err(ManifestError::Page(page.clone()));
            }
        }
        if is_base_path(&self.base_path) {
            Ok(())
        } else {
            Err(ManifestError::BasePath(self.base_path.clone()))
        }
    }
}

/// A short printable text that people gave.
fn is_label(label: &str) -> bool {
    !label.is_empty()
        && label.len() <= LABEL_BYTES_MAX
        && label.trim() == label
        && !label.chars().any(char::is_control)
}

/// A relative path that stays inside its directory on every file system.
fn is_path(path: &str) -> bool {
    let plain = |part: &str| {
        !part.is_empty()
            && part != "."
            && part != ".."
            && part
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b':' | b'"'))
    };
    path.len() <= PATH_BYTES_MAX && path.split('/').all(plain)
}

/// An absolute URL path that ends with `/`, without query, fragment or dots.
fn is_base_path(path: &str) -> bool {
    path == "/"
        || path
            .strip_prefix('/')
            .and_then(|rest| rest.strip_suffix('/'))
            .is_some_and(|inner| {
                is_path(inner)
                    && inner
                        .bytes()
                        .all(|byte| !matches!(byte, b'?' | b'#' | b'%'))
            })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(paths: &[&str], pages: &[&str]) -> Manifest {
        let file = |path: &&str| File {
            path: (*path).to_owned(),
            digest: Digest::from_bytes([1; 32]),
            bytes: 3,
            media_type: "text/html".to_owned(),
        };
        Manifest {
            v: V1,
            label: "2".to_owned(),
            pages: pages.iter().map(|page| (*page).to_owned()).collect(),
            files: paths.iter().map(file).collect(),
            base_path: "/".to_owned(),
        }
    }

    #[test]
    fn paths_and_pages_stay_inside_the_release() {
        for (paths, pages, accepted) in [
            (&["index.html"][..], &["index.html"][..], true),
            (&["a/b.css", "index.html"], &["index.html"], true),
            (&["index.html", "a.html"], &["index.html"], false),
            (&["a.html", "a.html"], &["a.html"], false),
            (&["../x"], &["../x"], false),
            (&["/x"], &["/x"], false),
            (&["a/./x"], &["a/./x"], false),
            (&["a\\x"], &["a\\x"], false),
            (&["c:x"], &["c:x"], false),
            (&[""], &[""], false),
            (&[], &[], false),
            (&["x"], &[], false),
            (&["x"], &["y"], false),
            (&["x"], &["x", "x"], false),
        ] {
            assert_eq!(
                manifest(paths, pages).to_bytes().is_ok(),
                accepted,
                "{paths:?} {pages:?}"
            );
        }
    }

    #[test]
    fn the_release_is_the_digest_of_the_bytes() {
        let bytes = manifest(&["index.html"], &["index.html"])
            .to_bytes()
            .unwrap();
        let (digest, read) = Manifest::parse(&bytes).unwrap();
        assert_eq!(digest, chain::sha256(&bytes));
        assert_eq!(read.to_bytes().unwrap(), bytes);
        let mut padded = bytes;
        padded.push(b' ');
        assert!(
            Manifest::parse(&padded).is_err(),
            "only canonical bytes are a release"
        );
    }

    #[test]
    fn base_paths_are_absolute_and_closed() {
        for (base, accepted) in [
            ("/", true),
            ("/shop/", true),
            ("/a/b/", true),
            ("", false),
            ("shop/", false),
            ("/shop", false),
            ("//", false),
            ("/../", false),
            ("/a?/", false),
        ] {
            let mut placed = manifest(&["x"], &["x"]);
            base.clone_into(&mut placed.base_path);
            assert_eq!(placed.to_bytes().is_ok(), accepted, "`{base}`");
        }
    }

    #[test]
    fn labels_are_short_and_printable() {
        for (label, accepted) in [
            ("2", true),
            ("Spring menu", true),
            ("", false),
            (" 2", false),
            ("a\nb", false),
        ] {
            let mut named = manifest(&["x"], &["x"]);
            label.clone_into(&mut named.label);
            assert_eq!(named.to_bytes().is_ok(), accepted, "`{label}`");
        }
    }
}
