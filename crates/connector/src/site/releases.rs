//! Releases on disk: immutable directories named by digest, and the link `current` that says which one is live.
//!
//! ```text
//! <site>/releases/<64 hex>/manifest.json      read-only, never changed after the rename that made it appear
//! <site>/releases/<64 hex>/files/<path>
//! <site>/current -> releases/<64 hex>         changed by rename, so a reader sees the old or the new one
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, Permissions},
    io,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use countersign_chain::sha256;
use countersign_ids::Digest;

use super::{FilePath, Manifest, ManifestError, ReleaseFile, beneath};
use crate::files;

/// Why a release cannot be kept, read or made live.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReleaseError {
    /// The file system failed.
    #[error("the release store failed at `{path}`")]
    Io {
        /// Where.
        path: PathBuf,
        /// How.
        #[source]
        source: io::Error,
    },
    /// The manifest cannot be served.
    #[error("the manifest of `{release}` is refused")]
    Manifest {
        /// The release.
        release: Digest,
        /// Why.
        #[source]
        source: ManifestError,
    },
    /// Bytes that were fetched, or stand on disk, are not the ones that the digest names.
    #[error("`{name}` of `{release}` does not have the bytes that its digest names")]
    Differs {
        /// The release.
        release: Digest,
        /// The file, or `manifest.json`.
        name: String,
    },
    /// The release is not kept here.
    #[error("`{release}` is not kept here")]
    Missing {
        /// The release.
        release: Digest,
    },
    /// `current` is not a link that this program made.
    #[error("`current` points to `{target}`, which is no release")]
    ForeignLink {
        /// Where it points.
        target: String,
    },
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> ReleaseError + '_ {
    |source| ReleaseError::Io {
        path: path.to_owned(),
        source,
    }
}

const MANIFEST: &str = "manifest.json";
const FILES: &str = "files";
const UNFINISHED: &str = "unfinished-";
const DAMAGED: &str = "damaged-";

/// The releases of one site.
#[derive(Debug)]
pub struct Releases {
    root: PathBuf,
    manifests: RwLock<BTreeMap<Digest, Arc<Manifest>>>,
}

impl Releases {
    /// Opens the directory of a site, makes it if it is not there, and removes what an interrupted download left.
    pub fn open(root: &Path) -> Result<Self, ReleaseError> {
        let releases = root.join("releases");
        fs::create_dir_all(&releases).map_err(at(&releases))?;
        let opened = Self {
            root: root.to_owned(),
            manifests: RwLock::default(),
        };
        for name in opened.names()? {
            if name.starts_with(UNFINISHED) {
                let path = releases.join(name);
                remove_tree(&path).map_err(at(&path))?;
            }
        }
        files::remove_if_there(&root.join("current.new")).map_err(at(root))?;
        files::sync_directory(root).map_err(at(root))?;
        Ok(opened)
    }

