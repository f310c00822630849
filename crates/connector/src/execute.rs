//! Executes one order: `Prepared -> Applying -> Applied -> Verified | RolledBack`, each step in the journal first.
//!
//! Whatever ends this program between two steps, the next start finds the step in the journal and brings the site to
//! exactly the state before or the state after. Nothing is rebuilt: what was probed in preview is what goes live.

use std::sync::{Mutex, PoisonError};

use countersign_evidence::{
    JsonObject, OrDash, OutcomeResult, PinnedDocument,
    message::{OBSERVATIONS_MAX, Observation, TEXT_BYTES_MAX},
};
use countersign_ids::{Code, Digest, Time};

use crate::{
    Error,
    agent::{Agent, now},
    error::{
        DOCUMENT_NOT_NEXT, EXECUTION_INTERRUPTED, LIVE_BROKEN, PREVIEW_BROKEN, RELEASE_UNAVAILABLE,
        SITE_IO,
    },
    journal::Journal,
    observe::precondition,
    report::{Ended, Report},
    site::{Failure, ReleaseError, Releases, Report as Probed},
    speak::document,
    state::{Change, Entry, Execution, State, Step},
};

/// The first thing at a start: a change that was begun, and not known to be done, is taken back.
pub(crate) fn take_back(
    journal: &Mutex<Journal>,
    releases: &Releases,
    now: Time,
) -> Result<(), Error> {
    let mut journal = journal.lock().unwrap_or_else(PoisonError::into_inner);
    let state = journal.state().clone();
    let Some(execution) = &state.execution else {
        return Ok(());
    };
    let result = match (execution.step, execution.change) {
        (Step::Applied, _) => return Ok(()),
        (Step::Applying, Change::Release { before, .. }) => go_back(releases, before.get())?,
        (Step::Prepared, _) | (Step::Applying, Change::Document { .. }) => OutcomeResult::Failed,
    };
    tracing::warn!(action = %execution.action, "an interrupted order was taken back");
    let after = precondition(releases.current()?);
    let end = End {
        result,
        code: Some(EXECUTION_INTERRUPTED),
        after,
        observations: Vec::new(),
    };
    let entries = vec![
        rolled_back(EXECUTION_INTERRUPTED),
        Entry::Queued {
            report: end.report(&state, execution, now)?,
        },
    ];
    Ok(journal.write(entries)?)
}

/// Puts the link back. If the release to go back to is gone, what is live stays, and the result says so.
fn go_back(releases: &Releases, before: Option<&Digest>) -> Result<OutcomeResult, Error> {
    match releases.switch(before) {
        Ok(()) => Ok(OutcomeResult::Undone),
        Err(error @ ReleaseError::Missing { .. }) => {
            tracing::error!(%error, "there is nothing to go back to");
            Ok(OutcomeResult::Failed)
        }
        Err(error) => Err(error.into()),
    }
}

fn rolled_back(code: Code) -> Entry {
    Entry::RolledBack {
        code: code.id.to_owned(),
    }
}

/// How an execution ends.
struct End {
    result: OutcomeResult,
    code: Option<Code>,
    after: JsonObject,
    observations: Vec<Observation>,
}

impl End {
    fn report(self, state: &State, execution: &Execution, now: Time) -> Result<Report, Error> {
        let before = match execution.change {
            Change::Release { before, .. } => precondition(before.get().copied()),
            Change::Document { .. } => self.after.clone(),
        };
        let mut observations = self.observations;
        observations.truncate(OBSERVATIONS_MAX);
        Ok(Report::Outcome {
            document: document(state)?,
            order_digest: execution.order_digest,
            result: self.result,
            code: OrDash(self.code.map(|code| code.id.to_owned())),
            ended: Some(Ended {
                before,
                after: self.after,
                observations,
                duration_ms: now.millis_since(execution.started),
            }),
        })
    }
}

/// Text that fits an observation.
fn short(text: &str) -> String {
    let mut short = String::new();
    for character in text.chars() {
        if short.len() + character.len_utf8() > TEXT_BYTES_MAX {
            break;
        }
        short.push(character);
    }
    short
}

fn observed(what: &str, ok: bool, detail: &str) -> Observation {
    Observation {
        what: short(what),
        ok,
        detail: short(detail),
    }
}

/// A probe as observations: one line for all of it, then each broken page.
fn probed(view: &str, report: &Probed) -> Vec<Observation> {
    let all = observed(
        &format!("{view}: {} pages", report.pages),
        report.is_whole(),
        &report.summary(),
    );
    let broken = report
        .failures
        .iter()
        .map(|failure| observed(&format!("{view} {}", failure.page), false, &failure.what));
    std::iter::once(all).chain(broken).collect()
}

impl Agent {
    /// Executes the order that the journal has as prepared. The caller holds `working`.
    pub(crate) async fn execute(&self) -> Result<(), Error> {
        let Some(execution) = self.state().execution else {
            return Ok(());
        };
        match execution.change {
            Change::Release { before, after } => {
                self.release(&execution, before.get().copied(), after).await
            }
            Change::Document { document } => self.replace_document(&execution, document).await,
        }
    }

    /// At a start: a change that was made, and that nobody has looked at, is looked at now.
    pub(crate) async fn settle(&self) -> Result<(), Error> {
        let _working = self.working.lock().await;
        if let Some(execution) = self.state().execution
            && let Change::Release { before, after } = execution.change
            && execution.step == Step::Applied
        {
            self.verify(&execution, before.get().copied(), after, Vec::new())
                .await?;
        }
        self.look().await.map(drop)
    }

