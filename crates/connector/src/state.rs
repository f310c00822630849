//! What the connector knows, as a fold of its journal: nothing here is remembered that the journal does not say.
//!
//! Pure. An entry that contradicts the ones before it is damage, never guessed around.

use std::collections::{BTreeMap, VecDeque};

use countersign_chain::sha256;
use countersign_evidence::{
    Envelope, OrDash, PinnedDocument, PublicKey,
    message::{Stream, TreeHead},
};
use countersign_ids::{
    ActionId, ConnectorId, Digest, LedgerId, Nonce, Sequence, SiteId, TenantId, Time,
};
use serde::{Deserialize, Serialize};

use crate::report::Report;

/// How long after its time a nonce, a statement or an order is still remembered, should the clock be turned back.
const REMEMBERED_MILLIS: u64 = 24 * 60 * 60 * 1000;
/// The most reports that wait for the control plane.
pub(crate) const OUTBOX_MAX: usize = 256;

/// Whose connector this is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pairing {
    pub(crate) ledger: LedgerId,
    pub(crate) tenant: TenantId,
    pub(crate) site: SiteId,
    pub(crate) connector: ConnectorId,
    pub(crate) generation: u64,
    /// The connector's own public key of this generation; the file beside the journal holds its secret.
    pub(crate) key: PublicKey,
}

impl Pairing {
    /// Whether it is with this site of this ledger.
    pub(crate) fn is_place(&self, ledger: &LedgerId, tenant: &TenantId, site: &SiteId) -> bool {
        self.ledger == *ledger && self.tenant == *tenant && self.site == *site
    }
}

/// Why the connector takes no orders any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Quiet {
    pub(crate) code: String,
    pub(crate) detail: String,
}

/// Which change an execution makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "change", deny_unknown_fields)]
pub(crate) enum Change {
    /// Another release becomes the live one.
    Release {
        /// The one that was live.
        before: OrDash<Digest>,
        /// The one that is to be.
        after: Digest,
    },
    /// Another document is pinned.
    Document {
        /// The document's digest.
        document: Digest,
    },
}

/// How far an execution has come; `Verified` and `RolledBack` end it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Step {
    Prepared,
    Applying,
    Applied,
}

/// One order that is being executed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Execution {
    pub(crate) action: ActionId,
    pub(crate) order_digest: Digest,
    pub(crate) change: Change,
    pub(crate) step: Step,
    pub(crate) started: Time,
}

/// One fact of the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "entry", deny_unknown_fields)]
pub(crate) enum Entry {
    /// Everything before, folded; the first entry of a file.
    Snapshot { state: Box<State> },
    /// A new generation begins.
    Paired {
        pairing: Pairing,
        keys: Vec<Envelope>,
        document: PinnedDocument,
        checkpoint: TreeHead,
    },
    /// The ledger's keys changed.
    KeysFollowed { keys: Vec<Envelope> },
    /// A checkpoint was consistent with the last one and not smaller.
    CheckpointAccepted { checkpoint: TreeHead },
    /// Two histories were seen, or something as bad: no orders until somebody pairs again.
    WentQuiet { quiet: Quiet },
    /// Something is to be said.
    Queued { report: Report },
    /// A message is about to be sent; until it is answered these bytes are repeated.
    Sealed { stream: Stream, envelope: Envelope },
    /// The message was taken.
    Answered { stream: Stream },
    /// The message was refused for good; its counter is the next message's.
    Dropped {
        /// The stream.
        stream: Stream,
        /// The code that the control plane gave.
        code: String,
    },
    /// An order was refused. Its nonce stands here only if the order was signed as it must be.
    Refused {
        order_digest: Digest,
        nonce: OrDash<Nonce>,
        until: Time,
    },
    /// Every check passed; nothing has been done yet.
    Prepared {
        execution: Execution,
        nonce: Nonce,
        until: Time,
        sequence: Sequence,
        statements: BTreeMap<Digest, Time>,
        checkpoint: TreeHead,
    },
    /// The change begins.
    Applying,
    /// The change was made, and nobody has looked yet.
    Applied,
    /// The change was made and seen.
    Verified { document: Option<PinnedDocument> },
    /// The state before is in force, or could not be brought back; the result says which.
    RolledBack { code: String },
}

/// The next counter of each stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Counters {
    pub(crate) action: u64,
    pub(crate) beat: u64,
}

