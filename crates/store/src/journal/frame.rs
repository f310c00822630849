//! One frame: the unit of the journal, whole or not there.
//!
//! Bytes only; where frames stand and which of them count is `scan`, who writes them is `segment`.
//! Field widths are fixed by docs/format.md section 5; all integers are big-endian:
//!
//! | at | bytes | field |
//! | --- | --- | --- |
//! | 0 | 4 | magic `CSJF` |
//! | 4 | 1 | version: 1, or 2 where bodies or events were removed |
//! | 5 | 1 | kind |
//! | 6 | 2 | zero |

use super::{Position, bit};

/// The bytes in front of every payload: those above, then segment (8), offset (8), `durable_to` (8), length (4), CRC32C (4).
pub(crate) const HEAD_BYTES: usize = 40;
/// The largest payload that a reader accepts, so that a forged length cannot make it allocate.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 16 * 1024 * 1024;
/// What every frame begins with.
pub(crate) const MAGIC: [u8; 4] = *b"CSJF";
const VERSION: u8 = 1;
/// Bodies or events were removed: zeros follow what is left, so that everything stays where it was.
const VERSION_THINNED: u8 = 2;
const LENGTH_AT: usize = 32;
const CRC_AT: usize = 36;

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// All events of one command.
    Events,
    /// A signed checkpoint of one chain.
    Checkpoint,
    /// Events sent to Kafka, not yet committed there.
    Prepared,
    /// The commit of a prepared frame.
    Committed,
    /// A prepared frame that will never be committed.
    Voided,
    /// A clean stop; nothing stands after it.
    Closed,
    /// The end of a sealed segment.
    Footer,
    /// In the place of what was lost: it held no event.
    Lost,
    /// Events of a chain stood here until they were pruned.
    Pruned,
}

impl Kind {
    const fn code(self) -> u8 {
        match self {
            Self::Events => 1,
            Self::Checkpoint => 2,
            Self::Prepared => 3,
            Self::Committed => 4,
            Self::Voided => 5,
            Self::Closed => 6,
            Self::Footer => 7,
            Self::Lost => 8,
            Self::Pruned => 9,
        }
    }

    const fn of(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Events),
            2 => Some(Self::Checkpoint),
            3 => Some(Self::Prepared),
            4 => Some(Self::Committed),
            5 => Some(Self::Voided),
            6 => Some(Self::Closed),
            7 => Some(Self::Footer),
            8 => Some(Self::Lost),
            9 => Some(Self::Pruned),
            _ => None,
        }
    }
}

/// The fixed part of a frame, as read and not yet trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    /// What the payload is.
    pub(crate) kind: Kind,
    /// The segment that the frame was written for: the position of its first byte.
    pub(crate) segment: Position,
    /// Where in that segment.
    pub(crate) offset: u64,
    /// Everything before this position was known fdatasynced before the frame's group was written.
    pub(crate) durable_to: Position,
    /// Bytes of payload that follow.
    pub(crate) length: usize,
    /// Whether bodies were removed from the payload, which zeros fill up.
    pub(crate) thinned: bool,
    crc: u32,
}

impl Head {
    /// The checksum over the frame.
    #[must_use]
    pub(crate) const fn crc(&self) -> u32 {
        self.crc
    }
}

/// Why bytes are not the frame that should stand there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Bad {
    /// No frame begins here.
    #[error("no frame begins here")]
    Magic,
    /// A version, kind or reserved field that this program does not know.
    #[error("unknown frame version or kind")]
    Unknown,
    /// The frame was written for another segment or offset.
    #[error("the frame belongs elsewhere")]
    Elsewhere,
    /// The file ends, or the length is beyond the limit.
    #[error("the frame is cut short")]
    Short,
    /// The checksum differs.
    #[error("the checksum differs")]
    Checksum,
}

/// Appends a whole frame to `out`, whose payload `write` appends; returns its checksum.
pub(crate) fn encode(
    out: &mut Vec<u8>,
    kind: Kind,
    place: (Position, u64),
    durable_to: Position,
    write: impl FnOnce(&mut Vec<u8>),
) -> u32 {
    put_frame(out, (VERSION, kind), place, durable_to, write)
}

/// The frame of `head` with another payload, which is no longer than the one it had; `None` if it is.
pub(crate) fn thinned(head: &Head, payload: &[u8]) -> Option<Vec<u8>> {
    replaced(head, head.kind, payload)
}

/// The same with what is left in place of the events.
pub(crate) fn pruned(head: &Head, payload: &[u8]) -> Option<Vec<u8>> {
    replaced(head, Kind::Pruned, payload)
}

