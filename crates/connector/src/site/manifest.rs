//! The manifest of a release: every file by path and digest, and the pages that are probed.
//!
//! A release is named by the SHA-256 of these bytes (canonical JSON), so the name commits to every byte of the release.

use std::{collections::BTreeMap, fs, io, path::Path};

use countersign_chain::{json, sha256};
use countersign_ids::Digest;
use serde::{Deserialize, Serialize};

use super::FilePath;

/// The most files in one release.
pub const FILES_MAX: usize = 10_000;
/// The most pages in one release: each one is asked for, live, after every switch.
pub const PAGES_MAX: usize = 2_000;
/// The largest manifest.
pub const MANIFEST_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The largest file of a release.
pub const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// The longest label.
pub const LABEL_BYTES_MAX: usize = 128;
/// The only base path that the live server has.
pub const LIVE_BASE_PATH: &str = "/";

/// Why bytes are not the manifest of a release that can be served.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ManifestError {
    /// It is not JSON of this form, or not in the canonical form.
    #[error("the manifest is not canonical JSON of the expected form: {0}")]
    Form(String),
    /// A path could leave the release, or cannot be written in a URL as it is.
    #[error("`{path}` is not a plain relative path of at most 512 bytes")]
    Path {
        /// The path.
        path: String,
    },
    /// The paths are not in ascending order, or one stands twice.
    #[error("`{path}` is out of order or stands twice")]
    Order {
        /// The later of the two.
        path: String,
    },
    /// One path is a directory of another.
    #[error("`{path}` is both a file and a directory")]
    Nested {
        /// The shorter of the two.
        path: String,
    },
    /// A page is not among the files.
    #[error("the page `{path}` is not among the files")]
    Page {
        /// The page.
        path: String,
    },
    /// A content type that cannot be sent.
    #[error("`{path}` has the content type `{content_type}`, which cannot be sent")]
    ContentType {
        /// The file.
        path: String,
        /// The type.
        content_type: String,
    },
    /// A release without a page cannot be probed.
    #[error("the release has no page")]
    NoPage,
    /// One of the bounds.
    #[error("the release has too many or too large {0}")]
    Bound(&'static str),
    /// The live server serves at `/` only.
    #[error("the base path is `{0}`; only `/` is served")]
    BasePath(String),
    /// A directory that was to become a release could not be read.
    #[error("the directory cannot be read: {0}")]
    Unreadable(String),
}

/// One file of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseFile {
    /// Where it is served, below the base path.
    pub path: FilePath,
    /// SHA-256 of its bytes; also the blob that holds them.
    pub digest: Digest,
    /// Its length.
    pub bytes: u64,
    /// Its media type, sent as `content-type`.
    #[serde(rename = "type")]
    pub content_type: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    v: u64,
    label: String,
    pages: Vec<FilePath>,
    files: Vec<ReleaseFile>,
    base_path: String,
}

/// A release, checked: paths are plain, in order and once, pages are files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    wire: Wire,
    bytes: Vec<u8>,
    digest: Digest,
}

impl Manifest {
    /// Reads manifest bytes; refuses anything that is not the one canonical form.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        if bytes.len() > MANIFEST_BYTES_MAX {
            return Err(ManifestError::Bound("bytes of manifest"));
        }
        json::check(bytes).map_err(|error| ManifestError::Form(error.to_string()))?;
        let wire = serde_json::from_slice(bytes)
            .map_err(|error| ManifestError::Form(error.to_string()))?;
        let manifest = Self::from_wire(wire)?;
        if manifest.bytes == bytes {
            Ok(manifest)
        } else {
            Err(ManifestError::Form(
                "another form of the same members".to_owned(),
            ))
        }
    }

    /// Describes files that are to become a release; every HTML file is a page.
    pub fn build(label: &str, files: &BTreeMap<FilePath, Vec<u8>>) -> Result<Self, ManifestError> {
        let described = files.iter().map(|(path, bytes)| ReleaseFile {
            path: path.clone(),
            digest: sha256(bytes),
            bytes: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            content_type: content_type(path).to_owned(),
        });
        let files: Vec<ReleaseFile> = described.collect();
        let pages = files
            .iter()
            .filter(|file| file.content_type == HTML)
            .map(|file| file.path.clone())
            .collect();
        Self::from_wire(Wire {
            v: 1,
            label: label.to_owned(),
            pages,
            files,
            base_path: LIVE_BASE_PATH.to_owned(),
        })
    }

    /// Reads a directory that is to become a release: the manifest, and every file by its digest. Links are refused.
    pub fn of_directory(
        label: &str,
        directory: &Path,
    ) -> Result<(Self, BTreeMap<Digest, Vec<u8>>), ManifestError> {
        let mut files = BTreeMap::new();
        read_tree(directory, "", &mut files)?;
        let manifest = Self::build(label, &files)?;
        Ok((
            manifest,
            files
                .into_values()
                .map(|bytes| (sha256(&bytes), bytes))
                .collect(),
        ))
    }

    fn from_wire(wire: Wire) -> Result<Self, ManifestError> {
        check(&wire)?;
        let bytes =
            json::to_canonical(&wire).map_err(|error| ManifestError::Form(error.to_string()))?;
        let digest = sha256(&bytes);
        Ok(Self {
            wire,
            bytes,
            digest,
        })
    }

    /// The bytes that the digest is over.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The name of the release.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// What people call the release.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.wire.label
    }

    /// The pages, in the order of their paths.
    #[must_use]
    pub fn pages(&self) -> &[FilePath] {
        &self.wire.pages
    }

    /// The files, in the order of their paths.
    #[must_use]
    pub fn files(&self) -> &[ReleaseFile] {
        &self.wire.files
    }

    /// The file of that path.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<&ReleaseFile> {
        let at = self
            .wire
            .files
            .binary_search_by(|file| file.path.as_str().cmp(path))
            .ok()?;
        self.wire.files.get(at)
    }
}

