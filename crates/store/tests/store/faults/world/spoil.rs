//! What changes without anybody writing it.

use std::time::Instant;

use countersign_store::{Error, Place};

use super::super::log_fate::LogFate;
use super::{Ending, World};

impl World {
    pub(super) fn spoil_log(&mut self) -> Result<(), Error> {
        let closed = self.ledger().close();
        self.fair(&closed);
        self.stop(Ending::Kill, LogFate::Kept);
        closed?;
        let config = sled::Config::new().path(self.root().join("sled"));
        let config = config.flush_every_ms(None);
        let start = Instant::now();
        // A thread of sled may still hold its lock for a moment.
        let db = loop {
            match config.open() {
                Ok(db) => break db,
                Err(error) => assert!(start.elapsed().as_secs() < 60, "{error}"),
            }
            std::thread::yield_now();
        };
        let (key, value) = db.scan_prefix(b"b").next().unwrap().unwrap();
        let mut value = value.to_vec();
        let middle = value.len() / 2;
        value[middle] ^= 1;
        db.insert(key, value).unwrap();
        db.flush().unwrap();
        drop(db);
        self.open()
    }

    /// Of each segment one bit, anywhere in what is used of it.
    pub(super) fn spoil_journal(&mut self) -> Result<(), Error> {
        let durable = self.ledger().durable().get();
        self.stop(Ending::Kill, LogFate::Kept);
        self.spoiled = true;
        for segment in self.disk.files(&self.root().join("journal")) {
            let base = segment
                .file_stem()
                .and_then(|name| name.to_str()?.parse::<u64>().ok());
            let Some(base) = base else { continue };
            let bytes = self.disk.contents(&segment);
            // By what is known and not by what stands there, which no seed decides.
            let used = if bytes.starts_with(b"CSJZ") {
                bytes.len()
            } else {
                bytes
                    .len()
                    .min(usize::try_from(durable.saturating_sub(base)).unwrap_or(0))
            };
            if used > 0 {
                let at = self.random.below(used);
                self.disk.flip(&segment, at, 1 << self.random.below(8));
            }
        }
        self.open()
    }

    /// Opening reads the newest segment only. And what was healed by a write that failed may stand in the page cache alone: a power cut
    /// brings the damage back, so it is looked for from then on.
    pub(super) fn heal(&mut self) -> Result<(), Error> {
        if self.spoiled {
            self.ledger().sweep()?;
            // A log that another step spoiled is made again when the ledger is opened next.
            let mut left = self.ledger().status().damage;
            left.retain(|damage| damage.place != Place::Log);
            assert_eq!(left, []);
        }
        Ok(())
    }
}