/// The message of each stream that was not answered.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Unanswered {
    pub(crate) action: Option<Envelope>,
    pub(crate) beat: Option<Envelope>,
}

/// The fold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct State {
    pub(crate) pairing: Option<Pairing>,
    pub(crate) keys: Vec<Envelope>,
    pub(crate) document: Option<PinnedDocument>,
    pub(crate) checkpoint: TreeHead,
    pub(crate) quiet: Option<Quiet>,
    pub(crate) nonces: BTreeMap<Nonce, Time>,
    pub(crate) orders: BTreeMap<Digest, Time>,
    pub(crate) sequence: Option<Sequence>,
    /// Statements that an order was executed under, until they count no more.
    pub(crate) statements: BTreeMap<Digest, Time>,
    pub(crate) counters: Counters,
    /// The payload digest of the last heartbeat that was taken.
    pub(crate) last_beat: OrDash<Digest>,
    pub(crate) unanswered: Unanswered,
    pub(crate) outbox: VecDeque<Report>,
    pub(crate) execution: Option<Execution>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            pairing: None,
            keys: Vec::new(),
            document: None,
            checkpoint: empty_tree(),
            quiet: None,
            nonces: BTreeMap::new(),
            orders: BTreeMap::new(),
            sequence: None,
            statements: BTreeMap::new(),
            counters: Counters::default(),
            last_beat: OrDash::NONE,
            unanswered: Unanswered::default(),
            outbox: VecDeque::new(),
            execution: None,
        }
    }
}

/// Before the first checkpoint: no events, and the root of no leaves.
pub(crate) fn empty_tree() -> TreeHead {
    TreeHead {
        size: 0,
        root: sha256(b""),
    }
}

/// An entry that cannot follow the ones before it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the entry `{entry}` cannot stand here")]
pub(crate) struct Contradiction {
    pub(crate) entry: &'static str,
}

fn refuse<T>(entry: &'static str) -> Result<T, Contradiction> {
    Err(Contradiction { entry })
}

impl State {
    /// Takes one more entry in.
    pub(crate) fn apply(&mut self, entry: &Entry) -> Result<(), Contradiction> {
        match entry {
            Entry::Snapshot { state } => *self = (**state).clone(),
            Entry::Paired {
                pairing,
                keys,
                document,
                checkpoint,
            } => {
                *self = Self {
                    keys: keys.clone(),
                    checkpoint: *checkpoint,
                    ..self.new_generation(pairing, document)?
                };
            }
            Entry::KeysFollowed { keys } => self.keys.extend(keys.iter().cloned()),
            Entry::CheckpointAccepted { checkpoint } => self.advance(checkpoint)?,
            Entry::WentQuiet { quiet } => self.quiet = Some(quiet.clone()),
            Entry::Queued { report } => self.outbox.push_back(report.clone()),
            Entry::Sealed { stream, envelope } => self.seal(*stream, envelope)?,
            Entry::Answered { stream } => self.answer(*stream)?,
            Entry::Dropped { stream, .. } => {
                if self.unanswered_mut(*stream).take().is_none() {
                    return refuse("dropped");
                }
            }
            Entry::Refused {
                order_digest,
                nonce,
                until,
            } => {
                self.orders.insert(*order_digest, *until);
                self.nonces
                    .extend(nonce.get().map(|nonce| (*nonce, *until)));
            }
            Entry::Prepared {
                execution,
                nonce,
                until,
                sequence,
                statements,
                checkpoint,
            } => {
                if self.execution.is_some() || execution.step != Step::Prepared {
                    return refuse("prepared");
                }
                self.advance(checkpoint)?;
                self.nonces.insert(*nonce, *until);
                self.orders.insert(execution.order_digest, *until);
                self.sequence = Some(*sequence);
                self.statements.extend(statements);
                self.execution = Some(execution.clone());
            }
            Entry::Applying => self.step("applying", Step::Prepared, Step::Applying)?,
            Entry::Applied => self.step("applied", Step::Applying, Step::Applied)?,
            Entry::Verified { document } => {
                let from = if document.is_some() {
                    Step::Applying
                } else {
                    Step::Applied
                };
                self.end("verified", |step| step == from)?;
                if let Some(document) = document {
                    self.document = Some(document.clone());
                }
            }
            Entry::RolledBack { .. } => self.end("rolled-back", |_| true)?,
        }
        Ok(())
    }

