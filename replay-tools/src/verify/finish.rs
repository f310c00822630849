//! The end of a verification: what was said about trees against the trees, then the verdict.

use std::collections::BTreeMap;

use countersign_ids::Digest;

use super::chain::ChainRun;
use super::fault::{Checked, absent, bad, need, record};
use super::{Run, Verified, notes, projections};
use crate::report::{SourceLine, Verdict, peak_memory_bytes, verdict_word};
use crate::source::{Form, SourceError};
use crate::verdict::{Demands, Findings, Level, Status, exit_code};

/// What nobody but the server says, whatever was verified.
const ASSERTED: [&str; 3] = [
    "times",
    "proposals that no agent signed",
    "the manifest of a bundle",
];

pub(super) fn finish(
    mut run: Run<'_>,
    mut findings: Findings,
    demands: &Demands,
    resumed: Option<Digest>,
) -> Result<Verified, SourceError> {
    let signed = run.compare(&mut findings)?;
    let mut notes = BTreeMap::new();
    let projections = if demands.reaches(Level::Projections) {
        projections::check(run.source, &mut findings, &mut notes)?
    } else {
        Status::Unchecked
    };
    let mut levels = run.levels(&findings, projections, &signed);
    for (level, status) in &mut levels {
        let open = matches!(status, Status::Verified | Status::None | Status::Unchecked);
        if open && !demands.reaches(*level) {
            *status = Status::Unchecked;
            notes.insert(*level, "not asked for".to_owned());
        }
    }
    let resumed = run.resumed(resumed);
    let mut lacking = Vec::new();
    if demands.strict {
        lacking = run.lacking(&signed);
        if resumed.is_some() {
            lacking.push("resumed: an earlier run is believed".to_owned());
        }
    }
    let exit = exit_code(&levels, demands, &lacking);
    let (first_bad, verdict) = (
        findings.first_bad().map(|(place, _)| place.clone()),
        verdict_word(exit),
    );
    run.counts.chains = run.chains.len() as u64;
    run.counts.blobs = run.blobs.count();
    let verdict = Verdict {
        verdict,
        exit,
        pinned: run.pins.genesis.is_some(),
        source: SourceLine {
            path: run.source.path().to_owned(),
            kind: run.source.kind(),
            torn_bytes: run.source.torn_bytes(),
        },
        ledger: run.ledger.to_string(),
        levels,
        notes,
        first_bad,
        bad: findings.ranges().to_vec(),
        bad_unlisted: findings.unlisted(),
        lacking,
        keys: run.key_origins(),
        asserted: ASSERTED.iter().map(ToString::to_string).collect(),
        peak_memory_bytes: peak_memory_bytes(),
        counts: run.counts.clone(),
        resumed,
    };
    let state = run.state(&verdict.levels, exit, &signed);
    Ok(Verified { verdict, state })
}

/// Which chains are under a valid checkpoint up to which size, and that checkpoint.
pub(super) type Signed = BTreeMap<String, (u64, String)>;

