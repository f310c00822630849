//! Verification: every level of docs/format.md section 6 over one source, in passes that stream.
//!
//! Pass 0 checks the container and collects the sizes that checkpoints name; pass 1 reads the platform chain, which holds
//! keys and recorded heads; pass 2 reads every other chain and folds its evidence; at the end what was said about trees is
//! compared with the trees. Memory holds folds, never chains.

mod blobs;
mod chain;
mod commands;
mod fault;
mod finish;
pub(crate) mod leaves;
mod notes;
mod pins;
mod places;
pub(crate) mod platform;
mod policy;
mod prepare;
mod projections;
mod prunings;
mod removals;
mod resume;
mod sightings;
mod tenant;

use std::collections::{BTreeMap, BTreeSet};

use countersign_chain::Hashed;
use countersign_events::retention::Retention;
use countersign_events::{DecodeError, Event};
use countersign_ids::{ChainId, Digest, LedgerId};

use self::blobs::Blobs;
use self::chain::ChainRun;
use self::fault::{absent, bad, need, record};
use self::notes::Anchor;
use self::platform::Platform;
use self::prepare::{Prepared, Ready};
use self::tenant::{Context, Seen, Tenant};
use crate::pipeline;
use crate::progress::Progress;
use crate::report::{Counts, Verdict};
use crate::source::{Chunk, Chunks, Form, Source, SourceError, Wanted};
use crate::verdict::{Demands, Findings, Level, Place};

pub(crate) use chain::sequence_named;
pub(crate) use notes::read_checkpoint;
pub use pins::{GenesisPin, PinError, Pins, parse_keys};
pub use resume::{Refused, State};

/// Sizes of chains that somebody names.
type Sizes = BTreeMap<String, BTreeSet<u64>>;

/// Trees that events say somebody saw, by chain, size and root: the first event that says so.
type Sightings = BTreeMap<(String, u64), BTreeMap<Digest, Place>>;

/// One verification under way.
struct Run<'a> {
    ledger: LedgerId,
    source: &'a dyn Source,
    pins: &'a Pins,
    forms: BTreeMap<String, Form>,
    chains: BTreeMap<String, ChainRun>,
    platform: Platform,
    tenants: BTreeMap<String, Tenant>,
    blobs: Blobs<'a>,
    used: BTreeSet<Digest>,
    sightings: Sightings,
    anchors: BTreeMap<String, Vec<Anchor>>,
    opened: BTreeMap<String, u64>,
    /// How long tenants said that they keep heartbeats, by chain and place.
    beats_kept: BTreeMap<String, BTreeMap<u64, u32>>,
    commands: commands::Commands,
    policy: policy::Reevaluation,
    counts: Counts,
    /// What an earlier run verified of each chain, and where it ended.
    covered: BTreeMap<String, u64>,
    reached: BTreeMap<String, resume::Reached>,
    threads: usize,
    /// Whether bodies are read at all, or only bytes, links and trees.
    deep: bool,
}

/// A verdict, and what a later run can go on from.
#[derive(Debug)]
pub struct Verified {
    /// What was found.
    pub verdict: Verdict,
    /// None unless everything that a later run would take over was verified, and something is signed.
    pub state: Option<State>,
}

/// Verifies a source.
///
/// # Errors
/// Only when the source cannot be read at all; everything that is wrong with what was read is in the verdict.
pub fn verify(
    source: &mut dyn Source,
    pins: &Pins,
    demands: &Demands,
    progress: &mut Progress,
) -> Result<Verdict, SourceError> {
    verify_from(source, None, (pins, demands), progress).map(|verified| verified.verdict)
}

/// Verifies a source, going on from what an earlier run left, which must fit ([`State::fits`]).
///
/// # Errors
/// As [`verify`].
pub fn verify_from(
    source: &mut dyn Source,
    from: Option<(State, Digest)>,
    (pins, demands): (&Pins, &Demands),
    progress: &mut Progress,
) -> Result<Verified, SourceError> {
    let mut findings = Findings::default();
    progress.step("framing");
    let threads = pipeline::threads(demands.threads);
    source.check_framing(threads, &mut findings)?;
    let source: &dyn Source = source;
    let (mut sizes, anchors) = notes::collect(source)?;
    notes::pinned_size(pins, &mut sizes);
    let mut run = Run::new(source, pins, demands, anchors);
    let digest = from.as_ref().map(|(_, digest)| *digest);
    if let Some((state, _)) = from {
        state.wants(&mut sizes);
        run.resume(state);
    }
    run.begin_chain("platform", &sizes);
    progress.expect(source.event_count());
    progress.step("platform chain");
    let platform = |chain: &str| chain == "platform";
    let events = source.platform()?.map(|item| item.map(Chunk::Item));
    run.pass(
        (Box::new(events), &platform),
        &sizes,
        &mut findings,
        progress,
    )?;
    if findings.is_broken("platform") {
        run.platform.break_off();
    }
    for claim in run.platform.claims() {
        sizes
            .entry(claim.head.chain.clone())
            .or_default()
            .insert(claim.head.size);
    }
    for chain in run.forms.keys().cloned().collect::<Vec<_>>() {
        run.begin_chain(&chain, &sizes);
    }
    progress.step("chains");
    let others = |chain: &str| chain != "platform";
    run.pass(
        (source.chunks(&others)?, &others),
        &sizes,
        &mut findings,
        progress,
    )?;
    progress.step("trees and checkpoints");
    let verified = finish::finish(run, findings, demands, digest)?;
    progress.finish();
    Ok(verified)
}

