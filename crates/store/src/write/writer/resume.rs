//! Writing again after a failure that may pass, without opening the ledger anew.
//!
//! It is what opening does, on the live directory: the last segment is scanned up to where everything is durable, and what a
//! failed group left behind that is removed and fsynced. In memory the group was taken back when it failed, so every chain goes
//! on where readers see that it ends. After a failed fdatasync this is never done (see `Journal::may_reopen`).

use std::time::Duration;

use countersign_ids::ChainId;

use super::Writer;
use crate::recover::last_segment;
use crate::{Entry, Error};

/// Between two tries.
const TRY_EVERY: Duration = Duration::from_secs(1);

impl Writer {
    /// Makes sure that the writer writes; the error if it cannot, or not yet.
    pub(crate) fn resume(&mut self) -> Result<(), Error> {
        let Some(error) = self.view.board.stopped() else {
            return Ok(());
        };
        // Where the log's thread has ended too, nothing passes by itself. A writer that panicked does nothing more, and does
        // not even ask the clock, which may be what panicked.
        if !matches!(error, Error::Waiting { .. }) {
            return Err(error);
        }
        let now = self.clock.steady();
        let early = |tried: Duration| now.saturating_sub(tried) < TRY_EVERY;
        if self.tried.is_some_and(early) {
            return Err(error);
        }
        self.tried = Some(now);
        match self.reopen() {
            Ok(()) => {
                self.tried = None;
                self.view.board.resume();
                Ok(())
            }
            Err(still) => {
                tracing::debug!(error = crate::status::chain_of(&still), "not mended yet");
                if matches!(still, Error::Damaged(_)) {
                    self.journal.give_up();
                }
                if self.journal.may_reopen() {
                    return Err(error);
                }
                self.view.board.stop(&still);
                Err(self.view.board.stopped().unwrap_or(still))
            }
        }
    }

    fn reopen(&mut self) -> Result<(), Error> {
        let (disk, dir) = (
            self.journal.disk().clone(),
            self.journal.dir().to_path_buf(),
        );
        let durable = self.journal.durable();
        let (end, footer) = last_segment(&self.view, (&disk, &dir), durable)?;
        let opened = self.journal.reopen(end, footer);
        opened.map_err(|error| Error::io(&dir, error))
    }

    /// Forgets a command that is not durable, and that nobody was answered.
    pub(super) fn take_back(&mut self, chain: &ChainId, entries: &[Entry]) {
        let command = entries.first().map(|first| first.header().commandid);
        if let Some(command) = command {
            self.view.log.commands.take_back(command.as_bytes());
        }
        let Some(appender) = self.chains.get_mut(chain) else {
            return;
        };
        appender.take_back(entries);
        if appender.size() == 0 {
            self.chains.remove(chain);
            self.view.take_back(chain);
        }
    }
}
