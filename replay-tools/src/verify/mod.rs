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
pub(crate) mod platform;
mod policy;
mod projections;
mod removals;
mod tenant;

use std::collections::{BTreeMap, BTreeSet};

use countersign_chain::{Body, Header, Record, TlogProof, merkle};
use countersign_events::{DecodeError, Event};
use countersign_ids::{ChainId, Digest, EventHash, LedgerId, Retention};

use self::blobs::Blobs;
use self::chain::ChainRun;
use self::fault::{Checked, absent, bad, need, record};
use self::notes::Anchor;
use self::platform::Platform;
use self::tenant::{Claim, Context, Seen, Tenant};
use crate::progress::Progress;
use crate::report::{Counts, Verdict};
use crate::source::{Entry, Form, GO_ON, Source, SourceError};
use crate::verdict::{Demands, Findings, Level, Place};

pub(crate) use notes::read_checkpoint;
pub use pins::{GenesisPin, PinError, Pins, parse_keys};

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
    commands: commands::Commands,

    policy: policy::Reevaluation,
    counts: Counts,
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
    let mut findings = Findings::default();
    progress.step("framing");
    source.check_framing(&mut findings)?;
    let source: &dyn Source = source;
    let (mut sizes, anchors) = notes::collect(source)?;
    notes::pinned_size(pins, &mut sizes);
    let forms = source
        .chains()
        .into_iter()
        .map(|(chain, (form, _))| (chain, form))
        .collect::<BTreeMap<_, _>>();
    let platform_form = forms.get("platform").copied().unwrap_or(Form::Whole);
    let mut run = Run {
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
        commands: commands::Commands::new(),

        policy: policy::Reevaluation::default(),
        counts: Counts::default(),
    };
    run.begin_chain("platform", &sizes);
    progress.step("platform chain");
    run.pass(
        &|chain| chain == "platform",
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
    run.pass(
        &|chain| chain != "platform",
        &sizes,
        &mut findings,
        progress,
    )?;
    progress.step("trees and checkpoints");
    let verdict = finish::finish(run, findings, demands)?;
    progress.finish();
    Ok(verdict)
}

