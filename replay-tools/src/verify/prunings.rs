//! Chains that were pruned: the events that ordered it, the base that each chain then begins with, and what is kept of its tree.
//!
//! A base is believed where its chain goes on from it and gives the recorded roots; that needs heads that were recorded before
//! the order and cover the cut. docs/format.md section 2.

use std::collections::BTreeMap;

use countersign_chain::merkle::Frontier;
use countersign_chain::{Base, CUT_EVENTS, Record};
use countersign_events::chain::{Cleared, Pruned};
use countersign_ids::{ChainId, Time};

use super::Run;
use super::fault::{Checked, bad, need, record};
use super::platform::Platform;
use super::tenant::{Seen, Tenant};
use crate::source::SourceError;
use crate::verdict::{Findings, Level};

/// An event orders what it cannot, or nothing explains what is gone.
const RULE: &str = "pruned";
/// A receipt of a pruning does not hold.
const RECEIPT: &str = "pruning-receipt";
/// What is kept of a pruned tree is not what its base says.
const TILES: &str = "tiles";
const DAY_MILLIS: u64 = 24 * 60 * 60 * 1000;

/// A pruning that was ordered.
#[derive(Debug, Clone)]
pub(crate) struct Cut {
    /// Where.
    pub at: u64,
    /// When.
    pub time: Time,
    /// Where the tenant said how long heartbeats are kept.
    pub policy: u64,
    /// The youngest that may go.
    pub until: Time,
    /// The recorded heads that cover what goes.
    pub heads: u64,
    /// What the chain begins with.
    pub base: Base,
    /// Whether its receipt was seen.
    pub cleared: bool,
}

impl Platform {
    /// An order: of a chain of heartbeats, further than the one before, behind heads that cover it.
    pub(super) fn pruned(&mut self, seen: &Seen<'_>, pruned: &Pruned) -> Checked {
        let (chain, base) = (pruned.chain.to_string(), &pruned.base);
        let at = seen.header.sequence.get();
        let known = self.number(&chain).is_some() || !self.is_whole();
        let covered = self.covers(&chain, base.cut, pruned.heads);
        let (unsure, whole) = (self.is_unsure(), self.is_whole());
        let cuts = self.cuts_mut(&chain);
        let follows = cuts
            .last()
            .is_none_or(|last| last.base.cut < base.cut && (last.cleared || !whole));
        cuts.push(Cut {
            at,
            time: seen.header.time,
            policy: pruned.policy,
            until: pruned.until,
            heads: pruned.heads,
            base: base.clone(),
            cleared: false,
        });
        need(
            known && pruned.chain.is_beats(),
            RULE,
            "only an announced chain of heartbeats is pruned",
        )?;
        need(base.is_whole(), RULE, "its base is none")?;
        need(follows, RULE, "it does not go on from the pruning before")?;
        need(
            base.time <= pruned.until,
            RULE,
            "an event before the cut is younger than may go",
        )?;
        need(
            pruned.heads < at && (covered || unsure),
            RULE,
            "no recorded heads before it cover what goes",
        )
    }

    /// A receipt: of the newest order of its chain, with as many events as went.
    pub(super) fn cleared(&mut self, cleared: &Cleared) -> Checked {
        let whole = self.is_whole();
        let cuts = self.cuts_mut(&cleared.chain.to_string());
        let from = match cuts.as_slice() {
            [.., before, _] => before.base.cut,
            _ => 0,
        };
        let pending = cuts
            .last_mut()
            .filter(|cut| cut.at == cleared.ordered && !cut.cleared);
        let Some(cut) = pending else {
            return Err(bad(RECEIPT, "no pruning is pending that was ordered there"));
        };
        cut.cleared = true;
        need(
            !whole || cleared.events == cut.base.cut.saturating_sub(from),
            RECEIPT,
            "it counts other events than went",
        )
    }
}