    async fn release(
        &self,
        execution: &Execution,
        before: Option<Digest>,
        after: Digest,
    ) -> Result<(), Error> {
        let manifest = match self.obtain(&after).await {
            Ok(manifest) => manifest,
            Err(failure) => {
                let what = observed(&format!("release {after}"), false, &failure.detail);
                return self.give_up(execution, failure.code, vec![what]);
            }
        };
        let preview = self
            .site
            .prober
            .preview(self.site.preview.address(), &manifest)
            .await;
        let mut observations = probed("preview", &preview);
        if !preview.is_whole() {
            return self.give_up(execution, PREVIEW_BROKEN, observations);
        }
        self.write(vec![Entry::Applying])?;
        if let Err(error) = self.site.releases.switch(Some(&after)) {
            // Whether the link changed before it failed is not asked: it is put back, or the next start does it.
            go_back(&self.site.releases, before.as_ref())?;
            observations.push(observed("switch", false, &error.to_string()));
            return self.give_up(execution, SITE_IO, observations);
        }
        self.write(vec![Entry::Applied])?;
        self.verify(execution, before, after, observations).await
    }

    /// Probes the live site; what is broken goes back by itself.
    async fn verify(
        &self,
        execution: &Execution,
        before: Option<Digest>,
        after: Digest,
        mut observations: Vec<Observation>,
    ) -> Result<(), Error> {
        let live = self.probe_live(&after).await;
        observations.extend(probed("live", &live));
        if live.is_whole() {
            let after = precondition(Some(after));
            let end = End {
                result: OutcomeResult::Succeeded,
                code: None,
                after,
                observations,
            };
            return self.end(execution, Entry::Verified { document: None }, end);
        }
        tracing::warn!(action = %execution.action, what = live.summary(), "the release is broken live and goes back");
        let result = go_back(&self.site.releases, before.as_ref())?;
        let current = self.site.releases.current()?;
        if let Some(restored) = current {
            // Said, not decided on: there is nothing more to go back to.
            observations.extend(probed("restored", &self.probe_live(&restored).await));
        }
        let end = End {
            result,
            code: Some(LIVE_BROKEN),
            after: precondition(current),
            observations,
        };
        self.end(execution, rolled_back(LIVE_BROKEN), end)
    }

    /// A release that cannot even be read is broken.
    async fn probe_live(&self, release: &Digest) -> Probed {
        match self.site.releases.manifest(release) {
            Ok(manifest) => {
                self.site
                    .prober
                    .live(self.site.live.address(), &manifest)
                    .await
            }
            Err(error) => {
                let failure = Failure {
                    page: "manifest.json".to_owned(),
                    what: error.to_string(),
                };
                Probed {
                    failures: vec![failure],
                    ..Probed::default()
                }
            }
        }
    }

    async fn replace_document(&self, execution: &Execution, digest: Digest) -> Result<(), Error> {
        let fetched = self.blob(&digest, DOCUMENT_BYTES_MAX).await;
        let state = self.state();
        let pinned = state.document.as_ref().ok_or(Error::NotPaired)?;
        let next = fetched.map_err(|failure| failure.detail).and_then(|bytes| {
            let next = PinnedDocument::parse(&bytes).map_err(|error| error.to_string())?;
            next.follows(pinned).map_err(|error| error.to_string())?;
            Ok(next)
        });
        let next = match next {
            Ok(next) => next,
            Err(why) => {
                return self.give_up(
                    execution,
                    DOCUMENT_NOT_NEXT,
                    vec![observed("document", false, &why)],
                );
            }
        };
        let observations = vec![observed(
            &format!("document {digest}"),
            true,
            &format!("version {}", next.version),
        )];
        let after = precondition(self.site.releases.current()?);
        let mut pinned = state.clone();
        pinned.document = Some(next.clone());
        let end = End {
            result: OutcomeResult::Succeeded,
            code: None,
            after,
            observations,
        };
        // One line of the journal: the old document is in force, or the new one is and the result says so.
        let report = end.report(&pinned, execution, now())?;
        self.write(vec![
            Entry::Applying,
            Entry::Verified {
                document: Some(next),
            },
            Entry::Queued { report },
        ])
    }

    /// Nothing was changed, and nothing will be.
    pub(crate) fn give_up(
        &self,
        execution: &Execution,
        code: Code,
        observations: Vec<Observation>,
    ) -> Result<(), Error> {
        let after = precondition(self.site.releases.current()?);
        let end = End {
            result: OutcomeResult::Failed,
            code: Some(code),
            after,
            observations,
        };
        self.end(execution, rolled_back(code), end)
    }

    fn end(&self, execution: &Execution, entry: Entry, end: End) -> Result<(), Error> {
        let report = end.report(&self.state(), execution, now())?;
        self.write(vec![entry, Entry::Queued { report }])
    }
}

/// The largest pinned document.
const DOCUMENT_BYTES_MAX: u64 = 256 * 1024;

/// Why something could not be had; the order fails and nothing has changed.
#[derive(Debug)]
pub(crate) struct Unobtained {
    pub(crate) code: Code,
    pub(crate) detail: String,
}

impl Unobtained {
    pub(crate) fn because(detail: impl Into<String>) -> Self {
        Self {
            code: RELEASE_UNAVAILABLE,
            detail: detail.into(),
        }
    }
}