impl Run<'_> {
    /// Everything that was said about trees, keys and bodies, against what was read.
    fn compare(&mut self, findings: &mut Findings) -> Result<Signed, SourceError> {
        self.not_read(findings);
        self.check_resumed(findings)?;
        self.check_removals(findings)?;
        self.check_prunings(findings)?;
        self.commands.finish(self.source, findings)?;
        self.resolve_sightings(findings)?;
        self.check_ends(findings);
        self.check_heads(findings)?;
        let signed = self.check_checkpoints(findings)?;
        self.check_sparse(findings)?;
        self.check_at_least(findings)?;
        self.check_blobs(findings);
        self.check_witnesses(findings);
        Ok(signed)
    }

    /// After a broken event nothing of its chain is believed, and the verdict says so.
    fn not_read(&self, findings: &mut Findings) {
        let broken: Vec<String> = findings.broken().map(ToOwned::to_owned).collect();
        for chain in broken {
            let mut levels = vec![Level::Evidence, Level::Policy];
            if chain == "platform" {
                levels.extend([Level::Keys, Level::Tree]);
            }
            for level in levels {
                let reason = format!("nothing is read after the broken event in `{chain}`");
                findings.missing_of_source(level, "not-read", reason);
            }
        }
        if self.platform.keys().is_none() {
            if !findings.is_broken("platform") {
                findings.violation_of_source(
                    Level::Keys,
                    "key-statement",
                    "no key statement at platform event 0",
                );
            }
            for level in [Level::Evidence, Level::Checkpoints] {
                findings.missing_of_source(level, "no-keys", "no keys to check it with");
            }
        }
    }

    /// Bodies that are gone, where no event says so.
    fn check_removals(&self, findings: &mut Findings) -> Result<(), SourceError> {
        for (chain, run) in &self.chains {
            // Behind a broken event nobody read what was ordered.
            if findings.is_broken(chain) {
                continue;
            }
            for (at, fault) in run.removals.unexplained() {
                record(findings, Level::Chain, (chain, at), Err(fault))?;
            }
        }
        Ok(())
    }

    /// Cosignatures are not checked yet: where a witness policy is in force, that is said, not passed over.
    fn check_witnesses(&self, findings: &mut Findings) {
        if self.has_witnesses() {
            let reason =
                "a witness policy is in force, and this version does not check cosignatures";
            findings.missing_of_source(Level::Witnesses, "cosignatures", reason);
        }
    }

    /// The end of a key says in its own append where it ends on each chain.
    fn check_ends(&self, findings: &mut Findings) {
        if self.platform.is_broken() {
            return;
        }
        for at in self.platform.unrecorded_ends() {
            let message = "a key ends, and no heads are recorded in the same append";
            findings.violation(Level::Keys, "key-end", "platform", at, message);
        }
    }

    /// Recorded heads against the chains that they are of.
    fn check_heads(&self, findings: &mut Findings) -> Result<(), SourceError> {
        for claim in self.platform.claims() {
            let outcome = self.check_head(claim);
            record(findings, Level::Tree, ("platform", claim.at), outcome)?;
        }
        for page in self.platform.pages() {
            for (chain, number) in &self.opened {
                if *number < page.size && !page.chains.contains(chain) {
                    let outcome = Err(absent("heads", format!("no path for chain `{chain}`")));
                    record(findings, Level::Tree, ("platform", page.at), outcome)?;
                }
            }
        }
        Ok(())
    }

    fn check_head(&self, claim: &super::platform::HeadClaim) -> Checked {
        const RULE: &str = "heads";
        let (chain, size) = (&claim.head.chain, claim.head.size);
        let Some(run) = self.chains.get(chain) else {
            return need(
                size == 0,
                RULE,
                &format!("chain `{chain}`, of which a head was recorded, is not here"),
            );
        };
        need(
            size <= run.count(),
            RULE,
            &format!("`{chain}` has {} events, {size} are recorded", run.count()),
        )?;
        if run.is_gone(size) {
            return Ok(());
        }
        let snapshot = run
            .at_size(size)
            .ok_or_else(|| bad(RULE, format!("no root of `{chain}` at size {size}")))?;
        need(
            snapshot.root == claim.head.root,
            RULE,
            &format!("the recorded root of `{chain}` at size {size} is another"),
        )?;
        need(
            snapshot.last == claim.head.last,
            RULE,
            &format!("the recorded last event of `{chain}` is another"),
        )
    }

    /// Every checkpoint: key, signature, size and root.
    fn check_checkpoints(&mut self, findings: &mut Findings) -> Result<Signed, SourceError> {
        let mut signed = Signed::new();
        let mut outcomes: Vec<(String, u64, Checked)> = Vec::new();
        let mut count = 0;
        let (source, platform, chains) = (self.source, &self.platform, &self.chains);
        source.checkpoints(&mut |chain, named, note| {
            count += 1;
            let outcome = check_note(platform, chains, chain, named, note);
            let size = named.unwrap_or_default();
            match outcome {
                Ok(size) => {
                    let largest = signed.entry(chain.to_owned()).or_default();
                    if size >= largest.0 {
                        *largest = (size, String::from_utf8_lossy(note).into_owned());
                    }
                }
                Err(fault) => outcomes.push((chain.to_owned(), size, Err(fault))),
            }
            Ok(())
        })?;
        self.counts.checkpoints = count;
        for (chain, size, outcome) in outcomes {
            record(findings, Level::Checkpoints, (&chain, size), outcome)?;
        }
        Ok(signed)
    }

    /// A sparse chain has one checkpoint, which ends with recorded heads.
    fn check_sparse(&self, findings: &mut Findings) -> Result<(), SourceError> {
        for (chain, _) in self.forms.iter().filter(|(_, form)| **form == Form::Sparse) {
            let anchors = self
                .anchors
                .get(chain)
                .map(Vec::as_slice)
                .unwrap_or_default();
            let outcome = match anchors {
                [one] => {
                    let last = one.checkpoint.head.size.checked_sub(1);
                    if last.is_some() && self.platform.last_heads() == last {
                        Ok(())
                    } else {
                        Err(absent(
                            "proof",
                            "the checkpoint does not end with recorded heads",
                        ))
                    }
                }
                _ => Err(absent(
                    "proof",
                    format!(
                        "a sparse chain has exactly one checkpoint, this one {}",
                        anchors.len()
                    ),
                )),
            };
            record(findings, Level::Tree, (chain, 0), outcome)?;
        }
        Ok(())
    }

    /// The checkpoint that the caller has must be of this ledger's past.
    fn check_at_least(&self, findings: &mut Findings) -> Result<(), SourceError> {
        const RULE: &str = "at-least";
        let Some(note) = &self.pins.at_least else {
            return Ok(());
        };
        let outcome = (|| {
            let pinned = notes::read(note.as_bytes()).map_err(|error| bad(RULE, error))?;
            let chain = notes::chain_of(&pinned).to_owned();
            check_note(&self.platform, &self.chains, &chain, None, note.as_bytes())?;
            let whole = self
                .chains
                .get(&chain)
                .is_some_and(|run| run.form() == Form::Whole);
            if whole {
                Ok(())
            } else {
                Err(absent(RULE, "give a checkpoint of the tenant's own chain"))
            }
        })();
        match outcome {
            Err(super::fault::Fault::Bad(_, message)) => {
                findings.violation_of_source(Level::Checkpoints, RULE, message)
            }
            Err(super::fault::Fault::Absent(_, message)) => {
                findings.missing_of_source(Level::Checkpoints, RULE, message)
            }
            Err(super::fault::Fault::Source(error)) => return Err(error),
            Ok(()) => {}
        }
        Ok(())
    }

    /// A bundle holds no blob that no body names; attachments are in bundles by choice, and checked where they are.
    fn check_blobs(&self, findings: &mut Findings) {
        if findings.broken().next().is_some() || !self.deep {
            return;
        }
        for digest in self.blobs.unnamed() {
            let message = format!("no body names blob `{digest}`");
            findings.violation_of_source(Level::Framing, "blob", message);
        }
    }

    fn levels(
        &self,
        findings: &Findings,
        projections: Status,
        signed: &Signed,
    ) -> BTreeMap<Level, Status> {
        let mut levels: BTreeMap<Level, Status> = Level::ALL
            .into_iter()
            .map(|level| (level, findings.status(level)))
            .collect();
        let none = |levels: &mut BTreeMap<Level, Status>, level, absent: bool| {
            if absent && levels.get(&level) == Some(&Status::Verified) {
                levels.insert(level, Status::None);
            }
        };
        none(&mut levels, Level::Witnesses, !self.has_witnesses());
        none(&mut levels, Level::Policy, self.counts.decisions == 0);
        none(&mut levels, Level::Mirrors, true);
        none(&mut levels, Level::Checkpoints, signed.is_empty());
        levels.insert(Level::Projections, projections);
        levels
    }

    fn has_witnesses(&self) -> bool {
        self.platform
            .keys()
            .is_some_and(|history| history.ring().quorum().is_some())
    }

    /// What `--strict` asks for and does not get.
    fn lacking(&self, signed: &Signed) -> Vec<String> {
        let mut lacking = Vec::new();
        if self.pins.genesis.is_none() {
            lacking.push("unpinned: no --genesis".to_owned());
        }
        let mut recorded: BTreeMap<&str, u64> = BTreeMap::new();
        for claim in self.platform.claims() {
            recorded.insert(&claim.head.chain, claim.head.size);
        }
        for (chain, run) in &self.chains {
            let size = match run.form() {
                Form::Whole => run.count(),
                Form::Sparse => 0,
            };
            let under = signed.get(chain).map_or(0, |(size, _)| *size);
            if under < size {
                lacking.push(format!("`{chain}` has {size} events, signed are {under}"));
            }
            let under = recorded.get(chain.as_str()).copied().unwrap_or(0);
            if chain != "platform" && under < size {
                lacking.push(format!("`{chain}` has {size} events, recorded are {under}"));
            }
        }
        // What is gone for good is explained by the ledger, or a violation.
        if let Some(count) = self.counts.absent.get("withheld") {
            lacking.push(format!("{count} bodies are withheld"));
        }
        lacking
    }

    /// Where each key came from.
    fn key_origins(&self) -> Vec<String> {
        let Some(history) = self.platform.keys() else {
            return Vec::new();
        };
        let pinned = if self.pins.genesis.is_some() {
            "pinned"
        } else {
            "from the ledger itself, not pinned"
        };
        let describe = |held: &countersign_evidence::ring::HeldKey| {
            let ended = held
                .ended
                .map(|(version, reason)| format!(", ended by statement {version} ({reason:?})"));
            let origin = if held.added == 1 {
                pinned.to_owned()
            } else {
                format!("added by statement {}", held.added)
            };
            format!(
                "{:?} {} {} {origin}{}",
                held.role,
                held.name,
                held.key.digest(),
                ended.unwrap_or_default()
            )
        };
        history.ring().keys().iter().map(describe).collect()
    }
}

