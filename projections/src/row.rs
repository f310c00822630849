//! Rows as JSON objects: read, changed, written as canonical JSON.

use countersign_chain::json;
use countersign_evidence::{ConnectorMessage, Envelope};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{Change, Rows, Stop};

/// The object in a row; none where there is no row.
pub(crate) fn read(rows: &dyn Rows, key: &str) -> Result<Option<Map<String, Value>>, Stop> {
    read_as(rows, key)
}

/// The same as a type of its own.
pub(crate) fn read_as<T: DeserializeOwned>(rows: &dyn Rows, key: &str) -> Result<Option<T>, Stop> {
    let Some(bytes) = rows.get(key.as_bytes()) else {
        return Ok(None);
    };
    let row = serde_json::from_slice(&bytes)
        .map_err(|error| Stop(format!("row `{key}` is no object: {error}")))?;
    Ok(Some(row))
}

/// Writes an object as a row.
pub(crate) fn put(key: &str, row: &impl Serialize) -> Result<Change, Stop> {
    let value = json::to_canonical(row)
        .map_err(|error| Stop(format!("row `{key}` cannot be written: {error}")))?;
    Ok(Change::Put {
        key: key.as_bytes().to_vec(),
        value,
    })
}

/// Removes a row.
pub(crate) fn delete(key: &str) -> Change {
    Change::Delete {
        key: key.as_bytes().to_vec(),
    }
}

/// Changes members of a row that is there; without one nothing changes.
pub(crate) fn update<const N: usize>(
    rows: &dyn Rows,
    key: &str,
    members: [(&str, Value); N],
) -> Result<Vec<Change>, Stop> {
    let Some(mut row) = read(rows, key)? else {
        return Ok(Vec::new());
    };
    for (name, value) in members {
        row.insert(name.to_owned(), value);
    }
    Ok(vec![put(key, &row)?])
}

/// What a connector said, if it reads as a message; its signature was checked before the event was written.
pub(crate) fn heard(envelope: &Envelope) -> Option<ConnectorMessage> {
    ConnectorMessage::parse(envelope.payload_type, envelope.unverified_payload()).ok()
}
