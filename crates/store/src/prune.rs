//! Pruning a chain: its events before a cut are removed whole, from journal and log, after an event ordered it.
//!
//! The event that orders it is durable before any of this begins, and names the base that the chain begins with afterwards.
//! Nothing is touched unless the journal gives that same base. Doing it again does what a crash left to do.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use countersign_chain::merkle::{Frontier, leaf_hash};
use countersign_chain::{Base, CUT_EVENTS, ChainState};
use countersign_ids::{ChainId, Sequence};
use tokio::sync::oneshot;

use crate::disk::crash_at;
use crate::journal::pruning::{Before, Begin, are_whole, first_left, marks, prune_all};
use crate::log::blocks;
use crate::log::handover::Gone;
use crate::log::rewrite;
use crate::view::Chain;
use crate::write::writer::Request;
use crate::{Error, Ledger, Position};

/// Events that are read at a time.
const PAGE_EVENTS: u64 = 1024;

/// What is to go, and what the chain begins with then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pruning {
    /// The chain.
    pub chain: ChainId,
    /// What it begins with from here on.
    pub base: Base,
}

impl Pruning {
    fn before(&self) -> Before<'_> {
        Before {
            chain: &self.chain,
            cut: self.base.cut,
        }
    }
}

impl Ledger {
    /// What a pruned chain begins with; `None` where a chain begins with its first event.
    #[must_use]
    pub fn base(&self, chain: &ChainId) -> Option<Base> {
        self.view().chain(chain)?.base()
    }

    /// The sequence of the first event that a chain still has.
    #[must_use]
    pub fn first(&self, chain: &ChainId) -> u64 {
        self.view().chain(chain).map_or(0, |chain| chain.first())
    }

    /// What a chain would begin with if its events before `cut` went. Reads all of them: call it from a thread that may wait.
    pub fn base_at(&self, chain: &ChainId, cut: u64) -> Result<Base, Error> {
        let found = self.chain(chain, Sequence::new(cut))?;
        let Begin {
            mut state,
            mut tree,
        } = self.begin(&found);
        while state.size() < cut {
            let limit = usize::try_from((cut - state.size()).min(PAGE_EVENTS)).unwrap_or(1);
            for entry in self.read(chain, state.size(), limit)? {
                state
                    .follow(entry.record())
                    .map_err(|broken| Error::ChainDamaged {
                        chain: chain.clone(),
                        sequence: broken.at(),
                        reason: broken.to_string(),
                    })?;
                tree.push(leaf_hash(&entry.record().header));
            }
        }
        Base::of(&state, &tree).ok_or_else(|| refused("there can be no cut"))
    }

    /// Removes the events of a chain before a cut, as an event of the platform's chain ordered, and looks whether they are gone;
    /// call it from a thread that may wait. Doing it again is harmless.
    pub fn prune(&self, pruning: &Arc<Pruning>) -> Result<(), Error> {
        let _one_at_a_time = self.removing.lock().unwrap_or_else(PoisonError::into_inner);
        let (chain, base) = (&pruning.chain, &pruning.base);
        let found = self.chain(chain, Sequence::new(base.cut))?;
        if !base.is_whole() || base.cut.saturating_add(CUT_EVENTS) > found.size() {
            return Err(refused("a chain keeps its newest 256 events"));
        }
        if base.cut < found.first() {
            return Err(refused("the chain begins behind the cut already"));
        }
        let (span, begin) = self.span_before(&found, base.cut)?;
        let (reply, answer) = oneshot::channel();
        let before = span.end;
        self.request(Request::Seal { before, reply })?;
        answer
            .blocking_recv()
            .unwrap_or(Err(Error::WriterPanicked))?;
        self.ask_the_log(None)?;
        crash_at("pruning.sealed");
        let (disk, journal) = (self.layout().disk(), self.layout().journal());
        let from = begin.state.size();
        let marks = marks(disk, &journal, &span, pruning.before(), begin)?;
        let told = marks.get(&base.cut).map(|mark| &mark.base);
        if told != Some(base) || !are_whole(&marks, from, base.cut) {
            return Err(Error::ChainDamaged {
                chain: chain.clone(),
                sequence: Sequence::new(base.cut),
                reason: "the events before the cut do not give the base that was ordered"
                    .to_owned(),
            });
        }
        let segments = prune_all(disk, &journal, &span, pruning.before(), &marks)?;
        crash_at("pruning.pruned");
        self.ask_the_log(Some(Gone::Events(Arc::clone(pruning))))?;
        crash_at("pruning.rewritten");
        for removed in rewrite::remove_others(&self.layout().sled())? {
            tracing::warn!(path = %removed.display(), "a log that was set aside held events that are pruned; it is gone");
        }
        self.look_for_events(&found, pruning, &span)?;
        tracing::info!(%chain, cut = base.cut, segments, "a chain was pruned");
        Ok(())
    }

    /// Where following the chain begins.
    fn begin(&self, chain: &Chain) -> Begin {
        let ledger = &self.description().ledger;
        match chain.base() {
            Some(base) => Begin {
                state: ChainState::at(ledger, &chain.id, &base),
                tree: base.tree().unwrap_or_default(),
            },
            None => self.genesis(chain),
        }
    }

    fn genesis(&self, chain: &Chain) -> Begin {
        Begin {
            state: ChainState::genesis(&self.description().ledger, &chain.id),
            tree: Frontier::new(),
        }
    }

    /// The part of the journal with the events before the cut, and where following them begins.
    ///
    /// A log that was made again while the journal was being pruned knows the first of them no more: then it is all before the
    /// cut.
    fn span_before(&self, chain: &Chain, cut: u64) -> Result<(Range<Position>, Begin), Error> {
        let frame_end = |at| self.receipt_at(&chain.id, Sequence::new(at));
        let end = frame_end(cut)?.position;
        let first = chain.first();
        if first >= cut {
            return Ok((Position::ZERO..end, self.genesis(chain)));
        }
        let start = frame_end(first)?.position.get().saturating_sub(1);
        Ok((Position::new(start)..end, self.begin(chain)))
    }

    /// Looks whether anything is left, in the files and not in memory.
    fn look_for_events(
        &self,
        chain: &Chain,
        pruning: &Pruning,
        span: &Range<Position>,
    ) -> Result<(), Error> {
        let left = |path: PathBuf, at: String| Error::RemovalIncomplete { path, at };
        let (disk, journal) = (self.layout().disk(), self.layout().journal());
        if let Some(at) = first_left(disk, &journal, span, pruning.before())? {
            return Err(left(journal, at.to_string()));
        }
        let first = blocks::first(&self.view().log.db(), chain.number)?;
        match first.filter(|first| first.get() < pruning.base.cut) {
            Some(at) => Err(left(self.layout().sled(), at.to_string())),
            None => Ok(()),
        }
    }
}

fn refused(reason: &str) -> Error {
    Error::Refused {
        index: 0,
        reason: reason.to_owned(),
    }
}