impl Run<'_> {
    /// Goes on from the cut of a chain, where the events before it are not here and an event says so.
    pub(super) fn jump(&mut self, name: &str, stored: &Record) {
        let Some(base) = self
            .chains
            .get_mut(name)
            .and_then(|chain| chain.jump(stored))
        else {
            return;
        };
        let tenant = name.strip_suffix(".beats").unwrap_or(name);
        if let Ok(chain) = tenant.parse::<ChainId>() {
            let ledger = self.ledger;
            self.tenants
                .entry(tenant.to_owned())
                .or_insert_with(|| Tenant::new(ledger, chain))
                .prune_beats(base.time);
        }
    }

    /// Orders and receipts against what is here, and what is kept of trees against their bases.
    pub(super) fn check_prunings(&mut self, findings: &mut Findings) -> Result<(), SourceError> {
        let trees = self.tiles(findings)?;
        for (chain, cuts) in self.platform.cuts() {
            for cut in cuts {
                let outcome = self.check_policy(chain, cut, findings);
                record(findings, Level::Chain, ("platform", cut.at), outcome)?;
            }
            let Some(cut) = cuts.last().filter(|_| !findings.is_broken(chain)) else {
                continue;
            };
            let outcome = self.check_cut(chain, cut);
            record(findings, Level::Chain, (chain, cut.base.cut), outcome)?;
        }
        for (chain, run) in &self.chains {
            let gone: u64 = run.gaps().iter().map(|gap| gap.end - gap.start).sum();
            self.counts.pruned = self.counts.pruned.saturating_add(gone);
            let says = self.source.says_pruned(chain);
            let place = (chain.as_str(), run.gaps().first().map_or(0, |gap| gap.end));
            let said = need(
                says.is_none_or(|says| says == (gone > 0)),
                RULE,
                "the manifest and the platform chain disagree on whether it was pruned",
            );
            record(findings, Level::Framing, place, said)?;
            let Some(last) = run.gaps().last().filter(|_| !findings.is_broken(chain)) else {
                continue;
            };
            let outcome = self.check_tiles(chain, last.end, run.gaps(), &trees);
            record(findings, Level::Tree, (chain, last.end), outcome)?;
        }
        Ok(())
    }

    /// The tenant said how long it keeps heartbeats, that was recorded before, and what went was old enough.
    fn check_policy(&self, chain: &str, cut: &Cut, findings: &Findings) -> Checked {
        let tenant = chain.strip_suffix(".beats").unwrap_or(chain);
        // A chain that is not here, or not believed to its end, says nothing against it.
        if findings.is_broken(tenant) || !self.chains.contains_key(tenant) {
            return Ok(());
        }
        let kept = self.beats_kept.get(tenant);
        let Some(days) = kept.and_then(|kept| kept.get(&cut.policy)) else {
            return Err(bad(
                RULE,
                "the tenant does not say there how long it keeps heartbeats",
            ));
        };
        let kept = u64::from(*days).saturating_mul(DAY_MILLIS);
        let until = cut.time.unix_millis().saturating_sub(kept);
        need(
            cut.until.unix_millis() <= until,
            RULE,
            "heartbeats went before the tenant's time for them was over",
        )?;
        let recorded = self
            .platform
            .covers(tenant, cut.policy.saturating_add(1), cut.heads);
        need(
            recorded || self.platform.is_unsure(),
            RULE,
            "what the tenant said was not recorded before heartbeats went by it",
        )
    }

    /// What the newest order says is gone is gone, once that is receipted; and the chain goes on behind the cut.
    fn check_cut(&self, chain: &str, cut: &Cut) -> Checked {
        let Some(run) = self.chains.get(chain) else {
            return Ok(());
        };
        let gone = run.gaps().last().map_or(0, |gap| gap.end);
        need(
            run.count() >= cut.base.cut,
            RULE,
            "the chain ends before the cut that was ordered",
        )?;
        need(
            !cut.cleared || gone == cut.base.cut && run.gaps().len() == 1,
            RECEIPT,
            "events before the cut are still here",
        )
    }

    /// What is kept of the trees of pruned chains; each in order and without a gap.
    fn tiles(&self, findings: &mut Findings) -> Result<BTreeMap<String, Frontier>, SourceError> {
        let mut trees: BTreeMap<String, Frontier> = BTreeMap::new();
        let mut broken = Vec::new();
        if self.platform.cuts().is_empty() {
            return Ok(trees);
        }
        self.source.tiles(&mut |chain, size, node| {
            if !trees.contains_key(chain) {
                trees.insert(chain.to_owned(), Frontier::new());
            }
            if let Some(tree) = trees.get_mut(chain) {
                if tree.size().saturating_add(1).saturating_mul(CUT_EVENTS) != size {
                    broken.push((chain.to_owned(), size));
                }
                tree.push(node);
            }
        })?;
        for (chain, size) in broken {
            // Half a chain is there while it is being pruned.
            let pending = self
                .platform
                .cuts()
                .get(&chain)
                .and_then(|cuts| cuts.last());
            let pending = pending.is_some_and(|cut| !cut.cleared);
            let partly = self
                .chains
                .get(&chain)
                .is_some_and(|run| run.gaps().first().is_none_or(|gap| gap.start > 0));
            let order = need(
                pending && partly,
                TILES,
                "the hashes of its tree are not in order",
            );
            record(findings, Level::Tree, (&chain, size), order)?;
        }
        Ok(trees)
    }

    fn check_tiles(
        &self,
        chain: &str,
        cut: u64,
        gaps: &[std::ops::Range<u64>],
        trees: &BTreeMap<String, Frontier>,
    ) -> Checked {
        // Half a chain is there while it is being pruned, and its hashes of the beginning are not kept yet.
        if gaps.first().is_some_and(|gap| gap.start > 0) {
            return Ok(());
        }
        let cuts = self.platform.cuts().get(chain);
        let base = cuts.and_then(|cuts| cuts.iter().find(|ordered| ordered.base.cut == cut));
        let same = base
            .zip(trees.get(chain))
            .is_some_and(|(cut, tree)| cut.base.is_over(tree));
        need(
            same,
            TILES,
            "the hashes that are kept do not give the tree before the cut",
        )
    }
}
