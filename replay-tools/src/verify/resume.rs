//! What one verified run leaves for the next: where each chain ended, and the fold of its evidence.
//!
//! A resumed run hashes every byte again, follows every link, and reads the platform chain whole. It takes over what costs most:
//! signatures, votes, orders, messages, policy decisions and blobs of the events that the earlier run verified, if the tree of
//! each chain at that size is the one that the earlier run saw, and the checkpoints that it stood under are this ledger's.
//! docs/format.md section 6.

use std::collections::{BTreeMap, BTreeSet};

use countersign_chain::{json, sha256};
use countersign_ids::{Digest, EventHash, LedgerId};
use serde::{Deserialize, Serialize};

use super::fault::{Fault, absent, bad, need, record};
use super::pins::Pins;
use super::tenant::Tenant;
use super::{Run, Sizes, finish, read_checkpoint};
use crate::report::{Counts, Resumed};
use crate::source::{Form, Kind, Source, SourceError};
use crate::verdict::{Findings, Level, Status};

const FORMAT: &str = "countersign-replay-state/2";
const PROGRAM: &str = env!("CARGO_PKG_VERSION");
const RULE: &str = "resume";

/// What stands behind the levels of an earlier run; a level that it did not verify cannot be taken over.
const LEVELS: [Level; 7] = [
    Level::Framing,
    Level::Chain,
    Level::Tree,
    Level::Checkpoints,
    Level::Keys,
    Level::Evidence,
    Level::Policy,
];

/// What a verified run leaves.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    format: String,
    /// The version of the program: another one may fold evidence in another way.
    program: String,
    ledger: LedgerId,
    /// Over the keys that the run was told to accept.
    pins: Digest,
    chains: BTreeMap<String, Reached>,
    tenants: BTreeMap<String, Tenant>,
    /// Statements that stand in an order.
    used: BTreeSet<Digest>,
    /// Blobs that were named, there, and of the right bytes.
    blobs: BTreeSet<Digest>,
    counts: Carried,
}

/// How far a chain was verified.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Reached {
    size: u64,
    root: Digest,
    last: EventHash,
    /// The largest checkpoint that held.
    checkpoint: Option<String>,
}

/// What was looked at in events that are not read again.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Carried {
    statements: u64,
    orders: u64,
    messages: u64,
    decisions: u64,
}

/// The file: the state and its digest.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File<S> {
    digest: Digest,
    state: S,
}

/// Why a state is not gone on from.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Not a state, or changed.
    #[error("it is no state of an earlier run: {0}")]
    Malformed(String),
    /// Of another ledger.
    #[error("it is of ledger {found}, and this is ledger {expected}")]
    Foreign {
        /// Of which it is.
        found: LedgerId,
        /// What is verified.
        expected: LedgerId,
    },
    /// The bundle holds fewer chains than the earlier run verified.
    #[error("the earlier run verified chains that this bundle does not hold whole")]
    Scope,
    /// The earlier run accepted other keys.
    #[error("the earlier run pinned other approvers or connectors than this one")]
    Pins,
}

impl State {
    /// Reads a state, and compares its digest, which it gives too.
    ///
    /// # Errors
    /// When it is not what an earlier run wrote.
    pub fn parse(bytes: &[u8]) -> Result<(Self, Digest), Refused> {
        let malformed = |reason: &dyn ToString| Refused::Malformed(reason.to_string());
        let value = json::parse_canonical(bytes).map_err(|error| malformed(&error))?;
        let file: File<serde_json::Value> =
            serde_json::from_value(value).map_err(|error| malformed(&error))?;
        let canonical = json::canonical(&file.state).map_err(|error| malformed(&error))?;
        if sha256(&canonical) != file.digest {
            return Err(malformed(&"its digest is another"));
        }
        let state: Self = serde_json::from_value(file.state).map_err(|error| malformed(&error))?;
        if state.format != FORMAT || state.program != PROGRAM {
            let (format, program) = (&state.format, &state.program);
            return Err(malformed(&format!("it is `{format}` of version {program}")));
        }
        Ok((state, file.digest))
    }

    /// Its bytes (RFC 8785) and the digest in them.
    ///
    /// # Errors
    /// Only when a number in it is larger than every JSON reader keeps.
    pub fn to_bytes(&self) -> Result<(Vec<u8>, Digest), json::Error> {
        let digest = sha256(&json::to_canonical(self)?);
        let state = self;
        Ok((json::to_canonical(&File { digest, state })?, digest))
    }

    /// Whether a run over this source with these pins may go on from it.
    ///
    /// # Errors
    /// Why not.
    pub fn fits(&self, source: &dyn Source, pins: &Pins) -> Result<(), Refused> {
        let (found, expected) = (self.ledger, source.ledger());
        if found != expected {
            return Err(Refused::Foreign { found, expected });
        }
        let chains = source.chains();
        let whole = |chain: &String| {
            chains
                .get(chain)
                .is_some_and(|(form, _)| *form == Form::Whole)
        };
        // A directory that lacks a chain has lost it, and the verdict says so; a bundle may hold a part.
        if source.kind() == Kind::Bundle && !self.chains.keys().all(whole) {
            return Err(Refused::Scope);
        }
        if self.pins != pins_digest(pins) {
            return Err(Refused::Pins);
        }
        Ok(())
    }

    /// Asks for the trees at every size that it names.
    pub(super) fn wants(&self, sizes: &mut Sizes) {
        for (chain, reached) in &self.chains {
            let signed = reached.checkpoint.as_deref().map(str::as_bytes);
            let signed = signed.and_then(read_checkpoint);
            let sizes = sizes.entry(chain.clone()).or_default();
            sizes.insert(reached.size);
            sizes.extend(signed.map(|checkpoint| checkpoint.head.size));
        }
    }

