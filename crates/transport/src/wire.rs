//! The bodies of the connector's routes, as the server and the connector both read them.
//!
//! What a route is given is strict (`deny_unknown_fields`); an answer may grow, so a connector reads past new members.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use countersign_evidence::{Envelope, PinnedDocument, PublicKey, wire::ProofHash};
use countersign_ids::{ChainId, ConnectorId, LedgerId, Sequence, SiteId, TenantId, Time};
use serde::{Deserialize, Serialize};

/// Asks what a pairing code is for.
pub const PAIRING_PATH: &str = "/v1/connector/pairing";
/// Uses a pairing code up.
pub const PAIR_PATH: &str = "/v1/connector/pair";
/// Takes heartbeats.
pub const BEATS_PATH: &str = "/v1/connector/beats";
/// Hands out orders.
pub const POLL_PATH: &str = "/v1/connector/poll";
/// Takes observations and outcomes.
pub const MESSAGES_PATH: &str = "/v1/connector/messages";
/// Hands out blobs: the path goes on with `/<digest>`.
pub const BLOBS_PATH: &str = "/v1/connector/blobs";
/// Who asks for a blob.
pub const CONNECTOR_HEADER: &str = "countersign-connector";
/// The asker's signed poll, base64 of the envelope's canonical bytes.
pub const PROOF_HEADER: &str = "countersign-proof";

/// `POST /v1/connector/pairing`: asks what a code is for; the code stays usable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairingRequest {
    /// The code as the person typed it.
    pub code: String,
}

/// What a connector must know before it can sign its first message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairingInfo {
    /// The ledger; the code pins its first digits.
    pub ledger: LedgerId,
    /// The genesis key; the ledger id is its digest.
    pub genesis_key: PublicKey,
    /// Every key statement, from version 1.
    pub keys: Vec<Envelope>,
    /// The tenant.
    pub tenant: TenantId,
    /// The site.
    pub site: SiteId,
    /// The document that the site is to pin.
    pub document: PinnedDocument,
    /// The name that the connector will have.
    pub connector: ConnectorId,
    /// The generation of this pairing.
    pub generation: u64,
}

/// `POST /v1/connector/pair`: proves possession of the new key and uses the code up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairRequest {
    /// The code as the person typed it.
    pub code: String,
    /// The message `paired`, signed by the new key.
    pub envelope: Envelope,
}

/// The pairing is an event now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairReceipt {
    /// The connector.
    pub connector: ConnectorId,
    /// Its generation.
    pub generation: u64,
    /// A signed note of the tenant's chain: the first that the connector accepts.
    pub checkpoint: String,
}

/// The body of every other route: one signed message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signed {
    /// The message.
    pub envelope: Envelope,
}

/// How far a tenant or a site is contained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Containment {
    /// Not at all.
    Normal,
    /// Everything needs approval.
    AskForAll,
    /// Nothing is executed.
    Hold,
    /// Nothing but rollbacks is executed.
    RollbackOnly,
    /// Nothing is said but that it lives.
    Dark,
}

/// What a heartbeat is answered with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BeatAnswer {
    /// The server's clock.
    pub time: Time,
    /// How far the site is contained.
    pub containment: Containment,
    /// A signed note of the tenant's chain.
    pub checkpoint: String,
    /// The consistency proof from the size that the heartbeat named.
    pub consistency: Vec<ProofHash>,
    /// Key statements newer than the version that the heartbeat named, in order.
    #[serde(default)]
    pub keys: Vec<Envelope>,
    /// Orders are fetched until then, by the server's clock.
    pub lease_until: Time,
}

/// The message is an event now; a repeated one gets the same answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// The chain that holds it.
    pub chain: ChainId,
    /// Where it stands.
    pub sequence: Sequence,
}

/// Writes the value of the header [`PROOF_HEADER`]; `None` if the envelope cannot be written.
#[must_use]
pub fn encode_proof(envelope: &Envelope) -> Option<String> {
    Some(STANDARD.encode(envelope.to_bytes().ok()?))
}

/// Reads the value of the header [`PROOF_HEADER`]; `None` if it holds no envelope.
#[must_use]
pub fn decode_proof(text: &str) -> Option<Envelope> {
    Envelope::parse(&STANDARD.decode(text).ok()?).ok()
}