fn replaced(head: &Head, kind: Kind, payload: &[u8]) -> Option<Vec<u8>> {
    let mut filled = payload.to_vec();
    if filled.len() > head.length {
        return None;
    }
    filled.resize(head.length, 0);
    let mut out = Vec::with_capacity(HEAD_BYTES.saturating_add(filled.len()));
    let what = (VERSION_THINNED, kind);
    let place = (head.segment, head.offset);
    put_frame(&mut out, what, place, head.durable_to, |frame| {
        frame.extend_from_slice(&filled);
    });
    Some(out)
}

/// What is left in a payload that zeros fill up: its last byte is never zero.
pub(crate) fn without_filling(payload: &mut Vec<u8>) {
    let zeros = payload.iter().rev().take_while(|byte| **byte == 0).count();
    payload.truncate(payload.len().saturating_sub(zeros));
}

/// A frame of events at a place, `length` bytes of payload long; zeros follow the events where bodies were removed from them.
pub(crate) fn filled(
    place: (Position, u64),
    durable_to: Position,
    events: &[u8],
    length: usize,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD_BYTES.saturating_add(length));
    let version = if length > events.len() {
        VERSION_THINNED
    } else {
        VERSION
    };
    put_frame(
        &mut out,
        (version, Kind::Events),
        place,
        durable_to,
        |frame| {
            let begin = frame.len();
            frame.extend_from_slice(events);
            frame.resize(begin.saturating_add(length), 0);
        },
    );
    out
}

fn put_frame(
    out: &mut Vec<u8>,
    (version, kind): (u8, Kind),
    place: (Position, u64),
    durable_to: Position,
    write: impl FnOnce(&mut Vec<u8>),
) -> u32 {
    let start = out.len();
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[version, kind.code(), 0, 0]);
    out.extend_from_slice(&place.0.get().to_be_bytes());
    out.extend_from_slice(&place.1.to_be_bytes());
    out.extend_from_slice(&durable_to.get().to_be_bytes());
    out.extend_from_slice(&[0; HEAD_BYTES - LENGTH_AT]);
    let payload_at = out.len();
    write(out);
    // What depends on the payload is put into its place behind it.
    let length = u32::try_from(out.len().saturating_sub(payload_at)).unwrap_or(u32::MAX);
    let frame = out.get_mut(start..).unwrap_or_default();
    put_at(frame, LENGTH_AT, length);
    let (covered, rest) = frame.split_at_checked(CRC_AT).unwrap_or_default();
    let payload = rest.get(HEAD_BYTES - CRC_AT..).unwrap_or_default();
    let crc = crc32c::crc32c_append(crc32c::crc32c(covered), payload);
    put_at(frame, CRC_AT, crc);
    crc
}

fn put_at(frame: &mut [u8], at: usize, number: u32) {
    if let Some(place) = frame.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
        *place = number.to_be_bytes();
    }
}

/// Reads the fixed part; `bytes` are at least the first [`HEAD_BYTES`] of the frame.
pub(crate) fn head(bytes: &[u8], segment: Position, offset: u64) -> Result<Head, Bad> {
    let fixed: &[u8; HEAD_BYTES] = bytes.first_chunk().ok_or(Bad::Short)?;
    if !fixed.starts_with(&MAGIC) {
        return Err(Bad::Magic);
    }
    let number = |at: usize| u64::from_be_bytes(array(fixed, at));
    if fixed.get(6..8) != Some(&[0, 0]) {
        return Err(Bad::Unknown);
    }
    let kind = fixed
        .get(5)
        .copied()
        .and_then(Kind::of)
        .ok_or(Bad::Unknown)?;
    let thinned = match (fixed.get(4), kind) {
        (Some(&VERSION_THINNED), Kind::Events | Kind::Pruned) => true,
        (Some(&VERSION), kind) if kind != Kind::Pruned => false,
        _ => return Err(Bad::Unknown),
    };
    if number(8) != segment.get() || number(16) != offset {
        return Err(Bad::Elsewhere);
    }
    let length = usize::try_from(u32::from_be_bytes(array(fixed, LENGTH_AT))).unwrap_or(usize::MAX);
    if length > PAYLOAD_BYTES_MAX {
        return Err(Bad::Short);
    }
    let head = Head {
        kind,
        segment,
        offset,
        durable_to: Position::new(number(24)),
        length,
        thinned,
        crc: u32::from_be_bytes(array(fixed, CRC_AT)),
    };
    Ok(head)
}

