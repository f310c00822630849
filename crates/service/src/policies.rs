//! The policies in force: the Cedar files of one directory, read anew whenever policy is asked.
//!
//! Editing a file changes the next verdict. Files that do not validate change nothing: the last sound set stays in force,
//! and `problem` says what is wrong, so an operator sees it on `/readyz` and not in a wrong verdict.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign_policy::{DEFAULTS, PolicySet};

use crate::Error;
use crate::keyfiles::sync_directory;

const EXTENSION: &str = "cedar";

/// A directory of policies.
#[derive(Debug)]
pub struct Policies {
    directory: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    set: Arc<PolicySet>,
    // INVARIANT: what was read last, sound or not, so that a broken file is parsed and reported once.
    files: BTreeMap<String, String>,
    problem: Option<String>,
}

impl Policies {
    /// Opens the policies of a directory; an absent one is made, with the policies of a new installation.
    ///
    /// # Errors
    /// The directory cannot be read or written, or holds no sound policy set: nothing is served on a guess.
    pub fn open(directory: &Path) -> Result<Self, Error> {
        if !directory.exists() {
            write_defaults(directory)?;
        }
        let files = read(directory)?;
        let set = Arc::new(PolicySet::load(files.clone())?);
        let state = Mutex::new(State {
            set,
            files,
            problem: None,
        });
        Ok(Self {
            directory: directory.to_path_buf(),
            state,
        })
    }

    /// The policies in force now. Reads the files: not for a task that must not wait.
    #[must_use]
    pub fn current(&self) -> Arc<PolicySet> {
        let read = read(&self.directory);
        let mut state = self.lock();
        match read {
            Ok(files) if files == state.files => {}
            Ok(files) => match PolicySet::load(files.clone()) {
                Ok(set) => {
                    tracing::info!(policies = %set.digest(), "policies changed");
                    *state = State {
                        set: Arc::new(set),
                        files,
                        problem: None,
                    };
                }
                Err(error) => {
                    tracing::warn!(%error, "policies do not validate; the last sound ones stay in force");
                    state.problem = Some(error.to_string());
                    state.files = files;
                }
            },
            Err(error) => state.problem = Some(error.to_string()),
        }
        Arc::clone(&state.set)
    }

    /// What is wrong with the files that were read last; none if they are in force.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        self.lock().problem.clone()
    }

    /// Where the files are.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while the lock was held leaves a whole state behind: it is only ever replaced.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All of them or none, durably: a part of them is another policy.
fn write_defaults(directory: &Path) -> Result<(), Error> {
    let failed = |error: io::Error| Error::file(directory, error);
    let parent = match directory.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let whole = directory.with_extension("new");
    match std::fs::remove_dir_all(&whole) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    std::fs::create_dir_all(&whole).map_err(failed)?;
    for (name, text) in DEFAULTS {
        let mut file = File::create(whole.join(name)).map_err(failed)?;
        file.write_all(text.as_bytes())
            .and_then(|()| file.sync_all())
            .map_err(failed)?;
    }
    sync_directory(&whole)?;
    std::fs::rename(&whole, directory).map_err(failed)?;
    sync_directory(parent)
}

fn read(directory: &Path) -> Result<BTreeMap<String, String>, Error> {
    let failed = |error: io::Error| Error::file(directory, error);
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let named = path.file_name().and_then(|name| name.to_str());
        if let (Some(name), Some(EXTENSION)) = (
            named,
            path.extension().and_then(|extension| extension.to_str()),
        ) {
            files.insert(
                name.to_owned(),
                std::fs::read_to_string(&path).map_err(|error| Error::file(&path, error))?,
            );
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policies_of_a_new_installation_are_there_whole_or_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let (policies, left) = (
            directory.path().join("policies"),
            directory.path().join("policies.new"),
        );
        // What a crash left.
        std::fs::create_dir(&left).unwrap();
        std::fs::write(left.join("half.cedar"), "permit (").unwrap();
        let made = *Policies::open(&policies).unwrap().current().digest();
        assert_eq!(*PolicySet::defaults().unwrap().digest(), made);
        assert!(!left.exists());
    }

    #[test]
    fn a_broken_file_leaves_the_last_sound_set_in_force() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path().join("policies");
        let policies = Policies::open(&directory).unwrap();
        let before = *policies.current().digest();
        assert_eq!(*PolicySet::defaults().unwrap().digest(), before);

        std::fs::write(directory.join("mine.cedar"), "permit (").unwrap();
        assert_eq!(*policies.current().digest(), before);
        assert!(
            policies
                .problem()
                .unwrap()
                .contains("`mine.cedar` is not Cedar")
        );

        std::fs::write(
            directory.join("mine.cedar"),
            "@id(\"mine\") @reason(\"mine\") forbid (principal, action, resource);",
        )
        .unwrap();
        assert_ne!(*policies.current().digest(), before);
        assert_eq!(policies.problem(), None);

        std::fs::remove_file(directory.join("mine.cedar")).unwrap();
        std::fs::write(directory.join("notes.txt"), "not a policy").unwrap();
        assert_eq!(*policies.current().digest(), before);
    }

    #[test]
    fn no_sound_policy_no_start() {
        let directory = tempfile::tempdir().unwrap();
        assert!(
            Policies::open(directory.path()).is_err(),
            "an existing directory without policies is not filled"
        );
        std::fs::write(directory.path().join("mine.cedar"), "permit (").unwrap();
        assert!(Policies::open(directory.path()).is_err());
    }
}