    /// How many events of each chain are taken over. The platform chain is short, and everything builds on it: none of it.
    pub(super) fn covered(&self) -> BTreeMap<String, u64> {
        let tenants = self.chains.iter().filter(|(chain, _)| *chain != "platform");
        tenants
            .map(|(chain, reached)| (chain.clone(), reached.size))
            .collect()
    }
}

/// The digest over the keys that a run was told to accept inside tenants' chains.
fn pins_digest(pins: &Pins) -> Digest {
    let mut text = String::new();
    for (name, keys) in [
        ("approvers", &pins.approvers),
        ("connectors", &pins.connectors),
    ] {
        text.push_str(name);
        for key in keys.iter().flatten() {
            text.push(' ');
            text.push_str(&crate::base64::encode(key));
        }
        text.push_str(if keys.is_some() { ".\n" } else { "-\n" });
    }
    sha256(text.as_bytes())
}

impl Run<'_> {
    /// Takes over the fold of an earlier run.
    pub(super) fn resume(&mut self, state: State) {
        self.covered = state.covered();
        self.tenants = state.tenants;
        self.used = state.used;
        self.blobs.named_before(state.blobs);
        self.counts.statements = state.counts.statements;
        self.counts.orders = state.counts.orders;
        self.counts.messages = state.counts.messages;
        self.counts.decisions = state.counts.decisions;
        self.reached = state.chains;
    }

    /// What the earlier run saw must be a beginning of what is here, and what it stood under must be signed by this ledger.
    pub(super) fn check_resumed(&self, findings: &mut Findings) -> Result<(), SourceError> {
        for (chain, reached) in &self.reached {
            let last = reached.size.saturating_sub(1);
            let here = self.chains.get(chain);
            let count = here.map_or(0, super::chain::ChainRun::count);
            let snapshot = here.and_then(|run| run.at_size(reached.size));
            let same = snapshot.is_some_and(|snapshot| {
                snapshot.root == *reached.root.as_bytes() && snapshot.last == Some(reached.last)
            });
            if here.is_some_and(|run| run.is_gone(reached.size)) {
                let message = "the chain was pruned since the earlier run; verify it from its cut";
                record(
                    findings,
                    Level::Tree,
                    (chain, last),
                    Err(absent(RULE, message)),
                )?;
                continue;
            }
            let outcome = need(
                same,
                RULE,
                &format!(
                    "the earlier run saw another history of {} events; {count} are here",
                    reached.size
                ),
            );
            record(findings, Level::Tree, (chain, last), outcome)?;
            if let Some(note) = &reached.checkpoint {
                let note = note.as_bytes();
                let outcome = finish::check_note(&self.platform, &self.chains, chain, None, note);
                let outcome = outcome.map(drop).map_err(|fault| match fault {
                    Fault::Bad(_, message) => bad(
                        RULE,
                        format!("the checkpoint that the earlier run stood under: {message}"),
                    ),
                    fault => fault,
                });
                record(findings, Level::Checkpoints, (chain, last), outcome)?;
            }
            let tenant = self
                .tenants
                .get(chain)
                .filter(|_| !findings.is_broken(chain));
            let not_held: Vec<_> = tenant
                .into_iter()
                .flat_map(|tenant| tenant.not_held_any_more(reached.size, &self.platform))
                .collect();
            for (at, fault) in not_held {
                record(findings, Level::Evidence, (chain, at), Err(fault))?;
            }
        }
        Ok(())
    }

    /// What the verdict says about being resumed.
    pub(super) fn resumed(&self, digest: Option<Digest>) -> Option<Resumed> {
        Some(Resumed {
            state: digest?,
            events: self.covered.values().sum(),
            chains: self.covered.clone(),
            taken_over: "signatures, votes, orders, messages, policy decisions and blobs of those events",
        })
    }

    /// What this run leaves, if it verified everything that a later one would take over, and something is signed.
    pub(super) fn state(
        self,
        levels: &BTreeMap<Level, Status>,
        exit: u8,
        signed: &finish::Signed,
    ) -> Option<State> {
        let sound = |level: &Level| {
            let status = levels.get(level);
            matches!(status, Some(Status::Verified | Status::None))
        };
        if exit != 0 || !self.deep || !LEVELS.iter().all(sound) || signed.is_empty() {
            return None;
        }
        let whole = self
            .chains
            .iter()
            .filter(|(_, run)| run.form() == Form::Whole);
        let reached = whole.filter_map(|(chain, run)| {
            let end = run.end()?;
            let reached = Reached {
                size: run.count(),
                root: Digest::from_bytes(end.root),
                last: end.last?,
                checkpoint: signed.get(chain).map(|(_, note)| note.clone()),
            };
            Some((chain.clone(), reached))
        });
        Some(State {
            format: FORMAT.to_owned(),
            program: PROGRAM.to_owned(),
            ledger: self.ledger,
            pins: pins_digest(self.pins),
            chains: reached.collect(),
            counts: Carried::of(&self.counts),
            tenants: self.tenants,
            used: self.used,
            blobs: self.blobs.into_named(),
        })
    }
}

impl Carried {
    const fn of(counts: &Counts) -> Self {
        Self {
            statements: counts.statements,
            orders: counts.orders,
            messages: counts.messages,
            decisions: counts.decisions,
        }
    }
}

/// A map whose keys are no text, as a list of pairs.
pub(super) mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<K: Serialize, V: Serialize, S: Serializer>(
        map: &BTreeMap<K, V>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map)
    }

    pub(crate) fn deserialize<'de, K, V, D>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
    where
        K: Deserialize<'de> + Ord,
        V: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        let pairs = Vec::<(K, V)>::deserialize(deserializer)?;
        Ok(pairs.into_iter().collect())
    }
}
