//! What a log holds when it is opened: the heads of its chains, and how far into the journal it reaches.

use serde::{Deserialize, Serialize};

use super::heads::HeadRow;
use super::project::Projector;
use super::run_writer::IndexWriter;
use super::runs::Index;
use super::values::{self, Found};
use super::{COMMAND_BYTES, EVENT_BYTES, keys};
use crate::status::chain_of;
use crate::{Error, Options};

/// How far into the journal the log reaches, and the last frame before, by which the two are known to belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct LogPosition {
    pub(crate) end: u64,
    pub(crate) frame: u64,
    pub(crate) crc: u32,
}

/// What a log holds when it is opened.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) heads: Vec<(keys::Number, HeadRow)>,
    pub(crate) position: LogPosition,
}

/// A log that was opened, with everything of it that is kept in memory.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) db: sled::Db,
    pub(crate) loaded: Loaded,
    pub(crate) commands: (Index<COMMAND_BYTES>, IndexWriter<COMMAND_BYTES>),
    pub(crate) events: (Index<EVENT_BYTES>, IndexWriter<EVENT_BYTES>),
    pub(crate) projector: Projector,
}

impl Opened {
    /// Reads the indexes and how far the projections are; why the log is not to be trusted, if so.
    pub(crate) fn load(db: sled::Db, loaded: Loaded, options: &Options) -> Result<Self, String> {
        let told = |error: Error| chain_of(&error);
        Ok(Self {
            commands: Index::load(&db, keys::COMMANDS).map_err(told)?,
            events: Index::load(&db, keys::EVENTS).map_err(told)?,
            projector: Projector::load(&db, &options.projections).map_err(told)?,
            db,
            loaded,
        })
    }
}

/// Reads heads and position; a log whose rows are not what was written is not to be trusted.
pub(crate) fn load(db: &sled::Db) -> Result<Loaded, String> {
    let told = |error: Error| error.to_string();
    let mut heads = Vec::new();
    for item in db.scan_prefix(keys::HEADS).keys() {
        let piece = item.map_err(|error| error.to_string())?;
        let Some(key) = values::key_of_first(&piece) else {
            continue;
        };
        let number = key
            .get(1..)
            .and_then(|rest| rest.first_chunk())
            .map(|number| u32::from_be_bytes(*number));
        let row: Option<HeadRow> = values::get(db, key)
            .map_err(told)?
            .value()
            .and_then(|value| serde_json::from_slice(&value).ok());
        heads.push((
            number.ok_or("a head has a malformed key")?,
            row.ok_or("a head is malformed")?,
        ));
    }
    let position = match values::get_small(db, keys::POSITION).map_err(told)? {
        Found::Value(value) => serde_json::from_slice(&value)
            .map_err(|error| format!("its position is malformed: {error}"))?,
        Found::Absent if heads.is_empty() => LogPosition::default(),
        Found::Absent => return Err("it has no position".to_owned()),
        Found::Damaged => return Err("its position is malformed".to_owned()),
    };
    Ok(Loaded { heads, position })
}
