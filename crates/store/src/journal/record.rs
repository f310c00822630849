//! Events inside a frame: per event E, salt, B, each length-prefixed; an absent B is an empty salt and the reason.

use countersign_chain::{Absence, Body, Record};
use countersign_ids::Salt;

use super::frame::{put, take};

const SALT_BYTES: usize = 16;

/// How many bytes [`encode`] appends.
pub(crate) const fn length(record: &Record) -> usize {
    let body = match &record.body {
        Body::Present { bytes, .. } => SALT_BYTES.saturating_add(bytes.len()),
        Body::Absent(absence) => absence.as_str().len(),
    };
    record.header.len().saturating_add(body).saturating_add(12)
}

/// Appends one event to a payload.
pub(crate) fn encode(out: &mut Vec<u8>, record: &Record) {
    put(out, &record.header);
    match &record.body {
        Body::Present { salt, bytes } => {
            put(out, salt.as_bytes());
            put(out, bytes);
        }
        Body::Absent(absence) => {
            put(out, &[]);
            put(out, absence.as_str().as_bytes());
        }
    }
}

/// The events of one payload; `None` if the bytes are anything else.
pub(crate) fn decode(mut payload: &[u8]) -> Option<Vec<Record>> {
    let mut records = Vec::new();
    while !payload.is_empty() {
        let header = take(&mut payload)?.to_vec();
        let salt = take(&mut payload)?;
        let body = take(&mut payload)?;
        let body = if salt.is_empty() {
            Body::Absent(absence(body)?)
        } else {
            Body::Present {
                salt: Salt::from_bytes(*salt.first_chunk().filter(|_| salt.len() == 16)?),
                bytes: body.to_vec(),
            }
        };
        records.push(Record { header, body });
    }
    Some(records)
}

/// The bytes E of each event of a payload, as far as it is well formed.
pub(crate) fn headers(mut payload: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let header = take(&mut payload)?;
        take(&mut payload)?;
        take(&mut payload)?;
        Some(header)
    })
}

/// The payload without the bodies for which `goes` gives a reason; `None` if that is none of them, or it is malformed.
///
/// `goes` is asked about the bytes E of each event that has a body, and where in the payload it stands.
pub(crate) fn thin(
    payload: &[u8],
    mut goes: impl FnMut(usize, &[u8]) -> Option<Absence>,
) -> Option<Vec<u8>> {
    let mut records = decode(payload)?;
    let mut thinned = false;
    for (at, record) in records.iter_mut().enumerate() {
        if matches!(record.body, Body::Present { .. })
            && let Some(absence) = goes(at, &record.header)
        {
            record.body = Body::Absent(absence);
            thinned = true;
        }
    }
    let mut out = Vec::with_capacity(payload.len());
    records.iter().for_each(|record| encode(&mut out, record));
    thinned.then_some(out)
}

fn absence(reason: &[u8]) -> Option<Absence> {
    std::str::from_utf8(reason).ok()?.parse().ok()
}
