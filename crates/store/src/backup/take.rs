//! Taking a backup of a data directory, live or stopped. Nothing in it is written; no lock of it is held.

use std::fs::File;
use std::path::{Path, PathBuf};

use countersign_ids::{ChainId, Time};

use super::error::Error;
use super::files::{copy, create_dir, directories_in, failed, files_in, sync_dir};
use super::follow::{Followed, follow};
use super::manifest::{Held, Looks, Manifest, generations, name};
use super::removed::{Backup, Thinned, holds_removed};
use crate::disk::Disk;
use crate::layout::Lock;
use crate::read::{Reader, Segment};
use crate::{Blobs, Layout, Position};

/// How often the journal is copied anew because segments were replaced meanwhile.
const ATTEMPTS: usize = 4;

/// What stands in a backup directory beside the backups.
const OURS: &[&str] = &["lock", "blobs", PARTIAL];
const PARTIAL: &str = "partial";

/// How to take a backup.
#[derive(Debug, Clone)]
pub struct Take {
    /// The time to write down.
    pub now: Time,
    /// How many backups are kept, the new one included; at least one.
    pub keep: usize,
    /// The directory of the policies.
    pub policies: PathBuf,
}

/// What was taken.
#[derive(Debug, Clone)]
pub struct Taken {
    /// The new backup.
    pub path: PathBuf,
    /// What it holds.
    pub manifest: Manifest,
    /// Segments that were read and copied.
    pub segments_copied: u64,
    /// Segments that an earlier backup holds already.
    pub segments_linked: u64,
    /// Bytes of the journal that were copied.
    pub bytes_copied: u64,
    /// Earlier backups that were removed because they held what was removed from the ledger since.
    pub backups_removed: u64,
    /// Earlier backups that could not be asked whether they hold it, and why.
    pub backups_unread: Vec<String>,
    /// Blobs that were copied.
    pub blobs_copied: u64,
    /// Blobs that could not be copied, because they are damaged or gone, and why.
    pub blobs_lost: Vec<String>,
}

/// Takes a backup of `data` into `directory`. It is consistent up to a frame, durable at its source, and every link in it is
/// followed before it counts.
pub fn take(
    data: &Path,
    directory: &Path,
    options: &Take,
    progress: &mut dyn FnMut(u64),
) -> Result<Taken, Error> {
    let reader = Reader::open(data)?;
    prepare(directory)?;
    let _lock = Lock::exclusive(&Layout::new(directory))?;
    let before = generations(directory)?;
    let newest = before.last_key_value();
    let previous = newest.map(|(_, path)| Manifest::read(path)).transpose()?;
    let ledger = reader.description().ledger;
    if previous.as_ref().is_some_and(|held| held.ledger != ledger) {
        return Err(Error::NotABackup {
            path: directory.to_path_buf(),
            reason: "it holds backups of another ledger".to_owned(),
        });
    }
    let mut job = Job {
        reader,
        options,
        partial: directory.join(PARTIAL),
        previous: newest.map(|(_, path)| path.clone()).zip(previous),
        taken: Taken {
            path: directory.join(name(
                newest.map_or(1, |(number, _)| number.saturating_add(1)),
            )),
            manifest: Manifest::new(ledger, options.now),
            segments_copied: 0,
            segments_linked: 0,
            bytes_copied: 0,
            backups_removed: 0,
            backups_unread: Vec::new(),
            blobs_copied: 0,
            blobs_lost: Vec::new(),
        },
    };
    job.journal(progress)?;
    // What the journal names was durable before it: whatever is copied now holds all of it.
    job.blobs(
        &Blobs::new(Disk::default(), directory.join("blobs")),
        progress,
    )?;
    job.rest(progress)?;
    job.taken.manifest.write(&job.partial)?;
    sync_dir(&job.partial)?;
    progress(0);
    std::fs::rename(&job.partial, &job.taken.path).map_err(failed(&job.taken.path))?;
    sync_dir(directory)?;
    progress(0);
    let kept = options.keep.max(1).saturating_sub(1);
    let old = before.len().saturating_sub(kept);
    for path in before.values().take(old) {
        std::fs::remove_dir_all(path).map_err(failed(path))?;
    }
    let newest = Backup::read(&job.taken.path)?;
    let mut thinned = Thinned::default();
    for path in before.values().skip(old) {
        let holds =
            Backup::read(path).and_then(|older| holds_removed(&newest, &older, &mut thinned));
        if let Err(error) = &holds {
            let doubtful = format!("{}: {error}", path.display());
            job.taken.backups_unread.push(doubtful);
        }
        if holds.unwrap_or(false) {
            std::fs::remove_dir_all(path).map_err(failed(path))?;
            job.taken.backups_removed = job.taken.backups_removed.saturating_add(1);
        }
    }
    sync_dir(directory)?;
    Ok(job.taken)
}

