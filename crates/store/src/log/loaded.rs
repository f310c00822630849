//! What a log holds when it is opened: the heads of its chains, and how far into the journal it reaches.

use serde::{Deserialize, Serialize};

use super::heads::HeadRow;
use super::keys;

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

/// Reads heads and position; a log whose rows do not parse is not to be trusted.
pub(crate) fn load(db: &sled::Db) -> Result<Loaded, String> {
    let told = |error: sled::Error| error.to_string();
    let mut heads = Vec::new();
    for item in db.scan_prefix(keys::HEADS) {
        let (key, value) = item.map_err(told)?;
        let number = key
            .get(1..)
            .and_then(|rest| rest.first_chunk())
            .map(|number| u32::from_be_bytes(*number));
        let row: HeadRow = serde_json::from_slice(&value)
            .map_err(|error| format!("a head is malformed: {error}"))?;
        heads.push((number.ok_or("a head has a malformed key")?, row));
    }
    let position = match db.get(keys::POSITION).map_err(told)? {
        Some(value) => serde_json::from_slice(&value)
            .map_err(|error| format!("its position is malformed: {error}"))?,
        None if heads.is_empty() => LogPosition::default(),
        None => return Err("it has no position".to_owned()),
    };
    Ok(Loaded { heads, position })
}