/// One checkpoint: of this chain, signed by a key that held, over this tree. Gives its size.
pub(super) fn check_note(
    platform: &super::Platform,
    chains: &BTreeMap<String, ChainRun>,
    chain: &str,
    named: Option<u64>,
    note: &[u8],
) -> Checked<u64> {
    const RULE: &str = "checkpoint";
    let parsed = notes::read(note).map_err(|error| bad(RULE, error))?;
    let Some(history) = platform.keys() else {
        return Err(absent(RULE, "no keys to check it with"));
    };
    let origin = format!("{}/{chain}", history.ring().origin());
    need(
        parsed.origin == origin,
        RULE,
        "the checkpoint is of another origin",
    )?;
    let size = parsed.head.size;
    need(
        named.is_none_or(|named| named == size),
        RULE,
        "the checkpoint names another size than its file",
    )?;
    notes::check_signature(note, &parsed, chain, history, platform)?;
    let Some(run) = chains.get(chain) else {
        return Err(bad(RULE, format!("no event of `{chain}` is here")));
    };
    if run.form() == Form::Whole {
        let count = run.count();
        need(
            size <= count,
            RULE,
            &format!("the chain has {count} events, {size} are signed"),
        )?;
        if run.is_gone(size) {
            return Ok(size);
        }
        let snapshot = run
            .at_size(size)
            .ok_or_else(|| bad(RULE, format!("no root at size {size}")))?;
        need(
            snapshot.root == parsed.head.root,
            RULE,
            &format!("the signed root at size {size} is another"),
        )?;
    }
    Ok(size)
}
