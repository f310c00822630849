//! Paths of files inside a release: relative, plain, and the same on every file system.
//!
//! A path is parsed once; whoever holds a `FilePath` may join it to a directory without leaving that directory.

use std::{fmt, path::PathBuf, str::FromStr};

use serde::{Deserialize, Serialize};

use super::ManifestError;

/// The longest path of a file in a release.
pub const PATH_BYTES_MAX: usize = 512;

/// A relative path of plain segments: no `..`, no hidden file, no separator of another system, nothing to be escaped in a URL.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FilePath(String);

impl FilePath {
    /// The path as text, with `/` between segments.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The segments, from the outermost directory to the file.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// The path in the form of this system; still relative.
    #[must_use]
    pub fn relative(&self) -> PathBuf {
        self.segments().collect()
    }

    /// Where a browser asks for the file, below the base path: a directory's index is the directory.
    #[must_use]
    pub fn address(&self) -> &str {
        match self.0.strip_suffix(INDEX) {
            Some(directory) if directory.is_empty() || directory.ends_with('/') => directory,
            _ => &self.0,
        }
    }
}

/// The page of a directory.
pub(crate) const INDEX: &str = "index.html";

fn is_plain(segment: &str) -> bool {
    let visible = !segment.starts_with('.') || segment == ".well-known";
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-~@+=,".contains(&byte);
    visible && !segment.is_empty() && segment.bytes().all(plain)
}

impl FromStr for FilePath {
    type Err = ManifestError;

    fn from_str(text: &str) -> Result<Self, ManifestError> {
        if text.len() <= PATH_BYTES_MAX && text.split('/').all(is_plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ManifestError::Path {
                path: text.chars().take(PATH_BYTES_MAX).collect(),
            })
        }
    }
}

impl TryFrom<String> for FilePath {
    type Error = ManifestError;

    fn try_from(text: String) -> Result<Self, ManifestError> {
        text.parse()
    }
}

impl From<FilePath> for String {
    fn from(path: FilePath) -> Self {
        path.0
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_relative_paths_are_paths() {
        for (text, accepted) in [
            ("index.html", true),
            ("guide/start/index.html", true),
            ("assets/site-3f2a.css", true),
            (".well-known/security.txt", true),
            ("", false),
            ("/etc/passwd", false),
            ("..", false),
            ("a/../b", false),
            ("a/./b", false),
            ("a//b", false),
            ("a/", false),
            (".git/config", false),
            ("a\\b", false),
            ("a%2fb", false),
            ("a\0b", false),
            ("ä.html", false),
            ("a b.html", false),
            ("a?b", false),
            ("c:/x", false),
        ] {
            assert_eq!(text.parse::<FilePath>().is_ok(), accepted, "`{text}`");
        }
    }

    #[test]
    fn the_index_of_a_directory_is_asked_for_as_the_directory() {
        for (path, address) in [
            ("index.html", ""),
            ("a/index.html", "a/"),
            ("a/b.html", "a/b.html"),
            ("a/myindex.html", "a/myindex.html"),
        ] {
            assert_eq!(path.parse::<FilePath>().unwrap().address(), address);
        }
    }
}