/// A directory for backups: a new one, or one that holds nothing else.
fn prepare(directory: &Path) -> Result<(), Error> {
    create_dir(directory)?;
    let ours = generations(directory)?;
    for entry in std::fs::read_dir(directory).map_err(failed(directory))? {
        let entry = entry.map_err(failed(directory))?;
        let known = OURS.iter().any(|name| entry.file_name() == *name);
        if !known && !ours.values().any(|path| *path == entry.path()) {
            let found = entry.file_name().to_string_lossy().into_owned();
            return Err(Error::NotABackup {
                path: directory.to_path_buf(),
                reason: format!("it holds `{found}`, which no backup makes"),
            });
        }
    }
    Ok(())
}

struct Job<'a> {
    reader: Reader,
    options: &'a Take,
    partial: PathBuf,
    previous: Option<(PathBuf, Manifest)>,
    taken: Taken,
}

impl Job<'_> {
    /// Copies and follows the journal; again if segments were replaced while they were copied. One that was sealed meanwhile asks
    /// for its successor when it is followed, so nothing is missing behind a body that went.
    fn journal(&mut self, progress: &mut dyn FnMut(u64)) -> Result<(), Error> {
        let mut attempt = 1;
        loop {
            self.begin()?;
            let segments = self.reader.segments()?;
            let copied = self
                .segments(&segments, progress)
                .and_then(|()| self.follow(&segments));
            match copied {
                Ok(()) => return Ok(()),
                Err(_) if attempt < ATTEMPTS && self.moved(&segments)? => attempt += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether the segments are not those that were listed any more.
    fn moved(&self, before: &[Segment]) -> Result<bool, Error> {
        Ok(self.reader.segments()? != before)
    }

    /// An empty directory that says which ledger it is of.
    fn begin(&mut self) -> Result<(), Error> {
        if self.partial.exists() {
            std::fs::remove_dir_all(&self.partial).map_err(failed(&self.partial))?;
        }
        let layout = Layout::new(&self.partial);
        create_dir(&layout.journal())?;
        std::os::unix::fs::symlink("../blobs", layout.blobs()).map_err(failed(&self.partial))?;
        self.reader.description().write(&layout)?;
        let manifest = Manifest::new(self.reader.description().ledger, self.options.now);
        self.taken.manifest = manifest;
        (self.taken.segments_copied, self.taken.segments_linked) = (0, 0);
        self.taken.bytes_copied = 0;
        Ok(())
    }

    fn segments(
        &mut self,
        segments: &[Segment],
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), Error> {
        let journal = Layout::new(&self.partial).journal();
        for segment in segments {
            let Some(name) = segment.path.file_name().and_then(|name| name.to_str()) else {
                continue;
            };
            let to = journal.join(name);
            let looks = Looks::of(&segment.path)?;
            if let Some(held) = self.link(segment, &looks, &to)? {
                progress(segment.bytes);
                self.taken.segments_linked = self.taken.segments_linked.saturating_add(1);
                self.taken.manifest.segments.push(held);
                continue;
            }
            let limit = if segment.sealed {
                u64::MAX
            } else {
                self.written(segment)?
            };
            let (bytes, sha256) = copy(&segment.path, &to, limit, progress)?;
            self.taken.segments_copied = self.taken.segments_copied.saturating_add(1);
            self.taken.bytes_copied = self.taken.bytes_copied.saturating_add(bytes);
            self.taken.manifest.segments.push(Held {
                base: segment.base.get(),
                name: name.to_owned(),
                bytes,
                sha256,
                source: segment.sealed.then_some(looks),
            });
        }
        Ok(sync_dir(&journal)?)
    }

    /// Links what the backup before holds of a sealed segment whose file is as it was.
    fn link(&self, segment: &Segment, looks: &Looks, to: &Path) -> Result<Option<Held>, Error> {
        let Some((path, manifest)) = self.previous.as_ref().filter(|_| segment.sealed) else {
            return Ok(None);
        };
        let same =
            |held: &&Held| held.base == segment.base.get() && held.source.as_ref() == Some(looks);
        let Some(held) = manifest.segments.iter().find(same) else {
            return Ok(None);
        };
        let from = Layout::new(path).journal().join(&held.name);
        match std::fs::hard_link(&from, to) {
            Ok(()) => Ok(Some(held.clone())),
            // A file system without links, or a backup that lost the file: it is copied like a new one.
            Err(_) => Ok(None),
        }
    }

    /// How many bytes of the newest segment are whole frames, all of them durable.
    fn written(&self, segment: &Segment) -> Result<u64, Error> {
        let mut items = self.reader.journal_from(segment.base)?;
        items.try_for_each(|item| item.map(drop))?;
        let end = items.end().position;
        // A frame that was read may be in the page cache only. Nothing is in a backup that a power cut could still take.
        File::open(&segment.path)
            .and_then(|file| file.sync_data())
            .map_err(failed(&segment.path))?;
        Ok(end.since(segment.base))
    }

    /// Follows every chain: from the beginning, or from where all before is what an earlier backup has followed.
    fn follow(&mut self, segments: &[Segment]) -> Result<(), Error> {
        let reader = Reader::open(&self.partial)?;
        let newest = segments.last().map_or(Position::ZERO, |newest| newest.base);
        let begin = match &self.previous {
            Some((_, manifest)) if self.settled(manifest) => (
                Position::new(manifest.settled),
                manifest.settled_chains.clone(),
            ),
            _ => (Position::ZERO, super::follow::States::new()),
        };
        let Followed { end, states, noted } = follow(&reader, begin, newest, &[])?;
        let manifest = &mut self.taken.manifest;
        manifest.position = end.get();
        manifest.chains = states;
        manifest.settled = newest.get();
        manifest.settled_chains = noted;
        Ok(())
    }

    /// Whether everything before the place where the backup before went on is linked from it.
    fn settled(&self, previous: &Manifest) -> bool {
        let same = |held: &Held| {
            let mut earlier = previous.segments.iter();
            earlier.any(|earlier| earlier.base == held.base && earlier.sha256 == held.sha256)
        };
        let mut before = self.taken.manifest.segments.iter();
        before.all(|held| held.base >= previous.settled || same(held))
    }

    /// Copies the blobs that the backups do not hold yet, for the chains that may read them.
    fn blobs(&mut self, held: &Blobs, progress: &mut dyn FnMut(u64)) -> Result<(), Error> {
        let scopes = self.reader.layout().blobs().join("scopes");
        for scope in directories_in(&scopes)? {
            let name = scope.file_name().and_then(|name| name.to_str());
            let Some(chain) = name.and_then(|name| name.parse::<ChainId>().ok()) else {
                continue;
            };
            for front in directories_in(&scope)? {
                for path in files_in(&front)? {
                    let Some(digest) = digest_of(&front, &path) else {
                        continue;
                    };
                    if held.contains(&chain, &digest) {
                        continue;
                    }
                    match self.reader.blob(&digest) {
                        Ok(bytes) => {
                            held.put(&chain, &bytes)?;
                            progress(crate::journal::bytes(bytes.len()));
                            self.taken.blobs_copied = self.taken.blobs_copied.saturating_add(1);
                        }
                        Err(error) => self.taken.blobs_lost.push(error.to_string()),
                    }
                }
            }
        }
        Ok(())
    }

    /// Copies the policies, and what else stands in the data directory itself, like the mark of a sample.
    fn rest(&self, progress: &mut dyn FnMut(u64)) -> Result<(), Error> {
        let policies = self.partial.join("policies");
        create_dir(&policies)?;
        for (files, to) in [
            (files_in(&self.options.policies)?, &policies),
            (files_in(self.reader.layout().root())?, &self.partial),
        ] {
            for file in files {
                let Some(name) = file.file_name() else {
                    continue;
                };
                let target = to.join(name);
                if name != "lock" && !target.exists() {
                    copy(&file, &target, u64::MAX, progress)?;
                }
            }
        }
        Ok(sync_dir(&policies)?)
    }
}

/// The digest that `<2>/<62>` names.
fn digest_of(front: &Path, path: &Path) -> Option<countersign_ids::Digest> {
    let (front, rest) = (front.file_name()?.to_str()?, path.file_name()?.to_str()?);
    format!("sha256:{front}{rest}").parse().ok()
}
