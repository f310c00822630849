//! Room for the log: sled never recovers from a write that failed, so it is not asked to write where there may be none.

use std::path::Path;
use std::time::Duration;

use super::behind::Behind;
use super::handover::{Ending, Handover};
use crate::Error;

/// What must be free beside twice what is to be written: sled grows by segments, and blocks are packed anew.
const RESERVE_BYTES: u64 = 8 * 1024 * 1024;
/// Between two looks at a file system that was too full.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Whether so many bytes of events can be taken in. Where the system does not say, sled is asked to try.
fn has_room(dir: &Path, bytes: u64) -> bool {
    rustix::fs::statvfs(dir).map_or(true, |system| {
        let free = system.f_bavail.saturating_mul(system.f_frsize);
        free >= bytes.saturating_mul(2).saturating_add(RESERVE_BYTES)
    })
}

impl Behind {
    /// Whether there is room for what is not in sled yet and so many bytes more, for whoever does not wait.
    pub(super) fn room_for(&self, bytes: u64) -> Result<(), Error> {
        if has_room(self.dir(), self.behind_bytes().saturating_add(bytes)) {
            return Ok(());
        }
        Err(Error::DiskFull {
            path: self.dir().to_path_buf(),
        })
    }

    /// Waits until there is room for what is not in sled yet and so many bytes more; whether to go on.
    ///
    /// Meanwhile the journal has it, readers are served from memory, and past the lag that is allowed appends are refused.
    pub(super) fn wait_for_room(&self, handover: &Handover, bytes: u64) -> Result<bool, Error> {
        let wanted = self.behind_bytes().saturating_add(bytes);
        if has_room(self.dir(), wanted) {
            self.board().log_waits(None);
            return Ok(true);
        }
        let full = || Error::DiskFull {
            path: self.dir().to_path_buf(),
        };
        self.board().log_waits(Some(full().to_string()));
        loop {
            match handover.pause(LOOK_EVERY) {
                Some(Ending::Abandon) => return Ok(false),
                Some(Ending::Finish) => return Err(full()),
                None if has_room(self.dir(), wanted) => {
                    self.board().log_waits(None);
                    return Ok(true);
                }
                None => {}
            }
        }
    }
}