    /// Looks at the directory of a site and changes nothing.
    #[must_use]
    pub fn look(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            manifests: RwLock::default(),
        }
    }

    /// The directory of a release, there or not.
    #[must_use]
    pub fn directory(&self, release: &Digest) -> PathBuf {
        self.root.join("releases").join(release.hex())
    }

    fn names(&self) -> Result<Vec<String>, ReleaseError> {
        let releases = self.root.join("releases");
        let mut names = Vec::new();
        for entry in fs::read_dir(&releases).map_err(at(&releases))? {
            names.push(
                entry
                    .map_err(at(&releases))?
                    .file_name()
                    .to_string_lossy()
                    .into_owned(),
            );
        }
        Ok(names)
    }

    /// The releases that are kept, in the order of their digests.
    pub fn list(&self) -> Result<BTreeSet<Digest>, ReleaseError> {
        Ok(self
            .names()?
            .iter()
            .filter_map(|name| format!("sha256:{name}").parse().ok())
            .collect())
    }

    /// The release that is live; `None` before the first one.
    pub fn current(&self) -> Result<Option<Digest>, ReleaseError> {
        let link = self.root.join("current");
        let target = match fs::read_link(&link) {
            Ok(target) => target,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(at(&link)(error)),
        };
        let release = target
            .to_str()
            .and_then(|target| target.strip_prefix("releases/"));
        match release.and_then(|hex| format!("sha256:{hex}").parse().ok()) {
            Some(release) => Ok(Some(release)),
            None => Err(ReleaseError::ForeignLink {
                target: target.display().to_string(),
            }),
        }
    }

    /// Makes a release live, or none: one rename, then the directory is made durable.
    pub fn switch(&self, to: Option<&Digest>) -> Result<(), ReleaseError> {
        let (link, temporary) = (self.root.join("current"), self.root.join("current.new"));
        if let Some(release) = to {
            if !self.directory(release).is_dir() {
                return Err(ReleaseError::Missing { release: *release });
            }
            files::remove_if_there(&temporary).map_err(at(&temporary))?;
            symlink(Path::new("releases").join(release.hex()), &temporary)
                .map_err(at(&temporary))?;
            fs::rename(&temporary, &link).map_err(at(&link))?;
        } else {
            files::remove_if_there(&link).map_err(at(&link))?;
        }
        files::sync_directory(&self.root).map_err(at(&self.root))
    }

    /// The manifest of a kept release, checked against its name when it is first read.
    pub fn manifest(&self, release: &Digest) -> Result<Arc<Manifest>, ReleaseError> {
        if let Some(manifest) = self
            .manifests
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(release)
        {
            return Ok(Arc::clone(manifest));
        }
        let manifest = Arc::new(self.read_manifest(release)?);
        let mut manifests = self
            .manifests
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        manifests.insert(*release, Arc::clone(&manifest));
        Ok(manifest)
    }

    fn read_manifest(&self, release: &Digest) -> Result<Manifest, ReleaseError> {
        let path = self.directory(release).join(MANIFEST);
        let bytes = files::read_if_there(&path)
            .map_err(at(&path))?
            .ok_or(ReleaseError::Missing { release: *release })?;
        if sha256(&bytes) != *release {
            return Err(ReleaseError::Differs {
                release: *release,
                name: MANIFEST.to_owned(),
            });
        }
        Manifest::parse(&bytes).map_err(|source| ReleaseError::Manifest {
            release: *release,
            source,
        })
    }

    /// The bytes of one file of a kept release; no link is followed on the way.
    pub fn read(&self, release: &Digest, file: &ReleaseFile) -> Result<Vec<u8>, ReleaseError> {
        let directory = self.directory(release).join(FILES);
        beneath::read(&directory, &file.path, file.bytes)
            .map_err(at(&directory.join(file.path.relative())))
    }

    /// One file of a kept release, opened to be sent; no link is followed on the way.
    pub fn open_file(
        &self,
        release: &Digest,
        file: &ReleaseFile,
    ) -> Result<fs::File, ReleaseError> {
        let directory = self.directory(release).join(FILES);
        beneath::open(&directory, &file.path, file.bytes)
            .map_err(at(&directory.join(file.path.relative())))
    }

    /// The bytes of a file that some kept release has, hashed again.
    #[must_use]
    pub fn find(&self, digest: &Digest) -> Option<Vec<u8>> {
        let kept = self.list().ok()?;
        kept.iter().find_map(|release| {
            let manifest = self.manifest(release).ok()?;
            let file = manifest
                .files()
                .iter()
                .find(|file| file.digest == *digest)?;
            self.read(release, file)
                .ok()
                .filter(|bytes| sha256(bytes) == *digest)
        })
    }

    /// Hashes every file of a kept release again; the names of those that changed, are missing or are too many.
    pub fn changed(&self, release: &Digest) -> Result<Vec<String>, ReleaseError> {
        let manifest = match self.read_manifest(release) {
            Ok(manifest) => manifest,
            Err(ReleaseError::Io { path, source }) => {
                return Err(ReleaseError::Io { path, source });
            }
            Err(_) => return Ok(vec![MANIFEST.to_owned()]),
        };
        let whole = |file: &&ReleaseFile| {
            self.read(release, file)
                .is_ok_and(|bytes| sha256(&bytes) == file.digest)
        };
        let mut changed: Vec<String> = manifest
            .files()
            .iter()
            .filter(|file| !whole(file))
            .map(|file| file.path.to_string())
            .collect();
        let directory = self.directory(release).join(FILES);
        for name in beneath::names(&directory).map_err(at(&directory))? {
            if manifest.file(&name).is_none() {
                changed.push(name);
            }
        }
        changed.sort();
        changed.dedup();
        Ok(changed)
    }

    /// Writes a release whose bytes are all here, hashing every file; a whole one that is kept already is left alone.
    ///
    /// A damaged one is moved aside and never repaired in place: what was served stays to be looked at.
    pub fn install(
        &self,
        manifest: &Manifest,
        blob: impl Fn(&Digest) -> io::Result<Vec<u8>>,
    ) -> Result<(), ReleaseError> {
        let release = manifest.digest();
        let directory = self.directory(&release);
        if directory.exists() && self.changed(&release)?.is_empty() {
            return Ok(());
        }
        let releases = self.root.join("releases");
        let suffix = hex::encode(files::random::<8>().map_err(at(&releases))?);
        let temporary = releases.join(format!("{UNFINISHED}{suffix}"));
        write_release(&temporary, manifest, blob)?;
        if directory.exists() {
            fs::rename(&directory, releases.join(format!("{DAMAGED}{suffix}")))
                .map_err(at(&directory))?;
        }
        fs::rename(&temporary, &directory).map_err(at(&directory))?;
        files::sync_directory(&releases).map_err(at(&releases))
    }
}

