//! What the connector sees of its site: the live release, what is kept, and how ready the way back is, proved each time.

use std::sync::{MutexGuard, PoisonError};

use countersign_evidence::{JsonObject, OrDash, message::SiteState};
use countersign_ids::Digest;

use crate::{
    Error,
    agent::{Agent, now, pairing},
    report::Report,
    site,
    speak::document,
    state::{Entry, OUTBOX_MAX},
};

/// The state of a static site in the form of a precondition.
pub(crate) fn precondition(current: Option<Digest>) -> JsonObject {
    JsonObject::of_strings([("current", OrDash(current).to_string())])
}

/// What was last seen of the site, and what was last reported.
#[derive(Debug, Default)]
pub(crate) struct Sight {
    seen: Option<SiteState>,
    reported: Option<SiteState>,
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
        let same = |reported: &SiteState| {
            SiteState {
                checked_at: observed.checked_at,
                ..reported.clone()
            } == observed
        };
        let mut sight = self.sight();
        if !sight.reported.as_ref().is_some_and(same) && state.outbox.len() < OUTBOX_MAX {
            let report = Report::Observed {
                document: document(&state)?,
                observed: observed.clone(),
            };
            self.write(vec![Entry::Queued { report }])?;
            sight.reported = Some(observed.clone());
        }
        sight.seen = Some(observed.clone());
        Ok(observed)
    }

    fn sight(&self) -> MutexGuard<'_, Sight> {
        self.sight.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was last seen.
    pub(crate) fn last_seen(&self) -> Option<SiteState> {
        self.sight().seen.clone()
    }

    /// A report was not taken, so the next look reports anew.
    pub(crate) fn report_again(&self) {
        self.sight().reported = None;
    }
}