    /// What was seen under the generation before stays seen; everything else begins anew.
    fn new_generation(
        &mut self,
        pairing: &Pairing,
        document: &PinnedDocument,
    ) -> Result<Self, Contradiction> {
        let Ok(pinned) = document.digest() else {
            return refuse("paired");
        };
        Ok(Self {
            outbox: self.carried(pairing, pinned),
            pairing: Some(pairing.clone()),
            document: Some(document.clone()),
            nonces: std::mem::take(&mut self.nonces),
            orders: std::mem::take(&mut self.orders),
            statements: std::mem::take(&mut self.statements),
            // The pairing was message 0 of its generation.
            counters: Counters { action: 1, beat: 0 },
            ..Self::default()
        })
    }

    /// The outcomes that the new generation says, because the one before did not get to: only to the ledger that gave the
    /// orders.
    fn carried(&self, next: &Pairing, pinned: Digest) -> VecDeque<Report> {
        if !self.says_on(next) {
            return VecDeque::new();
        }
        let owed = self.owed().into_iter();
        owed.filter_map(|report| report.carried(pinned)).collect()
    }

    fn advance(&mut self, checkpoint: &TreeHead) -> Result<(), Contradiction> {
        let same = checkpoint.root == self.checkpoint.root;
        if checkpoint.size < self.checkpoint.size
            || (checkpoint.size == self.checkpoint.size && !same)
        {
            return refuse("checkpoint-accepted");
        }
        self.checkpoint = *checkpoint;
        Ok(())
    }

    fn step(&mut self, entry: &'static str, from: Step, to: Step) -> Result<(), Contradiction> {
        match &mut self.execution {
            Some(execution) if execution.step == from => {
                execution.step = to;
                Ok(())
            }
            _ => refuse(entry),
        }
    }

    fn end(
        &mut self,
        entry: &'static str,
        from: impl Fn(Step) -> bool,
    ) -> Result<(), Contradiction> {
        match &self.execution {
            Some(execution) if from(execution.step) => {
                self.execution = None;
                Ok(())
            }
            _ => refuse(entry),
        }
    }

    fn unanswered_mut(&mut self, stream: Stream) -> &mut Option<Envelope> {
        match stream {
            Stream::Action => &mut self.unanswered.action,
            Stream::Beat => &mut self.unanswered.beat,
        }
    }

    fn seal(&mut self, stream: Stream, envelope: &Envelope) -> Result<(), Contradiction> {
        if self
            .unanswered_mut(stream)
            .replace(envelope.clone())
            .is_some()
        {
            return refuse("sealed");
        }
        if stream == Stream::Action && self.outbox.pop_front().is_none() {
            return refuse("sealed");
        }
        Ok(())
    }

    fn answer(&mut self, stream: Stream) -> Result<(), Contradiction> {
        let Some(envelope) = self.unanswered_mut(stream).take() else {
            return refuse("answered");
        };
        let counter = match stream {
            Stream::Action => &mut self.counters.action,
            Stream::Beat => &mut self.counters.beat,
        };
        *counter = counter.saturating_add(1);
        if stream == Stream::Beat {
            self.last_beat = envelope.payload_digest().into();
        }
        Ok(())
    }

    /// Whether a next pairing can say what this one did not: it is with the same place.
    pub(crate) fn says_on(&self, next: &Pairing) -> bool {
        let here = self.pairing.as_ref();
        here.is_some_and(|here| here.is_place(&next.ledger, &next.tenant, &next.site))
    }

    /// The outcomes that were not taken yet, the oldest first: one may have been sent, and not answered.
    pub(crate) fn owed(&self) -> Vec<Report> {
        let sent = self.unanswered.action.as_ref();
        let sent = sent.and_then(Report::of_outcome);
        let waits = self.outbox.iter().cloned();
        sent.into_iter()
            .chain(waits)
            .filter(|report| matches!(report, Report::Outcome { .. }))
            .collect()
    }

    /// Forgets what counts no more: only at the start of a new file, so that reading it back gives the same state.
    pub(crate) fn forget(&mut self, now: Time) {
        let kept = |until: &Time| until.plus_millis(REMEMBERED_MILLIS) > now;
        self.nonces.retain(|_, until| kept(until));
        self.orders.retain(|_, until| kept(until));
        self.statements.retain(|_, until| kept(until));
    }
}