/// Checks the payload against the checksum in `head`, whose bytes are `fixed`.
pub(crate) fn check(head: &Head, fixed: &[u8], payload: &[u8]) -> Result<(), Bad> {
    let covered = fixed.get(..CRC_AT).ok_or(Bad::Short)?;
    let crc = crc32c::crc32c_append(crc32c::crc32c(covered), payload);
    if payload.len() == head.length && crc == head.crc {
        Ok(())
    } else {
        Err(Bad::Checksum)
    }
}

/// The frame that begins with these bytes but for one bit, if its checksum tells which; it is whole then.
///
/// `bytes` reach to the end of the segment, or as far as the longest frame.
pub(crate) fn but_for_one_bit(bytes: &[u8], segment: Position, offset: u64) -> Option<Vec<u8>> {
    let fixed: &[u8; HEAD_BYTES] = bytes.first_chunk()?;
    let length = u32::from_be_bytes(array(fixed, LENGTH_AT));
    // Where the length itself is wrong, all other bits are right.
    let lengths = (0..u32::BITS).map(|bit| length ^ (1 << bit));
    let of_length = lengths.filter_map(|length| {
        let mut frame = cut(bytes, length)?;
        put_at(&mut frame, LENGTH_AT, length);
        Some(frame)
    });
    let of_another = cut(bytes, length).and_then(|mut frame| {
        mend(&mut frame)?;
        Some(frame)
    });
    let whole = |frame: &Vec<u8>| {
        let (fixed, payload) = frame.split_at_checked(HEAD_BYTES).unwrap_or_default();
        head(fixed, segment, offset).is_ok_and(|head| check(&head, fixed, payload).is_ok())
    };
    of_another.into_iter().chain(of_length).find(whole)
}

/// A frame with so much payload, if there are as many bytes.
fn cut(bytes: &[u8], length: u32) -> Option<Vec<u8>> {
    let length = usize::try_from(length).ok()?;
    let all = length.checked_add(HEAD_BYTES)?;
    let frame = (length <= PAYLOAD_BYTES_MAX).then(|| bytes.get(..all))??;
    Some(frame.to_vec())
}

/// Flips the bit that is wrong by the checksum, be it one of the checksum's own.
fn mend(frame: &mut [u8]) -> Option<()> {
    let (covered, rest) = frame.split_at_checked(CRC_AT)?;
    let (stored, payload) = rest.split_first_chunk::<4>()?;
    let found = crc32c::crc32c_append(crc32c::crc32c(covered), payload);
    let stored = u32::from_be_bytes(*stored);
    if (found ^ stored).is_power_of_two() {
        put_at(frame, CRC_AT, found);
        return Some(());
    }
    let bytes = covered.len().saturating_add(payload.len());
    let mut bit = bit::flipped(bytes, found, stored)?;
    if bit.byte >= CRC_AT {
        bit.byte = bit.byte.saturating_add(4);
    }
    bit.flip(frame);
    Some(())
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .copied()
        .unwrap_or([0; N])
}

/// Appends `part` with its length in front.
pub(crate) fn put(out: &mut Vec<u8>, part: &[u8]) {
    out.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(part);
}

