//! What the connector sees of its site: the live release, what is kept, and how ready the way back is, proved each time.

use std::sync::PoisonError;

use countersign_evidence::{JsonObject, OrDash, message::SiteState};
use countersign_ids::Digest;

use crate::{
    Error,
    agent::{Agent, now, pairing},
    site,
    speak::document,
    state::{Entry, OUTBOX_MAX, Report},
};

/// The state of a static site in the form of a precondition.
pub(crate) fn precondition(current: Option<Digest>) -> JsonObject {
    JsonObject::of_strings([("current", OrDash(current).to_string())])
}

impl Agent {
    /// Looks at the site and reports what changed since the last time. The caller holds `working`.
    pub(crate) async fn look(&self) -> Result<SiteState, Error> {
        let state = self.state();
        let (current, releases) = (self.site.releases.current()?, self.site.releases.list()?);
        let (site, preview) = (&pairing(&state)?.site, self.site.preview.address());
        let rollback = site::prove(
            &self.site.releases,
            &self.site.prober,
            preview,
            site,
            current,
        )
        .await?;
        let observed = SiteState {
            current: OrDash(current),
            releases: releases.into_iter().collect(),
            rollback,
            checked_at: now(),
        };
        let same = |seen: &SiteState| {
            SiteState {
                checked_at: observed.checked_at,
                ..seen.clone()
            } == observed
        };
        let reported = self.last_seen().is_some_and(|seen| same(&seen));
        if !reported && state.outbox.len() < OUTBOX_MAX {
            let report = Report::Observed {
                document: document(&state)?,
                observed: observed.clone(),
            };
            self.write(vec![Entry::Queued { report }])?;
            *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(observed.clone());
        }
        Ok(observed)
    }

    /// What was last reported.
    pub(crate) fn last_seen(&self) -> Option<SiteState> {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
