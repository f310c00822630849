//! Chains that were pruned, as the log's thread takes them in: from its order, or from what the journal holds in their place.

use std::sync::Arc;

use super::behind::Behind;
use super::followed::Followed;
use crate::journal::pruning::Stump;
use crate::prune::Pruning;
use crate::view::Chain;

impl Behind {
    /// Takes in what is left of pruned events: the chain goes on from the last cut in it, unless it is further already.
    pub(super) fn absorb_stump(&mut self, chain: &Arc<Chain>, stump: &Stump) {
        let ledger = self.view.ledger;
        let followed = self
            .chains
            .entry(chain.id.clone())
            .or_insert_with(|| Followed::empty(&ledger, Arc::clone(chain)));
        if followed.damaged.is_some() {
            return;
        }
        for mark in &stump.marks {
            if followed.begin_at(&ledger, mark) {
                self.touched.insert(chain.id.clone());
            }
        }
    }

    /// A chain begins at a cut from now on; the events before it are not read any more, whether or not they are gone.
    pub(super) fn begin_at(&mut self, pruning: &Pruning) {
        if let Some(followed) = self.chains.get(&pruning.chain) {
            followed.chain.begin_at(&pruning.base);
            self.touched.insert(pruning.chain.clone());
        }
    }
}