fn check(wire: &Wire) -> Result<(), ManifestError> {
    if wire.v != 1 {
        return Err(ManifestError::Form(format!("version {}", wire.v)));
    }
    if wire.base_path != LIVE_BASE_PATH {
        return Err(ManifestError::BasePath(
            wire.base_path.chars().take(LABEL_BYTES_MAX).collect(),
        ));
    }
    if wire.label.is_empty() || wire.label.len() > LABEL_BYTES_MAX {
        return Err(ManifestError::Bound("bytes of label"));
    }
    if wire.files.len() > FILES_MAX {
        return Err(ManifestError::Bound("files"));
    }
    if wire.pages.len() > PAGES_MAX {
        return Err(ManifestError::Bound("pages"));
    }
    if wire.pages.is_empty() {
        return Err(ManifestError::NoPage);
    }
    ascending(wire.files.iter().map(|file| &file.path))?;
    ascending(wire.pages.iter())?;
    for file in &wire.files {
        check_file(file)?;
    }
    nested(&wire.files)?;
    let listed = |page: &&FilePath| {
        wire.files
            .binary_search_by(|file| file.path.cmp(page))
            .is_err()
    };
    match wire.pages.iter().find(listed) {
        Some(page) => Err(ManifestError::Page {
            path: page.to_string(),
        }),
        None => Ok(()),
    }
}

fn ascending<'a>(paths: impl Iterator<Item = &'a FilePath>) -> Result<(), ManifestError> {
    let mut before: Option<&FilePath> = None;
    for path in paths {
        if before.is_some_and(|before| before >= path) {
            return Err(ManifestError::Order {
                path: path.to_string(),
            });
        }
        before = Some(path);
    }
    Ok(())
}

fn check_file(file: &ReleaseFile) -> Result<(), ManifestError> {
    if file.bytes > FILE_BYTES_MAX {
        return Err(ManifestError::Bound("bytes of a file"));
    }
    let sendable = |byte: u8| (b' '..=b'~').contains(&byte);
    if file.content_type.is_empty()
        || file.content_type.len() > LABEL_BYTES_MAX
        || !file.content_type.bytes().all(sendable)
    {
        return Err(ManifestError::ContentType {
            path: file.path.to_string(),
            content_type: file
                .content_type
                .escape_debug()
                .take(LABEL_BYTES_MAX)
                .collect(),
        });
    }
    Ok(())
}

fn nested(files: &[ReleaseFile]) -> Result<(), ManifestError> {
    let is_file = |path: &str| {
        files
            .binary_search_by(|file| file.path.as_str().cmp(path))
            .is_ok()
    };
    for file in files {
        let mut directory = file.path.as_str();
        while let Some((parent, _)) = directory.rsplit_once('/') {
            if is_file(parent) {
                return Err(ManifestError::Nested {
                    path: parent.to_owned(),
                });
            }
            directory = parent;
        }
    }
    Ok(())
}

