//! Making a data directory from a backup. What stands there is set aside, never deleted; what would be lost is said first.

use std::path::{Path, PathBuf};

use countersign_ids::LedgerId;
use rustix::fs::{CWD, RenameFlags};

use super::error::{Error, Lost};
use super::files::{copy, copy_tree, create_dir, digest, failed, files_in, replace, sync_dir};
use super::follow::{Known, States, follow, lost};
use super::manifest::{Manifest, generations};
use crate::disk::parent_of;
use crate::layout::Lock;
use crate::read::Reader;
use crate::{Layout, Position};

/// Stands in a directory that is being restored, until it is whole.
const MARK: &str = "unfinished-restore";

/// How to restore.
#[derive(Debug, Clone, Default)]
pub struct Restore {
    /// Which backup; none is the newest.
    pub number: Option<u64>,
    /// A copy of `DATA/keys`; none takes those of the directory that is replaced, if it is of the same ledger.
    pub keys: Option<PathBuf>,
    /// What others know of the ledger.
    pub known: Vec<Known>,
    /// Goes on although acknowledged events are lost.
    pub lose: bool,
}

/// What was restored.
#[derive(Debug, Clone)]
pub struct Restored {
    /// The backup.
    pub from: PathBuf,
    /// What it held.
    pub manifest: Manifest,
    /// Where the directory is now that stood there before.
    pub set_aside: Option<PathBuf>,
    /// Whether the keys were put into it; without them no server starts.
    pub with_keys: bool,
    /// What was lost, because that was asked for.
    pub lost: Vec<Lost>,
}

/// Restores a backup in `directory` as the data directory `data`.
pub fn restore(
    directory: &Path,
    data: &Path,
    options: &Restore,
    progress: &mut dyn FnMut(u64),
) -> Result<Restored, Error> {
    let from = chosen(directory, options.number)?;
    let manifest = Manifest::read(&from)?;
    let target = Target::look(data, &manifest.ledger)?;
    let mut known = options.known.clone();
    known.extend(target.known.iter().cloned());
    check(&from, &manifest, progress)?;
    let other = follow_whole(&from, &manifest, &known).err();
    if let Some(other) = other
        && !(options.lose && matches!(other, Error::OtherHistory { .. }))
    {
        return Err(other);
    }
    let mut lost = lost(&manifest.chains, &known);
    lost.extend(target.unreadable.clone());
    if !lost.is_empty() && !options.lose {
        return Err(Error::WouldLose { lost });
    }
    let keys = options.keys.clone().or_else(|| target.keys());
    let restoring = beside(data, "restoring")?;
    if restoring.join(MARK).exists() {
        std::fs::remove_dir_all(&restoring).map_err(failed(&restoring))?;
    } else if restoring.exists() {
        // An earlier restore was killed after it had exchanged the two: this is what stood there before.
        set_aside(&restoring, data)?;
    }
    write(&from, &restoring, keys.as_deref(), &manifest, progress)?;
    progress(0);
    let set_aside = target.replace(&restoring, data, progress)?;
    Ok(Restored {
        from,
        manifest,
        set_aside,
        with_keys: keys.is_some(),
        lost,
    })
}

fn chosen(directory: &Path, number: Option<u64>) -> Result<PathBuf, Error> {
    let mut found = generations(directory)?;
    let path = match number {
        Some(number) => found.remove(&number),
        None => found.pop_last().map(|(_, path)| path),
    };
    path.ok_or_else(|| Error::NotABackup {
        path: directory.to_path_buf(),
        reason: number.map_or_else(
            || "there is no backup in it".to_owned(),
            |number| format!("there is no backup {number} in it"),
        ),
    })
}

/// Every segment is there, with the bytes that were written.
fn check(from: &Path, manifest: &Manifest, progress: &mut dyn FnMut(u64)) -> Result<(), Error> {
    let journal = Layout::new(from).journal();
    let damaged = |reason: String| Error::Damaged {
        path: from.to_path_buf(),
        reason,
    };
    for held in &manifest.segments {
        let path = journal.join(&held.name);
        if !path.is_file() {
            return Err(damaged(format!("segment `{}` is missing", held.name)));
        }
        if digest(&path, progress)? != (held.bytes, held.sha256) {
            return Err(damaged(format!("segment `{}` has other bytes", held.name)));
        }
    }
    if files_in(&journal)?.len() != manifest.segments.len() {
        return Err(damaged(
            "it holds segments that it does not name".to_owned(),
        ));
    }
    Ok(())
}

/// Follows every chain from its beginning, and compares it with what others know.
fn follow_whole(from: &Path, manifest: &Manifest, known: &[Known]) -> Result<(), Error> {
    let reader = Reader::open(from)?;
    let begin = (Position::ZERO, States::new());
    let followed = follow(&reader, begin, Position::ZERO, known)?;
    let same = followed.states == manifest.chains && followed.end.get() == manifest.position;
    if reader.description().ledger == manifest.ledger && same {
        Ok(())
    } else {
        Err(Error::Damaged {
            path: from.to_path_buf(),
            reason: "its journal is not the one that it describes".to_owned(),
        })
    }
}

