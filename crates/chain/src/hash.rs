//! Every hash of the format, with its BLAKE3 derive-key context or its SHA-256 rule (docs/format.md section 2).

use blake3::hazmat::{ContextKey, HasherExt as _, hash_derive_key_context};
use countersign_ids::{
    Actor, BodyHash, BodyKey, ChainId, CommandId, Digest, EventHash, EventId, LedgerId, Plain,
    RequestDigest, Salt, limits,
};
use sha2::Digest as _;
use std::{borrow::Cow, sync::LazyLock};

/// A derive-key context, hashed once: it is a tenth of the work for what is as short as an event.
struct Context(LazyLock<ContextKey>);

impl Context {
    const fn new(key: fn() -> ContextKey) -> Self {
        Self(LazyLock::new(key))
    }

    fn hasher(&self) -> blake3::Hasher {
        blake3::Hasher::new_from_context_key(&self.0)
    }
}

static EVENT: Context = Context::new(|| hash_derive_key_context("countersign event v1"));
static BODY: Context = Context::new(|| hash_derive_key_context("countersign body v1"));
static COMMAND: Context = Context::new(|| hash_derive_key_context("countersign command v1"));

/// SHA-256 of some bytes: digests of blobs and of everything inside something signed.
#[must_use]
pub fn sha256(bytes: &[u8]) -> Digest {
    Digest::from_bytes(sha2::Sha256::digest(bytes).into())
}

/// Hash of an event: over the exact bytes E.
#[must_use]
pub fn event_hash(header: &[u8]) -> EventHash {
    EventHash::from_bytes(*EVENT.hasher().update(header).finalize().as_bytes())
}

/// Hash of a body: over its salt, then B.
#[must_use]
pub fn body_hash(salt: &Salt, body: &[u8]) -> BodyHash {
    let mut hasher = BODY.hasher();
    hasher.update(salt.as_bytes()).update(body);
    BodyHash::from_bytes(*hasher.finalize().as_bytes())
}

/// Commitment to the key of a sealed body.
#[must_use]
pub fn body_key_commitment(key: &[u8; 32]) -> BodyKey {
    BodyKey::from_bytes(blake3::derive_key("countersign body key v1", key))
}

/// The ledger id of a raw genesis key.
#[must_use]
pub fn ledger_id(genesis: &[u8; 32]) -> LedgerId {
    LedgerId::from_bytes(sha2::Sha256::digest(genesis).into())
}

/// What stands in `prevhash` of sequence 0.
#[must_use]
pub fn genesis_hash(ledger: &LedgerId, chain: &ChainId) -> EventHash {
    let mut hasher = blake3::Hasher::new_derive_key("countersign genesis v1");
    prefixed(&mut hasher, ledger.to_string().as_bytes());
    prefixed(&mut hasher, chain.to_string().as_bytes());
    EventHash::from_bytes(*hasher.finalize().as_bytes())
}

/// What makes a command the same command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandKey {
    /// The caller's Idempotency-Key.
    Key(String),
    /// The event that caused it.
    Event(EventId),
    /// The counter of a connector's message.
    Counter {
        /// The connector's generation.
        generation: u64,
        /// `beat` or `action`.
        stream: String,
        /// Dense from 0 per generation and stream.
        counter: u64,
    },
}

/// The id of a command in a chain.
#[must_use]
pub fn command_id(chain: &ChainId, actor: &Actor, key: &CommandKey) -> CommandId {
    let (kind, value) = match key {
        CommandKey::Key(value) => ("key", Cow::Borrowed(value.as_str())),
        CommandKey::Event(id) => ("event", id.to_string().into()),
        CommandKey::Counter {
            generation,
            stream,
            counter,
        } => ("counter", format!("{generation} {stream} {counter}").into()),
    };
    let mut name = Vec::with_capacity(limits::ATTRIBUTE_BYTES_MAX);
    chain.put(&mut name);
    let mut hasher = COMMAND.hasher();
    for part in [
        name.as_slice(),
        actor.kind.as_str().as_bytes(),
        actor.id.as_str().as_bytes(),
        kind.as_bytes(),
        value.as_bytes(),
    ] {
        prefixed(&mut hasher, part);
    }
    CommandId::from_bytes(half(&hasher))
}

/// The digest of a request: the HTTP body as received, or a DSSE message's payload.
#[must_use]
pub fn request_digest(request: &[u8]) -> RequestDigest {
    let mut hasher = blake3::Hasher::new_derive_key("countersign request v1");
    hasher.update(request);
    RequestDigest::from_bytes(half(&hasher))
}

/// The first 16 bytes of the hash, which BLAKE3's extendable output gives as they are.
fn half(hasher: &blake3::Hasher) -> [u8; 16] {
    let mut bytes = [0; 16];
    hasher.finalize_xof().fill(&mut bytes);
    bytes
}

/// Length-prefixed: a big-endian u32, then the bytes.
fn prefixed(hasher: &mut blake3::Hasher, bytes: &[u8]) {
    // Everything that is hashed this way is bounded far below 4 GiB.
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    hasher.update(&length.to_be_bytes()).update(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_ids::AuthType;

    #[test]
    fn command_ids_depend_on_every_part() {
        let actor = |kind, id: &str| Actor {
            kind,
            id: id.parse().unwrap(),
        };
        let chain = |id: &str| id.parse::<ChainId>().unwrap();
        let key = |value: &str| CommandKey::Key(value.to_owned());
        let ids = [
            command_id(&chain("acme"), &actor(AuthType::Person, "ann"), &key("1")),
            command_id(
                &chain("acme.beats"),
                &actor(AuthType::Person, "ann"),
                &key("1"),
            ),
            command_id(&chain("acme"), &actor(AuthType::Agent, "ann"), &key("1")),
            command_id(&chain("acme"), &actor(AuthType::Person, "bob"), &key("1")),
            command_id(&chain("acme"), &actor(AuthType::Person, "ann"), &key("2")),
            command_id(
                &chain("acme"),
                &actor(AuthType::Person, "ann"),
                &CommandKey::Counter {
                    generation: 1,
                    stream: "beat".to_owned(),
                    counter: 0,
                },
            ),
            command_id(
                &chain("acme"),
                &actor(AuthType::Person, "ann"),
                &key("1 beat 0"),
            ),
        ];
        let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
        assert_eq!(distinct.len(), ids.len());
    }

    #[test]
    fn a_context_hashed_once_is_the_context() {
        for length in [0, 1, 47, 48, 63, 64, 65, 1007, 1008, 1009, 1024, 1025, 9000] {
            let bytes = vec![7; length];
            assert_eq!(
                event_hash(&bytes).as_bytes(),
                &blake3::derive_key("countersign event v1", &bytes)
            );
            let salted = [&[9; 16], bytes.as_slice()].concat();
            assert_eq!(
                body_hash(&Salt::from_bytes([9; 16]), &bytes).as_bytes(),
                &blake3::derive_key("countersign body v1", &salted)
            );
        }
    }

    #[test]
    fn the_first_sixteen_bytes_are_a_prefix_of_the_hash() {
        let digest = request_digest(b"{}");
        let whole = blake3::derive_key("countersign request v1", b"{}");
        assert_eq!(digest.as_bytes(), &whole[..16]);
    }
}