/// Takes one length-prefixed part off the front of `bytes`.
pub(crate) fn take<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (part, rest) = rest.split_at_checked(length)?;
    *bytes = rest;
    Some(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENT: Position = Position::new(4096);

    fn whole(bytes: &[u8]) -> Result<(Head, Vec<u8>), Bad> {
        let head = head(bytes, SEGMENT, 64)?;
        let payload = bytes
            .get(HEAD_BYTES..HEAD_BYTES + head.length)
            .ok_or(Bad::Short)?;
        check(&head, &bytes[..HEAD_BYTES], payload)?;
        Ok((head, payload.to_vec()))
    }

    #[test]
    fn a_frame_reads_back() {
        let mut bytes = Vec::new();
        encode(
            &mut bytes,
            Kind::Events,
            (SEGMENT, 64),
            Position::new(77),
            |frame| frame.extend_from_slice(b"payload"),
        );
        let (head, payload) = whole(&bytes).unwrap();
        assert_eq!(
            (head.kind, head.durable_to, payload.as_slice()),
            (Kind::Events, Position::new(77), &b"payload"[..])
        );
    }

    #[test]
    fn the_frame_of_the_format_page_reads_and_writes_to_the_byte() {
        const GOLDEN: &[u8] = include_bytes!("../../../../tests/golden/formats/frame.bin");
        const PAGE: &str = include_str!("../../../../docs/format.md");
        let (head, payload) = whole(GOLDEN).unwrap();
        let mut written = Vec::new();
        encode(
            &mut written,
            head.kind,
            (SEGMENT, 64),
            Position::new(4160),
            |frame| frame.extend_from_slice(&payload),
        );
        assert_eq!(
            (written.as_slice(), head.durable_to),
            (GOLDEN, Position::new(4160))
        );
        let line = |name: &str, value: String| format!("\n{name} = {value}\n");
        assert!(PAGE.contains(&line("frame.head", hex::encode(&GOLDEN[..HEAD_BYTES]))));
        let digest = countersign_chain::sha256(&payload).to_string();
        assert!(PAGE.contains(&line("frame.payload.sha256", digest)));
        let records = crate::journal::record::decode(&payload).unwrap();
        assert_eq!(records.len(), 1, "one append of one event");
        let mut again = Vec::new();
        crate::journal::record::encode(&mut again, &records[0]);
        assert_eq!(again, payload);
    }

    #[test]
    fn a_thinned_frame_reads_as_what_is_left_and_takes_the_same_room() {
        let mut bytes = Vec::new();
        let place = (SEGMENT, 64);
        encode(&mut bytes, Kind::Events, place, Position::new(7), |frame| {
            frame.extend_from_slice(b"with body")
        });
        let (before, _) = whole(&bytes).unwrap();
        let left = thinned(&before, b"with").unwrap();
        assert_eq!(left.len(), bytes.len());
        let (head, mut payload) = whole(&left).unwrap();
        assert!(head.thinned && !before.thinned);
        assert_eq!((head.durable_to, payload.len()), (Position::new(7), 9));
        without_filling(&mut payload);
        assert_eq!(payload, b"with");
        let again = thinned(&head, b"w").unwrap();
        assert_eq!(whole(&again).unwrap().1, b"w\0\0\0\0\0\0\0\0");
        assert_eq!(thinned(&before, b"longer than it was"), None);
        // In place of pruned events stands what is left of them, and never a frame as it was written.
        let left = pruned(&before, b"acme").unwrap();
        let (head, _) = whole(&left).unwrap();
        assert_eq!((head.kind, head.thinned), (Kind::Pruned, true));
        let mut written = Vec::new();
        encode(
            &mut written,
            Kind::Pruned,
            place,
            Position::new(7),
            |frame| frame.extend_from_slice(b"acme"),
        );
        assert_eq!(whole(&written).unwrap_err(), Bad::Unknown);
        // Nothing but events has bodies.
        let mut footer = left;
        footer[5] = Kind::Footer.code();
        assert_eq!(whole(&footer).unwrap_err(), Bad::Unknown);
    }

    #[test]
    fn no_flipped_bit_and_no_cut_is_accepted() {
        let mut bytes = Vec::new();
        encode(
            &mut bytes,
            Kind::Checkpoint,
            (SEGMENT, 64),
            Position::new(77),
            |frame| frame.extend_from_slice(b"payload"),
        );
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(whole(&flipped).is_err(), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(whole(&bytes[..length]).is_err(), "cut to {length}");
        }
    }

    #[test]
    fn any_flipped_bit_is_mended_and_two_are_not() {
        let mut sound = Vec::new();
        let place = (SEGMENT, 64);
        encode(
            &mut sound,
            Kind::Events,
            place,
            Position::new(77),
            |frame| frame.extend_from_slice(b"a payload of some length"),
        );
        // What follows it in the segment.
        let rest = [0_u8; 2048];
        for bit in 0..sound.len() * 8 {
            let mut bytes = [sound.as_slice(), &rest].concat();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let mended = but_for_one_bit(&bytes, SEGMENT, 64);
            assert_eq!(mended.as_ref(), Some(&sound), "bit {bit}");
            bytes[(bit / 8 + 7) % sound.len()] ^= 4;
            assert_eq!(but_for_one_bit(&bytes, SEGMENT, 64), None, "bit {bit}");
        }
    }

    #[test]
    fn a_frame_of_another_place_is_refused() {
        let mut bytes = Vec::new();
        encode(
            &mut bytes,
            Kind::Events,
            (SEGMENT, 64),
            Position::new(0),
            |frame| frame.push(b'p'),
        );
        assert_eq!(head(&bytes, SEGMENT, 65), Err(Bad::Elsewhere));
        assert_eq!(head(&bytes, Position::new(0), 64), Err(Bad::Elsewhere));
    }
}