impl<'a> Run<'a> {
    /// Nothing was read yet.
    fn new(
        source: &'a dyn Source,
        pins: &'a Pins,
        demands: &Demands,
        anchors: BTreeMap<String, Vec<Anchor>>,
    ) -> Self {
        let forms: BTreeMap<String, Form> = source
            .chains()
            .into_iter()
            .map(|(chain, (form, _))| (chain, form))
            .collect();
        let platform_form = forms.get("platform").copied().unwrap_or(Form::Whole);
        Self {
            ledger: source.ledger(),
            source,
            pins,
            forms,
            chains: BTreeMap::new(),
            platform: Platform::new(source.ledger(), platform_form),
            tenants: BTreeMap::new(),
            blobs: Blobs::new(source),
            used: BTreeSet::new(),
            sightings: Sightings::new(),
            anchors,
            opened: BTreeMap::new(),
            beats_kept: BTreeMap::new(),
            commands: commands::Commands::new(),
            policy: policy::Reevaluation::default(),
            counts: Counts::default(),
            covered: BTreeMap::new(),
            reached: BTreeMap::new(),
            threads: pipeline::threads(demands.threads),
            deep: demands.reaches(Level::Evidence),
        }
    }

    /// Reads chunks on as many threads as there are to use.
    fn pass(
        &mut self,
        (chunks, wanted): (Chunks<'_>, &Wanted<'_>),
        sizes: &Sizes,
        findings: &mut Findings,
        progress: &mut Progress,
    ) -> Result<(), SourceError> {
        let covered = self.covered.clone();
        let (threads, everything) = (self.threads, self.deep);
        let deep = move |chain: &str, sequence: u64| {
            everything && covered.get(chain).is_none_or(|size| sequence >= *size)
        };
        pipeline::run(
            chunks,
            threads,
            |chunk| prepare::prepare(chunk, wanted, &deep),
            |items| {
                for item in items {
                    match item {
                        Prepared::Event(ready) => {
                            progress.event();
                            self.entry(&ready, sizes, findings)?;
                        }
                        Prepared::Fault(fault) => fault.record(findings),
                    }
                }
                Ok(())
            },
        )
    }

    /// Begins a chain that was not begun yet, so that one without any event is a chain of size 0.
    fn begin_chain(&mut self, name: &str, sizes: &Sizes) {
        if self.chains.contains_key(name) {
            return;
        }
        let Ok(chain) = name.parse::<ChainId>() else {
            return;
        };
        let form = self.forms.get(name).copied().unwrap_or(Form::Whole);
        let wanted = sizes.get(name).cloned().unwrap_or_default();
        let cuts = self.platform.cuts().get(name).map(Vec::as_slice);
        let bases = cuts.unwrap_or_default().iter().map(|cut| cut.base.clone());
        let run = ChainRun::new(self.ledger, chain, form, wanted).with_bases(bases.collect());
        self.chains.insert(name.to_owned(), run);
    }

    /// One event, whatever chain it is of.
    fn entry(
        &mut self,
        ready: &Ready,
        sizes: &Sizes,
        findings: &mut Findings,
    ) -> Result<(), SourceError> {
        let (name, stored) = (ready.chain.as_str(), ready.record());
        self.begin_chain(name, sizes);
        if !findings.is_broken(name) {
            self.jump(name, stored);
        }
        let Some(chain) = self.chains.get_mut(name) else {
            return Ok(());
        };
        let at = chain.place(stored);
        let believed = !findings.is_broken(name);
        let form = chain.form();
        self.counts.event(stored);
        let followed = chain.follow(ready, believed);
        let Ok(hashed) = &ready.read else {
            findings.break_chain(name);
            return record(findings, Level::Chain, (name, at), followed);
        };
        if followed.is_err() {
            findings.break_chain(name);
            return record(findings, Level::Chain, (name, at), followed);
        }
        let header = hashed.header();
        if form == Form::Whole {
            self.commands.follow(name, header.commandid);
        }
        chain.removals.note(header, &stored.body);
        if !believed {
            return Ok(());
        }
        let place = (name, at);
        if form == Form::Sparse {
            let proved = self.check_proof(name, at, &stored.header);
            record(findings, Level::Tree, place, proved)?;
        }
        match ready.belongs() {
            Ok(()) => record(findings, Level::Chain, place, self.platformhead(header))?,
            Err((level, fault)) => {
                if level == Level::Chain {
                    findings.break_chain(name);
                }
                return record(findings, level, place, Err(fault));
            }
        }
        match &ready.event {
            Some(Ok(event)) => self.event(place, hashed, event, findings),
            Some(Err(error @ DecodeError::Unknown(_))) => {
                record(findings, Level::Evidence, place, Err(absent("type", error)))
            }
            Some(Err(error @ DecodeError::Malformed { .. })) => record(
                findings,
                Level::Evidence,
                place,
                Err(bad("body-shape", error)),
            ),
            None => Ok(()),
        }
    }

