//! Every bound of a queue, batch, field or lifetime, by name. Formats: docs/format.md.

/// A header E.
pub const HEADER_BYTES_MAX: usize = 8 * 1024;
/// A body B; larger things are blobs.
pub const BODY_BYTES_MAX: usize = 256 * 1024;
/// Nesting of a body.
pub const JSON_DEPTH_MAX: usize = 32;
/// The largest integer that every JSON reader keeps exactly: 2^53 - 1.
pub const JSON_INTEGER_MAX: u64 = (1 << 53) - 1;
/// A name of a tenant, a site, an action and the like.
pub const NAME_BYTES_MAX: usize = 63;
/// A subject.
pub const SUBJECT_BYTES_MAX: usize = 128;
/// A free header attribute (`correlationid`, `causationid`, `traceparent`, `ownerepoch`).
pub const ATTRIBUTE_BYTES_MAX: usize = 128;
/// An `Idempotency-Key`.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 128;
/// Events of one command.
pub const COMMAND_EVENTS_MAX: usize = 64;
/// A blob.
pub const BLOB_BYTES_MAX: usize = 64 * 1024 * 1024;
/// A JSON request; a body and its envelope's base64 fit.
pub const REQUEST_BYTES_MAX: usize = 512 * 1024;
/// Proposals in one request.
pub const PROPOSALS_MAX: usize = 100;
/// Events in one page of a list.
pub const PAGE_EVENTS_MAX: usize = 1000;
/// Headers and bodies in one page of a list; the event that passes it is the last.
pub const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// A signed note with all of its signatures.
pub const NOTE_BYTES_MAX: usize = 64 * 1024;
/// Signatures in a note.
pub const NOTE_SIGNATURES_MAX: usize = 64;
/// Hashes in a proof: no path in a tree of 2^63 leaves is longer.
pub const PROOF_HASHES_MAX: usize = 128;
/// How long a statement can be used: 24 hours.
pub const STATEMENT_LIFETIME_MILLIS_MAX: u64 = 24 * 60 * 60 * 1000;
/// How long an order can be used: 120 seconds.
pub const ORDER_LIFETIME_MILLIS: u64 = 120 * 1000;
/// How long a pairing code can be used: ten minutes.
pub const PAIRING_LIFETIME_MILLIS: u64 = 10 * 60 * 1000;
/// How long a connector's poll is held.
pub const POLL_HOLD_MILLIS: u64 = 30 * 1000;
/// How far in the past a connector's clock may be.
pub const CLOCK_SKEW_PAST_MILLIS_MAX: u64 = 300 * 1000;
/// How far in the future a connector's clock may be.
pub const CLOCK_SKEW_FUTURE_MILLIS_MAX: u64 = 60 * 1000;
/// How many days operational bodies are kept at most, whatever a tenant says: the platform's maximum.
pub const OPERATIONAL_DAYS_MAX: u32 = 400;
/// How many days they are kept where a tenant says nothing.
pub const OPERATIONAL_DAYS_DEFAULT: u32 = 90;
/// How many days heartbeats are kept at most once a tenant said how long; where it says nothing they are kept for ever.
pub const BEATS_DAYS_MAX: u32 = 4000;
