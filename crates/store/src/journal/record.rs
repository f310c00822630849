//! Events inside a frame: per event E, salt, B, each length-prefixed; an absent B is an empty salt and the reason.

use countersign_chain::{Absence, Body, Header, Record, body_hash};
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

/// One event as it lies in a payload.
#[derive(Debug, Clone, Copy)]
pub struct Stored<'p> {
    /// E.
    pub header: &'p [u8],
    body: Lying<'p>,
}

#[derive(Debug, Clone, Copy)]
enum Lying<'p> {
    Present { salt: Salt, bytes: &'p [u8] },
    Absent(Absence),
}

impl<'p> Stored<'p> {
    /// Takes the next event off a payload.
    fn take(payload: &mut &'p [u8]) -> Option<Self> {
        let header = take(payload)?;
        let (salt, body) = (take(payload)?, take(payload)?);
        let body = if salt.is_empty() {
            Lying::Absent(absence(body)?)
        } else {
            Lying::Present {
                salt: Salt::from_bytes(*salt.first_chunk().filter(|_| salt.len() == 16)?),
                bytes: body,
            }
        };
        Some(Self { header, body })
    }

    /// B, where it is present.
    #[must_use]
    pub const fn body(&self) -> Option<&'p [u8]> {
        match self.body {
            Lying::Present { bytes, .. } => Some(bytes),
            Lying::Absent(_) => None,
        }
    }

    /// The same with bytes of its own.
    #[must_use]
    pub fn to_record(&self) -> Record {
        Record {
            header: self.header.to_vec(),
            body: match self.body {
                Lying::Present { salt, bytes } => Body::Present {
                    salt,
                    bytes: bytes.to_vec(),
                },
                Lying::Absent(absence) => Body::Absent(absence),
            },
        }
    }
}

/// The events of a payload as they lie in it, up to where it is malformed.
pub(crate) fn stored(mut payload: &[u8]) -> impl Iterator<Item = Stored<'_>> {
    std::iter::from_fn(move || Stored::take(&mut payload))
}

/// Whether a payload is events and nothing else.
pub(crate) fn is_whole(mut payload: &[u8]) -> bool {
    while !payload.is_empty() {
        if Stored::take(&mut payload).is_none() {
            return false;
        }
    }
    true
}

/// Whether every event of a payload has a header as this program writes them and the body that it names.
pub(crate) fn are_what_was_written(payload: &[u8]) -> bool {
    let names_its_body = |event: Stored<'_>| {
        Header::parse(event.header).is_ok_and(|header| match event.body {
            Lying::Present { salt, bytes } => body_hash(&salt, bytes) == header.bodyhash,
            Lying::Absent(_) => true,
        })
    };
    is_whole(payload) && stored(payload).all(names_its_body)
}

/// The events of one payload; `None` if the bytes are anything else.
pub(crate) fn decode(payload: &[u8]) -> Option<Vec<Record>> {
    let events = is_whole(payload).then(|| stored(payload))?;
    Some(events.map(|event| event.to_record()).collect())
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