/// Writes a whole data directory; the file that makes it a ledger comes last.
fn write(
    from: &Path,
    to: &Path,
    keys: Option<&Path>,
    manifest: &Manifest,
    progress: &mut dyn FnMut(u64),
) -> Result<(), Error> {
    let (source, target) = (Layout::new(from), Layout::new(to));
    create_dir(to)?;
    let mark = to.join(MARK);
    replace(&mark, &[])?;
    target.create_dirs()?;
    let (journal, held) = (target.journal(), source.journal());
    for segment in &manifest.segments {
        let copied = copy(
            &held.join(&segment.name),
            &journal.join(&segment.name),
            u64::MAX,
            progress,
        )?;
        // Read a second time, so compared a second time: what was checked is what is restored.
        if copied != (segment.bytes, segment.sha256) {
            return Err(Error::Damaged {
                path: from.to_path_buf(),
                reason: format!("segment `{}` changed while it was read", segment.name),
            });
        }
    }
    sync_dir(&journal)?;
    copy_tree(&source.blobs(), &target.blobs(), progress)?;
    copy_tree(&from.join("policies"), &to.join("policies"), progress)?;
    if let Some(keys) = keys {
        // `create_dirs` made the directories of the keys private; the files are copied as private ones.
        copy_tree(keys, &target.keys(), progress)?;
    }
    for file in files_in(from)? {
        let name = file.file_name().unwrap_or_default();
        if name != "backup.json" && name != "ledger.toml" {
            copy(&file, &to.join(name), u64::MAX, progress)?;
        }
    }
    Reader::open(from)?.description().write(&target)?;
    std::fs::remove_file(&mark).map_err(failed(&mark))?;
    Ok(sync_dir(to)?)
}

/// What stands where the ledger is to be restored.
struct Target {
    layout: Layout,
    /// Held until the restored directory stands in its place.
    lock: Option<Lock>,
    known: Vec<Known>,
    unreadable: Option<Lost>,
}

impl Target {
    fn look(data: &Path, ledger: &LedgerId) -> Result<Self, Error> {
        let layout = Layout::new(data);
        let mut target = Self {
            layout: layout.clone(),
            lock: None,
            known: Vec::new(),
            unreadable: None,
        };
        let refused = |reason: &str| Error::Target {
            path: data.to_path_buf(),
            reason: reason.to_owned(),
        };
        if !data.exists() {
            return Ok(target);
        }
        let empty = std::fs::read_dir(data)
            .map_err(failed(data))?
            .next()
            .is_none();
        if empty {
            return Ok(target);
        }
        if !layout.is_ledger() {
            return Err(refused("it holds something that is no ledger"));
        }
        target.lock = Some(Lock::exclusive(&layout)?);
        let from = format!("the ledger in `{}`", data.display());
        let unreadable = || Lost {
            chain: None,
            held: 0,
            known: 0,
            from: from.clone(),
        };
        match Reader::open(data) {
            Ok(reader) if reader.description().ledger != *ledger => {
                return Err(refused("it holds another ledger"));
            }
            Ok(reader) => {
                let begin = (Position::ZERO, States::new());
                match follow(&reader, begin, Position::ZERO, &[]) {
                    Ok(followed) => {
                        target
                            .known
                            .extend(followed.states.into_values().map(|state| Known {
                                chain: state.chain().clone(),
                                size: state.size(),
                                root: None,
                                head: Some(state.head()),
                                from: from.clone(),
                            }))
                    }
                    Err(_) => target.unreadable = Some(unreadable()),
                }
            }
            Err(_) => target.unreadable = Some(unreadable()),
        }
        Ok(target)
    }

    /// Its keys, if a ledger stands there.
    fn keys(&self) -> Option<PathBuf> {
        Some(self.layout.keys()).filter(|keys| self.lock.is_some() && keys.is_dir())
    }

    /// Puts the restored directory in its place; where that is which stood there.
    fn replace(
        self,
        restored: &Path,
        data: &Path,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Option<PathBuf>, Error> {
        if self.lock.is_none() {
            if data.exists() {
                std::fs::remove_dir(data).map_err(failed(data))?;
            }
            std::fs::rename(restored, data).map_err(failed(data))?;
            sync_parent(data)?;
            return Ok(None);
        }
        // At every moment a whole ledger stands there: the old one, then the restored one.
        rustix::fs::renameat_with(CWD, restored, CWD, data, RenameFlags::EXCHANGE)
            .map_err(|error| failed(data)(error.into()))?;
        sync_parent(data)?;
        progress(0);
        set_aside(restored, data).map(Some)
    }
}

/// Renames a directory to `<data>.before-restore-<n>`; where it is now.
fn set_aside(directory: &Path, data: &Path) -> Result<PathBuf, Error> {
    let mut number = 1_u32;
    let aside = loop {
        let path = beside(data, &format!("before-restore-{number}"))?;
        if !path.exists() {
            break path;
        }
        number = number.saturating_add(1);
    };
    std::fs::rename(directory, &aside).map_err(failed(&aside))?;
    sync_parent(data)?;
    Ok(aside)
}

/// `<data>.<what>`.
fn beside(data: &Path, what: &str) -> Result<PathBuf, Error> {
    let name = data.file_name().ok_or_else(|| Error::Target {
        path: data.to_path_buf(),
        reason: "it has no name".to_owned(),
    })?;
    let mut name = name.to_os_string();
    name.push(format!(".{what}"));
    Ok(data.with_file_name(name))
}

fn sync_parent(data: &Path) -> Result<(), Error> {
    let parent = parent_of(data).unwrap_or(data);
    create_dir(parent)?;
    Ok(sync_dir(parent)?)
}
