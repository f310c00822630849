//! The directory that `up` makes: what stands where, and how it is told apart from everybody else's.

use crate::codes;
use crate::exit::Failure;
use crate::profile::Profile;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The file that says that `up` made the directory.
const MARKER: &str = "up.toml";

/// The file that says the same inside the server's own directory, for `serve` to see.
pub(crate) const SAMPLE: &str = "SAMPLE";

/// What the marker says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Marker {
    /// Always `countersign up`.
    made_by: String,
    /// Whether the sample was set up to its end.
    pub(crate) complete: bool,
}

/// Where everything stands.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    root: PathBuf,
}

impl Layout {
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            root: root.to_path_buf(),
        }
    }

    /// The server's data: journal, sled, blobs, and the keys of the plane. Everything that the server has.
    pub(crate) fn ledger(&self) -> PathBuf {
        self.root.join("ledger")
    }

    /// The connector's own directory: its key, its journal, the site's releases.
    pub(crate) fn connector(&self) -> PathBuf {
        self.root.join("connector")
    }

    /// What belongs to one person or program: token, profile, and for the approver the key.
    pub(crate) fn actor(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The profile of one person or program.
    pub(crate) fn profile(&self, name: &str) -> PathBuf {
        self.actor(name).join("profile.toml")
    }

    fn marker(&self) -> PathBuf {
        self.root.join(MARKER)
    }

    /// Opens the directory, or makes it; refuses one that `up` did not make. True if the sample stands already.
    pub(crate) fn open(&self, fresh: bool) -> Result<bool> {
        let found = self.find()?;
        let stands = found.as_ref().is_some_and(|marker| marker.complete);
        if found.is_some() && (fresh || !stands) {
            // Ours, and either unwanted or never finished. The marker goes last, so that a removal that is cut short is
            // finished by the next one.
            self.remove_all()?;
        }
        if stands && !fresh {
            return Ok(true);
        }
        private_directory(&self.root)?;
        self.mark(false)?;
        Ok(false)
    }

    fn find(&self) -> Result<Option<Marker>> {
        let shown = self.root.display();
        let Ok(mut entries) = fs::read_dir(&self.root) else {
            return match fs::symlink_metadata(&self.root) {
                Ok(_) => Err(Failure::refused(format!(
                    "`{shown}` is not a directory that can be read"
                ))
                .into()),
                Err(_) => Ok(None),
            };
        };
        let foreign = || {
            Failure::refused(format!(
                "`{shown}` was not made by `countersign up`; it is left as it is"
            ))
            .with_code(codes::NOT_A_SAMPLE)
            .with_hint("name another directory with --data")
        };
        match fs::read_to_string(self.marker()) {
            Ok(text) => {
                let marker: Marker = toml::from_str(&text).map_err(|_| foreign())?;
                if marker.made_by == made_by() {
                    Ok(Some(marker))
                } else {
                    Err(foreign().into())
                }
            }
            Err(_) if entries.next().is_none() => Ok(None),
            Err(_) => Err(foreign().into()),
        }
    }

    fn remove_all(&self) -> Result<()> {
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            if entry.file_name() == MARKER {
                continue;
            }
            let path = entry.path();
            make_writable(&path)?;
            let removed = if entry.file_type()?.is_dir() {
                fs::remove_dir_all(&path)
            } else {
                fs::remove_file(&path)
            };
            removed.with_context(|| format!("cannot remove `{}`", path.display()))?;
        }
        Ok(())
    }

    /// Writes the marker, whole or not at all.
    pub(crate) fn mark(&self, complete: bool) -> Result<()> {
        let marker = Marker {
            made_by: made_by(),
            complete,
        };
        let text = format!(
            "# Everything below this directory is a sample; `countersign up --fresh` removes it.\n{}",
            toml::to_string(&marker)?
        );
        let temporary = self.root.join("up.toml.new");
        fs::write(&temporary, text)
            .and_then(|()| fs::rename(&temporary, self.marker()))
            .context("cannot write the marker")
    }

    /// Writes a person's or program's token and profile; readable by the owner only.
    pub(crate) fn write_actor(
        &self,
        name: &str,
        token: Option<&str>,
        profile: &Profile,
    ) -> Result<()> {
        let directory = self.actor(name);
        private_directory(&directory)?;
        if let Some(token) = token {
            write_private(&directory.join("token"), &format!("{token}\n"))?;
        }
        write_private(&self.profile(name), &toml::to_string(profile)?)
    }
}

fn made_by() -> String {
    "countersign up".to_owned()
}

/// Makes a directory that only its owner enters, if it is not there.
pub(crate) fn private_directory(path: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("cannot make `{}`", path.display()))
}

fn write_private(path: &Path, text: &str) -> Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot write `{}`", path.display()))?;
    file.write_all(text.as_bytes())
        .with_context(|| format!("cannot write `{}`", path.display()))
}

/// Releases at a site are immutable, so their directories are read-only; removing them needs the right back.
fn make_writable(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_dir() {
        return Ok(());
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(path)? {
        make_writable(&entry?.path())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Layout;
    use std::fs;

    #[test]
    fn a_directory_of_others_is_refused_and_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("thesis.txt"), "ten years").unwrap();
        for fresh in [false, true] {
            let error = Layout::new(directory.path()).open(fresh).unwrap_err();
            assert!(error.to_string().contains("was not made by"), "{error}");
        }
        assert_eq!(
            fs::read_to_string(directory.path().join("thesis.txt")).unwrap(),
            "ten years"
        );
    }

    #[test]
    fn a_sample_is_continued_begun_again_or_finished() {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::new(&directory.path().join("sample"));
        assert!(!layout.open(false).unwrap());
        fs::create_dir(layout.ledger()).unwrap();
        assert!(!layout.open(false).unwrap(), "never finished: begun again");
        assert!(!layout.ledger().exists());
        layout.mark(true).unwrap();
        fs::create_dir(layout.ledger()).unwrap();
        assert!(layout.open(false).unwrap());
        assert!(layout.ledger().exists());
        assert!(!layout.open(true).unwrap());
        assert!(!layout.ledger().exists());
    }
}
