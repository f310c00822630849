//! Base64 as the format wants it: RFC 4648 section 4, padded, one spelling per value.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Encodes.
pub(crate) fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Decodes, refusing every other spelling.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// Decodes exactly 32 bytes.
pub(crate) fn decode_hash(text: &str) -> Option<[u8; 32]> {
    decode(text)?.try_into().ok()
}
