//! What the log keeps per chain and per command besides the events.

use countersign_chain::{Base, ChainState};
use countersign_ids::{ChainId, RequestDigest, Sequence};
use serde::{Deserialize, Serialize};

use super::COMMAND_BYTES;
use super::followed::End;
use super::keys::Number;
use crate::tree::Tree;
use crate::write::chains::Marks;
use crate::{Checkpoint, Position};

/// The value under a head's key, as JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct HeadRow {
    pub(crate) chain: ChainId,
    pub(crate) state: ChainState,
    pub(crate) tree: Tree,
    pub(crate) recorded: u64,
    pub(crate) checkpoint: Option<Checkpoint>,
    /// The block at the end of the chain.
    pub(crate) end: End,
    /// The first event that did not verify: the chain ends before it and is read-only.
    pub(crate) damaged: Option<Damage>,
    /// What it begins with, if it was pruned.
    #[serde(default)]
    pub(crate) base: Option<Base>,
    /// On the platform chain only: what other chains refer to.
    pub(crate) marks: Marks,
}

/// Where and why a chain stopped verifying.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Damage {
    pub(crate) at: Sequence,
    pub(crate) reason: String,
}

/// An accepted command, as the index holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Accepted {
    pub(crate) chain: Number,
    pub(crate) first: Sequence,
    pub(crate) events: u32,
    pub(crate) position: Position,
    pub(crate) request: Option<RequestDigest>,
}

impl Accepted {
    pub(crate) fn to_bytes(self) -> [u8; COMMAND_BYTES] {
        let mut bytes = [0; COMMAND_BYTES];
        let parts: [&[u8]; 6] = [
            &self.chain.to_be_bytes(),
            &self.first.get().to_be_bytes(),
            &self.events.to_be_bytes(),
            &self.position.get().to_be_bytes(),
            &[u8::from(self.request.is_some())],
            self.request
                .as_ref()
                .map_or(&[0; 16], |request| request.as_bytes()),
        ];
        for (byte, part) in bytes
            .iter_mut()
            .zip(parts.iter().flat_map(|part| part.iter()))
        {
            *byte = *part;
        }
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8; COMMAND_BYTES]) -> Self {
        fn part<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
            bytes
                .get(at..)
                .and_then(|rest| rest.first_chunk())
                .copied()
                .unwrap_or([0; N])
        }
        Self {
            chain: u32::from_be_bytes(part(bytes, 0)),
            first: Sequence::new(u64::from_be_bytes(part(bytes, 4))),
            events: u32::from_be_bytes(part(bytes, 12)),
            position: Position::new(u64::from_be_bytes(part(bytes, 16))),
            request: (bytes.get(24) == Some(&1))
                .then(|| RequestDigest::from_bytes(part(bytes, 25))),
        }
    }
}

/// Where an event is, as the index holds it.
pub(crate) fn event_place(chain: Number, sequence: Sequence) -> [u8; super::EVENT_BYTES] {
    let mut bytes = [0; super::EVENT_BYTES];
    let (number, rest) = bytes.split_at_mut(4);
    number.copy_from_slice(&chain.to_be_bytes());
    rest.copy_from_slice(&sequence.get().to_be_bytes());
    bytes
}

/// The inverse of [`event_place`].
pub(crate) fn event_of(bytes: &[u8; super::EVENT_BYTES]) -> Option<(Number, Sequence)> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((
        u32::from_be_bytes(*number),
        Sequence::new(u64::from_be_bytes(*rest.first_chunk()?)),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_accepted_command_reads_back() {
        for request in [None, Some(RequestDigest::from_bytes([7; 16]))] {
            let accepted = Accepted {
                chain: 3,
                first: Sequence::new(1 << 40),
                events: 64,
                position: Position::new(u64::MAX - 1),
                request,
            };
            assert_eq!(Accepted::from_bytes(&accepted.to_bytes()), accepted);
        }
        assert_eq!(
            event_of(&event_place(9, Sequence::new(77))),
            Some((9, Sequence::new(77)))
        );
    }
}
