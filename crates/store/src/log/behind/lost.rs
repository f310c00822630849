//! Chains that end before they did: an event is gone, or is not what was written.

use std::sync::Arc;

use countersign_ids::Sequence;

use super::{Behind, Followed, size};
use crate::log::heads::Damage;
use crate::view::Chain;

impl Behind {
    /// A chain that lost what comes next, or whose next event does not verify: it ends here and is read-only.
    pub(crate) fn lose(&mut self, chain: &Arc<Chain>, at: Sequence, reason: &str) {
        let ledger = self.view.ledger;
        let empty = || Followed::empty(&ledger, Arc::clone(chain));
        let followed = self.chains.entry(chain.id.clone());
        let followed = followed.or_insert_with(empty);
        if followed.damaged.is_none() {
            self.view.board.chain_damaged(&chain.id, at, reason);
            let reason = reason.to_owned();
            followed.damaged = Some(Damage { at, reason });
            self.touched.insert(chain.id.clone());
        }
    }

    /// What readers found to be damaged in both copies is remembered over restarts.
    pub(super) fn remember_damage(&mut self) {
        for (id, (at, reason)) in self.view.board.damaged_chains() {
            let found = self
                .chains
                .get(&id)
                .map(|followed| Arc::clone(&followed.chain));
            if let Some(chain) = found {
                self.lose(&chain, at, &reason);
            }
        }
    }

    /// The same for events that the log lacks and the journal lost.
    pub(crate) fn lose_next(&mut self, chain: &Arc<Chain>, reason: &str) {
        let size = size(&self.chains, &chain.id);
        self.lose(chain, Sequence::new(size), reason);
    }
}
