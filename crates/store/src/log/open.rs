//! Opening sled, and setting it aside when it is not to be trusted: it can always be made again from the journal.
//!
//! sled 0.34 can panic on damaged files, so it is opened in a thread of its own whose panic is caught.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use countersign_ids::LedgerId;

use super::keys;
use crate::Error;
use crate::disk::{Disk, Part};

const CACHE_BYTES: u64 = 32 * 1024 * 1024;
/// What the keys and values mean; a log of another format is set aside and made again from the journal.
const FORMAT: u32 = 4;
/// How long an earlier handle of this process may take to let go of sled's own lock.
const RELEASE_WAIT: Duration = Duration::from_secs(10);

/// Opens the log of `ledger` under `dir`; an `Err(String)` says why it cannot be used.
pub(crate) fn open(dir: &Path, ledger: &LedgerId) -> Result<Result<sled::Db, String>, Error> {
    let fresh = !dir.exists();
    Disk::default()
        .create_dir(Part::Log, dir)
        .map_err(|error| Error::io(dir, error))?;
    let db = match open_guarded(dir) {
        Ok(db) => db,
        Err(reason) => return Ok(Err(reason)),
    };
    let meta = format!("{FORMAT} {ledger}");
    match db.get(keys::META) {
        Ok(Some(stored)) if stored == meta.as_bytes() => {}
        Ok(None) if fresh => {
            db.insert(keys::META, meta.as_bytes())?;
            sync(&db, dir, &file(dir)?)?;
            make_conf_durable(dir).map_err(|error| Error::io(dir, error))?;
        }
        Ok(Some(_)) => {
            return Ok(Err(
                "it belongs to another ledger or another format".to_owned()
            ));
        }
        Ok(None) => return Ok(Err("it lost its contents".to_owned())),
        Err(error) => return Ok(Err(error.to_string())),
    }
    Ok(Ok(db))
}

fn open_guarded(dir: &Path) -> Result<sled::Db, String> {
    let start = Instant::now();
    loop {
        let path = dir.to_path_buf();
        let opened = std::thread::Builder::new()
            .name("countersign-open-log".to_owned())
            .spawn(move || {
                sled::Config::new()
                    .path(path)
                    .cache_capacity(CACHE_BYTES)
                    .flush_every_ms(None)
                    .open()
            })
            .map_err(|error| error.to_string())?
            .join();
        match opened {
            Ok(Ok(db)) => return Ok(db),
            // The directory's own lock is ours; what still holds sled's is a handle of this process on its way out.
            Ok(Err(sled::Error::Io(error))) if held(&error) && start.elapsed() < RELEASE_WAIT => {
                std::thread::yield_now();
            }
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => return Err("it panicked while it was opened".to_owned()),
        }
    }
}

fn held(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
        || error.to_string().contains("could not acquire lock")
}

/// Makes everything that was applied so far survive a power cut: sled's own flush does not.
pub(crate) fn sync(db: &sled::Db, dir: &Path, file: &File) -> Result<(), Error> {
    db.flush()?;
    file.sync_data().map_err(|error| Error::io(dir, error))
}

/// A handle for [`sync`]. It is kept, so that a log that is open needs no further one.
pub(crate) fn file(dir: &Path) -> Result<File, Error> {
    let path = dir.join("db");
    File::open(&path).map_err(|error| Error::io(&path, error))
}

fn make_conf_durable(dir: &Path) -> io::Result<()> {
    File::open(dir.join("conf"))?.sync_all()?;
    Disk::default().sync_dir(Part::Log, dir)
}

/// Renames the log away, for somebody to look at; returns where it is now.
pub(crate) fn set_aside(dir: &Path) -> Result<PathBuf, Error> {
    let failed = |error| Error::io(dir, error);
    let parent = dir
        .parent()
        .ok_or_else(|| failed(io::ErrorKind::InvalidInput.into()))?;
    let aside = (1_u32..)
        .map(|number| parent.join(format!("sled.aside-{number}")))
        .find(|path| !path.exists())
        .ok_or_else(|| failed(io::ErrorKind::AlreadyExists.into()))?;
    std::fs::rename(dir, &aside).map_err(failed)?;
    Disk::default()
        .sync_dir(Part::Log, parent)
        .map_err(failed)?;
    Ok(aside)
}