fn read_tree(
    directory: &Path,
    prefix: &str,
    files: &mut BTreeMap<FilePath, Vec<u8>>,
) -> Result<(), ManifestError> {
    let unreadable = |error: io::Error| ManifestError::Unreadable(error.to_string());
    for entry in fs::read_dir(directory).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name();
        let path = format!("{prefix}{}", name.to_string_lossy());
        let kind = entry.file_type().map_err(unreadable)?;
        if kind.is_dir() {
            read_tree(&entry.path(), &format!("{path}/"), files)?;
        } else if kind.is_file() {
            files.insert(path.parse()?, fs::read(entry.path()).map_err(unreadable)?);
        } else {
            return Err(ManifestError::Path { path });
        }
        if files.len() > FILES_MAX {
            return Err(ManifestError::Bound("files"));
        }
    }
    Ok(())
}

/// The type of a page.
const HTML: &str = "text/html; charset=utf-8";

fn content_type(path: &FilePath) -> &'static str {
    match path
        .as_str()
        .rsplit_once('.')
        .map_or("", |(_, extension)| extension)
    {
        "html" | "htm" => HTML,
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "avif" => "image/avif",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "woff" => "font/woff",
        "xml" => "application/xml",
        "txt" => "text/plain; charset=utf-8",
        "pdf" => "application/pdf",
        "wasm" => "application/wasm",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> serde_json::Value {
        serde_json::json!({"path": path, "digest": sha256(b"x").to_string(), "bytes": 1, "type": "text/html"})
    }

    fn manifest(files: &[&str], pages: &[&str]) -> serde_json::Value {
        let files: Vec<_> = files.iter().map(|path| file(path)).collect();
        serde_json::json!({"v": 1, "label": "one", "pages": pages, "files": files, "base_path": "/"})
    }

    fn check_refused(value: &serde_json::Value, expected: &str) {
        let bytes = json::canonical(value).unwrap();
        match Manifest::parse(&bytes) {
            Ok(_) => panic!("accepted: {value}"),
            Err(error) => assert!(
                error.to_string().contains(expected),
                "`{error}` does not say `{expected}`"
            ),
        }
    }

    #[test]
    fn a_manifest_has_one_form() {
        let value = manifest(&["a/index.html", "index.html"], &["index.html"]);
        let bytes = json::canonical(&value).unwrap();
        let parsed = Manifest::parse(&bytes).unwrap();
        assert_eq!(parsed.digest(), sha256(&bytes));
        assert_eq!(parsed.bytes(), bytes);
        assert!(parsed.file("a/index.html").is_some());
        assert!(parsed.file("a").is_none());
        let pretty = serde_json::to_vec_pretty(&value).unwrap();
        assert!(matches!(
            Manifest::parse(&pretty),
            Err(ManifestError::Form(_))
        ));
    }

    #[test]
    fn what_cannot_be_served_is_refused_by_name() {
        check_refused(
            &manifest(&["b.html", "a.html"], &["a.html"]),
            "out of order",
        );
        check_refused(
            &manifest(&["a.html", "a.html"], &["a.html"]),
            "stands twice",
        );
        check_refused(&manifest(&["a.html"], &["b.html"]), "not among the files");
        check_refused(&manifest(&["a.html"], &[]), "no page");
        check_refused(
            &manifest(&["a", "a/b"], &["a"]),
            "both a file and a directory",
        );
        check_refused(&manifest(&["../a"], &["../a"]), "plain relative path");
        let mut other = manifest(&["a.html"], &["a.html"]);
        other["base_path"] = "/docs/".into();
        check_refused(&other, "only `/` is served");
        let mut other = manifest(&["a.html"], &["a.html"]);
        other["extra"] = 1.into();
        check_refused(&other, "expected form");
        let mut other = manifest(&["a.html"], &["a.html"]);
        other["files"][0]["type"] = "text/html\r\nx: y".into();
        check_refused(&other, "cannot be sent");
    }

    #[test]
    fn a_directory_becomes_a_release() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("guide")).unwrap();
        fs::write(directory.path().join("index.html"), "<h1>one</h1>").unwrap();
        fs::write(directory.path().join("guide/index.html"), "<h1>guide</h1>").unwrap();
        fs::write(directory.path().join("site.css"), "h1{}").unwrap();
        let (manifest, blobs) = Manifest::of_directory("one", directory.path()).unwrap();
        assert_eq!(
            manifest
                .pages()
                .iter()
                .map(FilePath::as_str)
                .collect::<Vec<_>>(),
            ["guide/index.html", "index.html"]
        );
        assert_eq!(blobs.len(), 3);
        assert_eq!(Manifest::parse(manifest.bytes()).unwrap(), manifest);
        std::os::unix::fs::symlink("/etc/passwd", directory.path().join("link.html")).unwrap();
        assert!(matches!(
            Manifest::of_directory("one", directory.path()),
            Err(ManifestError::Path { .. })
        ));
    }
}
