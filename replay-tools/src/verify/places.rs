//! Events and trees that events name: on platform, under a checkpoint, seen by a connector.

use countersign_chain::{Header, TlogProof, merkle};
use countersign_events::Event;

use super::Run;
use super::fault::{Checked, absent, bad, need};
use super::tenant::Claim;
use crate::verdict::Place;

impl Run<'_> {
    /// `platformhead` names an event that platform has.
    pub(super) fn platformhead(&self, header: &Header) -> Checked {
        const RULE: &str = "platformhead";
        let Some(head) = &header.platformhead else {
            return Ok(());
        };
        match self.platform.hash_at(head.sequence.get()) {
            Some(hash) => need(
                hash == head.hash,
                RULE,
                "platformhead names another event than platform has there",
            ),
            None if self.platform.is_broken()
                || header.chain.is_beats() && !self.platform.is_whole() =>
            {
                Ok(())
            }
            None if self.platform.is_whole() => Err(bad(
                RULE,
                "platformhead names an event that platform does not have",
            )),
            None => Err(absent(
                RULE,
                format!(
                    "platform event {}, which platformhead names, is not here",
                    head.sequence
                ),
            )),
        }
    }

    /// What an event orders to remove, or receipts.
    pub(super) fn removal(&mut self, chain: &str, header: &Header, event: &Event) -> Checked {
        if let Event::Retention(event) = event
            && let Some(chain) = self.chains.get_mut(chain)
        {
            self.counts.destroyed += chain.removals.apply(header, event)?;
        }
        Ok(())
    }

    /// Notes a tree that somebody saw, unless it is known to be right already.
    pub(super) fn sighted(&mut self, place: (&str, u64), of: &str, claim: Claim) {
        let known = self
            .chains
            .get(of)
            .and_then(|chain| chain.at_size(claim.size));
        if known.is_some_and(|snapshot| snapshot.root == *claim.root.as_bytes()) {
            return;
        }
        let first = Place {
            chain: place.0.to_owned(),
            sequence: place.1,
        };
        self.sightings
            .entry((of.to_owned(), claim.size))
            .or_default()
            .entry(claim.root)
            .or_insert(first);
    }

    /// A sparse event under the one checkpoint of its chain.
    pub(super) fn check_proof(&self, name: &str, at: u64, header: &[u8]) -> Checked {
        const RULE: &str = "proof";
        let anchors = self
            .anchors
            .get(name)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let [anchor] = anchors else {
            return Err(absent(RULE, "no single checkpoint to prove it under"));
        };
        let bytes = self
            .source
            .proof(name, at)?
            .ok_or_else(|| absent(RULE, "its inclusion proof is missing"))?;
        let proof = TlogProof::parse(&bytes).map_err(|error| bad(RULE, error))?;
        let same = proof.index == at
            && proof.checkpoint.as_bytes() == anchor.note
            && proof.to_string().as_bytes() == bytes;
        need(same, RULE, "the proof is of another event or checkpoint")?;
        let head = anchor.checkpoint.head;
        merkle::verify_inclusion(
            &merkle::leaf_hash(header),
            at,
            head.size,
            &proof.hashes,
            &head.root,
        )
        .map_err(|error| bad(RULE, error))
    }
}
