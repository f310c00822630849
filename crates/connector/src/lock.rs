//! One process per directory, and how to stop it without the control plane.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::Duration,
};

use rustix::fs::{FlockOperation, flock};

use crate::{Error, config::Layout, files, status::Running};

/// How often a running connector looks whether it is to stop, and `stop` whether it has.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long `stop` waits: a request that is in flight is cut off, a rename is not.
const STOP_WAIT: Duration = Duration::from_secs(30);

const TAKE_ATTEMPTS: u32 = 20;
const TAKE_EVERY: Duration = Duration::from_millis(5);

/// Held for as long as the process works in the directory; the system lets go of it however the process ends.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
}

fn open(layout: &Layout) -> Result<File, Error> {
    files::make_private_directory(&layout.state()).map_err(Error::io(layout.state()))?;
    let path = layout.lock();
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(files::OWNER_ONLY);
    options.open(&path).map_err(Error::io(path))
}

/// Takes the lock, or says who has it.
pub(crate) fn take(layout: &Layout) -> Result<Lock, Error> {
    let mut file = open(layout)?;
    // `status` and `stop` hold it for a moment when they look.
    let mut attempts = 0..TAKE_ATTEMPTS;
    while flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        if attempts.next().is_none() {
            return Err(Error::Running {
                pid: read(&mut file).pid,
            });
        }
        std::thread::sleep(TAKE_EVERY);
    }
    let mut lock = Lock { file };
    lock.write(layout, &std::process::id().to_string())?;
    Ok(lock)
}

impl Lock {
    /// Says where the site is served, for `status`.
    pub(crate) fn note(
        &mut self,
        layout: &Layout,
        site: SocketAddr,
        preview: SocketAddr,
    ) -> Result<(), Error> {
        self.write(
            layout,
            &format!("{}\n{site}\n{preview}\n", std::process::id()),
        )
    }

    fn write(&mut self, layout: &Layout, text: &str) -> Result<(), Error> {
        let file = &mut self.file;
        let written = file
            .set_len(0)
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            .and_then(|_| file.write_all(text.as_bytes()));
        written.map_err(Error::io(layout.lock()))
    }
}

/// The process that holds the lock; `None` if nobody does.
pub(crate) fn holder(layout: &Layout) -> Result<Option<Running>, Error> {
    if !layout.lock().exists() {
        return Ok(None);
    }
    let mut file = open(layout)?;
    if flock(&file, FlockOperation::NonBlockingLockShared).is_ok() {
        return Ok(None);
    }
    Ok(Some(read(&mut file)))
}

fn read(file: &mut File) -> Running {
    let mut text = String::new();
    if file
        .seek(SeekFrom::Start(0))
        .and_then(|_| file.read_to_string(&mut text))
        .is_err()
    {
        text.clear();
    }
    let mut lines = text.lines().map(str::to_owned);
    Running {
        pid: lines.next().unwrap_or_else(|| "unknown".to_owned()),
        site: lines.next(),
        preview: lines.next(),
    }
}

/// Asks the connector that runs in `dir` to stop and waits until it has; says whether one was running.
///
/// Works without network and control plane. What was being executed is rolled back or finished at the next start.
pub async fn stop(dir: &Path) -> Result<bool, Error> {
    let layout = Layout::new(dir);
    let Some(running) = holder(&layout)? else {
        return Ok(false);
    };
    let request = layout.stop();
    files::replace(&request, b"stop\n", files::OWNER_ONLY).map_err(Error::io(&request))?;
    let stopped = async {
        loop {
            match holder(&layout) {
                Ok(Some(_)) => tokio::time::sleep(LOOK_EVERY).await,
                other => return other,
            }
        }
    };
    match tokio::time::timeout(STOP_WAIT, stopped).await {
        Ok(Ok(_)) => Ok(true),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(Error::NotStopped { pid: running.pid }),
    }
}

/// Resolves when somebody asks the connector to stop.
pub(crate) async fn asked(layout: &Layout) {
    let request = layout.stop();
    while !request.exists() {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