fn write_release(
    directory: &Path,
    manifest: &Manifest,
    blob: impl Fn(&Digest) -> io::Result<Vec<u8>>,
) -> Result<(), ReleaseError> {
    let root = directory.join(FILES);
    fs::create_dir_all(&root).map_err(at(&root))?;
    let mut directories = BTreeSet::from([root.clone(), directory.to_owned()]);
    for file in manifest.files() {
        let path = root.join(file.path.relative());
        let bytes = blob(&file.digest).map_err(at(&path))?;
        if sha256(&bytes) != file.digest {
            return Err(ReleaseError::Differs {
                release: manifest.digest(),
                name: file.path.to_string(),
            });
        }
        for parent in parents(&root, &file.path) {
            fs::create_dir_all(&parent).map_err(at(&parent))?;
            directories.insert(parent);
        }
        files::write_new(&path, &bytes, 0o444).map_err(at(&path))?;
    }
    let path = directory.join(MANIFEST);
    files::write_new(&path, manifest.bytes(), 0o444).map_err(at(&path))?;
    // The innermost first: a directory that is read-only takes no more names.
    for directory in directories.iter().rev() {
        files::sync_directory(directory).map_err(at(directory))?;
        fs::set_permissions(directory, Permissions::from_mode(0o555)).map_err(at(directory))?;
    }
    Ok(())
}

fn parents(root: &Path, file: &FilePath) -> Vec<PathBuf> {
    let mut parents = Vec::new();
    let mut parent = root.to_owned();
    let mut segments = file.segments().peekable();
    while let Some(segment) = segments.next() {
        if segments.peek().is_some() {
            parent.push(segment);
            parents.push(parent.clone());
        }
    }
    parents
}