impl Run<'_> {
    fn pass(
        &mut self,
        wanted: &dyn Fn(&str) -> bool,
        sizes: &Sizes,
        findings: &mut Findings,
        progress: &mut Progress,
    ) -> Result<(), SourceError> {
        let source = self.source;
        source.events(wanted, findings, &mut |entry, findings| {
            progress.event();
            self.entry(&entry, sizes, findings)?;
            GO_ON
        })
    }

    /// Begins a chain that was not begun yet, so that one without any event is a chain of size 0.
    fn begin_chain(&mut self, name: &str, sizes: &Sizes) {
        let Ok(chain) = name.parse::<ChainId>() else {
            return;
        };
        if self.chains.contains_key(name) {
            return;
        }
        let form = self.forms.get(name).copied().unwrap_or(Form::Whole);
        let wanted = sizes.get(name).cloned().unwrap_or_default();
        self.chains.insert(
            name.to_owned(),
            ChainRun::new(self.ledger, chain, form, wanted),
        );
    }

    /// One event, whatever chain it is of.
    fn entry(
        &mut self,
        entry: &Entry,
        sizes: &Sizes,
        findings: &mut Findings,
    ) -> Result<(), SourceError> {
        let name = entry.chain.as_str();
        self.begin_chain(name, sizes);
        let Some(chain) = self.chains.get_mut(name) else {
            return Ok(());
        };
        let at = chain.place(&entry.record);
        let believed = !findings.is_broken(name);
        self.counts.events += 1;
        self.counts.bytes = self
            .counts
            .bytes
            .saturating_add(record_bytes(&entry.record));
        match &entry.record.body {
            Body::Present { .. } => self.counts.bodies += 1,
            Body::Absent(reason) => *self.counts.absent.entry(reason.to_string()).or_default() += 1,
        }
        let (header, hash) = match chain.follow(&entry.record, believed) {
            Ok(followed) => followed,
            Err(fault) => {
                findings.break_chain(name);
                return record(findings, Level::Chain, (name, at), Err(fault));
            }
        };
        if chain.form() == Form::Whole {
            self.commands.follow(name, header.commandid);
        }
        chain.removals.note(&header, &entry.record.body);
        if !believed {
            return Ok(());
        }
        if chain.form() == Form::Sparse {
            record(
                findings,
                Level::Tree,
                (name, at),
                self.check_proof(name, at, &entry.record.header),
            )?;
        }
        let place = (name, at);
        match self.read_body(&header, &entry.record) {
            Ok(None) => record(findings, Level::Chain, place, self.platformhead(&header)),
            Ok(Some(event)) => {
                record(findings, Level::Chain, place, self.platformhead(&header))?;
                self.event(place, &header, hash, &event, findings)
            }
            Err((level, fault)) => {
                if level == Level::Chain {
                    findings.break_chain(name);
                }
                record(findings, level, place, Err(fault))
            }
        }
    }

    /// The event of a body that is present and not sealed.
    fn read_body(
        &self,
        header: &Header,
        record: &Record,
    ) -> Result<Option<Event>, (Level, fault::Fault)> {
        let chain = |fault| (Level::Chain, fault);
        let Some(spec) = countersign_events::spec(&header.event_type) else {
            let error = DecodeError::Unknown(header.event_type.clone());
            return Err((Level::Evidence, absent("type", error)));
        };
        need(
            spec.retention == header.retention,
            "retention",
            "another retention class than its family's",
        )
        .map_err(chain)?;
        need(
            spec.chains.hold(&header.chain),
            "chain",
            "an event of this type does not belong on this chain",
        )
        .map_err(chain)?;
        let Body::Present { bytes, .. } = &record.body else {
            return Ok(None);
        };
        if header.retention == Retention::Personal {
            return Ok(None);
        }
        match Event::decode(&header.event_type, bytes) {
            Ok(event) => Ok(Some(event)),
            Err(error @ DecodeError::Unknown(_)) => Err((Level::Evidence, absent("type", error))),
            Err(error @ DecodeError::Malformed { .. }) => {
                Err((Level::Evidence, bad("body-shape", error)))
            }
        }
    }

    /// `platformhead` names an event that platform has.
    fn platformhead(&self, header: &Header) -> Checked {
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

    fn event(
        &mut self,
        place: (&str, u64),
        header: &Header,
        hash: EventHash,
        event: &Event,
        findings: &mut Findings,
    ) -> Result<(), SourceError> {
        let seen = Seen {
            header,
            hash,
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
        let removed = self.removal(place.0, header, event);
        record(findings, Level::Evidence, place, removed)?;
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
        let outcome = tenant.apply(&seen, &mut context);
        for claim in tenant.take_claims() {
            self.sighted(place, &base, claim);
        }
        record(findings, Level::Evidence, place, outcome)?;
        Ok(())
    }
}

impl Run<'_> {
    /// What an event orders to remove, or receipts.
    fn removal(&mut self, chain: &str, header: &Header, event: &Event) -> Checked {
        if let Event::Retention(event) = event
            && let Some(chain) = self.chains.get_mut(chain)
        {
            self.counts.destroyed += chain.removals.apply(header, event)?;
        }
        Ok(())
    }

    /// Notes a tree that somebody saw, unless it is known to be right already.
    fn sighted(&mut self, place: (&str, u64), of: &str, claim: Claim) {
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
    fn check_proof(&self, name: &str, at: u64, header: &[u8]) -> Checked {
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

fn record_bytes(record: &Record) -> u64 {
    let body = match &record.body {
        Body::Present { bytes, .. } => bytes.len(),
        Body::Absent(_) => 0,
    };
    record.header.len().saturating_add(body) as u64
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
