//! Reading a data directory without opening the ledger: live or stopped, without a lock, without writing a byte.
//!
//! This is what the auditor uses. It reads the journal up to the last whole frame and says what follows; sled is never opened in
//! place (it writes when it is opened): the rows of a stopped ledger are read from a copy.

use std::path::{Path, PathBuf};

use countersign_chain::Record;
use countersign_ids::{ChainId, Digest};

use crate::journal::frame::take;
use crate::journal::scan::{self, Scan};
use crate::journal::{Kind, record};
use crate::{Blobs, Description, Error, Layout, Position};

pub use crate::journal::scan::{End, Torn};
pub use crate::read_rows::{AllRows, Difference, Rebuild, StoredRows, compare};

/// A data directory, to be read.
#[derive(Debug, Clone)]
pub struct Reader {
    layout: Layout,
    description: Description,
    blobs: Blobs,
}

/// One file of the journal, as it lies there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// The position of its first byte in the journal.
    pub base: Position,
    /// The file.
    pub path: PathBuf,
    /// How long the file is; the newest one is longer than what is written in it.
    pub bytes: u64,
    /// Whether another segment follows: then nothing is written to it any more, though it may be replaced as a whole.
    pub sealed: bool,
}

/// What stands in the journal.
#[derive(Debug, Clone)]
pub enum Item {
    /// All events of one command, in order.
    Events {
        /// Where the frame ends.
        position: Position,
        /// The events as stored; nothing about them is verified but the frame's checksum.
        records: Vec<Record>,
    },
    /// A signed checkpoint.
    Checkpoint {
        /// Where the frame ends.
        position: Position,
        /// The chain.
        chain: ChainId,
        /// The signed note.
        note: String,
    },
}

impl Reader {
    /// Finds the ledger in a directory.
    pub fn open(root: &Path) -> Result<Self, Error> {
        Self::of(Layout::new(root))
    }

    /// The same for a ledger whose disk may be simulated.
    pub(crate) fn of(layout: Layout) -> Result<Self, Error> {
        let description = Description::read(&layout)?;
        let blobs = Blobs::new(layout.disk().clone(), layout.blobs());
        Ok(Self {
            layout,
            description,
            blobs,
        })
    }

    /// What `ledger.toml` says.
    #[must_use]
    pub const fn description(&self) -> &Description {
        &self.description
    }

    /// Where the files lie.
    #[must_use]
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The content-addressed files.
    #[must_use]
    pub const fn blobs(&self) -> &Blobs {
        &self.blobs
    }

    /// A blob, checked against its digest.
    pub fn blob(&self, digest: &Digest) -> Result<Vec<u8>, Error> {
        self.blobs.read(digest)
    }

    /// The journal from its beginning.
    pub fn journal(&self) -> Result<Items, Error> {
        self.journal_from(Position::ZERO)
    }

    /// The journal from `position`, which is where an [`Item`] ended or the beginning.
    pub fn journal_from(&self, position: Position) -> Result<Items, Error> {
        let scan = Scan::new(
            self.layout.disk(),
            &self.layout.journal(),
            position,
            Position::ZERO,
        )?;
        Ok(Items {
            scan,
            from: position,
            ended: false,
        })
    }

    /// The files of the journal, in order.
    pub fn segments(&self) -> Result<Vec<Segment>, Error> {
        let mut files = scan::segments(self.layout.disk(), &self.layout.journal())?;
        let newest = files.pop();
        let whole = |file: scan::SegmentFile, sealed| {
            let length = self.layout.disk().length(&file.path);
            let bytes = length.map_err(|error| Error::io(&file.path, error))?;
            Ok(Segment {
                base: file.base,
                path: file.path,
                bytes,
                sealed,
            })
        };
        let sealed = files.into_iter().map(|file| whole(file, true));
        sealed
            .chain(newest.map(|file| whole(file, false)))
            .collect()
    }

    /// Bytes of the journal as positions count them, compressed or not, for progress.
    pub fn journal_bytes(&self) -> Result<u64, Error> {
        let segments = self.segments()?;
        let begin = segments.first().map_or(Position::ZERO, |first| first.base);
        Ok(segments
            .last()
            .map_or(0, |newest| newest.base.plus(newest.bytes).since(begin)))
    }
}

/// The items of a journal, in order. After the last, [`Items::end`] says how it ends.
#[derive(Debug)]
pub struct Items {
    scan: Scan,
    from: Position,
    ended: bool,
}

impl Items {
    /// How the journal ends; right once the iterator has returned `None`.
    #[must_use]
    pub fn end(&self) -> End {
        self.scan.end()
    }

    fn item(&mut self) -> Result<Option<Item>, Error> {
        while let Some(frame) = self.scan.next_frame()? {
            if frame.position < self.from {
                continue;
            }
            let damaged = |what: &str| scan::Error::Damaged {
                at: frame.position,
                what: what.to_owned(),
            };
            let position = frame.end;
            match frame.head.kind {
                Kind::Events => {
                    let records = record::decode(&frame.payload)
                        .ok_or_else(|| damaged("the events of a frame are malformed"))?;
                    return Ok(Some(Item::Events { position, records }));
                }
                Kind::Checkpoint => {
                    let mut payload = frame.payload.as_slice();
                    let mut part =
                        || take(&mut payload).and_then(|part| std::str::from_utf8(part).ok());
                    let (chain, note) = (
                        part().and_then(|chain| chain.parse().ok()),
                        part().map(str::to_owned),
                    );
                    let both = chain
                        .zip(note)
                        .ok_or_else(|| damaged("a checkpoint is malformed"))?;
                    return Ok(Some(Item::Checkpoint {
                        position,
                        chain: both.0,
                        note: both.1,
                    }));
                }
                Kind::Footer | Kind::Closed => {}
                Kind::Prepared | Kind::Committed | Kind::Voided => {
                    return Err(damaged(
                        "a frame of a replicated ledger, which this program cannot read",
                    )
                    .into());
                }
            }
        }
        Ok(None)
    }
}

impl Iterator for Items {
    type Item = Result<Item, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let item = self.item().transpose();
        self.ended = !matches!(item, Some(Ok(_)));
        item
    }
}
