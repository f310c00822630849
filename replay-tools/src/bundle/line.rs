//! One event as one line: `{"body":"<B>","header":"<E>","salt":"<32 hex>"}` or `{"absent":"<reason>","header":"<E>"}`.

use countersign_chain::{Absence, Body, Record, json};
use countersign_ids::{Salt, limits};
use serde_json::{Map, Value};

/// No event line is longer: every byte of E and B may take six in a JSON string.
pub const LINE_BYTES_MAX: usize = 6 * (limits::HEADER_BYTES_MAX + limits::BODY_BYTES_MAX) + 256;

/// Why a line is no event.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// Not RFC 8785, or other members.
    #[error("not an event line: {0}")]
    Shape(String),
    /// E or B is not text, so it cannot be written as a line.
    #[error("the event is not UTF-8")]
    NotText,
}

/// Writes one event, with its 0x0A.
pub fn write(record: &Record) -> Result<Vec<u8>, LineError> {
    let text = |bytes: &[u8]| {
        String::from_utf8(bytes.to_vec())
            .map(Value::String)
            .map_err(|_| LineError::NotText)
    };
    let mut members = Map::new();
    members.insert("header".to_owned(), text(&record.header)?);
    match &record.body {
        Body::Present { salt, bytes } => {
            members.insert("body".to_owned(), text(bytes)?);
            members.insert("salt".to_owned(), Value::String(salt.to_string()));
        }
        Body::Absent(absence) => {
            members.insert("absent".to_owned(), Value::String(absence.to_string()));
        }
    }
    let mut line = json::canonical(&Value::Object(members))
        .map_err(|error| LineError::Shape(error.to_string()))?;
    line.push(b'\n');
    Ok(line)
}

/// Reads one line without its 0x0A. Nothing is said about E and B.
pub fn parse(line: &[u8]) -> Result<Record, LineError> {
    let shape = |error: &dyn std::fmt::Display| LineError::Shape(error.to_string());
    let value = json::parse(line).map_err(|error| shape(&error))?;
    if json::canonical(&value).map_err(|error| shape(&error))? != line {
        return Err(shape(&"not canonical JSON (RFC 8785)"));
    }
    let Value::Object(mut members) = value else {
        return Err(shape(&"not an object"));
    };
    let mut take = |name: &str| match members.remove(name) {
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(shape(&format!("`{name}` is not a string"))),
        None => Ok(None),
    };
    let (header, body, salt, absent) = (
        take("header")?,
        take("body")?,
        take("salt")?,
        take("absent")?,
    );
    let header = header
        .ok_or_else(|| shape(&"`header` is missing"))?
        .into_bytes();
    let body = match (body, salt, absent) {
        (Some(body), Some(salt), None) => {
            let salt: Salt = salt.parse().map_err(|error| shape(&error))?;
            Body::Present {
                salt,
                bytes: body.into_bytes(),
            }
        }
        (None, None, Some(absent)) => {
            Body::Absent(absent.parse::<Absence>().map_err(|error| shape(&error))?)
        }
        _ => {
            return Err(shape(
                &"neither a body with its salt nor a reason for its absence",
            ));
        }
    };
    if members.is_empty() {
        Ok(Record { header, body })
    } else {
        Err(shape(&"unknown members"))
    }
}