    fn event(
        &mut self,
        place: (&str, u64),
        hashed: &Hashed,
        event: &Event,
        findings: &mut Findings,
    ) -> Result<(), SourceError> {
        let header = hashed.header();
        let seen = Seen {
            header,
            hash: hashed.hash(),
            event,
        };
        if header.chain.is_platform() {
            let forms = &self.forms;
            let present = |chain: &str| forms.contains_key(chain);
            if matches!(event, Event::Heads(_)) {
                self.counts.heads += 1;
            }
            for (level, outcome) in self
                .platform
                .apply(&seen, &present, &mut self.blobs, self.pins)
            {
                record(findings, level, place, outcome)?;
            }
            return Ok(());
        }
        if let Event::Chain(countersign_events::chain::Chain::Opened(opened)) = event {
            let announced = self.platform.number(place.0);
            let same = announced.map_or_else(
                || !self.platform.is_whole() || self.platform.is_broken(),
                |number| number == opened.number,
            );
            let outcome = need(
                same && opened.chain == header.chain,
                "opened",
                "the chain was announced otherwise, or not at all",
            );
            record(findings, Level::Chain, place, outcome)?;
            self.opened.insert(place.0.to_owned(), opened.number);
        }
        if let Event::Retention(Retention::BeatsSet(set)) = event {
            let kept = self.beats_kept.entry(place.0.to_owned()).or_default();
            kept.insert(place.1, set.beats_days);
        }
        let removed = self.removal(place.0, header, event);
        record(findings, Level::Evidence, place, removed)?;
        let before = self
            .covered
            .get(place.0)
            .is_some_and(|size| place.1 < *size);
        if self.deep && !before {
            self.evidence(place, &seen, findings)?;
        }
        Ok(())
    }

    /// What the body of a tenant's event holds: blobs, policy decisions, everything that somebody signed.
    fn evidence(
        &mut self,
        place: (&str, u64),
        seen: &Seen<'_>,
        findings: &mut Findings,
    ) -> Result<(), SourceError> {
        let event = seen.event;
        for digest in evidence_blobs(event) {
            let outcome = self.blobs.require(digest);
            record(findings, Level::Evidence, place, outcome)?;
        }
        for digest in attachments(event) {
            let outcome = self.blobs.attached(digest);
            record(findings, Level::Evidence, place, outcome)?;
        }
        let decided = self.policy.check(event, &mut self.blobs, &mut self.counts);
        record(findings, Level::Policy, place, decided)?;
        if self.platform.keys().is_none() {
            return Ok(());
        }
        let base = place.0.strip_suffix(".beats").unwrap_or(place.0).to_owned();
        let Ok(chain) = base.parse::<ChainId>() else {
            return Ok(());
        };
        let ledger = self.ledger;
        let tenant = self
            .tenants
            .entry(base.clone())
            .or_insert_with(|| Tenant::new(ledger, chain));
        let mut context = Context {
            platform: &self.platform,
            blobs: &mut self.blobs,
            used: &mut self.used,
            pins: self.pins,
            counts: &mut self.counts,
        };
        let outcome = tenant.apply(seen, &mut context);
        for claim in tenant.take_claims() {
            self.sighted(place, &base, claim);
        }
        record(findings, Level::Evidence, place, outcome)?;
        Ok(())
    }
}

/// Blobs without which the event cannot be judged.
pub(crate) fn evidence_blobs(event: &Event) -> &[Digest] {
    use countersign_events::action::Action;
    match event {
        Event::Heads(countersign_events::heads::Heads::Recorded(recorded)) => &recorded.blobs,
        Event::Action(Action::Assessed(assessed)) => &assessed.blobs,
        Event::Action(Action::Authorized(authorized)) => &authorized.blobs,
        _ => &[],
    }
}

/// Blobs that belong to the event and are no evidence.
pub(crate) fn attachments(event: &Event) -> &[Digest] {
    use countersign_events::action::Action;
    match event {
        Event::Action(Action::Proposed(proposed)) => &proposed.attachments,
        Event::Deploy(countersign_events::deploy::Deploy::ReleaseAdded(added)) => {
            &added.attachments
        }
        _ => &[],
    }
}

/// The size that a checkpoint names.
pub(crate) fn checkpoint_size(note: &[u8]) -> Option<u64> {
    read_checkpoint(note).map(|checkpoint| checkpoint.head.size)
}