/// Removes a directory whose parts may be read-only.
fn remove_tree(directory: &Path) -> io::Result<()> {
    fs::set_permissions(directory, Permissions::from_mode(0o755))?;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    fs::remove_dir(directory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::tests::sample;

    fn opened() -> (tempfile::TempDir, Releases) {
        let directory = tempfile::tempdir().unwrap();
        let releases = Releases::open(directory.path()).unwrap();
        (directory, releases)
    }

    fn install(releases: &Releases, label: &str) -> Digest {
        let (manifest, blobs) = sample(label);
        releases
            .install(&manifest, |digest| Ok(blobs[digest].clone()))
            .unwrap();
        manifest.digest()
    }

    #[test]
    fn a_release_is_written_once_and_read_only() {
        let (_directory, releases) = opened();
        let one = install(&releases, "one");
        assert_eq!(releases.list().unwrap(), BTreeSet::from([one]));
        assert!(releases.changed(&one).unwrap().is_empty());
        let file = releases.directory(&one).join("files/index.html");
        assert_eq!(
            fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o444
        );
        assert_eq!(
            fs::metadata(releases.directory(&one))
                .unwrap()
                .permissions()
                .mode()
                & 0o777,
            0o555
        );
        assert_eq!(install(&releases, "one"), one);
        assert_eq!(releases.names().unwrap().len(), 1);
    }

    #[test]
    fn the_live_release_changes_by_one_link() {
        let (_directory, releases) = opened();
        assert_eq!(releases.current().unwrap(), None);
        let (one, two) = (install(&releases, "one"), install(&releases, "two"));
        releases.switch(Some(&one)).unwrap();
        releases.switch(Some(&two)).unwrap();
        assert_eq!(releases.current().unwrap(), Some(two));
        releases.switch(None).unwrap();
        assert_eq!(releases.current().unwrap(), None);
        let unknown = sha256(b"unknown");
        assert!(matches!(
            releases.switch(Some(&unknown)),
            Err(ReleaseError::Missing { .. })
        ));
    }

    #[test]
    fn bytes_under_another_digest_never_become_a_release() {
        let (directory, releases) = opened();
        let (manifest, blobs) = sample("one");
        let wrong = manifest.file("site.css").unwrap().digest;
        let fetched = |digest: &Digest| {
            Ok(if *digest == wrong {
                b"other".to_vec()
            } else {
                blobs[digest].clone()
            })
        };
        assert!(
            matches!(releases.install(&manifest, fetched), Err(ReleaseError::Differs { name, .. }) if name == "site.css")
        );
        assert!(releases.list().unwrap().is_empty());
        // What the failed download left is gone when the store is opened again.
        assert_eq!(releases.names().unwrap().len(), 1);
        assert!(
            Releases::open(directory.path())
                .unwrap()
                .names()
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn every_change_of_a_kept_release_is_named() {
        let (_directory, releases) = opened();
        let one = install(&releases, "one");
        let files = releases.directory(&one).join("files");
        for directory in [files.clone(), files.join("guide")] {
            fs::set_permissions(&directory, Permissions::from_mode(0o755)).unwrap();
        }
        let check = |expected: &[&str]| assert_eq!(releases.changed(&one).unwrap(), expected);
        fs::write(files.join("extra.html"), "x").unwrap();
        check(&["extra.html"]);
        fs::remove_file(files.join("extra.html")).unwrap();
        fs::remove_file(files.join("site.css")).unwrap();
        check(&["site.css"]);
        let outside = files.join("guide/copy.css");
        fs::write(
            &outside,
            sample("one").1[&sample("one").0.file("site.css").unwrap().digest].clone(),
        )
        .unwrap();
        symlink(&outside, files.join("site.css")).unwrap();
        check(&["guide/copy.css", "site.css"]);
        fs::remove_file(files.join("guide/index.html")).unwrap();
        fs::write(files.join("guide/index.html"), "changed").unwrap();
        check(&["guide/copy.css", "guide/index.html", "site.css"]);
        assert_eq!(install(&releases, "one"), one);
        check(&[]);
        assert_eq!(releases.names().unwrap().len(), 2);
    }

    #[test]
    fn a_foreign_link_is_not_followed() {
        let (directory, releases) = opened();
        symlink("/etc", directory.path().join("current")).unwrap();
        assert!(matches!(
            releases.current(),
            Err(ReleaseError::ForeignLink { .. })
        ));
    }
}
